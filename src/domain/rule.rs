//! A rule: for one skill (or the account's default) and one channel, when and how to remind.
//!
//! Here: what a person may set, the defaults, and which rule and texts apply. In `settings`: what each setting is called, does and may be. In
//! `check`: how settings are read and validated.

mod check;
mod difference;
pub mod settings;
mod stored;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::ids::{AccountId, Channel, SkillId};
use super::language::lookup;
use super::quiet::{LONGEST_REPEAT, QuietHours};
use super::read_state::Episode;
use super::zone::Zone;

pub use check::RuleProblem;
pub use difference::{Difference, differences};
pub use stored::Newer;
pub use summary::{hours_said, span, summary};

/// What a rule is for. There is at most one rule per key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleKey {
    pub account: AccountId,
    /// `None`: the account's default, for skills without a rule of their own on this channel.
    pub skill: Option<SkillId>,
    pub channel: Channel,
}

/// As addresses and the audit trail name it: `12345678/default/sms`, `12345678/700/email`.
impl fmt::Display for RuleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.skill {
            Some(skill) => write!(f, "{}/{skill}/{}", self.account, self.channel),
            None => write!(f, "{}/default/{}", self.account, self.channel),
        }
    }
}

/// A rule as stored: its key, its version and its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub id: i64,
    pub account: AccountId,
    /// `None`: the account's default, for skills without a rule of their own on this channel.
    pub skill: Option<SkillId>,
    pub channel: Channel,
    pub enabled: bool,
    pub version: i32,
    pub settings: RuleSettings,
    /// From when on agent messages are reminded of: the cut of the account's channel. `None`: it has not gone live.
    pub live: Option<DateTime<Utc>>,
    /// The end of the last time that the database has lost: what fell due before may have been sent, though the ledger knows nothing of it.
    pub lost_until: Option<DateTime<Utc>>,
}

impl Rule {
    /// Live since ever: nothing counts as read that was not.
    pub const ALWAYS: Option<DateTime<Utc>> = Some(DateTime::<Utc>::MIN_UTC);

    /// What is left of an unread episode for this rule: agent messages from before the channel went live count as read. While it is not live,
    /// all of it, so that what would happen can be shown.
    pub fn concerns(&self, episode: &Episode) -> Option<Episode> {
        episode.since(self.live.unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// Past which moment nobody sends a reminder due at `due`, whatever the consumer's clock turns out to be.
    pub fn latest_at(&self, due: DateTime<Utc>) -> DateTime<Utc> {
        due + self.settings.latest(self.channel) + LONGEST_REPEAT
    }

    pub fn key(&self) -> RuleKey {
        RuleKey {
            account: self.account.clone(),
            skill: self.skill,
            channel: self.channel,
        }
    }
}

/// What a person may change about a rule. Durations are whole minutes in files, in the database and in the API.
///
/// Stored complete; what a person leaves out is filled in from [`RuleSettings::default_for`] the channel by [`RuleSettings::parse`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RuleSettings)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// Ascending, at least one, at most eight.
    #[schema(min_items = 1, max_items = 8)]
    pub steps: Vec<Step>,
    /// No reminder before this long after the agent's newest message: the agent may still be typing.
    #[serde(rename = "debounce_minutes", with = "minutes")]
    #[schema(value_type = i64, minimum = 0, maximum = 129_600)]
    pub debounce: TimeDelta,
    /// A reminder later than this after its due moment is not sent. Time outside the hours of `quiet_hours` does not count.
    #[serde(rename = "max_age_minutes", with = "minutes")]
    #[schema(value_type = i64, minimum = 1, maximum = 129_600)]
    pub max_age: TimeDelta,
    /// A reminder later than this after its due moment is not sent, whatever the hours: what waits for the morning must not wait
    /// for days. Left out: 24 hours for e-mail and 17 for SMS, or `max_age_minutes` if that is longer.
    #[serde(
        rename = "latest_minutes",
        default,
        with = "minutes::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 10_080)]
    pub latest: Option<TimeDelta>,
    pub quiet_hours: QuietHours,
    /// What happens to a reminder that falls into quiet hours.
    pub in_quiet_hours: InQuietHours,
    /// The zone where neither LivePerson nor the phone number tells the consumer's. Left out, or UTC, which earlier versions stored
    /// for a rule without one: the account's.
    #[serde(
        default,
        deserialize_with = "chosen_zone",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, example = "Europe/Berlin")]
    pub time_zone: Option<Zone>,
    pub caps: Caps,
    /// Remind also while the conversation waits in the queue for an agent.
    pub remind_in_queue: bool,
    /// E-mail only: send once more with the same Message-ID when the outcome of an attempt stays unknown.
    pub resend_unknown: bool,
    /// So many of a hundred conversations get no reminder, so that it can be seen how many come back without one.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(maximum = 50)]
    pub holdout_percent: u8,
    /// Sender of this rule instead of the channel's own: an e-mail address, or a phone number or Messaging Service SID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Texts by language tag (`en`, `pt-BR`); empty: the built-in texts.
    pub templates: BTreeMap<String, Template>,
    /// What [`RuleSettings::stored`] found beside them; of no file and no form.
    #[serde(skip)]
    pub newer: Newer,
}

/// One entry of a rule's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Time from the episode's first message to the reminder.
    #[serde(rename = "after_minutes", with = "minutes")]
    #[schema(value_type = i64, minimum = 1, maximum = 129_600)]
    pub after: TimeDelta,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InQuietHours {
    /// To the end of the quiet hours, if that is not later than `latest`.
    Move,
    Drop,
}

/// How much is too much. Counted per channel over reminders that were, or may have been, sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Caps {
    /// Minimum time between two reminders in one conversation.
    #[serde(rename = "gap_minutes", with = "minutes")]
    #[schema(value_type = i64, minimum = 0, maximum = 10_080, default = 120)]
    pub gap: TimeDelta,
    #[schema(minimum = 1, maximum = 24)]
    pub per_conversation_24h: u32,
    #[schema(minimum = 1, maximum = 24)]
    pub per_recipient_24h: u32,
}

/// The texts of one language, in Handlebars. E-mail needs `subject` and `text`; SMS needs `text`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
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
            per_recipient_24h: 4,
        }
    }
}

impl RuleSettings {
    /// The defaults of the design: e-mail at any hour and up to six hours late; SMS between 09:00 and 20:00 (US Sundays from
    /// 12:00) and up to one hour late, not counting the hours in between.
    pub fn default_for(channel: Channel) -> Self {
        let profile = channel.profile();
        Self {
            steps: vec![
                Step {
                    after: TimeDelta::minutes(10),
                },
                Step {
                    after: TimeDelta::hours(24),
                },
            ],
            debounce: TimeDelta::minutes(2),
            max_age: profile.max_age,
            latest: None,
            quiet_hours: (profile.quiet_hours)(),
            in_quiet_hours: InQuietHours::Move,
            time_zone: None,
            caps: Caps {
                per_recipient_24h: profile.most_a_day,
                ..Caps::default()
            },
            remind_in_queue: false,
            resend_unknown: false,
            holdout_percent: 0,
            sender: None,
            templates: BTreeMap::new(),
            newer: Newer::default(),
        }
    }

    /// The texts for a reader's language tag (`pt-BR`), with their own tag: of that tag, else of a more general one (`pt`), else
    /// English. `None`: the built-in texts.
    pub fn template_for(&self, language: Option<&str>) -> Option<(&str, &Template)> {
        let tags = self.templates.keys().map(String::as_str);
        let tag = lookup(tags.clone(), language.unwrap_or_default());
        let tag = tag.or_else(|| lookup(tags, "en"))?;
        Some((tag, self.templates.get(tag)?))
    }

    /// How long after its due moment a reminder may be sent at the very latest.
    pub fn latest(&self, channel: Channel) -> TimeDelta {
        let usual = channel.profile().latest;
        self.latest.unwrap_or(usual.max(self.max_age))
    }
}

/// The rule for a skill on a channel: its own, else the account's default.
///
/// A skill's own rule counts even when it is disabled: that is how one skill is taken out of the default.
pub fn pick(rules: &[Rule], skill: SkillId, channel: Channel) -> Option<&Rule> {
    let of = |skill| {
        rules
            .iter()
            .find(move |r| r.channel == channel && r.skill == skill)
    };
    of(Some(skill)).or_else(|| of(None))
}

fn chosen_zone<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Zone>, D::Error> {
    let zone = Option::<Zone>::deserialize(d)?;
    Ok(zone.filter(|zone| *zone != Zone::UTC))
}

/// Left out where it is not used: programs of the version before do not know it.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(percent: &u8) -> bool {
    *percent == 0
}

/// Whole minutes, the unit in which people set reminders.
mod minutes {
    use chrono::TimeDelta;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::settings::LONGEST_MINUTES;

    pub fn serialize<S: Serializer>(d: &TimeDelta, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(d.num_minutes())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<TimeDelta, D::Error> {
        let minutes = i64::deserialize(d)?;
        if (0..=LONGEST_MINUTES).contains(&minutes) {
            Ok(TimeDelta::minutes(minutes))
        } else {
            let message = format!("minutes must be between 0 and {LONGEST_MINUTES} (90 days)");
            Err(D::Error::custom(message))
        }
    }

    /// The same where it may be left out.
    pub mod optional {
        use super::{Deserialize, Deserializer, Serializer, TimeDelta};

        #[expect(clippy::ref_option, reason = "serde asks for this signature")]
        pub fn serialize<S: Serializer>(d: &Option<TimeDelta>, s: S) -> Result<S::Ok, S::Error> {
            match d {
                Some(d) => super::serialize(d, s),
                None => s.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<TimeDelta>, D::Error> {
            #[derive(Deserialize)]
            struct Minutes(#[serde(with = "super")] TimeDelta);
            Ok(Option::<Minutes>::deserialize(d)?.map(|Minutes(d)| d))
        }
    }
}
