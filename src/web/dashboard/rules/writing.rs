//! What the editor's script asks for while somebody writes: to save the draft, what it means, and the mail as it would be read.

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde_json::{Value, json};

use super::editor::{variables, written};
use super::form::{self, FormFields, OpenLanguages, TextChange};
use super::preview::{self, For};
use super::{EDITOR, RulePagePath, by, key};
use crate::control::ControlError;
use crate::control::rules::{self, RuleChange, RuleStamp};
use crate::control::senders::AllowedSenders;
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::dashboard::{PageError, PageFrame};
use crate::web::templates;

pub fn add(table: &mut RouteTable) {
    table.form(Permission::Edit, &format!("{EDITOR}/save"), save);
    table.form(Permission::Edit, &format!("{EDITOR}/look"), look_again);
    table.form(Permission::Edit, &format!("{EDITOR}/preview"), preview);
}

/// The draft, as it is being written: for the script, which tells when it was saved, or why not.
async fn save(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(of): RulePagePath,
    fields: FormFields,
) -> Result<Response, PageError> {
    let key = key(&page.accounts, of)?;
    let view = rules::read(&state.pool, &key).await?;
    let (enabled, settings) = written(&state, &view, &fields);
    let seen: RuleStamp = fields.one("seen").parse().unwrap_or_default();
    let senders = AllowedSenders::of(&state.context, &page.accounts).await?;
    let by = by(&page, &state);
    let with = (
        &state.context.texts,
        &senders,
        &state.context.installation_of(&key.account).channels[..],
    );
    let change = RuleChange {
        enabled,
        settings: settings.clone(),
    };
    let refused = |status: StatusCode, fault: String| {
        Ok((status, Json(json!({ "fault": fault }))).into_response())
    };
    match rules::autosave_draft(&state.pool, with, &key, seen, change, by).await {
        Ok(saved) => {
            let told = json!({ "seen": saved.stamp.to_string(), "at": by.now });
            Ok(Json(told).into_response())
        }
        Err(ControlError::Invalid(faults)) => {
            let faults = form::placed(faults, &settings);
            let first = faults.first().map(|fault| form::fault(&Value::Null, fault)).unwrap_or_default();
            let word = |name: &str| first[name].as_str().unwrap_or_default().to_owned();
            let fault = format!("{}: {}", word("name"), word("detail"));
            refused(StatusCode::UNPROCESSABLE_ENTITY, fault)
        }
        Err(ControlError::Changed(_)) => refused(
            StatusCode::CONFLICT,
            "someone else changed it while you had it open. Save the draft yourself to see the differences."
                .to_owned(),
        ),
        Err(ControlError::Conflict(why)) => refused(StatusCode::CONFLICT, why),
        Err(other) => Err(other.into()),
    }
}

/// What the form means, as it is being written: the part of the page beside it.
async fn look_again(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(of): RulePagePath,
    fields: FormFields,
) -> Result<Response, PageError> {
    let key = key(&page.accounts, of)?;
    let view = rules::read(&state.pool, &key).await?;
    let whom = For::written(&state, &view.account, &fields);
    let written = written(&state, &view, &fields);
    let open = OpenLanguages::of(&fields);
    let mut form = form::model(
        &state.context.installation_of(&view.account).channels,
        &written.1,
        &open,
    );
    let mut values =
        preview::preview_change(&state, (&view, &page.accounts), written, (&form, &whom)).await?;
    preview::place(&mut form, &values);
    // A channel's texts, as one of their buttons has changed them.
    let changed = TextChange::parse(fields.one("do"));
    let changed = changed.and_then(|(channel, _)| {
        let channels = form["channels"].as_array()?;
        channels.iter().find(|of| of["word"] == channel.as_str())
    });
    values["changed_texts"] = changed.cloned().unwrap_or_default();
    // The rows of the steps, for the script: put in order, or as one of their buttons has changed them.
    values["form"] = form;
    values["path"] = format!("/rules/{key}").into();
    values["may_edit"] = true.into();
    values["variables"] = variables().into();
    Ok(templates::render("rule_look.hbs", &values))
}

/// A mail as its reader would see it, for the frame in the editor. It may show styles of its own and nothing else.
async fn preview(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(of): RulePagePath,
    fields: FormFields,
) -> Result<Response, PageError> {
    let view = rules::read(&state.pool, &key(&page.accounts, of)?).await?;
    let (_, settings) = written(&state, &view, &fields);
    let html = preview::mail(&state, &view, &settings, &fields).await?;
    let mut response = Html(html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, PREVIEW_POLICY);
    headers.insert(
        header::X_FRAME_OPTIONS,
        HeaderValue::from_static("SAMEORIGIN"),
    );
    Ok(response)
}

const PREVIEW_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; \
     sandbox",
);
