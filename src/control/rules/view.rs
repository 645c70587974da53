//! Rules as they are told: in the API's JSON and on the pages.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgExecutor;
use utoipa::ToSchema;

use crate::db;
use crate::db::drafts::Draft;
use crate::db::pauses::Pause;
use crate::db::rule_list::Listed;
use crate::db::rules::Version;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{Rule, RuleKey, RuleSettings, differences, summary};

/// What somebody has read of a key: the published version and the draft's revision, each 0 if there is none. The API's `ETag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleStamp {
    pub version: i32,
    pub revision: i64,
}

impl fmt::Display for RuleStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}-d{}", self.version, self.revision)
    }
}

/// The words are no stamp.
#[derive(Debug, thiserror::Error)]
#[error("a rule's tag is like v3-d0, as returned when the rule was read")]
pub struct NoStamp;

impl FromStr for RuleStamp {
    type Err = NoStamp;

    fn from_str(raw: &str) -> Result<Self, NoStamp> {
        let (version, revision) = raw
            .strip_prefix('v')
            .and_then(|rest| rest.split_once("-d"))
            .ok_or(NoStamp)?;
        Ok(Self {
            version: version.parse().map_err(|_| NoStamp)?,
            revision: revision.parse().map_err(|_| NoStamp)?,
        })
    }
}

/// A rule that is in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Published)]
pub struct PublishedRule {
    pub version: i32,
    pub enabled: bool,
    pub settings: RuleSettings,
    pub changed_by: Option<String>,
    pub changed_at: Option<DateTime<Utc>>,
}

impl From<Rule> for PublishedRule {
    fn from(rule: Rule) -> Self {
        Self {
            version: rule.version,
            enabled: rule.enabled,
            settings: rule.settings,
            changed_by: None,
            changed_at: None,
        }
    }
}

/// A change that is not in force yet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DraftView {
    /// The version it started from; 0: there was none.
    pub based_on: i32,
    /// The rule was published anew since: save the draft again to publish it over that.
    pub outdated: bool,
    pub enabled: bool,
    pub settings: RuleSettings,
    pub changed_by: String,
    pub changed_at: DateTime<Utc>,
}

/// What there is under a key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RuleView {
    pub account: AccountId,
    /// Left out: the account's default.
    pub skill: Option<SkillId>,
    pub skill_name: Option<String>,
    /// What the published rule does, in plain words.
    pub summary: Vec<String>,
    pub published: Option<PublishedRule>,
    pub draft: Option<DraftView>,
    /// The account's default, which applies while the skill has no rule of its own.
    pub fallback: Option<PublishedRule>,
    /// Sending is paused on every channel of its steps: the rule, its channels, its account or everything.
    pub paused: bool,
    /// The channels of its steps on which sending is paused.
    pub paused_channels: Vec<Channel>,
    #[serde(skip)]
    pub stamp: RuleStamp,
}

impl RuleView {
    pub(super) fn new(
        key: &RuleKey,
        skill_name: Option<String>,
        (rule, latest): (Option<Rule>, Option<Version>),
        draft: Option<Draft>,
        fallback: Option<Rule>,
        pauses: &[Pause],
    ) -> Self {
        let version = rule.as_ref().map_or(0, |rule| rule.version);
        let applies = rule.as_ref().or(fallback.as_ref());
        let (is_paused, paused_channels) =
            applies.map(|rule| held(rule, pauses)).unwrap_or_default();
        let place = place_name(key.skill, skill_name.as_deref());
        let said = applies.map(|rule| summary(&place, rule.enabled, &rule.settings));
        let stamp = RuleStamp {
            version,
            revision: draft.as_ref().map_or(0, |draft| draft.revision),
        };
        let latest = latest.filter(|latest| latest.version == version);
        Self {
            account: key.account.clone(),
            skill: key.skill,
            skill_name,
            summary: said.unwrap_or_default(),
            published: rule.map(|rule| PublishedRule {
                changed_by: latest.as_ref().map(|latest| latest.changed_by.clone()),
                changed_at: latest.as_ref().map(|latest| latest.changed_at),
                ..rule.into()
            }),
            draft: draft.map(|draft| DraftView {
                based_on: draft.based_on,
                outdated: draft.based_on != version,
                enabled: draft.enabled,
                settings: draft.settings,
                changed_by: draft.changed_by,
                changed_at: draft.changed_at,
            }),
            fallback: fallback.map(PublishedRule::from),
            paused: is_paused,
            paused_channels,
            stamp,
        }
    }

    /// Where it applies, in plain words.
    pub fn place(&self) -> String {
        place_name(self.skill, self.skill_name.as_deref())
    }
}

/// Whether pauses hold all of a rule's reminders, and on which of its channels they hold any.
pub(super) fn held(rule: &Rule, pauses: &[Pause]) -> (bool, Vec<Channel>) {
    let key = rule.key();
    let is_held = |channel: &Channel| pauses.iter().any(|pause| pause.scope.holds(&key, *channel));
    let channels: Vec<Channel> = rule.settings.used().filter(is_held).collect();
    let all = !channels.is_empty() && channels.len() == rule.settings.used().count();
    (all, channels)
}

fn place_name(skill: Option<SkillId>, name: Option<&str>) -> String {
    match (skill, name) {
        (None, _) => "skills without their own rule".to_owned(),
        (Some(_), Some(name)) => name.to_owned(),
        (Some(skill), None) => format!("skill {skill}"),
    }
}

/// The rule that was in force at some moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Governing {
    /// Left out: the account's default.
    pub skill: Option<SkillId>,
    pub version: i32,
}

impl Governing {
    /// The rule for a skill of an account; `None`: there was none.
    pub async fn at(
        db: impl PgExecutor<'_>,
        of: (&AccountId, SkillId),
        at: DateTime<Utc>,
    ) -> sqlx::Result<Option<Self>> {
        let found = db::rules::in_force(db, of, at).await?;
        Ok(found.map(|found| Self {
            skill: found.skill,
            version: found.version,
        }))
    }

    /// As addresses of pages name it, with its account: `12345678/default`.
    pub fn path(&self, account: &AccountId) -> String {
        let key = RuleKey {
            account: account.clone(),
            skill: self.skill,
        };
        key.to_string()
    }
}

/// A key in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ListView {
    pub account: AccountId,
    pub skill: Option<SkillId>,
    pub skill_name: Option<String>,
    /// Left out: there is only a draft.
    pub version: Option<i32>,
    pub enabled: bool,
    /// Those of its steps.
    pub channels: Vec<Channel>,
    pub summary: Vec<String>,
    pub updated_at: Option<DateTime<Utc>>,
    pub draft_by: Option<String>,
    pub draft_at: Option<DateTime<Utc>>,
    /// Sending is paused on every channel of its steps.
    pub paused: bool,
    /// The channels of its steps on which sending is paused.
    pub paused_channels: Vec<Channel>,
}

impl ListView {
    pub(super) fn new(one: Listed, pauses: &[Pause]) -> Self {
        let RuleKey { account, skill } = one.key;
        let (rule, updated_at) = (one.rule, one.updated_at);
        let place = place_name(skill, one.skill_name.as_deref());
        let said = rule
            .as_ref()
            .map(|rule| summary(&place, rule.enabled, &rule.settings));
        let (is_paused, paused_channels) = rule
            .as_ref()
            .map(|rule| held(rule, pauses))
            .unwrap_or_default();
        let channels = rule.as_ref().map(|rule| rule.settings.used().collect());
        let (draft_by, draft_at) = one.draft.unzip();
        Self {
            account,
            skill,
            skill_name: one.skill_name,
            version: rule.as_ref().map(|rule| rule.version),
            enabled: rule.as_ref().is_some_and(|rule| rule.enabled),
            channels: channels.unwrap_or_default(),
            summary: said.unwrap_or_default(),
            updated_at,
            draft_by,
            draft_at,
            paused: is_paused,
            paused_channels,
        }
    }
}

/// One setting that a version changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Changed {
    pub field: String,
    pub before: Value,
    pub after: Value,
}

/// One entry of a history.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VersionView {
    pub version: i32,
    pub enabled: bool,
    pub settings: RuleSettings,
    pub changed_by: String,
    pub changed_at: DateTime<Utc>,
    /// The rule was deleted: the account's default has applied since.
    pub deleted: bool,
    /// What differs from the version before; empty for the first.
    pub changes: Vec<Changed>,
}

impl VersionView {
    /// Versions from newest to oldest, each with what it changed.
    pub(super) fn all(versions: &[Version]) -> Vec<Self> {
        let before = |at: usize| versions.get(at + 1).map(|v| (v.enabled, &v.settings));
        let told = versions.iter().enumerate().map(|(at, version)| Self {
            version: version.version,
            enabled: version.enabled,
            settings: version.settings.clone(),
            changed_by: version.changed_by.clone(),
            changed_at: version.changed_at,
            deleted: version.deleted,
            changes: before(at)
                .map(|before| differences(before, (version.enabled, &version.settings)))
                .unwrap_or_default()
                .into_iter()
                .map(|d| Changed {
                    field: d.field,
                    before: d.before,
                    after: d.after,
                })
                .collect(),
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::channel::PerChannel;
    use crate::domain::pause::Scope;

    #[test]
    fn a_rule_is_paused_if_every_channel_of_its_steps_is() {
        let rule = |channels: &[Channel]| Rule {
            id: 1,
            account: "12345678".parse().unwrap(),
            skill: None,
            enabled: true,
            version: 1,
            settings: RuleSettings::default_for(channels),
            live: PerChannel::of(|_| Rule::ALWAYS),
            lost_until: None,
        };
        let (both, email) = ([Channel::Email, Channel::Sms], [Channel::Email]);
        let key = rule(&both).key();
        let of = |channel| Scope::Channel(key.account.clone(), channel);
        let elsewhere = Scope::Account("87654321".parse().unwrap());
        #[rustfmt::skip]
        #[expect(clippy::type_complexity, reason = "the columns of a table")]
        let cases: [(&[Channel], Vec<Scope>, bool, &[Channel]); 6] = [
            (&both, vec![], false, &[]),
            (&both, vec![elsewhere, of(Channel::Email)], false, &email),
            (&both, vec![of(Channel::Sms), of(Channel::Email)], true, &both),
            (&both, vec![Scope::Rule(key.clone())], true, &both),
            (&email, vec![of(Channel::Email)], true, &email),
            (&email, vec![of(Channel::Sms)], false, &[]),
        ];
        for (channels, scopes, all, on) in cases {
            let said = format!("{channels:?} {scopes:?}");
            let pauses = scopes.into_iter().map(|scope| Pause {
                scope,
                paused_by: "Ann".to_owned(),
                paused_at: DateTime::UNIX_EPOCH,
                note: String::new(),
            });
            let pauses: Vec<Pause> = pauses.collect();
            assert_eq!(held(&rule(channels), &pauses), (all, on.to_vec()), "{said}");
        }
    }
}
