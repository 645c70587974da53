//! People: what is known of one customer, no more reminders for them, forgetting them.
//!
//! The page is asked for by a form that posts, so that no address stands in the browser's history or in a log.

use axum::Form;
use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reminders::{governing, row};
use super::{Page, Unshown, account_of, brands, words};
use crate::control::accounts::{Accounts, Allowed};
use crate::control::consumers::{Answer, Who, reads_as_address};
use crate::control::words::{because, why};
use crate::control::{self, Error};
use crate::db::consumers::Conversation;
use crate::domain::access::Permission;
use crate::domain::ids::AccountId;
use crate::domain::read_state::ReadStatus;
use crate::web::State;
use crate::web::access::Table;

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/people", ask);
    table.form(Permission::View, "/people", look_up);
    table.form(Permission::Operate, "/people/opt-out", opt_out);
    table.form(Permission::Operate, "/people/allow", allow);
    table.form(Permission::Administer, "/people/erase", erase);
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    account: String,
    #[serde(default)]
    who: String,
}

impl Named {
    async fn read(
        &self,
        state: &State,
        accounts: &Accounts,
    ) -> Result<(Allowed<AccountId>, Who), Unshown> {
        let account = account_of(accounts, &self.account)?;
        let region = state.region_of(&account);
        let (pool, clock, hasher) = (&state.pool, &state.clock, &state.hasher);
        let who = Who::guess(pool, clock, hasher, (&self.who, region.as_deref())).await?;
        Ok((account, who))
    }
}

async fn ask(page: Page, Shared(state): Shared<State>) -> Response {
    let values = json!({
        "accounts": brands(&state, &page.accounts, ""),
        "who": "",
        "done": null,
        "may_by_address": page.caller.may(Permission::Operate),
        "person": null,
    });
    page.render("people.hbs", "People", values)
}

async fn look_up(
    page: Page,
    Shared(state): Shared<State>,
    Form(named): Form<Named>,
) -> Result<Response, Unshown> {
    if named.who.trim().is_empty() {
        return Ok(ask(page, Shared(state)).await);
    }
    let region = state.region_of(&*account_of(&page.accounts, &named.account)?);
    if reads_as_address(&named.who, region.as_deref()) && !page.caller.may(Permission::Operate) {
        return Err(Unshown::forbidden());
    }
    let (account, who) = named.read(&state, &page.accounts).await?;
    let who = known(&state, &account, who).await?;
    show(&page, &state, (&account, &who), &named.who, None).await
}

/// What was just done to somebody, or why not.
struct Done {
    level: &'static str,
    said: String,
}

impl Done {
    fn well(said: impl Into<String>) -> Self {
        Self {
            level: "good",
            said: said.into(),
        }
    }
}

/// The person's page. `asked` is what the search box holds; `done` says what was just done to them: the page stays with the person.
async fn show(
    page: &Page,
    state: &State,
    (account, who): (&Allowed<AccountId>, &Who),
    asked: &str,
    done: Option<Done>,
) -> Result<Response, Unshown> {
    let person = control::consumers::look_up(&state.context, account, who).await?;
    let now = state.clock.now();
    let suppressed = person.suppressions.iter().map(|row| {
        json!({
            "channel": words::channel(row.channel),
            "why": because(row.reason.into()),
            "since": words::time(row.created_at, now),
        })
    });
    let operates = page.caller.may(Permission::Operate);
    let values = json!({
        "accounts": brands(state, &page.accounts, account.as_str()),
        "account": account.as_str(),
        "who": asked.trim(),
        "may_by_address": operates,
        "done": done.map(|done| json!({ "level": done.level, "said": done.said })),
        "person": {
            "unknown": person.is_unknown(),
            "answer": answer(&person.answer, account, now),
            "conversations": person.conversations.iter().map(|c| conversation(c, now)).collect::<Vec<_>>(),
            "reminders": person.reminders.iter().map(|r| row(r, now)).collect::<Vec<_>>(),
            "suppressed": suppressed.collect::<Vec<_>>(),
        },
        "may_opt_out": operates && person.can_be_opted_out(),
        "may_allow": operates && person.is_opted_out_by_us(),
        "may_erase": page.caller.may(Permission::Administer) && !person.is_unknown(),
    });
    Ok(page.render("people.hbs", "People", values))
}

fn answer(answer: &Answer, account: &AccountId, now: DateTime<Utc>) -> Value {
    json!({
        "headline": answer.headline,
        "when": answer.when.map(|at| words::time(at, now)),
        "reminder": answer.reminder,
        "rule": answer.rule.as_ref().map(|rule| governing(rule, account)),
    })
}

fn conversation(c: &Conversation, now: DateTime<Utc>) -> Value {
    json!({
        "id": c.id,
        "skill": c.skill_name,
        "started": words::time(c.started_at, now),
        "open": c.open,
        "unread": c.read_state == ReadStatus::Unread,
        "unread_since": c.unread_since.map(|at| words::time(at, now)),
        "email": c.email_reason.as_ref().map(why),
        "sms": c.sms_reason.as_ref().map(why),
    })
}

async fn opt_out(
    page: Page,
    Shared(state): Shared<State>,
    Form(named): Form<Named>,
) -> Result<Response, Unshown> {
    let (account, who) = named.read(&state, &page.accounts).await?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let who = known(&state, &account, who).await?;
    control::consumers::opt_out(pool, clock, by, &account, &who).await?;
    let done = Done::well("This customer gets no more reminders.");
    show(&page, &state, (&account, &who), &named.who, Some(done)).await
}

async fn allow(
    page: Page,
    Shared(state): Shared<State>,
    Form(named): Form<Named>,
) -> Result<Response, Unshown> {
    let (account, who) = named.read(&state, &page.accounts).await?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let who = known(&state, &account, who).await?;
    let done = match control::consumers::allow(pool, clock, by, &account, &who).await {
        Ok(_) => Done::well("Reminders may go to this customer again."),
        Err(Error::Conflict(why)) => Done {
            level: "bad",
            said: format!("Nothing was changed: {why}."),
        },
        Err(other) => return Err(other.into()),
    };
    show(&page, &state, (&account, &who), &named.who, Some(done)).await
}

async fn erase(
    page: Page,
    Shared(state): Shared<State>,
    Form(named): Form<Named>,
) -> Result<Response, Unshown> {
    let (account, who) = named.read(&state, &page.accounts).await?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let who = known(&state, &account, who).await?;
    let erased =
        control::consumers::erase(pool, (clock, &state.hasher), by, &account, &who).await?;
    let done = Done::well(format!(
        "Erased. Conversations: {}; reminders that name nobody any more: {}. This cannot be undone.",
        erased.conversations, erased.reminders
    ));
    show(&page, &state, (&account, &who), &named.who, Some(done)).await
}

/// A customer on the phone has no id; what the agent has is the conversation's: an id that is no consumer's.
async fn known(state: &State, account: &Allowed<AccountId>, who: Who) -> Result<Who, Unshown> {
    let Who::Consumer(id) = &who else {
        return Ok(who);
    };
    let person = control::consumers::look_up(&state.context, account, &who).await?;
    Ok(if person.is_unknown() {
        Who::Conversation(id.clone())
    } else {
        who
    })
}
