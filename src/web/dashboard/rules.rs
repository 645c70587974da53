//! Rules as pages: the list, the editor, the history, the next hour, the way to the first reminder; pauses.

mod editor;
mod form;
mod look;
mod outlook;

use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::{Value, json};

use super::{Page, Unshown, words};
use crate::control::rules::{self, By, Stamp};
use crate::control::{Error, pause};
use crate::domain::access::Permission;
use crate::domain::ids::{Channel, SkillId};
use crate::domain::pause::Scope;
use crate::domain::rule::Key;
use crate::web::State;
use crate::web::access::Table;

use self::form::Fields;

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/rules", list);
    table.form(Permission::Edit, "/rules", choose);
    table.form(Permission::Edit, &format!("{EDITOR}/drop"), drop_it);
    table.page(Permission::View, &format!("{EDITOR}/history"), history);
    table.form(Permission::Operate, "/pauses", pause_or_resume);
    editor::add(table);
    outlook::add(table);
}

const EDITOR: &str = "/rules/{account}/{skill}/{channel}";

type Of = Path<(String, String, String)>;

fn key((account, skill, channel): (String, String, String)) -> Result<Key, Unshown> {
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
    let rows = rules::list(&state.pool, None, None, rules::MOST).await?;
    let pauses = pause::list(&state.pool).await?;
    let mut accounts = Vec::new();
    for id in state.account_ids() {
        let own: Vec<Value> = rows
            .iter()
            .filter(|row| row.account == id)
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
                    "channel": words::channel(row.channel.as_str()),
                    "state": if row.paused { "paused" } else if row.enabled { "on" } else { "off" },
                    "said": row.summary.first(),
                    "published": row.version.is_some(),
                    "draft_by": row.draft_by,
                    "updated": row.updated_at.map(|at| words::time(at, now)),
                })
            })
            .collect();
        let skills = crate::control::accounts::skills(&state.pool, &id).await?;
        let skills: Vec<Value> = skills
            .iter()
            .map(|skill| json!({ "id": skill.id, "name": skill.name }))
            .collect();
        accounts.push(json!({ "id": id, "brand": state.brand_of(id.as_str()), "rules": own, "skills": skills }));
    }
    let held: Vec<Value> = pauses
        .iter()
        .map(|p| {
            let account = p.account.as_ref().map(|id| state.brand_of(id.as_str()));
            json!({
                "what": paused_name(p.scope, account.as_deref(), p.channel),
                "account": p.account,
                "channel": p.channel,
                "rule": if p.scope == "rule" { p.skill.map_or("default".to_owned(), |s| s.to_string()) } else { String::new() },
                "by": p.paused_by,
                "note": p.note,
                "at": words::time(p.paused_at, now),
            })
        })
        .collect();
    let values = json!({
        "accounts": accounts,
        "several": accounts.len() > 1,
        "pauses": held,
        "all_paused": pauses.iter().any(|p| p.scope == "everything"),
        "may_edit": page.caller.may(Permission::Edit),
        "may_pause": page.caller.may(Permission::Operate),
        "csrf": page.session().csrf,
    });
    Ok(page.render("rules.hbs", "Rules", values))
}

fn paused_name(scope: &str, account: Option<&str>, channel: Option<Channel>) -> String {
    let account = account.unwrap_or_default();
    let channel = channel.map_or("", |channel| words::channel(channel.as_str()));
    match scope {
        "everything" => "Everything".to_owned(),
        "account" => format!("All of {account}"),
        "channel" => format!("{channel} of {account}"),
        _ => format!("One {channel} rule of {account}"),
    }
}

/// On to the editor of the rule that was chosen.
async fn choose(fields: Fields) -> Result<Response, Unshown> {
    let word = |name| fields.one(name).to_owned();
    let key = key((word("account"), word("skill"), word("channel")))?;
    Ok(Redirect::to(&format!("/rules/{key}")).into_response())
}

/// Discard the draft, delete the rule, make an old version the draft.
async fn drop_it(
    page: Page,
    Shared(state): Shared<State>,
    Path(of): Of,
    fields: Fields,
) -> Result<Response, Unshown> {
    let key = key(of)?;
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
    let key = key(of)?;
    let view = rules::read(&state.pool, &key).await?;
    let now = state.clock.now();
    let versions = rules::versions(&state.pool, &key, None, rules::MOST).await?;
    let in_force = view.published.as_ref().map(|p| p.version);
    let rows: Vec<Value> = versions
        .iter()
        .map(|v| {
            let changes: Vec<Value> = v
                .changes
                .iter()
                .map(|c| json!({ "name": form::label(&c.field), "before": form::said(&c.before), "after": form::said(&c.after) }))
                .collect();
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
        "channel": words::channel(view.channel.as_str()),
        "seen": view.stamp.to_string(),
        "versions": rows,
        "may_edit": page.caller.may(Permission::Edit),
        "csrf": page.session().csrf,
    });
    Ok(page.render("rule_history.hbs", &format!("History of {name}"), values))
}

async fn pause_or_resume(
    page: Page,
    Shared(state): Shared<State>,
    fields: Fields,
) -> Result<Response, Unshown> {
    let scope = pause_scope(&fields)?;
    let by = by(&page, &state);
    let back = match fields.one("back") {
        path if path.starts_with("/rules") => path,
        _ => "/rules",
    };
    let (done, said) = if fields.one("do") == "resume" {
        let done = pause::resume(&state.pool, &state.clock, &scope, by).await;
        (
            done.map(drop),
            "Sending goes on. What was held goes out now.",
        )
    } else {
        let done = pause::pause(&state.pool, &scope, fields.one("note"), by).await;
        (done, "Paused. Nothing is sent until somebody resumes it.")
    };
    match done {
        Ok(()) => page.done(back, said).await,
        Err(Error::Conflict(why)) => page.not_done(back, &why).await,
        Err(Error::NotFound(_)) => page.not_done(back, "That is not paused any more.").await,
        Err(other) => Err(other.into()),
    }
}

fn pause_scope(fields: &Fields) -> Result<Scope, Unshown> {
    let given = |name| Some(fields.one(name)).filter(|word| !word.is_empty());
    let none = || Unshown::from(Error::NotFound("such thing to pause".to_owned()));
    Ok(match (given("account"), given("channel"), given("rule")) {
        (None, ..) => Scope::Everything,
        (Some(account), None, _) => Scope::Account(account.parse().map_err(|_| none())?),
        (Some(account), Some(channel), None) => Scope::Channel(
            account.parse().map_err(|_| none())?,
            channel.parse().map_err(|_| none())?,
        ),
        (Some(account), Some(channel), Some(rule)) => Scope::Rule(key((
            account.to_owned(),
            rule.to_owned(),
            channel.to_owned(),
        ))?),
    })
}
