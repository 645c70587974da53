//! Which rule covers which skill: the rules as a map.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::control::ControlError;
use crate::control::accounts::{Accounts, Allowed};
use crate::db;
use crate::db::pauses::Pause;
use crate::db::rule_list::Listed;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{Rule, Step};

use super::view::held;

/// What a skill's customers are reminded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CoveredBy {
    /// A rule of its own.
    Own,
    /// The account's default rule.
    Default,
    /// Nothing: its own rule is off.
    Off,
    /// Nothing: it has no rule of its own, and the account's default is off.
    DefaultOff,
    /// Nothing: neither it nor the account has a rule.
    NoRule,
}

/// How a skill is covered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SkillCoverage {
    /// Left out: all skills without a rule of their own.
    #[schema(value_type = Option<i64>)]
    pub skill: Option<SkillId>,
    pub skill_name: Option<String>,
    pub covered_by: CoveredBy,
    /// Sending is paused on every channel of the steps.
    pub paused: bool,
    /// The channels of the steps on which sending is paused.
    pub paused_channels: Vec<Channel>,
    /// The steps of the rule that covers it.
    pub steps: Vec<Step>,
    /// Open conversations, as the latest scan saw them; null where none has looked. Of the default: of all skills that it covers.
    pub open_conversations: Option<i64>,
    /// Of these, unread ones.
    pub unread_conversations: Option<i64>,
    /// Who has last written a draft that is not published.
    pub draft_by: Option<String>,
}

/// Every skill of an account and how it is covered: the default first, then the skills by name.
pub async fn coverage(
    pool: &PgPool,
    account: &Allowed<AccountId>,
) -> Result<Vec<SkillCoverage>, ControlError> {
    let only = Accounts::only(account);
    let ids = only.ids();
    let listed = db::rule_list::list(pool, Some(ids), None, i64::MAX).await?;
    let pauses = db::pauses::all(pool).await?;
    let mut names: BTreeMap<SkillId, Option<String>> = BTreeMap::new();
    for skill in db::accounts::skills(pool, account).await? {
        names.insert(skill.id, Some(skill.name));
    }
    names.insert(SkillId::UNASSIGNED, Some("Unassigned".to_owned()));
    for one in &listed {
        if let Some(skill) = one.key.skill {
            names.entry(skill).or_insert_with(|| one.skill_name.clone());
        }
    }
    let mut scanned = BTreeMap::new();
    for scan in db::reports::scans(pool, Some(ids)).await? {
        let seen = (i64::from(scan.conversations), i64::from(scan.unread));
        scanned.insert(scan.skill, seen);
    }
    let map = CoverageMap {
        listed: &listed,
        pauses: &pauses,
        scanned: &scanned,
    };
    let mut map = map.skills(names);
    map.sort_by_cached_key(|skill| {
        (
            skill.skill.is_some(),
            skill.skill_name.as_ref().map(|name| name.to_lowercase()),
        )
    });
    Ok(map)
}

/// What the map is made of.
struct CoverageMap<'a> {
    listed: &'a [Listed],
    pauses: &'a [Pause],
    scanned: &'a BTreeMap<SkillId, (i64, i64)>,
}

impl CoverageMap<'_> {
    fn skills(&self, names: BTreeMap<SkillId, Option<String>>) -> Vec<SkillCoverage> {
        let mut by_default = BTreeSet::new();
        let mut map = Vec::with_capacity(names.len() + 1);
        for (skill, name) in names {
            let covered = self.covered(Some(skill), name);
            if !matches!(covered.covered_by, CoveredBy::Own | CoveredBy::Off) {
                by_default.insert(skill);
            }
            map.push(covered);
        }
        let mut default = self.covered(None, None);
        let seen = by_default
            .iter()
            .filter_map(|skill| self.scanned.get(skill));
        let seen = seen.copied().reduce(|(a, b), (c, d)| (a + c, b + d));
        default.open_conversations = seen.map(|(open, _)| open);
        default.unread_conversations = seen.map(|(_, unread)| unread);
        map.push(default);
        map
    }

    fn covered(&self, skill: Option<SkillId>, skill_name: Option<String>) -> SkillCoverage {
        let of = |skill| self.listed.iter().find(|one| one.key.skill == skill);
        let own = of(skill);
        let rule = |one: Option<&Listed>| one.and_then(|one| one.rule.clone());
        let own_rule = rule(own);
        let covered_by = match (&own_rule, rule(of(None))) {
            (Some(rule), _) if rule.enabled => CoveredBy::Own,
            (Some(_), _) => CoveredBy::Off,
            (None, Some(default)) if default.enabled => CoveredBy::Default,
            (None, Some(_)) => CoveredBy::DefaultOff,
            (None, None) => CoveredBy::NoRule,
        };
        let applies: Option<Rule> = own_rule.or_else(|| rule(of(None)));
        let (paused, paused_channels) = applies
            .as_ref()
            .map(|rule| held(rule, self.pauses))
            .unwrap_or_default();
        let seen = skill.and_then(|skill| self.scanned.get(&skill));
        SkillCoverage {
            skill,
            skill_name,
            covered_by,
            paused,
            paused_channels,
            steps: applies.map(|rule| rule.settings.steps).unwrap_or_default(),
            open_conversations: seen.map(|(open, _)| *open),
            unread_conversations: seen.map(|(_, unread)| *unread),
            draft_by: own
                .and_then(|one| one.draft.as_ref())
                .map(|(by, _)| by.clone()),
        }
    }
}
