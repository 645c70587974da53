//! What is paused, on every page: what, by whom, since when and why, with the button that ends it; and pausing from the overview.

use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::login::inside;
use super::rules::Fields;
use super::{Page, Unshown, words};
use crate::control::Error;
use crate::control::accounts::Accounts;
use crate::control::hold::{self, HoldView};
use crate::control::pause::{self, Paused};
use crate::control::rules::By;
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::pause::Scope;
use crate::web::State;
use crate::web::access::{Caller, Table};

pub fn add(table: &mut Table) {
    table.form(Permission::Operate, "/pauses", pause_or_resume);
}

/// The entries of the bar, as `notice.hbs` shows them.
pub async fn notices(
    state: &State,
    accounts: &Accounts,
    caller: &Caller,
) -> Result<Vec<Value>, Error> {
    let now = state.clock.now();
    let held = hold::list(&state.pool).await?;
    let paused = pause::named(&state.pool, accounts).await?;
    let paused = paused.iter().enumerate().map(|(n, paused)| {
        let scope = &paused.pause.scope;
        let may = caller.may(Permission::Operate) && accounts.scope(scope.clone()).is_ok();
        let mut notice = notice(state, paused, may, now);
        if n == 0 {
            notice["means"] = HELD.into();
        }
        notice
    });
    Ok(held
        .iter()
        .map(|hold| hold_notice(hold, now))
        .chain(paused)
        .collect())
}

/// It is ended by a command of whoever runs the service.
fn hold_notice(hold: &HoldView, now: DateTime<Utc>) -> Value {
    json!({
        "level": "bad",
        "what": hold.said,
        "by": null,
        "at": words::time(hold.found_at, now),
        "why": null,
        "means": hold.fix,
        "resume": null,
        "way": null,
    })
}

const HELD: &str =
    "What falls due is held. It goes out when somebody resumes, if it is not too late then.";

fn notice(state: &State, paused: &Paused, may_end: bool, now: DateTime<Utc>) -> Value {
    let pause = &paused.pause;
    json!({
        "level": "waiting",
        "what": what(state, paused),
        "by": pause.paused_by,
        "at": words::time(pause.paused_at, now),
        "why": pause.note,
        "means": null,
        "scope": pause.scope.to_string(),
        "resume": may_end.then(|| pause.scope.to_string()),
        "way": null,
    })
}

/// Whether everything is paused, and the reader may end that.
pub fn may_resume_all(page: &Page) -> bool {
    let everything = Scope::Everything.to_string();
    page.notices
        .iter()
        .any(|notice| notice["resume"] == everything)
}

fn what(state: &State, paused: &Paused) -> String {
    let brand = |account: &AccountId| state.brand_of(account);
    let channel = |channel: &Channel| words::channel(*channel);
    match &paused.pause.scope {
        Scope::Everything => "All sending is paused".to_owned(),
        Scope::Account(account) => format!("All sending for {} is paused", brand(account)),
        Scope::Channel(account, of) => format!("{} for {} is paused", channel(of), brand(account)),
        Scope::Rule(key) => {
            let place = match (key.skill, &paused.skill_name) {
                (None, _) => "all other skills".to_owned(),
                (Some(_), Some(name)) => name.clone(),
                (Some(skill), None) => words::skill(skill),
            };
            format!(
                "The {} rule for {place} of {} is paused",
                channel(&key.channel),
                brand(&key.account)
            )
        }
    }
}

/// What the caller could pause now, for the form in the overview's heading: everything, an account, a channel of one. Nothing more while
/// everything is paused.
pub fn choices(state: &State, page: &Page) -> Vec<Value> {
    let everything = Scope::Everything.to_string();
    let is_paused = page
        .notices
        .iter()
        .any(|notice| notice["scope"] == everything);
    if is_paused || !page.caller.may(Permission::Operate) {
        return Vec::new();
    }
    let accounts = &page.accounts;
    let several = accounts.ids().len() > 1;
    let mut choices = Vec::new();
    let mut choice = |scope: Scope, name: String| {
        choices.push(json!({ "what": scope.to_string(), "name": name }));
    };
    if !accounts.is_limited() {
        choice(Scope::Everything, "All sending".to_owned());
    }
    for account in accounts.ids() {
        let brand = state.brand_of(account);
        if several || accounts.is_limited() {
            choice(Scope::Account(account.clone()), format!("All for {brand}"));
        }
        for channel in Channel::ALL.into_iter().filter(|c| state.context.has(*c)) {
            let name = format!("{} for {brand}", words::channel(channel));
            choice(Scope::Channel(account.clone(), channel), name);
        }
    }
    choices
}

async fn pause_or_resume(
    page: Page,
    Shared(state): Shared<State>,
    fields: Fields,
) -> Result<Response, Unshown> {
    let scope = page.accounts.scope(scope(&fields)?)?;
    let by = By {
        name: page.caller.by(),
        now: state.clock.now(),
    };
    let back = inside(fields.one("back"));
    let (done, said) = if fields.one("do") == "resume" {
        let done = pause::resume(&state.pool, &state.clock, &scope, by).await;
        (
            done.map(drop),
            "Resumed. What was held goes out now, if it is not too late.",
        )
    } else {
        let done = pause::pause(&state.pool, &scope, fields.one("note"), by).await;
        (
            done,
            "Paused. Nothing of it is sent until somebody resumes it.",
        )
    };
    match done {
        Ok(()) => page.done(back, said).await,
        Err(Error::Conflict(why)) => page.not_done(back, &why).await,
        Err(Error::NotFound(_)) => page.not_done(back, "That is not paused any more.").await,
        Err(other) => Err(other.into()),
    }
}

fn scope(fields: &Fields) -> Result<Scope, Unshown> {
    let what = fields.one("what").parse();
    what.map_err(|_| Error::NotFound("such thing to pause".to_owned()).into())
}
