//! Turning values into HTML: templates, styles and scripts compiled into the program, every value escaped.
//!
//! Strict: a template that names a value which is not there is an error and not an empty place.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use handlebars::{
    Context, Handlebars, Helper, HelperResult, Output, RenderContext, RenderError,
    handlebars_helper,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

macro_rules! templates {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../templates/web/", $name)))),*]
    };
}

/// One line each, in the order of the alphabet.
const TEMPLATES: &[(&str, &str)] = templates! {
    "activity.hbs"
    "api.hbs"
    "bare.hbs"
    "channels.hbs"
    "chart.hbs"
    "code.hbs"
    "coming.hbs"
    "connect.hbs"
    "decisions.hbs"
    "effect.hbs"
    "find.hbs"
    "layout.hbs"
    "live.hbs"
    "login.hbs"
    "message.hbs"
    "moment.hbs"
    "notice.hbs"
    "overview.hbs"
    "password.hbs"
    "people.hbs"
    "reminder.hbs"
    "reminder_rows.hbs"
    "reminder_tabs.hbs"
    "reminders.hbs"
    "remove_user.hbs"
    "rule.hbs"
    "rule_changes.hbs"
    "rule_channel.hbs"
    "rule_contradictions.hbs"
    "rule_customers.hbs"
    "rule_differences.hbs"
    "rule_effect.hbs"
    "rule_history.hbs"
    "rule_hours.hbs"
    "rule_look.hbs"
    "rule_preview.hbs"
    "rule_row.hbs"
    "rule_sequence.hbs"
    "rule_setting_choice.hbs"
    "rule_setting_number.hbs"
    "rule_setting_switch.hbs"
    "rule_setting_text.hbs"
    "rule_settings.hbs"
    "rule_steps.hbs"
    "rule_text.hbs"
    "rule_text_look.hbs"
    "rule_text_part.hbs"
    "rule_texts.hbs"
    "rule_try.hbs"
    "rule_weeks.hbs"
    "rules.hbs"
    "second_factor.hbs"
    "settings.hbs"
    "setup.hbs"
    "suppressions.hbs"
    "tabs.hbs"
    "time.hbs"
    "tokens.hbs"
    "users.hbs"
    "visitor.hbs"
    "website.hbs"
};

/// What pages load; served under an address with the content's hash.
const ASSETS: &[(&str, &str)] = templates! {
    "kept.js"
    "live.js"
    "rule.css"
    "rule.js"
    "unread.css"
    "unread.js"
    "website.js"
    "words.js"
};

static PAGES: LazyLock<Handlebars<'static>> = LazyLock::new(|| {
    let mut pages = Handlebars::new();
    pages.set_strict_mode(true);
    pages.register_helper("asset", Box::new(asset));
    pages.register_helper("code", Box::new(code));
    pages.register_helper("of", Box::new(of));
    for (name, source) in TEMPLATES {
        pages
            .register_template_string(name, source)
            .expect("a test compiles every template");
    }
    pages
});

// `{{of faults "name"}}`: what a map holds under a name, and nothing if it holds nothing.
handlebars_helper!(of: |map: Value, name: str| map.get(name).cloned().unwrap_or_default());

/// `{{code text}}`: a text in which `…` marks what is typed, as documentation and command lines write it; shown as code on pages.
fn code(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let text = helper.param(0).and_then(|text| text.value().as_str());
    for (at, part) in text.unwrap_or_default().split('`').enumerate() {
        let part = handlebars::html_escape(part);
        match at % 2 {
            0 => out.write(&part)?,
            _ => out.write(&format!("<code>{part}</code>"))?,
        }
    }
    Ok(())
}

/// `{{asset "unread.css"}}`: the address of a file that pages load.
fn asset(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let name = helper.param(0).and_then(|name| name.value().as_str());
    let file = ADDRESSES
        .iter()
        .find(|(own, ..)| Some(*own) == name)
        .ok_or_else(|| {
            RenderError::from(handlebars::RenderErrorReason::InvalidParamType("asset"))
        })?;
    out.write(&format!("/assets/{}", file.1))?;
    Ok(())
}

/// The typeface of all pages, under the SIL Open Font License.
const FONT: (&str, &[u8]) = (
    "inter.woff2",
    include_bytes!("../../templates/web/inter/inter.woff2"),
);
const FONT_LICENCE: (&str, &str) = (
    "inter-licence.txt",
    include_str!("../../templates/web/inter/LICENSE"),
);

/// Name, name with hash, and content of each.
static ADDRESSES: LazyLock<Vec<(&str, String, Bytes)>> = LazyLock::new(|| {
    let (name, font) = FONT;
    let font = (name, hashed(name, font), Bytes::from_static(font));
    let files = ASSETS.iter().chain([&FONT_LICENCE]).map(|(name, content)| {
        // Beside each other: the style names the typeface as a page would find it.
        let content = content.replace("url(\"inter.woff2\")", &format!("url(\"{}\")", font.1));
        (
            *name,
            hashed(name, content.as_bytes()),
            Bytes::from(content),
        )
    });
    let files: Vec<_> = files.collect();
    [font].into_iter().chain(files).collect()
});

fn hashed(name: &str, content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    let hash = u64::from_be_bytes(hash[..8].try_into().unwrap_or_default());
    format!("{hash:016x}-{name}")
}

/// `GET /assets/{file}`.
pub async fn assets(Path(file): Path<String>) -> Response {
    let known = ADDRESSES
        .iter()
        .find(|(_, with_hash, _)| *with_hash == file);
    let Some((name, _, content)) = known else {
        return super::error::not_found();
    };
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        Some("woff2") => "font/woff2",
        _ => "text/javascript; charset=utf-8",
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, content.clone()).into_response()
}

/// A page; a template that cannot be filled in is our fault and says so.
pub fn render(template: &str, values: &Value) -> Response {
    match PAGES.render(template, values) {
        Ok(page) => Html(page).into_response(),
        Err(error) => {
            tracing::error!("The page {template} cannot be rendered: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The same as text.
#[cfg(test)]
pub fn rendered(template: &str, values: &Value) -> Result<String, RenderError> {
    PAGES.render(template, values)
}

/// A page that says one thing to whoever works with the dashboard, and the way on: where it leads, and what it is called.
pub fn message(heading: &str, text: &str, way: Option<(&str, &str)>) -> Response {
    let way = way.map(|(href, label)| json!({ "href": href, "label": label }));
    render(
        "message.hbs",
        &json!({ "title": heading, "heading": heading, "text": text, "way": way }),
    )
}

/// What pages of the dashboard may load and do: files of ours and nothing else. A page that shows a foreign text, such as the
/// preview of a mail, is a frame with rules of its own.
pub const DASHBOARD_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The headers of a page of ours. The origin is told to ourselves, so that our forms can be recognised.
pub fn careful(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, DASHBOARD_POLICY);
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_code_and_everything_is_escaped() {
        let values =
            json!({ "title": "t", "heading": "h", "text": "Run `unread <x>` & wait", "way": null });
        let page = PAGES.render("message.hbs", &values).unwrap();
        assert!(
            page.contains("Run <code>unread &lt;x&gt;</code> &amp; wait"),
            "{page}"
        );
    }

    #[test]
    fn no_template_has_script_or_style_in_it() {
        for (name, source) in TEMPLATES {
            for forbidden in [
                "<style",
                " style=",
                " onclick=",
                " onload=",
                "javascript:",
                "{{{",
            ] {
                assert!(!source.contains(forbidden), "{name}: {forbidden}");
            }
            for script in source.match_indices("<script") {
                let tag = &source[script.0..];
                assert!(
                    tag.starts_with("<script src=\"{{asset"),
                    "{name}: inline script"
                );
            }
        }
    }
}
