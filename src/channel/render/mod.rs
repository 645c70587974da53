//! The texts of reminders: built-in or written by the brand, by language, in Handlebars.
//!
//! Templates are written by people in the dashboard, so they are data from outside: only `{{variable}}` and
//! `{{#if}}`/`{{#unless}}` are allowed (no loops, partials or helpers that could grow or recurse), with bounds on their number and
//! nesting. A template is read before every use, however it came to be stored, or was read for the reminder before; reading and
//! filling in happen on a few threads of their own. Values are escaped in HTML and nowhere else: an SMS must not say `&amp;`. The HTML of the built-in layout
//! is made *from the rendered text*, so that both parts of an e-mail say the same.

use std::sync::Arc;

use url::Url;

use crate::domain::channel::Parts;
use crate::domain::ids::Channel;
use crate::domain::language::lookup;
use crate::domain::rule::{ChannelSettings, Template};
use threads::Threads;

mod check;
mod chips;
mod engine;
mod facts;
mod kept;
mod layout;
mod program;
mod scan;
mod threads;
mod vars;
mod way_out;

pub use check::{Severity, TemplateProblem};
pub use chips::{TextPiece, pieces};
pub use engine::{Engine, Reads};
pub use threads::Unanswered;
pub use vars::{TemplateVariable, VARIABLES, Vars, link};

/// A finished text, of the parts that its channel has.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    pub subject: Option<String>,
    /// What mail programs show beside the subject.
    pub preheader: Option<String>,
    pub text: String,
    pub html: Option<String>,
}

/// Which part of a template is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    Subject,
    Preheader,
    Text,
    Html,
}

impl Field {
    /// The name of the field in [`Template`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Preheader => "preheader",
            Self::Text => "text",
            Self::Html => "html",
        }
    }
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}; {fix}", field.as_str())]
pub struct TemplateError {
    pub field: Field,
    /// What is wrong, and at which line and column.
    pub what: String,
    pub fix: String,
}

/// The built-in texts of one language.
struct BuiltInTexts {
    language: &'static str,
    subject: &'static str,
    email: &'static str,
    sms: &'static str,
    /// The word that the SMS asks for.
    stop_word: &'static str,
}

macro_rules! built_in {
    ($($language:literal, $stop_word:literal;)*) => {
        &[$(BuiltInTexts {
            language: $language,
            subject: include_str!(concat!("../../../templates/", $language, "/email.subject.hbs")),
            email: include_str!(concat!("../../../templates/", $language, "/email.txt.hbs")),
            sms: include_str!(concat!("../../../templates/", $language, "/sms.txt.hbs")),
            stop_word: $stop_word,
        }),*]
    };
}

/// STOP where that is understood as readily as a word of the language: carriers and Twilio act on it by themselves.
const BUILT_IN: &[BuiltInTexts] = built_in! {
    "en", "STOP";
    "de", "STOP";
    "fr", "STOP";
    "es", "STOP";
    "pt-BR", "SAIR";
    "it", "STOP";
    "nl", "STOP";
    "pl", "STOP";
    "sv", "STOPP";
    "ja", "停止";
};

/// The language for readers whose own has no text.
const LAST_RESORT: &str = "en";

/// Languages with built-in texts.
pub fn languages() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|b| b.language)
}

/// The own text of a rule for a reader's language, with its own tag; `None`: the built-in one.
pub fn own_text<'s>(
    own: &'s ChannelSettings,
    language: Option<&str>,
) -> Option<(&'s str, &'s Template)> {
    own.template_for(language, language.and_then(nearest))
}

/// The built-in text of a channel in the nearest language, as a template to begin an own one with.
pub fn built_in(channel: Channel, language: &str) -> Template {
    let nearest = nearest(language).unwrap_or(LAST_RESORT);
    let source = BUILT_IN.iter().find(|b| b.language == nearest);
    let source = source.unwrap_or(&BUILT_IN[0]);
    match channel.profile().parts {
        Parts::SubjectAndHtml => Template {
            subject: Some(chips::simplified(source.subject.trim())),
            preheader: None,
            text: chips::simplified(source.email.trim()),
            html: None,
        },
        Parts::TextAlone => Template {
            subject: None,
            preheader: None,
            text: chips::simplified(source.sms.trim()),
            html: None,
        },
    }
}

/// Threads that work on texts for people and programs: previews, checks, imports, test messages.
const FOR_PEOPLE: usize = 2;
/// Pieces of such work that may wait for a thread; what comes on top is refused.
const PEOPLE_WAITING: usize = 64;
/// Threads that write reminders. They are not those for people, who could hold them up.
const FOR_REMINDERS: usize = 2;
/// Reminders that may wait for a thread, and on top of them those that wait for room: there are no more than delivery slots.
const REMINDERS_WAITING: usize = 64;

/// Works on texts, on threads of its own. Make it once and share it by reference.
pub struct Texts {
    engine: Arc<Engine>,
    people: Threads,
    reminders: Threads,
}

impl Default for Texts {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Engine> for Texts {
    fn from(engine: Engine) -> Self {
        Self {
            engine: Arc::new(engine),
            people: Threads::new("texts-people", FOR_PEOPLE, PEOPLE_WAITING),
            reminders: Threads::new("texts-reminders", FOR_REMINDERS, REMINDERS_WAITING),
        }
    }
}

impl Texts {
    pub fn new() -> Self {
        Engine::new().into()
    }

    /// Previews and checks have links of this installation: how much SMS a text is depends on their length.
    #[must_use]
    pub fn linking_to(public_url: &Url) -> Self {
        let mut engine = Engine::new();
        engine.sample = engine.sample.linking_to(public_url);
        engine.into()
    }

    pub fn sample(&self) -> Vars {
        self.engine.sample.clone()
    }

    /// Does something for somebody who writes texts; refuses if too much of this kind is waiting already.
    pub async fn for_people<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let engine = self.engine.clone();
        self.people.try_run(move || work(&engine)).await
    }

    /// What is wrong with a template or might surprise its author, errors first.
    pub async fn check(
        &self,
        channel: Channel,
        template: &Template,
    ) -> Result<Vec<TemplateProblem>, Unanswered> {
        let template = template.clone();
        self.for_people(move |engine| engine.check(channel, &template))
            .await
    }

    /// Renders one reminder: with the given template, or with the built-in texts in the nearest language.
    ///
    /// `language` is the language of `template`, as
    /// [`own_text`] gives it, and not its reader's; of the
    /// built-in texts, the reader's. The HTML says in which language it is.
    pub async fn render(
        &self,
        channel: Channel,
        template: Option<&Template>,
        language: Option<&str>,
        vars: Vars,
    ) -> Result<Rendered, TemplateError> {
        let (template, language) = (template.cloned(), language.map(str::to_owned));
        let engine = self.engine.clone();
        let rendered = self.reminders.run(move || {
            let (template, language) = (template.as_ref(), language.as_deref());
            engine.render(channel, template, language, &vars, Reads::ForReminders)
        });
        rendered.await.unwrap_or_else(|error| {
            Err(TemplateError {
                field: Field::Text,
                what: format!("cannot be filled in: {error}"),
                fix: "see the log".to_owned(),
            })
        })
    }
}

/// The language of the text that a reader of this one gets: that of the rule's own text, else of the built-in one.
pub fn language_for<'s>(settings: &'s ChannelSettings, reader: Option<&str>) -> &'s str {
    let own = own_text(settings, reader).map(|(tag, _)| tag);
    own.unwrap_or_else(|| nearest(reader.unwrap_or_default()).unwrap_or(LAST_RESORT))
}

/// The language, of those with built-in texts, for a reader of this one: `de` for `de-AT`; `pt-BR` for `pt-PT`, which is nearer than
/// English.
pub fn nearest(wanted: &str) -> Option<&'static str> {
    lookup(languages(), wanted).or_else(|| {
        let primary = |tag: &str| tag.split(['-', '_']).next().map(str::to_ascii_lowercase);
        languages().find(|tag| primary(tag) == primary(wanted))
    })
}

#[cfg(test)]
mod tests;
