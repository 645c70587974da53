//! `GET /v1/badge/{account}/events`: the badge pushed as server-sent events, for as long as the token is good.
//!
//! A connection waits for notices of its consumer, wherever the change was learnt. What is sent is the whole state, so that a
//! missed event loses nothing; its id is the state's own, so that `Last-Event-ID` tells whether there is anything new to say.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::answer;
use super::cache::Ids;
use super::reply::{BadgeProblem, body, tag};
use super::token::Verified;
use crate::db::changes::ConsumerKey;
use crate::domain::ids::AccountId;
use crate::web::AppState;
use crate::web::limiter::ConnectionPermit;

/// Proxies and phones cut connections that are silent for longer.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// After so many heartbeats the answer is looked at without a notice: LivePerson sends none for consumers whom no scan meets.
const LOOK_EVERY: u32 = 3;

/// Even a token without end is asked for again.
const LONGEST: Duration = Duration::from_hours(1);

const PER_CONSUMER: usize = 5;
const PER_ADDRESS: usize = 50;

/// Who waits for notices.
#[derive(Default)]
pub struct Watchers(Mutex<HashMap<ConsumerKey, watch::Sender<()>>>);

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConsumerKey, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, key: ConsumerKey) -> watch::Receiver<()> {
        self.lock()
            .entry(key)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe()
    }

    fn leave(&self, key: ConsumerKey) {
        let mut watchers = self.lock();
        if watchers
            .get(&key)
            .is_some_and(|own| own.receiver_count() == 0)
        {
            watchers.remove(&key);
        }
    }

    pub fn wake(&self, key: ConsumerKey) {
        if let Some(watcher) = self.lock().get(&key) {
            watcher.send_replace(());
        }
    }

    pub fn wake_all(&self) {
        for watcher in self.lock().values() {
            watcher.send_replace(());
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// One open connection.
struct EventChannel {
    state: AppState,
    account: AccountId,
    consumer: String,
    key: ConsumerKey,
    notices: Option<watch::Receiver<()>>,
    /// The id of the state that the page has.
    shown: Option<String>,
    begun: bool,
    silent: u32,
    end: Instant,
    _connections: (
        ConnectionPermit<ConsumerKey>,
        ConnectionPermit<IpAddr>,
        ConnectionPermit<()>,
    ),
}

impl Drop for EventChannel {
    fn drop(&mut self) {
        self.notices = None;
        self.state.badge.watchers.leave(self.key);
    }
}

pub fn open(
    state: &AppState,
    account: &AccountId,
    token: Verified,
    address: IpAddr,
    headers: &HeaderMap,
) -> Result<Response, BadgeProblem> {
    let badge = &state.badge;
    let key = badge.keys.of(account, &token.subject);
    let connections = || {
        let all = badge.connections.open((), badge.streams)?;
        let of_address = badge.of_address.open(address, PER_ADDRESS)?;
        let of_consumer = badge.of_consumer.open(key, PER_CONSUMER)?;
        Some((of_consumer, of_address, all))
    };
    let connections = connections().ok_or(BadgeProblem::TooMany(HEARTBEAT))?;
    let good_for = state.clock.wait_until(token.expires).min(LONGEST);
    let shown = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    let channel = EventChannel {
        state: state.clone(),
        account: account.clone(),
        consumer: token.subject,
        key,
        notices: Some(badge.watchers.watch(key)),
        shown,
        begun: false,
        silent: 0,
        end: Instant::now() + good_for,
        _connections: connections,
    };
    let mut response = Sse::new(events(channel)).into_response();
    let headers = response.headers_mut();
    let never = HeaderValue::from_static("private, no-store");
    headers.insert(header::CACHE_CONTROL, never);
    // nginx would collect the events.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn events(channel: EventChannel) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(channel, |mut channel| async move {
        let event = channel.next().await?;
        Some((Ok(event), channel))
    })
}

impl EventChannel {
    /// The next thing to send; `None` is the end.
    async fn next(&mut self) -> Option<Event> {
        if !self.begun {
            self.begun = true;
            return Some(self.news().await.unwrap_or_else(heartbeat));
        }
        let shutdown = self.state.badge.shutdown.clone();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = sleep_until(self.end) => return None,
                changed = self.notices.as_mut()?.changed() => {
                    changed.ok()?;
                    if let Some(event) = self.news().await {
                        return Some(event);
                    }
                }
                () = sleep(HEARTBEAT) => {
                    self.silent += 1;
                    let look = self.silent.is_multiple_of(LOOK_EVERY);
                    let news = if look { self.news().await } else { None };
                    return Some(news.unwrap_or_else(heartbeat));
                }
            }
        }
    }

    /// The state, if it is another than the page has. A state that cannot be read is no news, and is looked at again soon.
    async fn news(&mut self) -> Option<Event> {
        let now = std::time::Instant::now();
        let found = answer(&self.state, &self.account, &self.consumer, Ids::Both, now).await;
        let Ok((answer, _)) = found else {
            self.silent = LOOK_EVERY - 1;
            return None;
        };
        let id = tag(&answer);
        if self.shown.as_ref() == Some(&id) {
            return None;
        }
        self.shown = Some(id.clone());
        Some(Event::default().event("unread").id(id).data(body(&answer)))
    }
}

fn heartbeat() -> Event {
    Event::default().comment("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_leave_nothing_behind() {
        let watchers = Watchers::default();
        let mut first = watchers.watch(1);
        let second = watchers.watch(1);
        watchers.wake(1);
        watchers.wake(2);
        assert!(first.has_changed().unwrap());
        first.mark_unchanged();
        drop(second);
        watchers.leave(1);
        watchers.wake_all();
        assert!(first.has_changed().unwrap(), "still there for the first");
        drop(first);
        watchers.leave(1);
        assert!(watchers.is_empty());
    }
}
