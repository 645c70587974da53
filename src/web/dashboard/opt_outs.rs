//! The doubtful opt-outs on the page of suppressions: what was recognised, and the buttons that keep or undo one.

use axum::Form;
use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::suppressions::{PATH, code};
use super::words::{self, Moment};
use super::{Page, Unshown, brands_of};
use crate::control::accounts::Accounts;
use crate::control::opt_outs::{DoubtfulOptOut, Verdict};
use crate::control::{self, Error};
use crate::domain::access::Permission;
use crate::domain::ids::Channel;
use crate::suppressions_file;
use crate::web::State;
use crate::web::access::Table;

/// Doubtful opt-outs shown at once; the others follow when these are settled.
const MOST: i64 = 50;

pub fn add(table: &mut Table) {
    table.form(Permission::Operate, "/suppressions/review", review);
}

/// Those that nobody has looked at, for the page.
pub async fn to_review(
    state: &State,
    accounts: &Accounts,
    now: DateTime<Utc>,
) -> Result<Vec<Row>, Error> {
    let found = control::opt_outs::to_review(&state.pool, accounts, MOST).await?;
    let rows = found.into_iter().map(|one| Row::new(state, one, now));
    Ok(rows.collect())
}

#[derive(Serialize)]
pub struct Row {
    #[serde(flatten)]
    found: DoubtfulOptOut,
    brands: String,
    channel_name: &'static str,
    language_name: Option<&'static str>,
    when: Moment,
    code: String,
}

impl Row {
    fn new(state: &State, found: DoubtfulOptOut, now: DateTime<Utc>) -> Self {
        let language = found.language.as_deref();
        Self {
            brands: brands_of(state, &found.accounts),
            channel_name: words::channel(found.channel),
            language_name: language.and_then(control::words::doubt_language),
            when: words::time(found.since, now),
            code: code(&found.hash),
            found,
        }
    }
}

/// A doubtful opt-out and what is made of it.
#[derive(Deserialize)]
struct Reviewed {
    hash: String,
    channel: Channel,
    verdict: Verdict,
}

async fn review(
    page: Page,
    Shared(state): Shared<State>,
    Form(given): Form<Reviewed>,
) -> Result<Response, Unshown> {
    let none = || Error::NotFound("doubtful opt-out of this address".to_owned());
    let hash = suppressions_file::unhex(&given.hash).ok_or_else(none)?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let (accounts, address) = (&page.accounts, (given.channel, &hash));
    let done = control::opt_outs::review(pool, clock, by, accounts, address, given.verdict).await;
    let said = match (done, given.verdict) {
        (Ok(_), Verdict::Keep) => "Kept. No reminders go to this address.",
        (Ok(_), Verdict::Undo) => "Undone. Reminders may go to this address again.",
        (Err(Error::NotFound(_)), _) => "Somebody has looked at it already.",
        (Err(other), _) => return Err(other.into()),
    };
    page.done(PATH, said).await
}
