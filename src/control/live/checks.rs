//! What was found when an account's LivePerson and a channel's provider were last asked whether they work.
//!
//! Asking takes seconds, calls at LivePerson and a log-in at the provider. So one look at a time is made per account and channel, whoever
//! waits meanwhile is told the same, and it is told again for a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Installation, LivePreview, LiveRefusal};
use crate::config;
use crate::control::ControlError;
use crate::control::accounts::Allowed;
use crate::domain::ids::{AccountId, Channel};

/// For so long what was found is told again.
const KEPT: TimeDelta = TimeDelta::minutes(1);

/// Who wants to know how a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckCaller {
    /// Whoever may go live: LivePerson and the provider are asked, unless they were a moment ago.
    Operator,
    /// Whoever may only look is told what was found when they were last asked.
    Viewer,
}

impl CheckCaller {
    pub fn of(may_operate: bool) -> Self {
        if may_operate {
            Self::Operator
        } else {
            Self::Viewer
        }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct LiveCheck {
    pub at: DateTime<Utc>,
    /// What going live would do. `None`: LivePerson could not be asked.
    pub preview: Option<LivePreview>,
    /// What of LivePerson and the provider does not work.
    pub refusals: Vec<LiveRefusal>,
}

impl LiveCheck {
    /// Whether it tells how things are now.
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        let age = now - self.at;
        TimeDelta::zero() <= age && age < KEPT
    }
}

/// The last looks of one process. Accounts and channels are those of the settings: they are few.
#[derive(Debug, Default)]
pub struct LiveCheckCache(Mutex<HashMap<(AccountId, Channel), Arc<CheckSlot>>>);

/// Of one account's channel.
#[derive(Debug, Default)]
pub(super) struct CheckSlot {
    /// Held by whoever asks.
    pub asks: tokio::sync::Mutex<()>,
    last: Mutex<Option<Arc<LiveCheck>>>,
}

impl LiveCheckCache {
    pub(super) fn of(&self, account: &AccountId, channel: Channel) -> Arc<CheckSlot> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places
            .entry((account.clone(), channel))
            .or_default()
            .clone()
    }
}

impl CheckSlot {
    /// Waits for nobody.
    pub fn last(&self) -> Option<Arc<LiveCheck>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    pub fn keep(&self, look: LiveCheck) -> Arc<LiveCheck> {
        let look = Arc::new(look);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(look.clone());
        look
    }
}

impl Installation<'_> {
    /// Asks LivePerson and the provider, or tells what was found a moment ago if that `will_do`.
    pub(super) async fn check(
        &self,
        account: &config::AccountSettings,
        id: &Allowed<AccountId>,
        channel: Channel,
        will_do: impl Fn(&LiveCheck) -> bool,
    ) -> Result<Arc<LiveCheck>, ControlError> {
        let place = self.looks.of(id, channel);
        let _asks = place.asks.lock().await;
        let now = self.ctx.clock.now();
        let last = place.last();
        if let Some(look) = last.filter(|look| look.is_fresh(now) && will_do(look)) {
            return Ok(look);
        }
        Ok(place.keep(LiveCheck {
            at: now,
            preview: self.preview(id, channel).await?,
            refusals: (self.examine)(self.config, self.ctx, account, channel).await,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_told_again_for_a_minute() {
        let at: DateTime<Utc> = "2026-01-14T10:00:00Z".parse().unwrap();
        let look = LiveCheck {
            at,
            preview: None,
            refusals: Vec::new(),
        };
        for (seconds, fresh) in [(-1, false), (0, true), (59, true), (60, false)] {
            let now = at + TimeDelta::seconds(seconds);
            assert_eq!(look.is_fresh(now), fresh, "{seconds}");
        }
    }
}
