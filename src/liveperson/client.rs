//! The questions of the rest of the program.
//!
//! Only a search is repeated here, because a scan in its middle has nowhere else to wait. A question by ids is not: the
//! delivery that asks has a state to go back to.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{ETAG, HeaderName};

use super::request::{Call, MAX_IDS, Search};
use super::session::LivePersonSession;
use super::{
    LivePersonError, LivePersonSettings, Observer, Purpose, RateLimiter, Records, SearchPage,
    Skills, answer,
};
use crate::clock::Clock;

const REVISION: HeaderName = HeaderName::from_static("ac-revision");
/// A longer revision is not one, and not sent back.
const MAX_REVISION: usize = 128;

/// One account's client. Clones share hosts, token and connections.
#[derive(Clone)]
pub struct LivePersonClient {
    pub(super) session: Arc<LivePersonSession>,
    purpose: Purpose,
}

impl LivePersonClient {
    /// A client whose calls are re-checks; see [`LivePersonClient::made_for`].
    pub fn new(
        settings: LivePersonSettings,
        http: reqwest::Client,
        limit: Arc<dyn RateLimiter>,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            session: Arc::new(LivePersonSession::new(
                settings, http, limit, clock, observer,
            )),
            purpose: Purpose::Recheck,
        }
    }

    /// The same client, whose calls are made for this.
    #[must_use]
    pub fn made_for(&self, purpose: Purpose) -> Self {
        Self {
            session: self.session.clone(),
            purpose,
        }
    }

    /// The account's limit, for another client of the same account.
    pub fn limit(&self) -> Arc<dyn RateLimiter> {
        self.session.limit()
    }

    pub fn settings(&self) -> &LivePersonSettings {
        self.session.settings()
    }

    /// One page of conversations, from `offset` on. What is for a moment not available or throttled is tried again, after
    /// the waits of the settings, unless a person waits; what was not answered in time is not.
    pub async fn search(
        &self,
        search: &Search,
        offset: u32,
    ) -> Result<SearchPage, LivePersonError> {
        let limit = self.settings().page_size;
        let mut delays = self.settings().retry_delays.iter();
        loop {
            let error = match self.search_once(search, offset, limit).await {
                Err(error) if error.retryable() && !error.timed_out() && self.purpose.repeats() => {
                    error
                }
                done => return done,
            };
            let asked = error.retry_after().unwrap_or_default();
            match delays.next() {
                // Whoever is to stay away for longer than we would wait at most is better off giving the slot back.
                Some(delay) if asked <= self.longest_delay() => {
                    tokio::time::sleep(vary(*delay).max(asked)).await;
                }
                _ => return Err(error),
            }
        }
    }

    fn longest_delay(&self) -> Duration {
        let delays = self.settings().retry_delays.iter();
        delays.max().copied().unwrap_or_default()
    }

    pub(super) async fn search_once(
        &self,
        search: &Search,
        offset: u32,
        limit: u32,
    ) -> Result<SearchPage, LivePersonError> {
        let call = Call::search(self.settings(), search, offset, limit);
        self.history(&call, offset, limit).await
    }

    /// The conversations with these ids, in any order; those that LivePerson does not know are left out. More than
    /// [`MAX_IDS`] ids are asked for in several calls, all of which must succeed. Not repeated on failure.
    pub async fn by_ids(&self, ids: &[String]) -> Result<Records, LivePersonError> {
        let mut records = Records::default();
        for ids in ids.chunks(MAX_IDS) {
            let call = Call::by_ids(self.settings(), ids);
            records.add(self.history(&call, 0, u32::MAX).await?.into());
        }
        Ok(records)
    }

    /// The open conversations of a consumer, by LivePerson's id of them (not the brand's). Not repeated on failure.
    pub async fn by_consumer(&self, consumer: &str) -> Result<Records, LivePersonError> {
        let call = Call::by_consumer(self.settings(), consumer);
        let page = self.history(&call, 0, self.settings().page_size).await?;
        let incomplete = page.incomplete || page.total > page.received;
        Ok(Records {
            incomplete,
            ..page.into()
        })
    }

    async fn history(
        &self,
        call: &Call,
        offset: u32,
        limit: u32,
    ) -> Result<SearchPage, LivePersonError> {
        let answer = self.session.call(call, self.purpose).await?;
        let page = if answer.status == StatusCode::NO_CONTENT {
            SearchPage::default()
        } else {
            answer::page(&answer.body, offset, limit, call.endpoint)?
        };
        Ok(SearchPage {
            asked: Some(answer.asked),
            ..page
        })
    }

    /// All skills, or `None` if nothing has changed since `revision`.
    pub async fn skills(&self, revision: Option<&str>) -> Result<Option<Skills>, LivePersonError> {
        let call = Call::skills(self.settings(), revision);
        let answer = self.session.call(&call, self.purpose).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let revision = answer
            .header(&REVISION)
            .or_else(|| answer.header(&ETAG))
            .filter(|revision| (1..=MAX_REVISION).contains(&revision.len()))
            .map(str::to_owned);
        let skills = if answer.status == StatusCode::NO_CONTENT {
            Vec::new()
        } else {
            answer::skills(&answer.body, call.endpoint)?
        };
        Ok(Some(Skills { revision, skills }))
    }
}

/// A fifth shorter or longer, so that many workers do not come back at one moment.
fn vary(delay: Duration) -> Duration {
    delay.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}
