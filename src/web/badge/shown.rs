//! Which conversations pages show as unread at present. It is told to the database, so that the account's scans ask about them.
//!
//! An answer from the conversations table holds for seconds, so whoever keeps asking comes by here often enough, and so does an open stream.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::db;
use crate::domain::ids::AccountId;
use crate::web::AppState;

/// Told at once, at most; what comes beyond that comes by again.
const MOST: usize = 10_000;
/// After it was told, others are collected for so long.
const EVERY: Duration = Duration::from_secs(15);

#[derive(Default)]
pub struct ShownConversations {
    shown: Mutex<HashSet<(AccountId, String)>>,
    noted: Notify,
}

impl ShownConversations {
    pub fn note(&self, account: &AccountId, conversations: &[String]) {
        if conversations.is_empty() {
            return;
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST.saturating_sub(shown.len());
        let new = conversations.iter().take(room);
        shown.extend(new.map(|conversation| (account.clone(), conversation.clone())));
        self.noted.notify_one();
    }

    fn take(&self) -> Vec<(AccountId, String)> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.drain().collect()
    }
}

/// Tells the database until the process stops. What it does not take is shown again soon.
pub async fn tell(state: AppState, shutdown: CancellationToken) {
    let telling = async {
        loop {
            state.badge.shown.noted.notified().await;
            let shown = state.badge.shown.take();
            if let Err(error) = db::open_badges::shown(&state.pool, &shown, state.clock.now()).await
            {
                tracing::warn!("Open badges cannot be noted: {error}");
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    shutdown.run_until_cancelled(telling).await;
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
