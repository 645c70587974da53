//! Rules as pages: the list, the editor, the history, the next hour, the way to the first reminder.

mod customers;
mod editor;
mod forecast_view;
mod form;
mod preview;
mod tries;
mod writing;

use std::collections::HashMap;

use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::{Value, json};

use super::{PageError, PageFrame, labels};
use crate::control::ControlError;
use crate::control::accounts::{Accounts, Allowed};
use crate::control::rules::{self, ChangeAuthor, ListView, RuleStamp};
use crate::db;
use crate::domain::access::Permission;
use crate::domain::ids::{Channel, SkillId};
use crate::domain::rule::{RuleKey, Step};
use crate::web::AppState;
use crate::web::access::RouteTable;

pub use self::form::{FormFields, label};

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/rules", list);
    table.form(Permission::Edit, "/rules", choose);
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

async fn list(page: PageFrame, Shared(state): Shared<AppState>) -> Result<Response, PageError> {
    let now = state.clock.now();
    let rows = rules::list(&state.pool, &page.accounts, None, rules::MOST).await?;
    let in_force = db::rules::of_accounts(&state.pool, page.accounts.ids()).await?;
    let steps: HashMap<RuleKey, Vec<Step>> = in_force
        .into_iter()
        .map(|rule| (rule.key(), rule.settings.steps))
        .collect();
    let mut accounts = Vec::new();
    for id in page.accounts.each() {
        let own: Vec<Value> = rows
            .iter()
            .filter(|row| row.account == *id)
            .map(|row| {
                let key = RuleKey {
                    account: row.account.clone(),
                    skill: row.skill,
                };
                let steps = steps.get(&key).map_or(&[][..], Vec::as_slice);
                json!({
                    "href": format!("/rules/{key}"),
                    "name": name(row.skill, row.skill_name.as_deref()),
                    "state": state_of(row),
                    "steps": sequence(steps),
                    "published": row.version.is_some(),
                    "draft_by": row.draft_by,
                    "updated": row.updated_at.map(|at| labels::time(at, now)),
                })
            })
            .collect();
        let skills = crate::control::accounts::skills(&state.pool, &id).await?;
        accounts.push(
            json!({ "id": *id, "brand": state.brand_of(&id), "rules": own, "skills": skills }),
        );
    }
    let values = json!({
        "accounts": accounts,
        "several": accounts.len() > 1,
        "may_edit": page.caller.may(Permission::Edit),
        "csrf": page.session().csrf,
    });
    Ok(page.render("rules.hbs", "Rules", values))
}

/// How a rule stands: the words of its state, and its look.
fn state_of(row: &ListView) -> Value {
    let paused = row
        .paused_channels
        .iter()
        .map(|channel| channel.names().label);
    let (look, said) = if !row.enabled {
        ("off", "Off".to_owned())
    } else if row.paused {
        ("paused", "Paused".to_owned())
    } else if row.paused_channels.is_empty() {
        ("on", "Active".to_owned())
    } else {
        (
            "paused",
            format!("{} paused", paused.collect::<Vec<_>>().join(" and ")),
        )
    };
    json!({ "look": look, "said": said })
}

/// Steps in a line, for `rule_sequence.hbs`.
fn sequence(steps: &[Step]) -> Vec<Value> {
    let parts = form::sequence_parts(steps).into_iter();
    let part = |(channel, when): (Channel, String)| json!({ "channel": channel, "label": labels::channel(channel), "when": when });
    parts.map(part).collect()
}

/// On to the editor of the rule that was chosen.
async fn choose(page: PageFrame, fields: FormFields) -> Result<Response, PageError> {
    let word = |name| fields.one(name).to_owned();
    let of = (word("account"), word("skill"));
    let key = key(&page.accounts, of)?;
    Ok(Redirect::to(&format!("/rules/{key}")).into_response())
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
