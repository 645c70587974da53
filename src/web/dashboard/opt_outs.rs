//! The doubtful opt-outs on the page of suppressions: what was recognised, and the buttons that keep or undo one.

use axum::Form;
use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::labels::{self, Moment};
use super::suppressions::{PATH, code};
use super::{PageError, PageFrame, brands_of};
use crate::control::accounts::Accounts;
use crate::control::opt_outs::{DoubtfulOptOut, OptOutReview};
use crate::control::{self, ControlError};
use crate::domain::access::Permission;
use crate::domain::ids::Channel;
use crate::suppressions_file;
use crate::web::AppState;
use crate::web::access::RouteTable;

/// Doubtful opt-outs shown at once; the others follow when these are settled.
const MOST: i64 = 50;

pub fn add(table: &mut RouteTable) {
    table.form(Permission::Operate, "/opt-outs/review", review);
}

/// Those that nobody has looked at, for the page.
pub async fn to_review(
    state: &AppState,
    accounts: &Accounts,
    now: DateTime<Utc>,
) -> Result<Vec<DoubtfulOptOutRow>, ControlError> {
    let found = control::opt_outs::to_review(&state.pool, accounts, MOST).await?;
    let rows = found
        .into_iter()
        .map(|one| DoubtfulOptOutRow::new(state, one, now));
    Ok(rows.collect())
}

#[derive(Serialize)]
pub struct DoubtfulOptOutRow {
    #[serde(flatten)]
    found: DoubtfulOptOut,
    brands: String,
    channel_name: &'static str,
    language_name: Option<&'static str>,
    when: Moment,
    code: String,
}

impl DoubtfulOptOutRow {
    fn new(state: &AppState, found: DoubtfulOptOut, now: DateTime<Utc>) -> Self {
        let language = found.language.as_deref();
        Self {
            brands: brands_of(state, &found.accounts),
            channel_name: labels::channel(found.channel),
            language_name: language.and_then(control::labels::doubt_language),
            when: labels::time(found.since, now),
            code: code(&found.hash),
            found,
        }
    }
}

/// A doubtful opt-out and what is made of it.
#[derive(Deserialize)]
struct OptOutReviewForm {
    hash: String,
    channel: Channel,
    verdict: OptOutReview,
}

async fn review(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(given): Form<OptOutReviewForm>,
) -> Result<Response, PageError> {
    let none = || ControlError::NotFound("doubtful opt-out of this address".to_owned());
    let hash = suppressions_file::unhex(&given.hash).ok_or_else(none)?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let (accounts, address) = (&page.accounts, (given.channel, &hash));
    let done = control::opt_outs::review(pool, clock, by, accounts, address, given.verdict).await;
    let said = match (done, given.verdict) {
        (Ok(_), OptOutReview::Keep) => "Kept. This address stays opted out.",
        (Ok(_), OptOutReview::Undo) => "Undone. This address can get reminders again.",
        (Err(ControlError::NotFound(_)), _) => "Someone has already reviewed it.",
        (Err(other), _) => return Err(other.into()),
    };
    page.done(PATH, said).await
}
