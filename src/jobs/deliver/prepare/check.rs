//! Asks LivePerson about the conversations of a batch.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;

use super::{DeliveryBatch, UNCHECKED_PAUSE};
use crate::clock::Moment;
use crate::domain::conversation::Record;

/// What LivePerson said about the conversations of a batch.
pub(super) enum LivePersonCheck {
    /// By conversation; one that is not there is not known to LivePerson.
    Fresh {
        asked: Moment,
        records: HashMap<String, Record>,
        unreadable: HashSet<String>,
        incomplete: bool,
    },
    Unchecked {
        pause: TimeDelta,
    },
}

impl LivePersonCheck {
    pub(super) fn asked(&self) -> Option<Moment> {
        match self {
            Self::Fresh { asked, .. } => Some(*asked),
            Self::Unchecked { .. } => None,
        }
    }
}

impl DeliveryBatch<'_> {
    /// Asks LivePerson about the conversations; nothing is decided from an older state.
    pub(super) async fn check(&self, mut ids: Vec<String>) -> LivePersonCheck {
        if let Some(pause) = self.account.paused() {
            return LivePersonCheck::Unchecked { pause };
        }
        let before = Moment::now();
        ids.sort_unstable();
        ids.dedup();
        match self.account.by_ids(&ids).await {
            Ok(answer) => LivePersonCheck::Fresh {
                asked: answer.asked.unwrap_or(before),
                records: answer
                    .records
                    .into_iter()
                    .map(|r| (r.id.clone(), r))
                    .collect(),
                unreadable: answer.unreadable.into_iter().filter_map(|u| u.id).collect(),
                incomplete: answer.incomplete,
            },
            Err(error) => {
                let asked = error
                    .retry_after()
                    .and_then(|d| TimeDelta::from_std(d).ok());
                let pause = asked.map_or(UNCHECKED_PAUSE, |asked| asked.max(UNCHECKED_PAUSE));
                tracing::warn!(account = %self.account.id, conversations = ids.len(), "Cannot re-check: {error}");
                self.account.pause();
                LivePersonCheck::Unchecked { pause }
            }
        }
    }
}
