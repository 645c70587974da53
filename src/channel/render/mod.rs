//! The texts of reminders: built-in or written by the brand, by language, in Handlebars.
//!
//! Templates are written by people in the dashboard, so they are data from outside: only `{{variable}}` and
//! `{{#if}}`/`{{#unless}}` are allowed (no loops, partials or helpers that could grow or recurse), and a template is compiled and
//! vetted before every use. Values are escaped in HTML and nowhere else: an SMS must not say `&amp;`. The HTML of the built-in layout
//! is made *from the rendered text*, so that both parts of an e-mail say the same.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use handlebars::{
    Context, Handlebars, RenderContext, Renderable, StringOutput, Template as Compiled,
};
use serde_json::json;

use super::{clean, sms};
use crate::domain::ids::Channel;
use crate::domain::rule::Template;

mod layout;
mod vet;

/// A value that templates may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    /// What it stands for, for the person writing a template.
    pub what: &'static str,
    pub sample: &'static str,
}

const fn variable(name: &'static str, what: &'static str, sample: &'static str) -> Variable {
    Variable { name, what, sample }
}

/// All variables, in the order in which an editor should offer them.
pub const VARIABLES: &[Variable] = &[
    variable(
        "link",
        "The way back into the conversation. Every reminder should have it",
        "https://r.acme.example/m/7Kq2ZxT9",
    ),
    variable(
        "first_name",
        "The visitor's first name; often unknown, so write {{#if first_name}}…{{/if}} around it",
        "Dana",
    ),
    variable("brand", "The brand's name", "Acme"),
    variable(
        "agent",
        "The agent's name; may be unknown, so write {{#if agent}}…{{/if}} around it",
        "Sam",
    ),
    variable("skill", "The name of the skill; may be unknown", "Support"),
    variable("count", "How many messages are unread", "1"),
    variable(
        "several",
        "Whether more than one message is unread: {{#if several}}messages{{else}}a message{{/if}}",
        "",
    ),
    variable(
        "since_minutes",
        "Minutes since the first unread message",
        "10",
    ),
    variable(
        "unsubscribe_link",
        "Where these reminders can be stopped. Every e-mail should have it",
        "https://reminders.example.com/u/o7RkV2mQx1",
    ),
    variable("channel", "email or sms", "email"),
];

/// What is known when a reminder is written. Names are cleaned here; a first name that does not look like one is left out.
#[derive(Clone)]
pub struct Vars<'a> {
    pub first_name: Option<&'a str>,
    pub brand: &'a str,
    pub agent: Option<&'a str>,
    pub skill: Option<&'a str>,
    pub count: u32,
    pub since_minutes: i64,
    pub link: &'a str,
    pub unsubscribe_link: &'a str,
}

impl Vars<'_> {
    /// The values of [`VARIABLES`]' samples, for previews and checks.
    pub fn sample() -> Vars<'static> {
        Vars {
            first_name: Some(sample("first_name")),
            agent: Some(sample("agent")),
            skill: Some(sample("skill")),
            ..Vars::sparse_sample()
        }
    }

    /// The same, with everything unknown that may be unknown.
    fn sparse_sample() -> Vars<'static> {
        Vars {
            first_name: None,
            brand: sample("brand"),
            agent: None,
            skill: None,
            count: 1,
            since_minutes: 10,
            link: sample("link"),
            unsubscribe_link: sample("unsubscribe_link"),
        }
    }

    fn context(&self, channel: Channel) -> Context {
        let name = |raw: Option<&str>| clean::line(raw.unwrap_or_default(), clean::MAX_NAME);
        let values = json!({
            "first_name": self.first_name.and_then(clean::first_name).unwrap_or_default(),
            "brand": name(Some(self.brand)),
            "agent": name(self.agent),
            "skill": name(self.skill),
            "count": self.count,
            "several": self.count > 1,
            "since_minutes": self.since_minutes,
            "link": self.link,
            "unsubscribe_link": self.unsubscribe_link,
            "channel": channel.as_str(),
        });
        Context::from(values)
    }
}

fn sample(name: &str) -> &'static str {
    let found = VARIABLES.iter().find(|v| v.name == name);
    found.map_or("", |v| v.sample)
}

/// A finished text. E-mail has all three parts, SMS only `text`.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
}

/// Which part of a template is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Subject,
    Text,
    Html,
}

impl Field {
    /// The name of the field in [`Template`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Text => "text",
            Self::Html => "html",
        }
    }
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}; {mend}", field.as_str())]
pub struct TemplateError {
    pub field: Field,
    pub what: String,
    pub mend: String,
}

/// Something to tell the person who wrote a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub field: Field,
    pub what: String,
    pub mend: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The template cannot be saved.
    Error,
    /// It works, but probably not as meant.
    Warning,
}

impl From<TemplateError> for Problem {
    fn from(error: TemplateError) -> Self {
        Self {
            severity: Severity::Error,
            field: error.field,
            what: error.what,
            mend: error.mend,
        }
    }
}

/// Languages with built-in texts; the first is the last resort.
pub const LANGUAGES: &[&str] = &["en", "de"];

/// The built-in texts and the engine for all others. Cheap to share by reference; build it once.
pub struct Texts {
    plain: Handlebars<'static>,
    html: Handlebars<'static>,
    built_in: BTreeMap<&'static str, BuiltIn>,
}

struct BuiltIn {
    subject: Compiled,
    email: Compiled,
    sms: Compiled,
}

macro_rules! built_in {
    ($language:literal) => {
        (
            $language,
            BuiltIn {
                subject: compiled(include_str!(concat!(
                    "../../../templates/",
                    $language,
                    "/email.subject.hbs"
                ))),
                email: compiled(include_str!(concat!(
                    "../../../templates/",
                    $language,
                    "/email.txt.hbs"
                ))),
                sms: compiled(include_str!(concat!(
                    "../../../templates/",
                    $language,
                    "/sms.txt.hbs"
                ))),
            },
        )
    };
}

fn compiled(source: &str) -> Compiled {
    vet::compile(Field::Text, source).expect("a test renders every built-in text")
}

static LAYOUT: LazyLock<layout::Layout> = LazyLock::new(layout::Layout::new);

impl Default for Texts {
    fn default() -> Self {
        Self::new()
    }
}

impl Texts {
    pub fn new() -> Self {
        let mut html = Handlebars::new();
        html.set_strict_mode(true);
        let mut plain = html.clone();
        plain.register_escape_fn(handlebars::no_escape);
        Self {
            plain,
            html,
            built_in: BTreeMap::from([built_in!("en"), built_in!("de")]),
        }
    }

    /// Renders one reminder: with the given template, or with the built-in texts in the nearest language.
    ///
    /// `language` is the language of `template`, or the one wished for.
    pub fn render(
        &self,
        channel: Channel,
        template: Option<&Template>,
        language: &str,
        vars: &Vars<'_>,
    ) -> Result<Rendered, TemplateError> {
        let context = vars.context(channel);
        match template {
            Some(template) => self.custom(channel, template, language, vars, &context),
            None => self.built_in(channel, language, vars, &context),
        }
    }

    fn built_in(
        &self,
        channel: Channel,
        language: &str,
        vars: &Vars<'_>,
        context: &Context,
    ) -> Result<Rendered, TemplateError> {
        let (language, texts) = nearest(&self.built_in, language)
            .or_else(|| self.built_in.get_key_value(LANGUAGES[0]))
            .expect("there are built-in texts");
        let text = |source| self.fill(Field::Text, source, context);
        match channel {
            Channel::Sms => Ok(sms_of(text(&texts.sms)?)),
            Channel::Email => {
                let subject = self.fill(Field::Subject, &texts.subject, context)?;
                Ok(email_of(subject, text(&texts.email)?, None, language, vars))
            }
        }
    }

    fn custom(
        &self,
        channel: Channel,
        template: &Template,
        language: &str,
        vars: &Vars<'_>,
        context: &Context,
    ) -> Result<Rendered, TemplateError> {
        let fill = |field, source: &str| {
            let compiled = vet::compile(field, source)?;
            self.fill(field, &compiled, context)
        };
        let text = fill(Field::Text, &template.text)?;
        if text.trim().is_empty() {
            return Err(empty(Field::Text));
        }
        match channel {
            Channel::Sms => Ok(sms_of(text)),
            Channel::Email => {
                let subject = fill(
                    Field::Subject,
                    template.subject.as_deref().unwrap_or_default(),
                )?;
                if subject.trim().is_empty() {
                    return Err(empty(Field::Subject));
                }
                let html = template.html.as_deref().filter(|h| !h.trim().is_empty());
                let html = html.map(|html| fill(Field::Html, html)).transpose()?;
                Ok(email_of(subject, text, html, language, vars))
            }
        }
    }

    fn fill(
        &self,
        field: Field,
        template: &Compiled,
        context: &Context,
    ) -> Result<String, TemplateError> {
        let engine = match field {
            Field::Html => &self.html,
            Field::Subject | Field::Text => &self.plain,
        };
        let mut out = StringOutput::new();
        let rendered = template
            .render(engine, context, &mut RenderContext::new(None), &mut out)
            .ok()
            .and_then(|()| out.into_string().ok());
        rendered.ok_or_else(|| TemplateError {
            field,
            what: "cannot be filled in".to_owned(),
            mend: "check the {{…}} in it".to_owned(),
        })
    }

    /// What is wrong with a template or might surprise its author, errors first.
    pub fn check(&self, channel: Channel, template: &Template) -> Vec<Problem> {
        let samples = [Vars::sample(), Vars::sparse_sample()];
        let mut rendered = Vec::new();
        for vars in &samples {
            match self.render(channel, Some(template), LANGUAGES[0], vars) {
                Ok(text) => rendered.push((text, vars)),
                Err(error) => return vec![error.into()],
            }
        }
        let mut problems = Vec::new();
        for (text, vars) in &rendered {
            for problem in surprises(channel, text, vars) {
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
        problems
    }
}

/// The template for a reader of `wanted`, out of a rule's: that language, its primary language, the default, or any. `None` only if
/// there are none.
pub fn choose<'t>(
    templates: &'t BTreeMap<String, Template>,
    wanted: &str,
    default: &str,
) -> Option<(&'t str, &'t Template)> {
    nearest(templates, wanted)
        .or_else(|| nearest(templates, default))
        .or_else(|| templates.iter().next())
        .map(|(language, template)| (language.as_str(), template))
}

/// `pt-BR` finds `pt-BR`, else `pt`, else another `pt-…`.
fn nearest<'t, K: AsRef<str> + Ord, T>(
    texts: &'t BTreeMap<K, T>,
    wanted: &str,
) -> Option<(&'t K, &'t T)> {
    let primary = |tag: &str| tag.split(['-', '_']).next().map(str::to_ascii_lowercase);
    let same = |tag: &str, other: &str| tag.replace('_', "-").eq_ignore_ascii_case(other);
    let wanted = wanted.replace('_', "-");
    let wanted_primary = primary(&wanted)?;
    texts
        .iter()
        .find(|(tag, _)| same(tag.as_ref(), &wanted))
        .or_else(|| {
            texts
                .iter()
                .find(|(tag, _)| same(tag.as_ref(), &wanted_primary))
        })
        .or_else(|| {
            let is_relative = |tag: &str| primary(tag).as_ref() == Some(&wanted_primary);
            texts.iter().find(|(tag, _)| is_relative(tag.as_ref()))
        })
}

fn sms_of(text: String) -> Rendered {
    Rendered {
        subject: None,
        text: text.trim().to_owned(),
        html: None,
    }
}

fn email_of(
    subject: String,
    text: String,
    html: Option<String>,
    language: &str,
    vars: &Vars<'_>,
) -> Rendered {
    let subject = clean::line(&subject, clean::MAX_SUBJECT);
    let text = text.trim().to_owned() + "\n";
    let html = html.unwrap_or_else(|| LAYOUT.around(&subject, &text, language, vars));
    Rendered {
        subject: Some(subject),
        text,
        html: Some(html),
    }
}

fn empty(field: Field) -> TemplateError {
    TemplateError {
        field,
        what: "is empty".to_owned(),
        mend: "write something that is there even if no name is known".to_owned(),
    }
}

fn surprises(channel: Channel, rendered: &Rendered, vars: &Vars<'_>) -> Vec<Problem> {
    let warning = |field, what: String, mend: &str| Problem {
        severity: Severity::Warning,
        field,
        what,
        mend: mend.to_owned(),
    };
    let mut problems = Vec::new();
    let parts = [
        (Field::Text, Some(&rendered.text)),
        (Field::Html, rendered.html.as_ref()),
    ];
    for (field, part) in parts {
        let Some(part) = part else { continue };
        let lacks = |value: &str| !part.contains(value) && !part.contains(&layout::escaped(value));
        if lacks(vars.link) {
            let what = "has no {{link}}: nobody can get back into the conversation".to_owned();
            problems.push(warning(field, what, "add {{link}}"));
        }
        if channel == Channel::Email && lacks(vars.unsubscribe_link) {
            let what = "has no {{unsubscribe_link}}: readers will use the spam button".to_owned();
            problems.push(warning(field, what, "add {{unsubscribe_link}}"));
        }
    }
    if channel == Channel::Sms {
        let size = sms::measure(&rendered.text);
        if let Some(offender) = size.offender.filter(|_| size.segments > 1) {
            let what = format!(
                "takes {} SMS, because “{offender}” is not in the SMS alphabet",
                size.segments
            );
            problems.push(warning(Field::Text, what, "replace that character"));
        } else if size.segments > 1 {
            let what = format!("takes {} SMS, and each is paid for", size.segments);
            problems.push(warning(Field::Text, what, "shorten it to 160 characters"));
        }
    }
    problems
}

#[cfg(test)]
mod tests;
