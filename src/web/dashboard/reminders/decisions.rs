//! The decision log: why customers did or did not get a reminder, newest first.

use axum::extract::{Query, State as Shared};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ReminderTab, TabLink, counts, tabs};
use crate::control;
use crate::control::labels::why;
use crate::control::reminders::DecisionView;
use crate::domain::decide::Verdict;
use crate::web::AppState;
use crate::web::dashboard::labels::{self, Moment};
use crate::web::dashboard::{PageError, PageFrame};

/// Decisions on a page.
const SHOWN: usize = 50;

#[derive(Deserialize)]
pub struct DecisionsQuery {
    before: Option<i64>,
}

#[derive(Serialize)]
struct DecisionsPage<'a> {
    tabs: [TabLink; 4],
    decisions: Vec<DecisionRow<'a>>,
    older: Option<String>,
}

pub async fn show(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(wanted): Query<DecisionsQuery>,
) -> Result<Response, PageError> {
    let (pool, accounts) = (&state.pool, &page.accounts);
    let most = i64::try_from(SHOWN).unwrap_or_default() + 1;
    let mut log = control::reminders::decisions(pool, accounts, None, wanted.before, most).await?;
    let more = log.len() > SHOWN;
    log.truncate(SHOWN);
    let last = log.last().filter(|_| more);
    let now = state.clock.now();
    let values = DecisionsPage {
        tabs: tabs(
            &counts(&state, accounts, None).await?,
            ReminderTab::Decisions,
        ),
        older: last.map(|last| format!("{}?before={}", ReminderTab::Decisions.path(), last.id)),
        decisions: log.iter().map(|d| DecisionRow::new(d, now)).collect(),
    };
    Ok(page.render("decisions.hbs", "Reminders", values))
}

#[derive(Serialize)]
struct DecisionRow<'a> {
    #[serde(flatten)]
    decision: &'a DecisionView,
    href: String,
    who: String,
    when: Moment,
    /// Of the step that it is about, if it is about one.
    channel_name: Option<&'static str>,
    said: &'static str,
    look: &'static str,
    why: String,
}

impl<'a> DecisionRow<'a> {
    fn new(decision: &'a DecisionView, now: DateTime<Utc>) -> Self {
        let (said, look) = match decision.verdict {
            Verdict::Schedule => ("Reminder scheduled", "scheduled"),
            Verdict::Send => ("Cleared to send", "sent"),
            Verdict::Cancel => ("Cancelled", "cancelled"),
            Verdict::Postpone => ("Postponed", "scheduled"),
            Verdict::Expire => ("Expired", "expired"),
            Verdict::None => ("No reminder", "cancelled"),
        };
        Self {
            href: match decision.reminder {
                Some(id) => format!("/reminders/{id}"),
                None => format!("/customers/{}/{}", decision.account, decision.conversation),
            },
            who: labels::short_id(&decision.conversation),
            when: labels::time(decision.at, now),
            channel_name: decision.channel.map(labels::channel),
            said,
            look,
            why: why(&decision.reason),
            decision,
        }
    }
}
