//! Which conversations pages show as unread at present. It is told to the database, so that the account's scans ask about them.
//!
//! An answer from the conversations table holds for seconds, so whoever keeps asking comes by here often enough, and so does an open stream.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::db;
use crate::domain::ids::AccountId;
use crate::web::AppState;

/// Told at once, at most; what comes beyond that comes by again.
const MOST: usize = 10_000;
/// How often it is told.
const EVERY: Duration = Duration::from_secs(15);

#[derive(Default)]
pub struct ShownConversations(Mutex<HashSet<(AccountId, String)>>);

impl ShownConversations {
    pub fn note(&self, account: &AccountId, conversations: &[String]) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST.saturating_sub(shown.len());
        let new = conversations.iter().take(room);
        shown.extend(new.map(|conversation| (account.clone(), conversation.clone())));
    }

    fn take(&self) -> Vec<(AccountId, String)> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.drain().collect()
    }
}

/// Tells the database until the process stops. What it does not take is shown again soon.
pub async fn tell(state: AppState, shutdown: CancellationToken) {
    let telling = async {
        loop {
            tokio::time::sleep(EVERY).await;
            tell_once(&state).await;
        }
    };
    shutdown.run_until_cancelled(telling).await;
}

pub async fn tell_once(state: &AppState) {
    let shown = state.badge.shown.take();
    if shown.is_empty() {
        return;
    }
    if let Err(error) = db::open_badges::shown(&state.pool, &shown, state.clock.now()).await {
        tracing::warn!("Open badges cannot be noted: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_never_more_than_the_bound() {
        let shown = ShownConversations::default();
        let account: AccountId = "12345678".parse().unwrap();
        for n in 0..MOST + 5 {
            let id = vec![n.to_string()];
            shown.note(&account, &id);
            shown.note(&account, &id);
        }
        assert_eq!(shown.take().len(), MOST);
        assert!(shown.take().is_empty());
    }
}
