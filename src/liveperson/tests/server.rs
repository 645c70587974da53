//! A server that is LivePerson's four services at once, and answers the history and the skills from a script.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::super::{
    LivePersonAuth, LivePersonClient, LivePersonSettings, Observer, Purpose, RateLimiter, Scheme,
    TooBusy, http_client,
};
use super::SEARCH_EMPTY;
use crate::clock::Clock;
use crate::secret::Secret;

pub const NOW: DateTime<Utc> = DateTime::from_timestamp_secs(1_773_144_000).unwrap();

/// What the server is to answer once.
pub enum Reply {
    Full {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// The connection breaks in the middle of the body.
    Torn,
    Never,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::with(status, &[], "")
    }

    pub fn ok(body: impl Into<String>) -> Self {
        Self::with(200, &[], body)
    }

    pub fn with(status: u16, headers: &[(&'static str, &str)], body: impl Into<String>) -> Self {
        Self::Full {
            status,
            headers: headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
            body: body.into(),
        }
    }

    async fn into_response(self) -> Response {
        match self {
            Self::Full {
                status,
                headers,
                body,
            } => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response.body(Body::from(body)).unwrap()
            }
            Self::Torn => {
                let chunks = [
                    Ok("{\"_metadata\":"),
                    Err(std::io::Error::other("torn on purpose")),
                ];
                Response::new(Body::from_stream(futures_util::stream::iter(chunks)))
            }
            Self::Never => std::future::pending().await,
        }
    }
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub authorization: String,
    pub if_match: Option<String>,
    pub body: String,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Default)]
pub struct Script {
    pub seen: Vec<Seen>,
    /// Answers of the history and the skills; when they run out, an empty page.
    pub replies: VecDeque<Reply>,
    /// Answers of the token server; when they run out, tokens `token-1`, `token-2`, …
    pub tokens: VecDeque<Reply>,
    pub tokens_issued: u32,
    /// Answers of the lookup; when they run out, this server's own address.
    pub domains: VecDeque<Reply>,
}

type Shared = Arc<Mutex<Script>>;

pub struct Server {
    pub address: SocketAddr,
    script: Shared,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Shared::default();
        let router = Router::new()
            .fallback(answer)
            .with_state((address, script.clone()));
        let task = tokio::spawn(async { axum::serve(listener, router).await });
        Self {
            address,
            script,
            task: task.abort_handle(),
        }
    }

    pub fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().unwrap())
    }

    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script(|script| script.replies.extend(replies));
    }

    /// The requests whose path contains `part`.
    pub fn seen(&self, part: &str) -> Vec<Seen> {
        let all = self.script(|script| script.seen.clone());
        all.into_iter()
            .filter(|seen| seen.path.contains(part))
            .collect()
    }

    pub fn settings(&self, auth: LivePersonAuth) -> LivePersonSettings {
        LivePersonSettings {
            csds_url: format!("http://{}", self.address).parse().unwrap(),
            service_scheme: Scheme::Http,
            retry_delays: vec![Duration::from_millis(2); 3],
            ..LivePersonSettings::new("12345678".parse().unwrap(), auth)
        }
    }

    pub fn client(&self) -> LivePersonClient {
        client(self.settings(oauth2()), Clock::manual(NOW))
    }
}

pub fn client(settings: LivePersonSettings, clock: Clock) -> LivePersonClient {
    let limit = Arc::new(super::super::Unlimited);
    LivePersonClient::new(settings, http_client(), limit, clock, Arc::new(()))
}

pub fn oauth2() -> LivePersonAuth {
    LivePersonAuth::OAuth2 {
        client_id: "11111111-2222-4333-8444-555555555555".to_owned(),
        client_secret: Secret::new("example-client-secret"),
    }
}

pub fn oauth1() -> LivePersonAuth {
    LivePersonAuth::OAuth1 {
        consumer_key: "exampleappkey".to_owned(),
        consumer_secret: Secret::new("exampleappsecret"),
        token: Secret::new("exampletoken"),
        token_secret: Secret::new("exampletokensecret"),
    }
}

async fn answer(
    State((address, script)): State<(SocketAddr, Shared)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        let value = parts.headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        authorization: header("authorization").unwrap_or_default(),
        if_match: header("if-match"),
        body: String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap(),
    };
    let reply = {
        let mut script = script.lock().unwrap();
        let path = seen.path.clone();
        script.seen.push(seen);
        if path.contains("/service/") {
            let known = json!({ "baseURI": address.to_string() }).to_string();
            script.domains.pop_front().unwrap_or(Reply::ok(known))
        } else if path.contains("/sentinel/") {
            script.tokens_issued += 1;
            let token = json!({
                "access_token": format!("token-{}", script.tokens_issued),
                "token_type": "Bearer",
                "expires_in": "3600",
            });
            let token = Reply::ok(token.to_string());
            script.tokens.pop_front().unwrap_or(token)
        } else {
            script
                .replies
                .pop_front()
                .unwrap_or(Reply::ok(SEARCH_EMPTY))
        }
    };
    reply.into_response().await
}

/// Remembers what passed, and what was to be held.
#[derive(Default)]
pub struct Gate {
    pub passed: Mutex<u32>,
    pub held: Mutex<Vec<Duration>>,
}

impl RateLimiter for Gate {
    fn pass(&self, _purpose: Purpose) -> BoxFuture<'_, Result<(), TooBusy>> {
        *self.passed.lock().unwrap() += 1;
        Box::pin(std::future::ready(Ok(())))
    }

    fn hold(&self, pause: Duration) -> BoxFuture<'_, ()> {
        self.held.lock().unwrap().push(pause);
        Box::pin(std::future::ready(()))
    }
}

/// Remembers every call's endpoint and outcome.
#[derive(Default)]
pub struct Calls(pub Mutex<Vec<(&'static str, &'static str)>>);

impl Observer for Calls {
    fn on_call(&self, endpoint: &'static str, outcome: &'static str, _elapsed: Duration) {
        self.0.lock().unwrap().push((endpoint, outcome));
    }
}
