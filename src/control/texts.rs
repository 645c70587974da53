//! Texts of reminders: what may stand in them, what they look like with sample data, what is wrong with them, how much SMS they are.

use serde::Serialize;
use utoipa::ToSchema;

use super::accounts::Allowed;
use super::{ControlError, Fault};
use crate::channel::render::{
    self, Reads, Rendered, Severity, TemplateProblem, Texts, VARIABLES, Vars,
};
pub use crate::channel::render::{TextPiece, pieces};
use crate::channel::sms;
use crate::domain::channel::Length;
use crate::domain::contact;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::language::lookup;
use crate::domain::read_state::{Episode, ReadState, read_state};
use crate::domain::rule::Template;
use crate::jobs::context::Context;
use crate::liveperson::Purpose;

/// Something that a text may say.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Variable {
    pub name: &'static str,
    /// What it is called on pages.
    pub label: &'static str,
    /// What it stands for.
    pub what: &'static str,
    pub sample: &'static str,
}

/// Everything that a text may say, in the order in which an editor should offer it.
pub fn variables() -> Vec<Variable> {
    let all = VARIABLES.iter();
    all.map(|v| Variable {
        name: v.name,
        label: v.label,
        what: v.what,
        sample: v.sample,
    })
    .collect()
}

/// Whom a preview is written to.
#[derive(Clone, Debug, Default)]
pub struct PreviewRecipient {
    /// The tag of the text's language; of the built-in text, that of the reader. `None`: English.
    pub language: Option<String>,
    pub brand: Option<String>,
    /// Nobody's name is known: not the visitor's, not the agent's.
    pub nameless: bool,
    pub first_name: Option<String>,
    pub agent: Option<String>,
    pub skill: Option<String>,
    pub count: Option<u32>,
    pub since_minutes: Option<u64>,
    /// Where the link leads, if not to the sample.
    pub link: Option<String>,
    pub unsubscribe_link: Option<String>,
}

/// What a reminder of a conversation could say at this moment, asked at LivePerson: names, skill and how much is unread; no address.
pub async fn of_conversation(
    ctx: &Context,
    account: &Allowed<AccountId>,
    channel: Channel,
    conversation: &str,
) -> Result<PreviewRecipient, ControlError> {
    let of = ctx.accounts.get(&**account);
    let of = of.ok_or_else(|| ControlError::NotFound(format!("account {account}")))?;
    let answer = of
        .by_ids_for(Purpose::Person, &[conversation.to_owned()])
        .await?;
    let record = answer.records.into_iter().find(|r| r.id == conversation);
    let record = record.ok_or_else(|| {
        ControlError::NotFound("conversation of this id at LivePerson".to_owned())
    })?;
    let episode = match read_state(&record, of.count_bots) {
        ReadState::Unread(episode) => Some(episode),
        _ => None,
    };
    let contact = contact::choose(&record.contact, channel, &of.contact_policy);
    let minutes = |episode: &Episode| (ctx.clock.now() - episode.since).num_minutes();
    Ok(PreviewRecipient {
        language: record.language,
        brand: Some(of.brand.clone()),
        first_name: Some(contact.and_then(|c| c.first_name).unwrap_or_default()),
        since_minutes: episode.as_ref().map(|e| minutes(e).unsigned_abs()),
        count: Some(episode.as_ref().map_or(1, |e| e.count)),
        agent: Some(episode.and_then(|e| e.agent).unwrap_or_default()),
        skill: Some(record.skill_name.unwrap_or_default()),
        ..PreviewRecipient::default()
    })
}

/// A text, filled in.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = Preview)]
pub struct TextPreview {
    pub subject: Option<String>,
    /// What mail programs show beside the subject.
    pub preheader: Option<String>,
    pub text: Option<String>,
    pub html: Option<String>,
    /// How much SMS it is; left out for e-mail.
    pub sms: Option<SmsSize>,
    /// What must be fixed before it can be saved.
    pub faults: Vec<Fault>,
    /// What can be saved, but is probably not meant.
    pub warnings: Vec<Fault>,
}

/// The size of a text message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SmsSize {
    /// `GSM-7` or `UCS-2`.
    pub encoding: &'static str,
    pub units: usize,
    /// Units that fit into so many segments.
    pub room: usize,
    /// What is paid for.
    pub segments: usize,
    /// The first character that made the text dearer, and where: counted in characters, from 1.
    #[schema(value_type = Option<String>)]
    pub offender: Option<char>,
    pub offender_at: Option<usize>,
}

/// Fills a text in. `template` of `None` is the built-in text.
pub async fn preview(
    texts: &Texts,
    channel: Channel,
    template: Option<&Template>,
    reader: &PreviewRecipient,
) -> Result<TextPreview, ControlError> {
    let (template, language) = (template.cloned(), reader.language.clone());
    let vars = reader.vars(texts);
    let filled_in = texts.for_people(move |engine| {
        let (template, language) = (template.as_ref(), language.as_deref());
        let problems = template.map(|template| engine.check(channel, template));
        let rendered = engine.render(channel, template, language, &vars, Reads::ForPeople);
        preview_problems(channel, problems.unwrap_or_default(), rendered.ok())
    });
    Ok(filled_in.await?)
}

fn preview_problems(
    channel: Channel,
    problems: Vec<TemplateProblem>,
    rendered: Option<Rendered>,
) -> TextPreview {
    let mut told = TextPreview::default();
    for problem in problems {
        let fault = Fault {
            field: format!("/template/{}", problem.field.as_str()),
            detail: format!("{}; {}", problem.what, problem.fix),
        };
        match problem.severity {
            Severity::Error => told.faults.push(fault),
            Severity::Warning => told.warnings.push(fault),
        }
    }
    if let Some(rendered) = rendered {
        told.sms = (channel.profile().length == Length::Segments).then(|| sms_size(&rendered.text));
        told.subject = rendered.subject;
        told.preheader = rendered.preheader;
        told.text = Some(rendered.text);
        told.html = rendered.html;
    }
    told
}

fn sms_size(text: &str) -> SmsSize {
    let size = sms::measure(text);
    let at = size
        .offender
        .and_then(|o| text.chars().position(|c| c == o));
    SmsSize {
        encoding: size.encoding.as_str(),
        units: size.units,
        room: size.room(),
        segments: size.segments,
        offender: size.offender,
        offender_at: at.map(|at| at + 1),
    }
}

impl PreviewRecipient {
    pub(super) fn vars(&self, texts: &Texts) -> Vars {
        let mut vars = texts.sample();
        let given = |field: &mut String, value: &Option<String>| {
            if let Some(value) = value {
                field.clone_from(value);
            }
        };
        if self.nameless {
            vars = vars.without_names();
        }
        given(&mut vars.first_name, &self.first_name);
        given(&mut vars.agent, &self.agent);
        given(&mut vars.skill, &self.skill);
        given(&mut vars.brand, &self.brand);
        given(&mut vars.link, &self.link);
        given(&mut vars.unsubscribe_link, &self.unsubscribe_link);
        if let Some(count) = self.count {
            vars.count = count.max(1);
        }
        if let Some(minutes) = self.since_minutes {
            vars.since_minutes = minutes;
        }
        vars
    }
}

/// The built-in text of a channel in the nearest language, to begin an own one with.
pub fn built_in(channel: Channel, language: &str) -> Template {
    render::built_in(channel, language)
}

/// The same; `None` if no built-in text is in this language.
pub fn standard(channel: Channel, language: &str) -> Option<Template> {
    lookup(render::languages(), language).map(|tag| render::built_in(channel, tag))
}

/// Languages with built-in texts.
pub fn built_in_languages() -> Vec<&'static str> {
    render::languages().collect()
}
