//! Reminders: those to come, those that were sent and those that were not, and the decisions about them, each a list of its own.

mod coming;
mod decisions;
mod row;
mod story;

use axum::extract::{Query, State as Shared};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::DateTime;
use serde::{Deserialize, Serialize};

use super::{PageError, PageFrame, labels};
use crate::control;
use crate::control::ControlError;
use crate::control::accounts::Accounts;
use crate::control::reminders::StateCounts;
use crate::db::reminders::{ReminderCursor, ReminderFilter};
use crate::domain::access::Permission;
use crate::domain::ids::Channel;
use crate::domain::reminder::ReminderState;
use crate::web::AppState;
use crate::web::access::RouteTable;

pub use self::row::{ReminderRow, RuleLink, governing, rows};

/// Reminders on a page.
const SHOWN: i64 = 50;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, ReminderTab::Coming.path(), coming::show);
    table.page(Permission::View, ReminderTab::Sent.path(), sent);
    table.page(Permission::View, ReminderTab::NotSent.path(), not_sent);
    table.page(
        Permission::View,
        ReminderTab::Decisions.path(),
        decisions::show,
    );
    story::add(table);
}

/// The lists beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReminderTab {
    Coming,
    Sent,
    NotSent,
    Decisions,
}

impl ReminderTab {
    const ALL: [Self; 4] = [Self::Coming, Self::Sent, Self::NotSent, Self::Decisions];

    const fn path(self) -> &'static str {
        match self {
            Self::Coming => "/reminders",
            Self::Sent => "/reminders/sent",
            Self::NotSent => "/reminders/not-sent",
            Self::Decisions => "/reminders/decisions",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Coming => "Coming",
            Self::Sent => "Sent",
            Self::NotSent => "Not sent",
            Self::Decisions => "Decisions",
        }
    }

    /// The states of its reminders.
    fn states(self) -> &'static [ReminderState] {
        match self {
            Self::Coming => &[ReminderState::Scheduled, ReminderState::Sending],
            Self::Sent => &[ReminderState::Sent, ReminderState::Delivered],
            Self::NotSent => &[
                ReminderState::Cancelled,
                ReminderState::Expired,
                ReminderState::Failed,
                ReminderState::Undelivered,
                ReminderState::Unknown,
            ],
            Self::Decisions => &[],
        }
    }

    fn of(state: ReminderState) -> Self {
        let tabs = Self::ALL.into_iter();
        let mut with_it = tabs.filter(|tab| tab.states().contains(&state));
        with_it.next().unwrap_or(Self::Coming)
    }
}

/// Where the reminders of a state are listed.
pub fn list_of(state: ReminderState) -> String {
    let tab = ReminderTab::of(state);
    match tab {
        ReminderTab::Coming => tab.path().to_owned(),
        _ => format!("{}?state={state}", tab.path()),
    }
}

/// A tab, with how many there are in it.
#[derive(Serialize)]
struct TabLink {
    href: &'static str,
    label: &'static str,
    count: Option<String>,
    current: bool,
}

fn tabs(counts: &StateCounts, current: ReminderTab) -> [TabLink; 4] {
    ReminderTab::ALL.map(|tab| TabLink {
        href: tab.path(),
        label: tab.label(),
        count: (tab != ReminderTab::Decisions).then(|| counts.of(tab.states()).to_string()),
        current: tab == current,
    })
}

async fn counts(
    state: &AppState,
    accounts: &Accounts,
    channel: Option<Channel>,
) -> Result<StateCounts, ControlError> {
    let since = state.reminders_since();
    control::reminders::counts(&state.pool, accounts, channel, since).await
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default)]
    state: String,
    #[serde(default)]
    channel: String,
    /// Milliseconds and number of the last reminder of the page before.
    before: Option<i64>,
    id: Option<i64>,
}

impl ListQuery {
    fn filter(&self) -> ReminderFilter {
        ReminderFilter {
            channel: self.channel.parse().ok(),
            ..ReminderFilter::default()
        }
    }

    fn state(&self, tab: ReminderTab) -> Option<ReminderState> {
        let state = ReminderState::parse(&self.state);
        state.filter(|state| tab.states().contains(state))
    }

    fn after(&self) -> Option<ReminderCursor> {
        Some(ReminderCursor {
            created_at: DateTime::from_timestamp_micros(self.before?)?,
            id: self.id?,
        })
    }

    /// The same list with another state, or further back.
    fn link(&self, tab: ReminderTab, state: &str, next: Option<ReminderCursor>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let own = [("state", state), ("channel", &self.channel)];
        query.extend_pairs(own.iter().filter(|(_, value)| !value.is_empty()));
        if let Some(next) = next {
            query.append_pair("before", &next.created_at.timestamp_micros().to_string());
            query.append_pair("id", &next.id.to_string());
        }
        match query.finish() {
            query if query.is_empty() => tab.path().to_owned(),
            query => format!("{}?{query}", tab.path()),
        }
    }
}

#[derive(Serialize)]
struct ListPage<'a> {
    tabs: [TabLink; 4],
    path: &'static str,
    heading: &'static str,
    states: Vec<StateLink>,
    state: &'a str,
    channels: labels::ChannelChoices,
    filtered: bool,
    reminders: Vec<ReminderRow<'a>>,
    older: Option<String>,
}

/// A state to narrow a list to, or all of them.
#[derive(Serialize)]
struct StateLink {
    href: String,
    label: &'static str,
    count: i64,
    current: bool,
}

async fn sent(
    page: PageFrame,
    state: Shared<AppState>,
    wanted: Query<ListQuery>,
) -> Result<Response, PageError> {
    list(page, state, wanted, ReminderTab::Sent).await
}

async fn not_sent(
    page: PageFrame,
    state: Shared<AppState>,
    wanted: Query<ListQuery>,
) -> Result<Response, PageError> {
    list(page, state, wanted, ReminderTab::NotSent).await
}

async fn list(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(wanted): Query<ListQuery>,
    tab: ReminderTab,
) -> Result<Response, PageError> {
    let filter = wanted.filter();
    let (pool, after) = (&state.pool, wanted.after());
    let counts = counts(&state, &page.accounts, filter.channel).await?;
    let chosen = wanted.state(tab);
    let states_shown = chosen.map_or_else(|| tab.states().to_vec(), |state| vec![state]);
    let found = control::reminders::search_states(
        pool,
        &page.accounts,
        filter.clone(),
        &states_shown,
        after,
        SHOWN,
    )
    .await?;
    let filtered = chosen.is_some() || filter.channel.is_some();
    let values = ListPage {
        tabs: tabs(&counts, tab),
        path: tab.path(),
        heading: tab.label(),
        states: states(&wanted, tab, &counts),
        state: chosen.map_or("", ReminderState::as_str),
        channels: labels::channels(filter.channel),
        filtered: filtered || wanted.before.is_some(),
        reminders: rows(&found.reminders, state.clock.now()),
        older: found
            .next
            .map(|next| wanted.link(tab, &wanted.state, Some(next))),
    };
    Ok(page.render("reminders.hbs", "Reminders", values))
}

fn states(wanted: &ListQuery, tab: ReminderTab, counts: &StateCounts) -> Vec<StateLink> {
    let chosen = wanted.state(tab);
    let all = StateLink {
        href: wanted.link(tab, "", None),
        label: "All",
        count: counts.of(tab.states()),
        current: chosen.is_none(),
    };
    let each = tab.states().iter().map(|state| StateLink {
        href: wanted.link(tab, state.as_str(), None),
        label: label(*state),
        count: counts.of(&[*state]),
        current: chosen == Some(*state),
    });
    [all].into_iter().chain(each).collect()
}

/// What the reminders of a state have in common, in a word or two.
fn label(state: ReminderState) -> &'static str {
    match state {
        ReminderState::Sent => "Sent, no delivery report",
        ReminderState::Cancelled => "Not needed",
        other => control::story::state_words(other, None),
    }
}

/// The list that a link of earlier means: it named a state of all reminders.
fn moved(state: &str, wanted: &str) -> Option<Response> {
    let state = ReminderState::parse(state)?;
    let tab = ReminderTab::of(state);
    (tab != ReminderTab::Coming)
        .then(|| Redirect::to(&format!("{}?{wanted}", tab.path())).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_in_one_list() {
        for state in ReminderState::ALL {
            let tabs = ReminderTab::ALL.into_iter();
            let with_it = tabs.filter(|tab| tab.states().contains(&state));
            assert_eq!(with_it.count(), 1, "{state}");
        }
    }

    #[test]
    fn a_list_keeps_its_filter_from_page_to_page() {
        let wanted = ListQuery {
            state: "failed".to_owned(),
            channel: "sms".to_owned(),
            before: None,
            id: None,
        };
        let tab = ReminderTab::NotSent;
        assert_eq!(
            wanted.link(tab, "failed", None),
            "/reminders/not-sent?state=failed&channel=sms"
        );
        let place = ReminderCursor {
            created_at: DateTime::UNIX_EPOCH,
            id: 7,
        };
        assert_eq!(
            wanted.link(tab, "", Some(place)),
            "/reminders/not-sent?channel=sms&before=0&id=7"
        );
    }
}
