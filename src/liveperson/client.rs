//! The calls, with credentials, the shared limit, and the few retries that belong to a single call.
//!
//! Only a search is repeated here, because a scan in its middle has nowhere else to wait. A question by ids is not: the
//! delivery that asks has a state to go back to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, WWW_AUTHENTICATE,
};
use reqwest::{RequestBuilder, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::csds::{self, Hosts, Service};
use super::http::{Answer, exchange};
use super::oauth1::{Key, Skew};
use super::request::{Call, MAX_IDS, Search};
use super::token::{self, Token, Tokens};
use super::{Auth, Error, Observer, Page, Records, Settings, Skills, Turnstile, answer};
use crate::clock::Clock;

const REVISION: HeaderName = HeaderName::from_static("ac-revision");
/// A longer revision is not one, and not sent back.
const MAX_REVISION: usize = 128;

/// One account's client. Clones share hosts, token and connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    settings: Settings,
    http: reqwest::Client,
    limit: Arc<dyn Turnstile>,
    clock: Clock,
    observer: Arc<dyn Observer>,
    hosts: Hosts,
    tokens: Tokens,
    skew: Skew,
    /// The server's clock minus ours, at the last answer that showed it.
    server_ahead: Mutex<Option<TimeDelta>>,
}

impl Client {
    pub fn new(
        settings: Settings,
        http: reqwest::Client,
        limit: Arc<dyn Turnstile>,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self(Arc::new(Inner {
            settings,
            http,
            limit,
            clock,
            observer,
            hosts: Hosts::default(),
            tokens: Tokens::default(),
            skew: Skew::default(),
            server_ahead: Mutex::default(),
        }))
    }

    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// One page of conversations, from `offset` on. What is for a moment not available or throttled is tried again, after
    /// the waits of the settings.
    pub async fn search(&self, search: &Search, offset: u32) -> Result<Page, Error> {
        let limit = self.settings().page_size;
        let mut delays = self.settings().retry_delays.iter();
        loop {
            let error = match self.search_once(search, offset, limit).await {
                Err(error) if error.retryable() => error,
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
    ) -> Result<Page, Error> {
        let call = Call::search(self.settings(), search, offset, limit);
        self.history(&call, offset, limit).await
    }

    /// The conversations with these ids, in any order; those that LivePerson does not know are left out. More than
    /// [`MAX_IDS`] ids are asked for in several calls, all of which must succeed. Not repeated on failure.
    pub async fn by_ids(&self, ids: &[String]) -> Result<Records, Error> {
        let mut records = Records::default();
        for ids in ids.chunks(MAX_IDS) {
            let call = Call::by_ids(self.settings(), ids);
            let page = self.history(&call, 0, u32::MAX).await?;
            records.records.extend(page.records);
            records.unreadable.extend(page.unreadable);
            records.incomplete |= page.incomplete;
        }
        Ok(records)
    }

    /// The open conversations of a consumer, by LivePerson's id of them (not the brand's). Not repeated on failure.
    pub async fn by_consumer(&self, consumer: &str) -> Result<Records, Error> {
        let call = Call::by_consumer(self.settings(), consumer);
        let page = self.history(&call, 0, self.settings().page_size).await?;
        Ok(Records {
            incomplete: page.incomplete || page.total > page.received,
            records: page.records,
            unreadable: page.unreadable,
        })
    }

    async fn history(&self, call: &Call, offset: u32, limit: u32) -> Result<Page, Error> {
        let answer = self.call(call).await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(Page::default());
        }
        answer::page(&answer.body, offset, limit, call.endpoint)
    }

    /// All skills, or `None` if nothing has changed since `revision`.
    pub async fn skills(&self, revision: Option<&str>) -> Result<Option<Skills>, Error> {
        let call = Call::skills(self.settings(), revision);
        let answer = self.call(&call).await?;
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

    /// One call with credentials. A 401 that new credentials may cure is tried once more: with a fresh token, or with the
    /// clock set right.
    async fn call(&self, call: &Call) -> Result<Answer, Error> {
        let (answer, used) = self.attempt(call).await?;
        if answer.status == StatusCode::UNAUTHORIZED && self.mend(&answer, &used).await {
            let (answer, _) = self.attempt(call).await?;
            return self.accepted(call, answer).await;
        }
        self.accepted(call, answer).await
    }

    async fn accepted(&self, call: &Call, answer: Answer) -> Result<Answer, Error> {
        let accepted = answer.accepted(call.endpoint, self.0.clock.now());
        if let Err(Error::Throttled { retry_after, .. }) = accepted {
            self.0.limit.hold(retry_after).await;
        }
        accepted
    }

    async fn attempt(&self, call: &Call) -> Result<(Answer, HeaderValue), Error> {
        let host = self.host(call.service).await?;
        let url = call.url(self.settings(), &host)?;
        let credentials = self.credentials(call, &url).await?;
        let mut request = self
            .0
            .http
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, credentials.clone());
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        if let Some(revision) = &call.if_match {
            request = request.header(IF_MATCH, revision);
        }
        self.0.limit.pass().await;
        let answer = self
            .observed(request, call.endpoint, self.settings().max_body)
            .await;
        if let Err(Error::Unavailable { .. }) = answer {
            self.0.hosts.doubt(call.service).await;
        }
        Ok((answer?, credentials))
    }

    async fn credentials(&self, call: &Call, url: &Url) -> Result<HeaderValue, Error> {
        match &self.settings().auth {
            Auth::OAuth2 { .. } => self.token().await,
            Auth::OAuth1 {
                consumer_key,
                consumer_secret,
                token,
                token_secret,
            } => {
                let key = Key {
                    consumer_key,
                    consumer_secret,
                    token,
                    token_secret,
                };
                let at = self.0.clock.now() + TimeDelta::seconds(self.0.skew.seconds());
                let nonce = format!("{:032x}", rand::random::<u128>());
                let header = key.sign(&call.method, url, at, &nonce);
                let mut header = HeaderValue::try_from(header).expect("encoded, hence ASCII");
                header.set_sensitive(true);
                Ok(header)
            }
        }
    }

    /// Whether a second try after this 401 makes sense.
    async fn mend(&self, answer: &Answer, used: &HeaderValue) -> bool {
        match self.settings().auth {
            Auth::OAuth2 { .. } => {
                self.0.tokens.discard(used).await;
                true
            }
            Auth::OAuth1 { .. } => answer
                .header(&WWW_AUTHENTICATE)
                .is_some_and(|advice| self.0.skew.learn(advice, self.0.clock.now())),
        }
    }

    pub(super) async fn token(&self) -> Result<HeaderValue, Error> {
        let pause = self.settings().token_pause;
        let now = self.0.clock.now();
        self.0.tokens.get(now, pause, self.fetch_token()).await
    }

    async fn fetch_token(&self) -> Result<Token, Error> {
        let Auth::OAuth2 {
            client_id,
            client_secret,
        } = &self.settings().auth
        else {
            unreachable!("only asked for with OAuth 2.0");
        };
        let host = self.host(Service::Token).await?;
        let url = format!(
            "{}://{host}/sentinel/api/v2/account/{}/app/token",
            self.settings().service_scheme.as_str(),
            self.settings().account
        );
        let request = self.0.http.post(url).form(&[
            ("client_id", client_id.as_str()),
            ("client_secret", client_secret.expose()),
            ("grant_type", "client_credentials"),
        ]);
        let answer = self
            .observed(request, token::ENDPOINT, token::MAX_BODY)
            .await;
        if let Err(Error::Unavailable { .. }) = answer {
            self.0.hosts.doubt(Service::Token).await;
        }
        let now = self.0.clock.now();
        match answer?.accepted(token::ENDPOINT, now) {
            Ok(answer) => token::parse(&answer.body, now),
            // A token server may say so with 400 (RFC 6749, section 5.2).
            Err(Error::Rejected { endpoint, status }) => {
                Err(Error::Unauthorized { endpoint, status })
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn host(&self, service: Service) -> Result<String, Error> {
        let now = self.0.clock.now();
        self.0.hosts.get(service, now, self.lookup(service)).await
    }

    async fn lookup(&self, service: Service) -> Result<String, Error> {
        let mut url = self.settings().csds_url.clone();
        url.set_path(&format!(
            "/api/account/{}/service/{}/baseURI.json",
            self.settings().account,
            service.name()
        ));
        url.set_query(Some("version=1.0"));
        let request = self.0.http.get(url).timeout(csds::PATIENCE);
        let answer = self
            .observed(request, csds::ENDPOINT, csds::MAX_BODY)
            .await?;
        csds::host(service, answer, self.0.clock.now())
    }

    async fn observed(
        &self,
        request: RequestBuilder,
        endpoint: &'static str,
        max_body: usize,
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        let answer = exchange(request, endpoint, max_body).await;
        let now = self.0.clock.now();
        let outcome = match &answer {
            Ok(answer) => answer.label(),
            Err(error) => error.label(),
        };
        self.0
            .observer
            .on_call(endpoint, outcome, started.elapsed());
        if let Some(date) = answer.as_ref().ok().and_then(Answer::date) {
            *self.ahead() = Some(date - now);
        }
        answer
    }

    fn ahead(&self) -> std::sync::MutexGuard<'_, Option<TimeDelta>> {
        let ahead = self.0.server_ahead.lock();
        ahead.unwrap_or_else(PoisonError::into_inner)
    }

    /// LivePerson's clock minus ours, to the second, if any answer so far has shown it.
    pub(super) fn server_ahead(&self) -> Option<TimeDelta> {
        *self.ahead()
    }
}

/// A fifth shorter or longer, so that many workers do not come back at one moment.
fn vary(delay: Duration) -> Duration {
    delay.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}
