//! What comes: the reminders that are scheduled, soonest first, and why other customers with unread messages get none.

use axum::extract::{Query, RawQuery, State as Shared};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::{Deserialize, Serialize};

use super::row::{ReminderRow, rows};
use super::{ReminderTab, TabLink, counts, moved, tabs};
use crate::control;
use crate::control::forecast;
use crate::control::labels::why;
use crate::domain::ids::AccountId;
use crate::web::AppState;
use crate::web::dashboard::{BrandChoice, PageError, PageFrame, brands, labels, people};

/// Reminders that are shown; those after them come later than a person plans.
const MOST: i64 = 100;

#[derive(Deserialize)]
pub struct ComingQuery {
    #[serde(default)]
    account: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    conversation: String,
}

#[derive(Serialize)]
struct ComingPage<'a> {
    tabs: [TabLink; 4],
    accounts: Vec<BrandChoice<'a>>,
    reminders: Vec<ReminderRow<'a>>,
    more: bool,
    not: Vec<NotRow>,
}

pub async fn show(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(wanted): Query<ComingQuery>,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    if let Some(moved) = moved(&wanted.state, query.as_deref().unwrap_or_default()) {
        return Ok(moved);
    }
    if !wanted.conversation.is_empty()
        && let Some(path) = people::path_of(&page, &state, &wanted.conversation).await?
    {
        return Ok(Redirect::to(&path).into_response());
    }
    let now = state.clock.now();
    let only = Some(&*wanted.account).filter(|id| page.accounts.named(id).is_ok());
    let accounts = page.accounts.narrowed(only);
    let mut coming = control::reminders::coming(&state.pool, &accounts, MOST + 1).await?;
    let most = usize::try_from(MOST).unwrap_or_default();
    let more = coming.len() > most;
    coming.truncate(most);
    let mut not = Vec::new();
    for account in accounts.each() {
        let told = forecast::unreminded(&state.pool, &account).await?;
        not.extend(told.into_iter().map(|told| NotRow {
            brand: state.brand_of(&account),
            account: AccountId::clone(&account),
            why: why(&told.reason),
            who: labels::short_id(&told.example),
            conversations: labels::counted(told.conversations, "customer"),
            example: told.example,
        }));
    }
    let values = ComingPage {
        tabs: tabs(&counts(&state, &accounts, None).await?, ReminderTab::Coming),
        accounts: brands(&state, &page.accounts, only.unwrap_or_default()),
        reminders: rows(&coming, now),
        more,
        not,
    };
    Ok(page.render("coming.hbs", "Reminders", values))
}

/// Customers with unread messages that no reminder is scheduled for, for one reason, and one of them.
#[derive(Serialize)]
struct NotRow {
    brand: String,
    account: AccountId,
    conversations: String,
    why: String,
    example: String,
    who: String,
}
