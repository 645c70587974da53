//! People: what is known of one customer, no more reminders for them, forgetting them.
//!
//! The page is asked for by a form that posts, so that no address stands in the browser's history or in a log.

use axum::Form;
use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reminders::row;
use super::{Page, Unshown, account_of, brands, words};
use crate::control;
use crate::control::consumers::Who;
use crate::control::words::why;
use crate::db::consumers::Conversation;
use crate::domain::access::Permission;
use crate::domain::ids::AccountId;
use crate::web::State;
use crate::web::access::Table;

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/people", ask);
    table.form(Permission::View, "/people", look_up);
    table.form(Permission::Operate, "/people/opt-out", opt_out);
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
    fn read(&self, state: &State) -> Result<(AccountId, Who), Unshown> {
        let account = account_of(state, &self.account)?;
        let region = state.region_of(&account);
        let who = Who::guess(&state.hasher, &self.who, region.as_deref());
        Ok((account, who))
    }
}

async fn ask(page: Page, Shared(state): Shared<State>) -> Response {
    let values = json!({
        "accounts": brands(&state, ""),
        "who": "",
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
    let (account, who) = named.read(&state)?;
    if who.confirms_an_address() && !page.caller.may(Permission::Operate) {
        return Err(Unshown::forbidden());
    }
    let mut person = control::consumers::look_up(&state.pool, &account, &who).await?;
    let mut who = who;
    if let (true, Who::Consumer(id)) = (person.is_unknown(), &who) {
        // A customer on the phone has no id; what the agent has is the conversation's.
        who = Who::Conversation(id.clone());
        person = control::consumers::look_up(&state.pool, &account, &who).await?;
    }
    let now = state.clock.now();
    let suppressed = person.suppressions.iter().map(|row| {
        json!({
            "channel": words::channel(row.channel.as_str()),
            "why": why(row.reason.as_str()),
            "since": words::time(row.created_at, now),
        })
    });
    let values = json!({
        "accounts": brands(&state, account.as_str()),
        "account": account.as_str(),
        "who": named.who.trim(),
        "may_by_address": page.caller.may(Permission::Operate),
        "person": {
            "unknown": person.is_unknown(),
            "conversations": person.conversations.iter().map(|c| conversation(c, now)).collect::<Vec<_>>(),
            "reminders": person.reminders.iter().map(|r| row(r, now)).collect::<Vec<_>>(),
            "suppressed": suppressed.collect::<Vec<_>>(),
        },
        "may_opt_out": page.caller.may(Permission::Operate) && !person.recipients.is_empty(),
        "may_erase": page.caller.may(Permission::Administer) && !person.is_unknown(),
    });
    Ok(page.render("people.hbs", "People", values))
}

fn conversation(c: &Conversation, now: DateTime<Utc>) -> Value {
    json!({
        "id": c.id,
        "skill": c.skill_name,
        "started": words::time(c.started_at, now),
        "open": c.open,
        "unread": c.read_state == "unread",
        "unread_since": c.unread_since.map(|at| words::time(at, now)),
        "email": c.email_reason.as_deref().map(why),
        "sms": c.sms_reason.as_deref().map(why),
    })
}

async fn opt_out(
    page: Page,
    Shared(state): Shared<State>,
    Form(named): Form<Named>,
) -> Result<Response, Unshown> {
    let (account, who) = named.read(&state)?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let who = known(&state, &account, who).await?;
    control::consumers::opt_out(pool, clock, by, &account, &who).await?;
    page.done("/people", "This customer gets no more reminders.")
        .await
}

async fn erase(
    page: Page,
    Shared(state): Shared<State>,
    Form(named): Form<Named>,
) -> Result<Response, Unshown> {
    let (account, who) = named.read(&state)?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let who = known(&state, &account, who).await?;
    let erased = control::consumers::erase(pool, clock, by, &account, &who).await?;
    let said = format!(
        "Erased. Conversations: {}; reminders that name nobody any more: {}.",
        erased.conversations, erased.reminders
    );
    page.done("/people", &said).await
}

/// The same person that the look-up showed: an id that is no consumer's is a conversation's.
async fn known(state: &State, account: &AccountId, who: Who) -> Result<Who, Unshown> {
    let Who::Consumer(id) = &who else {
        return Ok(who);
    };
    let unknown = control::consumers::look_up(&state.pool, account, &who)
        .await?
        .is_unknown();
    Ok(if unknown {
        Who::Conversation(id.clone())
    } else {
        who
    })
}
