//! The web part on a database and a sandbox of its own.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use unread::app::{self, Database, RoleSet, Running, Start};
use unread::clock::Clock;
use unread::config::{Config, ProcessRole, Sources};
use unread::db::conversations::{self, ConversationSnapshot, Decided};
use unread::demo;
use unread::domain::channel::PerChannel;
use unread::domain::ids::SkillId;
use unread::domain::read_state::ReadStatus;
use unread::postgres::Durability;
use unread::sandbox::faults::Endpoint;
use unread::sandbox::{Options, Sandbox};

use crate::database::TestDatabase;
use crate::harness::{PATIENCE, migrated};

pub const ACCOUNT: &str = unread::sandbox::ACCOUNT;
pub const SECRET: &str = "a secret of thirty-two characters";

pub struct BadgeStage {
    pub sandbox: Sandbox,
    pub port: u16,
    pub conversations: Conversations,
    running: Running,
    shutdown: CancellationToken,
    http: reqwest::Client,
    _database: TestDatabase,
}

impl BadgeStage {
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let database = migrated().await;
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let mut environment = demo::environment(sandbox.endpoints());
        for (key, value) in [
            ("DATABASE_URL", database.url.as_str()),
            ("PORT", "0"),
            ("UNREAD_METRICS_PORT", "0"),
            ("UNREAD_BIND", "127.0.0.1"),
            ("UNREAD_BADGE_SECRET", SECRET),
            ("UNREAD_BADGE_REQUESTS_PER_SECOND", "100000"),
            // Thousands of visitors have one address here.
            ("UNREAD_CONNECTIONS_PER_ADDRESS", "2000"),
        ]
        .iter()
        .chain(settings)
        {
            environment.insert((*key).to_owned(), (*value).to_owned());
        }
        let sources = Sources {
            environment,
            file: None,
            read_secret: |path: &Path| std::fs::read_to_string(path),
        };
        let config = Config::read(&sources, ProcessRole::Run).unwrap();
        let opened = Database::open(&config, Durability::Throwaway)
            .await
            .unwrap();
        let shutdown = CancellationToken::new();
        let start = Start {
            parts: RoleSet::WEB,
            clock: Clock::System,
            migrate: false,
            demo: None,
            examine: unread::doctor::find_broken,
            shutdown: shutdown.clone(),
        };
        let running = app::start(&config, &opened, start).await.unwrap();
        Self {
            sandbox,
            port: running.web.unwrap().port(),
            conversations: Conversations::new(&database.pool),
            running,
            shutdown,
            http: unread::liveperson::http_client(),
            _database: database,
        }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.running.finish().await.unwrap();
        self.sandbox.stop().await;
    }

    pub fn pool(&self) -> &PgPool {
        &self.conversations.pool
    }

    pub fn liveperson_calls(&self) -> u64 {
        self.sandbox.faults().requests(Endpoint::ByConsumer)
    }

    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.base() + path)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// The old address; an id that has no `%` in it is encoded.
    pub async fn old(&self, consumer: &str, token: Option<&str>) -> (StatusCode, String) {
        let consumer = if consumer.contains('%') {
            consumer.to_owned()
        } else {
            utf8_percent_encode(consumer, NON_ALPHANUMERIC).to_string()
        };
        let mut asked = self.get(&format!(
            "helpers/msghist/{ACCOUNT}/{consumer}/unreadByConsumer"
        ));
        if let Some(token) = token {
            asked = asked.bearer_auth(token);
        }
        let response = asked.send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    pub async fn events(&self, token: &str, last: Option<&str>) -> Events {
        let mut asked = self
            .get(&format!("v1/badge/{ACCOUNT}/events"))
            .bearer_auth(token);
        if let Some(last) = last {
            asked = asked.header("last-event-id", last);
        }
        let response = asked.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Events {
            response,
            rest: String::new(),
        }
    }
}

/// Conversations, stored as a worker elsewhere would.
pub struct Conversations {
    pool: PgPool,
    now: DateTime<Utc>,
}

impl Conversations {
    pub fn new(pool: &PgPool) -> Self {
        Self {
            pool: pool.clone(),
            now: Clock::System.now(),
        }
    }

    /// A conversation with so many unread messages, seen now.
    pub async fn store(&self, id: &str, consumers: &[&str], customer: Option<&str>, unread: u32) {
        self.store_at(id, consumers, customer, unread, 0).await;
    }

    /// The same, seen `seconds` after the beginning of the test.
    pub async fn store_at(
        &self,
        id: &str,
        consumers: &[&str],
        customer: Option<&str>,
        unread: u32,
        seconds: i64,
    ) {
        let is_unread = unread > 0;
        let snapshot = ConversationSnapshot {
            id: id.to_owned(),
            skill: SkillId(-1),
            started_at: self.now,
            closed_at: None,
            open: true,
            read_state: if is_unread {
                ReadStatus::Unread
            } else {
                ReadStatus::Read
            },
            episode: is_unread.then(|| "m1".to_owned()),
            unread_since: is_unread.then_some(self.now),
            unread_count: unread,
            time_zone: None,
            language: None,
            consumer_ids: consumers.iter().map(|id| (*id).to_owned()).collect(),
            customer_id: customer.map(str::to_owned),
            agent_wrote_at: None,
            decided: Decided::default(),
            addresses: PerChannel::default(),
        };
        let mut tx = self.pool.begin().await.unwrap();
        let (account, seen) = (
            ACCOUNT.parse().unwrap(),
            self.now + TimeDelta::seconds(seconds),
        );
        conversations::store(&mut tx, &account, &[snapshot], seen)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}

/// A token as a brand's backend makes it.
pub fn token(subject: &str) -> String {
    token_until(subject, 600)
}

pub fn token_until(subject: &str, seconds: i64) -> String {
    let expires = Clock::System.now().timestamp() + seconds;
    let claims = json!({ "aud": ACCOUNT, "sub": subject, "exp": expires });
    signed_by_backend(SECRET, &claims)
}

pub fn signed_by_backend(secret: &str, claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let signed = format!("{}.{}", part(&header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// A part of a token.
pub fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A stream of server-sent events.
pub struct Events {
    response: Response,
    rest: String,
}

impl Events {
    /// The next event or comment as it was written; empty at the end.
    pub async fn next(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let event = event.to_owned();
                let rest = rest.to_owned();
                self.rest = rest;
                return event;
            }
            let next = tokio::time::timeout(PATIENCE, self.response.chunk());
            match next.await.expect("an event in time").unwrap() {
                Some(part) => self.rest.push_str(std::str::from_utf8(&part).unwrap()),
                None => return String::new(),
            }
        }
    }
}

/// Waits until something holds.
pub async fn eventually(holds: impl AsyncFnMut() -> bool) {
    crate::harness::eventually("it holds", holds).await;
}
