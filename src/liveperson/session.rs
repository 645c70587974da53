//! What is shared by all calls to one account: hosts, credentials, the limit, the clocks.
//!
//! [`LivePersonSession::call`] sends one call. It repeats it only after a 401 that new credentials may cure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MATCH, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::csds::{self, HostCache, Service};
use super::http::{LivePersonResponse, exchange};
use super::oauth1::{OAuth1Key, Skew};
use super::request::Call;
use super::token::{self, AccessToken, TokenCache};
use super::{
    LivePersonAuth, LivePersonError, LivePersonSettings, Observer, Purpose, RateLimiter, TooBusy,
};
use crate::clock::Clock;
use crate::secret::Secret;

pub struct LivePersonSession {
    settings: LivePersonSettings,
    http: reqwest::Client,
    limit: Arc<dyn RateLimiter>,
    clock: Clock,
    observer: Arc<dyn Observer>,
    hosts: HostCache,
    tokens: TokenCache,
    skew: Skew,
    /// The server's clock minus ours, at the last answer that showed it.
    server_ahead: Mutex<Option<TimeDelta>>,
}

impl LivePersonSession {
    pub fn new(
        settings: LivePersonSettings,
        http: reqwest::Client,
        limit: Arc<dyn RateLimiter>,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            settings,
            http,
            limit,
            clock,
            observer,
            hosts: HostCache::default(),
            tokens: TokenCache::default(),
            skew: Skew::default(),
            server_ahead: Mutex::default(),
        }
    }

    pub fn limit(&self) -> Arc<dyn RateLimiter> {
        self.limit.clone()
    }

    pub fn settings(&self) -> &LivePersonSettings {
        &self.settings
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// One call with credentials. A 401 that new credentials may cure is tried once more: with a fresh token, or with the
    /// clock set right.
    pub async fn call(
        &self,
        call: &Call,
        purpose: Purpose,
    ) -> Result<LivePersonResponse, LivePersonError> {
        let (mut answer, used) = self.attempt(call, purpose).await?;
        if answer.status == StatusCode::UNAUTHORIZED && self.recover(&answer, &used).await {
            (answer, _) = self.attempt(call, purpose).await?;
        }
        let accepted = answer.accepted(call.endpoint, self.clock.now());
        if let Err(LivePersonError::Throttled { retry_after, .. }) = accepted {
            self.limit.hold(retry_after).await;
        }
        accepted
    }

    async fn attempt(
        &self,
        call: &Call,
        purpose: Purpose,
    ) -> Result<(LivePersonResponse, HeaderValue), LivePersonError> {
        let host = self.host(call.service).await?;
        let url = call.url(&self.settings, &host)?;
        // Before the turn: all who wait for one token would else use their turns when it comes, at the same moment.
        if let LivePersonAuth::OAuth2 {
            client_id,
            client_secret,
        } = &self.settings.auth
        {
            self.token(client_id, client_secret).await?;
        }
        // Before the credentials: a turn may be long in coming, and a signature has a time in it.
        let turn = self.limit.pass(purpose).await;
        turn.map_err(|TooBusy(retry_after)| LivePersonError::Busy { retry_after })?;
        let credentials = self.credentials(call, &url).await?;
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, credentials.clone())
            .timeout(purpose.patience());
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        if let Some(revision) = &call.if_match {
            request = request.header(IF_MATCH, revision);
        }
        let answer = self
            .observed(request, call.endpoint, self.settings.max_body)
            .await;
        if let Err(LivePersonError::Unavailable { .. }) = answer {
            self.hosts.doubt(call.service).await;
        }
        Ok((answer?, credentials))
    }

    async fn credentials(&self, call: &Call, url: &Url) -> Result<HeaderValue, LivePersonError> {
        match &self.settings.auth {
            LivePersonAuth::OAuth2 {
                client_id,
                client_secret,
            } => self.token(client_id, client_secret).await,
            LivePersonAuth::OAuth1 {
                consumer_key,
                consumer_secret,
                token,
                token_secret,
            } => {
                let key = OAuth1Key {
                    consumer_key,
                    consumer_secret,
                    token: token.expose(),
                    token_secret,
                };
                let at = self.clock.now() + TimeDelta::seconds(self.skew.seconds());
                let nonce = format!("{:032x}", rand::random::<u128>());
                let header = key.sign(&call.method, url, at, &nonce);
                let mut header = HeaderValue::try_from(header).expect("encoded, hence ASCII");
                header.set_sensitive(true);
                Ok(header)
            }
        }
    }

    /// Whether a second try after this 401 makes sense.
    async fn recover(&self, answer: &LivePersonResponse, used: &HeaderValue) -> bool {
        match self.settings.auth {
            LivePersonAuth::OAuth2 { .. } => {
                self.tokens.discard(used).await;
                true
            }
            LivePersonAuth::OAuth1 { .. } => answer
                .header(&WWW_AUTHENTICATE)
                .is_some_and(|advice| self.skew.learn(advice, self.clock.now())),
        }
    }

    pub async fn token(&self, id: &str, secret: &Secret) -> Result<HeaderValue, LivePersonError> {
        let (now, pause) = (self.clock.now(), self.settings.token_pause);
        let fetch = self.fetch_token(id, secret);
        self.tokens.get(now, pause, fetch).await
    }

    async fn fetch_token(&self, id: &str, secret: &Secret) -> Result<AccessToken, LivePersonError> {
        let host = self.host(Service::Token).await?;
        let url = format!(
            "{}://{host}/sentinel/api/v2/account/{}/app/token",
            self.settings.service_scheme.as_str(),
            self.settings.account
        );
        let request = self.http.post(url).form(&[
            ("client_id", id),
            ("client_secret", secret.expose()),
            ("grant_type", "client_credentials"),
        ]);
        let answer = self
            .observed(request, token::ENDPOINT, token::MAX_BODY)
            .await;
        if let Err(LivePersonError::Unavailable { .. }) = answer {
            self.hosts.doubt(Service::Token).await;
        }
        let now = self.clock.now();
        match answer?.accepted(token::ENDPOINT, now) {
            Ok(answer) => token::parse(&answer.body, now),
            // A token server may say so with 400 (RFC 6749, section 5.2).
            Err(LivePersonError::Rejected { endpoint, status }) => {
                Err(LivePersonError::Unauthorized { endpoint, status })
            }
            Err(error) => Err(error),
        }
    }

    pub async fn host(&self, service: Service) -> Result<String, LivePersonError> {
        let now = self.clock.now();
        self.hosts.get(service, now, self.lookup(service)).await
    }

    async fn lookup(&self, service: Service) -> Result<String, LivePersonError> {
        let mut url = self.settings.csds_url.clone();
        url.set_path(&format!(
            "/api/account/{}/service/{}/baseURI.json",
            self.settings.account,
            service.name()
        ));
        url.set_query(Some("version=1.0"));
        let request = self.http.get(url).timeout(csds::PATIENCE);
        let answer = self
            .observed(request, csds::ENDPOINT, csds::MAX_BODY)
            .await?;
        csds::host(service, answer, self.clock.now())
    }

    async fn observed(
        &self,
        request: RequestBuilder,
        endpoint: &'static str,
        max_body: usize,
    ) -> Result<LivePersonResponse, LivePersonError> {
        let started = Instant::now();
        let answer = exchange(request, endpoint, max_body).await;
        let now = self.clock.now();
        let outcome = match &answer {
            Ok(answer) => answer.label(),
            Err(error) => error.label(),
        };
        self.observer.on_call(endpoint, outcome, started.elapsed());
        if let Some(date) = answer.as_ref().ok().and_then(LivePersonResponse::date) {
            *self.ahead() = Some(date - now);
        }
        answer
    }

    fn ahead(&self) -> MutexGuard<'_, Option<TimeDelta>> {
        let ahead = self.server_ahead.lock();
        ahead.unwrap_or_else(PoisonError::into_inner)
    }

    /// LivePerson's clock minus ours, to the second, if any answer so far has shown it.
    pub fn server_ahead(&self) -> Option<TimeDelta> {
        *self.ahead()
    }
}
