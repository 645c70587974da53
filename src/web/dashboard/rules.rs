//! Rules as pages: the list, the editor, the history, the next hour, the way to the first reminder.

mod editor;
mod form;
mod look;
mod outlook;
mod writing;

use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::{Value, json};

use super::{Page, Unshown, words};
use crate::control::Error;
use crate::control::accounts::{Accounts, Allowed};
use crate::control::rules::{self, By, Stamp};
use crate::domain::access::Permission;
use crate::domain::ids::SkillId;
use crate::domain::rule::Key;
use crate::web::State;
use crate::web::access::Table;

pub use self::form::{Fields, label};

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/rules", list);
    table.form(Permission::Edit, "/rules", choose);
    table.form(Permission::Edit, &format!("{EDITOR}/drop"), drop_it);
    table.page(Permission::View, &format!("{EDITOR}/history"), history);
    editor::add(table);
    outlook::add(table);
    writing::add(table);
}

const EDITOR: &str = "/rules/{account}/{skill}/{channel}";

type Of = Path<(String, String, String)>;

fn key(
    accounts: &Accounts,
    (account, skill, channel): (String, String, String),
) -> Result<Allowed<Key>, Unshown> {
    Ok(accounts.rule(parsed((account, skill, channel))?)?)
}

fn parsed((account, skill, channel): (String, String, String)) -> Result<Key, Unshown> {
    let none = || Unshown::from(Error::NotFound("rule at this address".to_owned()));
    Ok(Key {
        account: account.parse().map_err(|_| none())?,
        skill: match skill.as_str() {
            "default" => None,
            id => Some(SkillId(id.parse().map_err(|_| none())?)),
        },
        channel: channel.parse().map_err(|_| none())?,
    })
}

fn by<'a>(page: &'a Page, state: &State) -> By<'a> {
    By {
        name: page.caller.by(),
        now: state.clock.now(),
    }
}

async fn list(page: Page, Shared(state): Shared<State>) -> Result<Response, Unshown> {
    let now = state.clock.now();
    let rows = rules::list(&state.pool, &page.accounts, None, rules::MOST).await?;
    let mut accounts = Vec::new();
    for id in page.accounts.each() {
        let own: Vec<Value> = rows
            .iter()
            .filter(|row| row.account == *id)
            .map(|row| {
                let key = Key {
                    account: row.account.clone(),
                    skill: row.skill,
                    channel: row.channel,
                };
                let name = match (row.skill, &row.skill_name) {
                    (None, _) => "All other skills".to_owned(),
                    (Some(_), Some(name)) => name.clone(),
                    (Some(skill), None) => format!("Skill {skill}"),
                };
                json!({
                    "href": format!("/rules/{key}"),
                    "name": name,
                    "channel": words::channel(row.channel),
                    "state": if row.paused { "paused" } else if row.enabled { "on" } else { "off" },
                    "said": row.summary.first(),
                    "published": row.version.is_some(),
                    "draft_by": row.draft_by,
                    "updated": row.updated_at.map(|at| words::time(at, now)),
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
        "channels": words::channels(None),
        "several": accounts.len() > 1,
        "may_edit": page.caller.may(Permission::Edit),
        "csrf": page.session().csrf,
    });
    Ok(page.render("rules.hbs", "Rules", values))
}

/// On to the editor of the rule that was chosen.
async fn choose(page: Page, fields: Fields) -> Result<Response, Unshown> {
    let word = |name| fields.one(name).to_owned();
    let of = (word("account"), word("skill"), word("channel"));
    let key = key(&page.accounts, of)?;
    Ok(Redirect::to(&format!("/rules/{key}")).into_response())
}

/// Discard the draft, delete the rule, make an old version the draft.
async fn drop_it(
    page: Page,
    Shared(state): Shared<State>,
    Path(of): Of,
    fields: Fields,
) -> Result<Response, Unshown> {
    let key = key(&page.accounts, of)?;
    let seen: Stamp = fields.one("seen").parse().unwrap_or_default();
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
                "That version is the draft now. Look at it, then publish it.",
            )
        }
        _ => (
            rules::discard(&state.pool, &key, seen, by).await,
            "Draft discarded. The rule is as it was.",
        ),
    };
    let to = format!("/rules/{key}");
    match done {
        Ok(_) => page.done(&to, said).await,
        Err(Error::Changed(why) | Error::Conflict(why)) => page.not_done(&to, &why).await,
        Err(other) => Err(other.into()),
    }
}

async fn history(
    page: Page,
    Shared(state): Shared<State>,
    Path(of): Of,
) -> Result<Response, Unshown> {
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
            let about = format!("Changes of version {}", v.version);
            let changes = form::differences(&about, ("Before", "After"), changes);
            json!({
                "version": v.version,
                "by": v.changed_by,
                "at": words::time(v.changed_at, now),
                "deleted": v.deleted,
                "in_force": in_force == Some(v.version),
                "changes": changes,
            })
        })
        .collect();
    let name = match view.skill {
        None => "All other skills".to_owned(),
        Some(_) => view.place(),
    };
    let values = json!({
        "path": format!("/rules/{key}"),
        "name": name,
        "channel": words::channel(view.channel),
        "seen": view.stamp.to_string(),
        "versions": rows,
        "may_edit": page.caller.may(Permission::Edit),
        "csrf": page.session().csrf,
    });
    Ok(page.render("rule_history.hbs", &format!("History of {name}"), values))
}
