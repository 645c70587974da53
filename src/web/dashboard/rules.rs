//! Rules as pages: the list, the editor, the history, the next hour, the way to the first reminder.

mod customers;
mod editor;
mod forecast_view;
mod form;
mod preview;
mod tries;
mod writing;

use axum::extract::{Path, State as Shared};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use super::{PageError, PageFrame, labels};
use crate::control::ControlError;
use crate::control::accounts::{Accounts, Allowed};
use crate::control::rules::{self, ChangeAuthor, CoveredBy, RuleStamp, SkillCoverage};
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{RuleKey, Step};
use crate::web::AppState;
use crate::web::access::RouteTable;

pub use self::form::{FormFields, differences, label};

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/rules", list);
    table.form(Permission::Edit, &format!("{EDITOR}/drop"), drop_it);
    table.page(Permission::View, &format!("{EDITOR}/history"), history);
    editor::add(table);
    forecast_view::add(table);
    writing::add(table);
}

const EDITOR: &str = "/rules/{account}/{skill}";

type RulePagePath = Path<(String, String)>;

fn key(accounts: &Accounts, of: (String, String)) -> Result<Allowed<RuleKey>, PageError> {
    Ok(accounts.rule(parsed(of)?)?)
}

fn parsed((account, skill): (String, String)) -> Result<RuleKey, PageError> {
    let none = || PageError::from(ControlError::NotFound("rule at this address".to_owned()));
    Ok(RuleKey {
        account: account.parse().map_err(|_| none())?,
        skill: match skill.as_str() {
            "default" => None,
            id => Some(SkillId(id.parse().map_err(|_| none())?)),
        },
    })
}

/// What a rule is called: by the skill that it is for.
pub fn name(skill: Option<SkillId>, skill_name: Option<&str>) -> String {
    match skill {
        None => "All other skills".to_owned(),
        Some(skill) => labels::skill(skill_name, skill),
    }
}

fn by<'a>(page: &'a PageFrame, state: &AppState) -> ChangeAuthor<'a> {
    ChangeAuthor {
        name: page.caller.by(),
        now: state.clock.now(),
    }
}

/// An account's skills, each with what covers it.
#[derive(Serialize)]
struct RuleMap {
    id: AccountId,
    brand: String,
    rules: Vec<MapRow>,
    /// Skills that the default covers, where there are so many that they hide the others.
    folded: Vec<MapRow>,
    count: usize,
}

/// Skills covered by the default that are shown among the others.
const MOST_BY_DEFAULT: usize = 12;

#[derive(Serialize)]
struct MapRow {
    href: String,
    name: String,
    state: RuleState,
    steps: Vec<Value>,
    open: Option<String>,
    draft_by: Option<String>,
}

/// How a rule stands: the words of its state, and its look.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct RuleState {
    look: &'static str,
    said: String,
}

async fn list(page: PageFrame, Shared(state): Shared<AppState>) -> Result<Response, PageError> {
    let mut accounts = Vec::new();
    for id in page.accounts.each() {
        let map = rules::coverage(&state.pool, &id).await?;
        let is_folded = |skill: &SkillCoverage| {
            skill.skill.is_some()
                && skill.covered_by == CoveredBy::Default
                && skill.draft_by.is_none()
        };
        let many = map.iter().filter(|skill| is_folded(skill)).count() > MOST_BY_DEFAULT;
        let (folded, shown): (Vec<SkillCoverage>, Vec<SkillCoverage>) =
            map.into_iter().partition(|skill| many && is_folded(skill));
        let rows = |skills: Vec<SkillCoverage>| -> Vec<MapRow> {
            skills
                .into_iter()
                .map(|skill| MapRow::new(&id, skill))
                .collect()
        };
        accounts.push(RuleMap {
            brand: state.brand_of(&id),
            count: folded.len(),
            rules: rows(shown),
            folded: rows(folded),
            id: AccountId::clone(&id),
        });
    }
    let several = accounts.len() > 1;
    let values = json!({ "accounts": accounts, "several": several });
    Ok(page.render("rules.hbs", "Rules", values))
}

impl MapRow {
    fn new(account: &AccountId, skill: SkillCoverage) -> Self {
        let key = RuleKey {
            account: account.clone(),
            skill: skill.skill,
        };
        let open = skill.open_conversations.map(i64::unsigned_abs);
        Self {
            href: format!("/rules/{key}"),
            name: name(skill.skill, skill.skill_name.as_deref()),
            state: RuleState::of(&skill),
            steps: match skill.covered_by {
                CoveredBy::Own | CoveredBy::Default => sequence(&skill.steps),
                CoveredBy::Off | CoveredBy::DefaultOff | CoveredBy::NoRule => Vec::new(),
            },
            open: open.map(|open| format!("{open} open")),
            draft_by: skill.draft_by,
        }
    }
}

impl RuleState {
    fn of(skill: &SkillCoverage) -> Self {
        let state = |look, said: &str| Self {
            look,
            said: said.to_owned(),
        };
        // The default's own row says what it is; those of skills say where their rule comes from.
        let is_default = skill.skill.is_none();
        match skill.covered_by {
            CoveredBy::Off | CoveredBy::DefaultOff => state("off", "Off"),
            CoveredBy::NoRule => state("off", "No rule"),
            CoveredBy::Own | CoveredBy::Default if skill.paused => state("paused", "Paused"),
            CoveredBy::Own | CoveredBy::Default if !skill.paused_channels.is_empty() => {
                let paused = skill.paused_channels.iter();
                let paused: Vec<&str> = paused.map(|channel| channel.names().label).collect();
                state("paused", &format!("{} paused", paused.join(" and ")))
            }
            CoveredBy::Own if is_default => state("on", "Active"),
            CoveredBy::Own => state("on", "Own rule"),
            CoveredBy::Default => state("plain", "Default"),
        }
    }
}

/// Steps in a line, for `rule_sequence.hbs`.
fn sequence(steps: &[Step]) -> Vec<Value> {
    let parts = form::sequence_parts(steps).into_iter();
    let part = |(channel, when): (Channel, String)| json!({ "channel": channel, "label": labels::channel(channel), "when": when });
    parts.map(part).collect()
}

/// Discard the draft, delete the rule, make an old version the draft.
async fn drop_it(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(of): RulePagePath,
    fields: FormFields,
) -> Result<Response, PageError> {
    let key = key(&page.accounts, of)?;
    let seen: RuleStamp = fields.one("seen").parse().unwrap_or_default();
    let by = by(&page, &state);
    let (done, said) = match fields.one("do") {
        "delete" => (
            rules::delete(&state.pool, &key, seen, by).await,
            "Deleted. The account's default applies again.",
        ),
        "restore" => {
            let version = fields.one("version").parse().unwrap_or_default();
            (
                rules::restore(&state.pool, &key, version, seen, by).await,
                "That version is now the draft. Review it, then publish it.",
            )
        }
        _ => (
            rules::discard(&state.pool, &key, seen, by).await,
            "Draft discarded. The published rule has not changed.",
        ),
    };
    let to = format!("/rules/{key}");
    match done {
        Ok(_) => page.done(&to, said).await,
        Err(ControlError::Changed(why) | ControlError::Conflict(why)) => {
            page.not_done(&to, &why).await
        }
        Err(other) => Err(other.into()),
    }
}

async fn history(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(of): RulePagePath,
) -> Result<Response, PageError> {
    let key = key(&page.accounts, of)?;
    let view = rules::read(&state.pool, &key).await?;
    let now = state.clock.now();
    let versions = rules::versions(&state.pool, &key, None, rules::MOST).await?;
    let in_force = view.published.as_ref().map(|p| p.version);
    let rows: Vec<Value> = versions
        .iter()
        .map(|v| {
            let changes = v.changes.iter();
            let changes = changes.map(|c| (c.field.as_str(), &c.before, &c.after));
            let about = format!("Changes in version {}", v.version);
            let changes = form::differences(&about, ("Before", "After"), changes);
            json!({
                "version": v.version,
                "by": v.changed_by,
                "at": labels::time(v.changed_at, now),
                "deleted": v.deleted,
                "in_force": in_force == Some(v.version),
                "changes": changes,
            })
        })
        .collect();
    let name = name(view.skill, view.skill_name.as_deref());
    let values = json!({
        "path": format!("/rules/{key}"),
        "name": name,
        "seen": view.stamp.to_string(),
        "versions": rows,
        "may_edit": page.caller.may(Permission::Edit),
        "csrf": page.session().csrf,
    });
    Ok(page.render("rule_history.hbs", &format!("History of {name}"), values))
}
