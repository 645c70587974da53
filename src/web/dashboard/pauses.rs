//! What is paused, on every page: what, by whom, since when and why, with the button that ends it; and pausing from the overview.

use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::labels::{self, Moment};
use super::login::inside;
use super::rules::FormFields;
use super::{PageError, PageFrame};
use crate::control::ControlError;
use crate::control::accounts::Accounts;
use crate::control::hold::{self, HoldView};
use crate::control::pause::{self, PauseView};
use crate::control::rules::ChangeAuthor;
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::pause::Scope;
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};

pub fn add(table: &mut RouteTable) {
    table.form(Permission::Operate, "/pauses", pause_or_resume);
}

/// An entry of the bar, as `notice.hbs` shows it.
#[derive(Debug, Serialize)]
pub struct Notice {
    level: &'static str,
    what: String,
    by: Option<String>,
    at: Moment,
    why: Option<String>,
    means: Option<String>,
    /// What the reader may resume.
    resume: Option<String>,
    #[serde(skip)]
    is_of_everything: bool,
}

/// The entries of the bar.
pub async fn notices(
    state: &AppState,
    accounts: &Accounts,
    caller: &Caller,
) -> Result<Vec<Notice>, ControlError> {
    let now = state.clock.now();
    let held = hold::list(&state.pool).await?;
    let paused = pause::list(&state.pool, accounts).await?;
    let paused = paused.into_iter().enumerate().map(|(n, pause)| {
        let scope = &pause.of;
        let may = caller.may(Permission::Operate) && accounts.scope(scope.clone()).is_ok();
        Notice {
            level: "waiting",
            what: what(state, &pause),
            at: labels::time(pause.paused_at, now),
            means: (n == 0).then(|| HELD.to_owned()),
            resume: may.then(|| scope.to_string()),
            is_of_everything: *scope == Scope::Everything,
            by: Some(pause.paused_by),
            why: Some(pause.note),
        }
    });
    let held = held.into_iter().map(|hold| hold_notice(hold, now));
    Ok(held.chain(paused).collect())
}

/// It is ended by a command of whoever runs the service.
fn hold_notice(hold: HoldView, now: DateTime<Utc>) -> Notice {
    Notice {
        level: "bad",
        what: hold.said,
        by: None,
        at: labels::time(hold.found_at, now),
        why: None,
        means: Some(hold.fix),
        resume: None,
        is_of_everything: false,
    }
}

const HELD: &str = "Due reminders are on hold. They go out when someone resumes sending, unless they have expired by then.";

/// Whether everything is paused, and the reader may end that.
pub fn may_resume_all(page: &PageFrame) -> bool {
    let mut notices = page.notices.iter();
    notices.any(|notice| notice.is_of_everything && notice.resume.is_some())
}

/// What a scope is called in a sentence: `all sending`, `E-mail for The Example Shop`. A rule is called by its own page.
pub fn place(state: &AppState, scope: &Scope) -> String {
    match scope {
        Scope::Everything => "all sending".to_owned(),
        Scope::Account(account) => format!("all sending for {}", state.brand_of(account)),
        Scope::Channel(account, channel) => {
            let channel = labels::channel(*channel);
            format!("{channel} for {}", state.brand_of(account))
        }
        Scope::Rule(key) => format!("the rule {key}"),
    }
}

fn what(state: &AppState, pause: &PauseView) -> String {
    let brand = |account: &AccountId| state.brand_of(account);
    let channel = |channel: &Channel| labels::channel(*channel);
    match &pause.of {
        Scope::Everything => "All sending is paused".to_owned(),
        Scope::Account(account) => format!("All sending for {} is paused", brand(account)),
        Scope::Channel(account, of) => format!("{} for {} is paused", channel(of), brand(account)),
        Scope::Rule(key) => {
            let place = match key.skill {
                None => "all other skills".to_owned(),
                Some(skill) => labels::skill(pause.skill_name.as_deref(), skill),
            };
            format!("The rule for {place} of {} is paused", brand(&key.account))
        }
    }
}

/// What can be paused, by the name that the form sends and the one that people read.
#[derive(Serialize)]
pub struct Choice {
    what: String,
    name: String,
}

/// What the caller could pause now, for the form in the overview's heading: everything, an account, a channel of one. Nothing more while
/// everything is paused.
pub fn choices(state: &AppState, page: &PageFrame) -> Vec<Choice> {
    let is_paused = page.notices.iter().any(|notice| notice.is_of_everything);
    if is_paused || !page.caller.may(Permission::Operate) {
        return Vec::new();
    }
    let accounts = &page.accounts;
    let several = accounts.ids().len() > 1;
    let mut choices = Vec::new();
    let mut choice = |scope: Scope, name: String| {
        let what = scope.to_string();
        choices.push(Choice { what, name });
    };
    if !accounts.is_limited() {
        choice(Scope::Everything, "All sending".to_owned());
    }
    for account in accounts.ids() {
        let brand = state.brand_of(account);
        if several || accounts.is_limited() {
            choice(Scope::Account(account.clone()), format!("All for {brand}"));
        }
        for channel in Channel::ALL
            .into_iter()
            .filter(|c| state.context.has(account, *c))
        {
            let name = format!("{} for {brand}", labels::channel(channel));
            choice(Scope::Channel(account.clone(), channel), name);
        }
    }
    choices
}

async fn pause_or_resume(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    fields: FormFields,
) -> Result<Response, PageError> {
    let scope = page.accounts.scope(scope(&fields)?)?;
    let by = ChangeAuthor {
        name: page.caller.by(),
        now: state.clock.now(),
    };
    let back = inside(fields.one("back"));
    let (done, said) = if fields.one("do") == "resume" {
        let done = pause::resume(&state.pool, &state.clock, &scope, by).await;
        (
            done.map(drop),
            "Resumed. Reminders on hold go out now, unless they have expired.",
        )
    } else {
        let done = pause::pause(&state.pool, &scope, fields.one("note"), by).await;
        (done, "Paused. Nothing is sent until someone resumes it.")
    };
    match done {
        Ok(()) => page.done(back, said).await,
        Err(ControlError::Conflict(why)) => page.not_done(back, &why).await,
        Err(ControlError::NotFound(_)) => page.not_done(back, "That is no longer paused.").await,
        Err(other) => Err(other.into()),
    }
}

fn scope(fields: &FormFields) -> Result<Scope, PageError> {
    let what = fields.one("what").parse();
    what.map_err(|_| ControlError::NotFound("such thing to pause".to_owned()).into())
}
