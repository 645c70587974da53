//! Texts filled in, at once and on the thread that asks. Whoever serves others meanwhile asks [`Texts`](super::Texts).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::kept::ProgramCache;
use super::program::{Escape, Program};
use super::vars::Value;
use super::{
    BUILT_IN, BuiltInTexts, Field, LAST_RESORT, Rendered, TemplateError, Vars, layout, nearest,
    way_out,
};
use crate::channel::{clean, sms};
use crate::domain::channel::Parts;
use crate::domain::ids::Channel;
use crate::domain::rule::Template;

/// The built-in texts, and everything that own ones need. Reads the built-in ones when it is made.
pub struct Engine {
    layout: layout::EmailLayout,
    built_in: BTreeMap<&'static str, Built>,
    /// What previews and checks are filled with.
    pub(super) sample: Vars,
    kept: Mutex<ProgramCache>,
}

struct Built {
    subject: Program,
    email: Program,
    sms: Program,
    stop_word: &'static str,
}

impl Built {
    fn from(source: &BuiltInTexts) -> Self {
        let read =
            |source| Program::read(Field::Text, source).expect("a test reads every built-in text");
        Self {
            subject: read(source.subject),
            email: read(source.email),
            sms: read(source.sms),
            stop_word: source.stop_word,
        }
    }
}

/// The words of an e-mail, filled in.
pub(super) struct EmailWords<'w> {
    pub(super) subject: &'w str,
    /// Empty: the first words of the text.
    pub(super) preheader: &'w str,
    pub(super) text: &'w str,
}

/// Who reads a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// A reminder: the next one of this rule's version finds it read.
    ForReminders,
    /// Somebody who writes it: uses what is kept and leaves nothing, so that nobody can displace the texts in force.
    ForPeople,
}

/// An own template, read.
pub(super) struct OwnTemplate {
    pub(super) subject: Option<Arc<Program>>,
    pub(super) preheader: Option<Arc<Program>>,
    pub(super) text: Arc<Program>,
    pub(super) html: Option<Arc<Program>>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    pub fn new() -> Self {
        Self {
            layout: layout::EmailLayout::new(),
            built_in: BUILT_IN
                .iter()
                .map(|b| (b.language, Built::from(b)))
                .collect(),
            sample: Vars::sample(),
            kept: Mutex::default(),
        }
    }

    /// Renders a text: with the given template, or with the built-in texts in the nearest language.
    ///
    /// `language` is the language of `template`, or the one wished for.
    pub fn render(
        &self,
        channel: Channel,
        template: Option<&Template>,
        language: Option<&str>,
        vars: &Vars,
        reads: Reads,
    ) -> Result<Rendered, TemplateError> {
        match template {
            Some(template) => {
                let own = self.read(channel, template, reads)?;
                self.own(channel, &own, language, vars)
            }
            None => Ok(self.built_in(channel, language.unwrap_or(LAST_RESORT), vars)),
        }
    }

    /// How many parts of own texts are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.len()
    }

    /// Reads every part of a template that the channel uses.
    pub(super) fn read(
        &self,
        channel: Channel,
        template: &Template,
        reads: Reads,
    ) -> Result<OwnTemplate, TemplateError> {
        let read = |field, source: &str| self.program(field, source, reads);
        let text = read(Field::Text, &template.text)?;
        if channel.profile().parts == Parts::TextAlone {
            return Ok(OwnTemplate {
                subject: None,
                preheader: None,
                text,
                html: None,
            });
        }
        let subject = template.subject.as_deref().unwrap_or_default();
        let given = |part: &'_ Option<String>| {
            let part = part.as_deref();
            part.filter(|part| !part.trim().is_empty())
                .map(str::to_owned)
        };
        let (preheader, html) = (given(&template.preheader), given(&template.html));
        Ok(OwnTemplate {
            text,
            subject: Some(read(Field::Subject, subject)?),
            preheader: preheader
                .map(|preheader| read(Field::Preheader, &preheader))
                .transpose()?,
            html: html.map(|html| read(Field::Html, &html)).transpose()?,
        })
    }

    fn program(
        &self,
        field: Field,
        source: &str,
        reads: Reads,
    ) -> Result<Arc<Program>, TemplateError> {
        let key = ProgramCache::key(field, source);
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept().find(&key) {
            return Ok(found);
        }
        let program = Arc::new(Program::read(field, source)?);
        if reads == Reads::ForReminders {
            kept().keep(key, source.len(), program.clone());
        }
        Ok(program)
    }

    pub(super) fn own(
        &self,
        channel: Channel,
        own: &OwnTemplate,
        language: Option<&str>,
        vars: &Vars,
    ) -> Result<Rendered, TemplateError> {
        let values = vars.values(channel);
        let text = own.text.fill(&values, Escape::Nothing);
        if text.trim().is_empty() {
            return Err(empty(Field::Text));
        }
        if channel.profile().parts == Parts::TextAlone {
            return Ok(text_of(&text));
        }
        let subject = own.subject.as_ref();
        let subject = subject.map_or(String::new(), |s| s.fill(&values, Escape::Nothing));
        if subject.trim().is_empty() {
            return Err(empty(Field::Subject));
        }
        let preheader = own.preheader.as_ref();
        let preheader = preheader.map_or(String::new(), |p| p.fill(&values, Escape::Nothing));
        let preheader = clean::line(&preheader, layout::LONGEST_PREHEADER);
        let html = own.html.as_ref().map(|h| h.fill(&values, Escape::Html));
        let language = language.unwrap_or(LAST_RESORT);
        let link = &vars.unsubscribe_link;
        let text = way_out::in_text(text, language, link);
        let html = html.map(|html| way_out::in_html(html, language, link));
        let html = html.map(|html| layout::with_preheader(html, &preheader));
        let words = EmailWords {
            subject: &subject,
            preheader: &preheader,
            text: &text,
        };
        Ok(self.email_of(&words, html, language, vars))
    }

    fn built_in(&self, channel: Channel, language: &str, vars: &Vars) -> Rendered {
        let language = nearest(language).unwrap_or(LAST_RESORT);
        let texts = &self.built_in[language];
        let values: Vec<Value> = vars.values(channel);
        let fill = |program: &Program| program.fill(&values, Escape::Nothing);
        match channel.profile().parts {
            Parts::TextAlone => {
                let fill = |vars: &Vars| texts.sms.fill(&vars.values(channel), Escape::Nothing);
                text_of(&within_two_segments(vars, texts.stop_word, fill))
            }
            Parts::SubjectAndHtml => {
                let (subject, text) = (fill(&texts.subject), fill(&texts.email));
                let words = EmailWords {
                    subject: &subject,
                    preheader: "",
                    text: &text,
                };
                self.email_of(&words, None, language, vars)
            }
        }
    }

    fn email_of(
        &self,
        words: &EmailWords<'_>,
        html: Option<String>,
        language: &str,
        vars: &Vars,
    ) -> Rendered {
        let subject = clean::line(words.subject, clean::MAX_SUBJECT);
        let text = words.text.trim().to_owned() + "\n";
        let preheader = match words.preheader {
            "" => layout::first_words(&text, vars),
            own => own.to_owned(),
        };
        let html = html.unwrap_or_else(|| {
            let words = EmailWords {
                subject: &subject,
                preheader: &preheader,
                text: &text,
            };
            self.layout.around(&words, language, vars)
        });
        Rendered {
            subject: Some(subject),
            preheader: Some(preheader),
            text,
            html: Some(html),
        }
    }
}

/// A text message of ours costs two segments at most. A brand's name with letters outside the SMS alphabet is written without its marks
/// where it would cost more; in another script it stands before as little as can be said in any language; the longest is cut.
fn within_two_segments(vars: &Vars, stop_word: &str, fill: impl Fn(&Vars) -> String) -> String {
    let fits = |text: &str| sms::measure(text.trim()).segments <= 2;
    let named = |brand: &str| Vars {
        brand: brand.to_owned(),
        ..vars.clone()
    };
    let brand = clean::line(&vars.brand, clean::MAX_NAME);
    for brand in [&brand, &sms::without_marks(&brand)] {
        let text = fill(&named(brand));
        if fits(&text) {
            return text;
        }
    }
    let Vars { count, link, .. } = vars;
    let mut brand = brand.as_str();
    loop {
        let text = format!("{brand}: ✉ {count} {link} {stop_word}");
        let Some((last, _)) = brand.char_indices().next_back() else {
            return text;
        };
        if fits(&text) {
            return text;
        }
        brand = brand[..last].trim_end();
    }
}

fn text_of(text: &str) -> Rendered {
    Rendered {
        subject: None,
        preheader: None,
        text: text.trim().to_owned(),
        html: None,
    }
}

fn empty(field: Field) -> TemplateError {
    TemplateError {
        field,
        what: "is empty".to_owned(),
        fix: "write something that works even if no name is known".to_owned(),
    }
}
