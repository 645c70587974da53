//! A rule: for one skill (or the account's default), when, over which channels and how to remind.
//!
//! Here: what a person may set, the defaults, and which rule and texts apply. In `settings`: what each setting is called, does and may be. In
//! `check`: how settings are read and validated.

mod check;
mod difference;
mod encoding;
mod numbering;
pub mod settings;
mod stored;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::channel::PerChannel;
use super::ids::{AccountId, Channel, SkillId};
use super::language::lookup;
use super::quiet::{LONGEST_REPEAT, QuietHours};
use super::read_state::Episode;
use super::zone::Zone;

pub use check::RuleProblem;
pub use difference::{Difference, differences};
pub use numbering::KnownSteps;
pub use stored::Newer;
pub use summary::{hours_said, span, summary};

/// What a rule is for. There is at most one rule per key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleKey {
    pub account: AccountId,
    /// `None`: the account's default, for skills without a rule of their own.
    pub skill: Option<SkillId>,
}

/// As addresses and the audit trail name it: `12345678/default`, `12345678/700`.
impl fmt::Display for RuleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.skill {
            Some(skill) => write!(f, "{}/{skill}", self.account),
            None => write!(f, "{}/default", self.account),
        }
    }
}

/// A rule as stored: its key, its version and its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub id: i64,
    pub account: AccountId,
    /// `None`: the account's default, for skills without a rule of their own.
    pub skill: Option<SkillId>,
    pub enabled: bool,
    pub version: i32,
    pub settings: RuleSettings,
    /// From when on agent messages are reminded of, by channel: the cut of the account's channel. `None`: it has not gone live.
    pub live: PerChannel<Option<DateTime<Utc>>>,
    /// The end of the last time that the database has lost: what fell due before may have been sent, though the ledger knows nothing of it.
    pub lost_until: Option<DateTime<Utc>>,
}

impl Rule {
    /// Live since ever: nothing counts as read that was not.
    pub const ALWAYS: Option<DateTime<Utc>> = Some(DateTime::<Utc>::MIN_UTC);

    /// Whether a channel of one of its steps has gone live.
    pub fn is_live(&self) -> bool {
        let mut steps = self.settings.steps.iter();
        steps.any(|step| self.live[step.channel].is_some())
    }

    /// What is left of an unread episode for a step on this channel: agent messages from before the channel went live count as read. While
    /// it is not live, all of it, so that what would happen can be shown.
    pub fn concerns(&self, channel: Channel, episode: &Episode) -> Option<Episode> {
        episode.since(self.live[channel].unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// Past which moment nobody sends a reminder due at `due`, whatever the consumer's clock turns out to be.
    pub fn latest_at(&self, channel: Channel, due: DateTime<Utc>) -> DateTime<Utc> {
        due + self.settings.latest(channel) + LONGEST_REPEAT
    }

    pub fn key(&self) -> RuleKey {
        RuleKey {
            account: self.account.clone(),
            skill: self.skill,
        }
    }
}

/// What a person may change about a rule. Durations are whole minutes in files, in the database and in the API.
///
/// Stored complete; what a person leaves out is filled in by [`RuleSettings::parse`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RuleSettings)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// In their order: at least one, at most eight. Their waits never get shorter.
    #[schema(min_items = 1, max_items = 8)]
    pub steps: Vec<Step>,
    /// No reminder before this long after the agent's newest message: the agent may still be typing.
    #[serde(rename = "debounce_minutes", with = "encoding::minutes")]
    #[schema(value_type = i64, minimum = 0, maximum = 129_600)]
    pub debounce: TimeDelta,
    /// What happens to a reminder that falls into quiet hours.
    pub in_quiet_hours: InQuietHours,
    /// The zone where neither LivePerson nor the phone number tells the consumer's. Left out: the account's.
    #[serde(
        default,
        deserialize_with = "encoding::chosen_zone",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, example = "Europe/Berlin")]
    pub time_zone: Option<Zone>,
    pub caps: Caps,
    /// Remind also while the conversation waits in the queue for an agent.
    pub remind_in_queue: bool,
    /// So many of a hundred conversations get no reminder, so that it can be seen how many come back without one.
    #[serde(default, skip_serializing_if = "encoding::is_zero")]
    #[schema(maximum = 50)]
    pub holdout_percent: u8,
    /// What is of one channel, by its word.
    #[serde(deserialize_with = "encoding::channel_settings::deserialize")]
    #[schema(value_type = std::collections::BTreeMap<Channel, ChannelSettings>)]
    pub channels: PerChannel<ChannelSettings>,
    /// What [`RuleSettings::stored`] found beside them; of no file and no form.
    #[serde(skip)]
    pub newer: Newer,
}

/// What a person may set of a rule's messages on one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// A reminder later than this after its due moment is not sent. Time outside the hours of `quiet_hours` does not count.
    #[serde(rename = "max_age_minutes", with = "encoding::minutes")]
    #[schema(value_type = i64, minimum = 1, maximum = 129_600)]
    pub max_age: TimeDelta,
    /// A reminder later than this after its due moment is not sent, whatever the hours: what waits for the morning must not wait
    /// for days. Left out: 24 hours for e-mail and 17 for SMS, or `max_age_minutes` if that is longer.
    #[serde(
        rename = "latest_minutes",
        default,
        with = "encoding::minutes::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 10_080)]
    pub latest: Option<TimeDelta>,
    pub quiet_hours: QuietHours,
    /// So many in 24 hours to one address, whatever it is about, over all accounts.
    #[schema(minimum = 1, maximum = 24)]
    pub per_address_24h: u32,
    /// E-mail only: send once more with the same Message-ID when the outcome of an attempt stays unknown.
    pub resend_unknown: bool,
    /// Sender of this rule instead of the channel's own: an e-mail address, or a phone number or Messaging Service SID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Texts by language tag (`en`, `pt-BR`); empty: the built-in texts.
    pub templates: BTreeMap<String, Template>,
}

/// One entry of a rule's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name in the ledger, for as long as the rule has it, wherever it moves. Left out, or 0: a new step, which is given one.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 9_999)]
    pub id: StepId,
    pub channel: Channel,
    /// Time from the episode's first message to the reminder.
    #[serde(rename = "after_minutes", with = "encoding::minutes")]
    #[schema(value_type = i64, minimum = 1, maximum = 129_600)]
    pub after: TimeDelta,
    #[serde(default)]
    pub when: When,
}

/// A step's id within its rule; 0: it has none yet.
pub type StepId = i16;

/// Under which condition a step is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    #[default]
    Always,
    /// If none of the earlier steps since the last `always` one, that included, has reached the consumer.
    IfNotReached,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InQuietHours {
    /// To the end of the quiet hours, if that is not later than `latest`.
    Move,
    Drop,
}

/// How much is too much. Counted over reminders that were, or may have been, sent, on all channels of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Caps {
    /// Minimum time between two reminders to one consumer. An `if_not_reached` step need not keep it from one that did not arrive.
    #[serde(rename = "gap_minutes", with = "encoding::minutes")]
    #[schema(value_type = i64, minimum = 0, maximum = 10_080, default = 120)]
    pub gap: TimeDelta,
    #[schema(minimum = 1, maximum = 24)]
    pub per_conversation_24h: u32,
    /// What came back does not count.
    #[schema(minimum = 1, maximum = 24)]
    pub per_consumer_24h: u32,
}

/// The texts of one language, in Handlebars. E-mail needs `subject` and `text`; SMS needs `text`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// E-mail only: what mail programs show beside the subject; left out: the text's first words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preheader: Option<String>,
    pub text: String,
    /// E-mail only; left out: the built-in layout around the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            gap: TimeDelta::minutes(120),
            per_conversation_24h: 2,
            per_consumer_24h: 3,
        }
    }
}

/// The waits of the default rule's two rungs.
const FIRST_RUNG: TimeDelta = TimeDelta::minutes(10);
const SECOND_RUNG: TimeDelta = TimeDelta::hours(24);

impl RuleSettings {
    /// The default rule over these channels, in the order of [`Channel::ALL`]: two rungs, each with a step on every channel of which the
    /// first is always sent and the others if it was not reached. Nobody gets two messages at once.
    pub fn default_for(channels: &[Channel]) -> Self {
        let channels = || Channel::ALL.into_iter().filter(|c| channels.contains(c));
        let rung = |after| {
            channels().enumerate().map(move |(nth, channel)| Step {
                id: 0,
                channel,
                after,
                when: if nth == 0 {
                    When::Always
                } else {
                    When::IfNotReached
                },
            })
        };
        let steps = rung(FIRST_RUNG).chain(rung(SECOND_RUNG));
        Self {
            steps: (1..)
                .zip(steps)
                .map(|(id, step)| Step { id, ..step })
                .collect(),
            debounce: TimeDelta::minutes(2),
            in_quiet_hours: InQuietHours::Move,
            time_zone: None,
            caps: Caps::default(),
            remind_in_queue: false,
            holdout_percent: 0,
            channels: PerChannel::of(ChannelSettings::default_for),
            newer: Newer::default(),
        }
    }

    /// How long after its due moment a reminder may be sent at the very latest.
    pub fn latest(&self, channel: Channel) -> TimeDelta {
        let settings = &self.channels[channel];
        let usual = channel.profile().latest;
        settings.latest.unwrap_or(usual.max(settings.max_age))
    }

    /// The channels of its steps, each once, in the order of [`Channel::ALL`].
    pub fn used(&self) -> impl Iterator<Item = Channel> {
        let uses = |channel: &Channel| self.steps.iter().any(|step| step.channel == *channel);
        Channel::ALL.into_iter().filter(uses)
    }

    /// Where a step stands in the sequence, from 0. A step keeps its channel: another one under its id is another step.
    pub fn place_of(&self, step: StepId, channel: Channel) -> Option<usize> {
        let mut steps = self.steps.iter();
        steps.position(|s| s.id == step && s.channel == channel)
    }
}

impl ChannelSettings {
    /// The defaults of the design: e-mail at any hour and up to six hours late; SMS between 09:00 and 20:00 (US Sundays from
    /// 12:00) and up to one hour late, not counting the hours in between.
    pub fn default_for(channel: Channel) -> Self {
        let profile = channel.profile();
        Self {
            max_age: profile.max_age,
            latest: None,
            quiet_hours: (profile.quiet_hours)(),
            per_address_24h: profile.most_a_day,
            resend_unknown: false,
            sender: None,
            templates: BTreeMap::new(),
        }
    }

    /// The rule's own text for a reader's language tag (`pt-BR`), with its own tag: of that tag, else of a more general one (`pt`), else
    /// of the language of the built-in text that this reader would get. `None`: the built-in text, which is preferred to an own one that
    /// the reader cannot read. In languages that have neither, English.
    pub fn template_for(
        &self,
        language: Option<&str>,
        built_in: Option<&str>,
    ) -> Option<(&str, &Template)> {
        let wanted = language.unwrap_or_default();
        let tags = self.templates.keys().map(String::as_str);
        let tag =
            lookup(tags.clone(), wanted).or_else(|| lookup(tags, built_in.unwrap_or("en")))?;
        Some((tag, self.templates.get(tag)?))
    }
}

/// The rule for a skill: its own, else the account's default.
///
/// A skill's own rule counts even when it is disabled: that is how one skill is taken out of the default.
pub fn pick(rules: &[Rule], skill: SkillId) -> Option<&Rule> {
    let of = |skill| rules.iter().find(move |r| r.skill == skill);
    of(Some(skill)).or_else(|| of(None))
}
