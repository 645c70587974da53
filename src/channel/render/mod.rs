//! The texts of reminders: built-in or written by the brand, by language, in Handlebars.
//!
//! Templates are written by people in the dashboard, so they are data from outside: only `{{variable}}` and
//! `{{#if}}`/`{{#unless}}` are allowed (no loops, partials or helpers that could grow or recurse), and a template is compiled and
//! vetted before every use. Values are escaped in HTML and nowhere else: an SMS must not say `&amp;`. The HTML of the built-in layout
//! is made *from the rendered text*, so that both parts of an e-mail say the same.

use std::collections::BTreeMap;

use super::clean;
use crate::domain::ids::Channel;
use crate::domain::language::lookup;
use crate::domain::rule::Template;
use handlebars::{
    Context, Handlebars, RenderContext, Renderable, StringOutput, Template as Compiled,
};
use url::Url;

mod check;
mod layout;
mod vars;
mod vet;

pub use check::{Problem, Severity};
pub use vars::{VARIABLES, Variable, Vars, link};

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

/// The built-in texts of one language.
struct BuiltIn {
    language: &'static str,
    subject: &'static str,
    email: &'static str,
    sms: &'static str,
}

const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        language: LAST_RESORT,
        subject: include_str!("../../../templates/en/email.subject.hbs"),
        email: include_str!("../../../templates/en/email.txt.hbs"),
        sms: include_str!("../../../templates/en/sms.txt.hbs"),
    },
    BuiltIn {
        language: "de",
        subject: include_str!("../../../templates/de/email.subject.hbs"),
        email: include_str!("../../../templates/de/email.txt.hbs"),
        sms: include_str!("../../../templates/de/sms.txt.hbs"),
    },
];

/// The language for readers whose own has no text.
const LAST_RESORT: &str = "en";

/// Languages with built-in texts.
pub fn languages() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|b| b.language)
}

/// The built-in text of a channel in the nearest language, as a template to begin an own one with.
pub fn built_in(channel: Channel, language: &str) -> Template {
    let all: BTreeMap<&'static str, &BuiltIn> = BUILT_IN.iter().map(|b| (b.language, b)).collect();
    let source = nearest(&all, language).map_or(&BUILT_IN[0], |(_, source)| *source);
    match channel {
        Channel::Email => Template {
            subject: Some(source.subject.trim().to_owned()),
            text: source.email.trim().to_owned(),
            html: None,
        },
        Channel::Sms => Template {
            subject: None,
            text: source.sms.trim().to_owned(),
            html: None,
        },
    }
}

/// The built-in texts and the engine for all others. Compiles the built-in ones: build it once and share it by reference.
pub struct Texts {
    plain: Handlebars<'static>,
    html: Handlebars<'static>,
    layout: layout::Layout,
    built_in: BTreeMap<&'static str, Built>,
    /// What previews and checks are filled with.
    sample: Vars,
}

struct Built {
    subject: Compiled,
    email: Compiled,
    sms: Compiled,
}

impl Built {
    fn from(source: &BuiltIn) -> Self {
        let compiled = |source| {
            vet::compile(Field::Text, source).expect("a test compiles every built-in text")
        };
        Self {
            subject: compiled(source.subject),
            email: compiled(source.email),
            sms: compiled(source.sms),
        }
    }
}

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
            layout: layout::Layout::new(),
            built_in: BUILT_IN
                .iter()
                .map(|b| (b.language, Built::from(b)))
                .collect(),
            sample: Vars::sample(),
        }
    }

    /// Previews and checks have links of this installation: how much SMS a text is depends on their length.
    #[must_use]
    pub fn linking_to(self, public_url: &Url) -> Self {
        Self {
            sample: self.sample.linking_to(public_url),
            ..self
        }
    }

    pub fn sample(&self) -> Vars {
        self.sample.clone()
    }

    /// Renders one reminder: with the given template, or with the built-in texts in the nearest language.
    ///
    /// `language` is the language of `template`, as [`Settings::template_for`](crate::domain::rule::Settings::template_for) gives it,
    /// and not its reader's; of the built-in texts, the reader's. The HTML says in which language it is.
    pub fn render(
        &self,
        channel: Channel,
        template: Option<&Template>,
        language: Option<&str>,
        vars: &Vars,
    ) -> Result<Rendered, TemplateError> {
        let language = language.unwrap_or(LAST_RESORT);
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
        vars: &Vars,
        context: &Context,
    ) -> Result<Rendered, TemplateError> {
        let (language, texts) = nearest(&self.built_in, language)
            .or_else(|| self.built_in.get_key_value(LAST_RESORT))
            .expect("there are built-in texts");
        let text = |source| self.fill(Field::Text, source, context);
        match channel {
            Channel::Sms => Ok(sms_of(&text(&texts.sms)?)),
            Channel::Email => {
                let subject = self.fill(Field::Subject, &texts.subject, context)?;
                Ok(self.email_of(&subject, &text(&texts.email)?, None, language, vars))
            }
        }
    }

    fn custom(
        &self,
        channel: Channel,
        template: &Template,
        language: &str,
        vars: &Vars,
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
            Channel::Sms => Ok(sms_of(&text)),
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
                Ok(self.email_of(&subject, &text, html, language, vars))
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

    fn email_of(
        &self,
        subject: &str,
        text: &str,
        html: Option<String>,
        language: &str,
        vars: &Vars,
    ) -> Rendered {
        let subject = clean::line(subject, clean::MAX_SUBJECT);
        let text = text.trim().to_owned() + "\n";
        let html = html.unwrap_or_else(|| self.layout.around(&subject, &text, language, vars));
        Rendered {
            subject: Some(subject),
            text,
            html: Some(html),
        }
    }
}

/// The text of a language tag, or of a more general one: `de-AT` finds `de`.
fn nearest<'t, T>(
    texts: &'t BTreeMap<&'static str, T>,
    wanted: &str,
) -> Option<(&'t &'static str, &'t T)> {
    texts.get_key_value(lookup(texts.keys().copied(), wanted)?)
}

fn sms_of(text: &str) -> Rendered {
    Rendered {
        subject: None,
        text: text.trim().to_owned(),
        html: None,
    }
}

fn empty(field: Field) -> TemplateError {
    TemplateError {
        field,
        what: "is empty".to_owned(),
        mend: "write something that is there even if no name is known".to_owned(),
    }
}

#[cfg(test)]
mod tests;
