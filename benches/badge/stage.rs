//! The web part of the service on a PostgreSQL of its own, and the bare handlers beside it: one process, one thread, one pool.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tokio::net::TcpListener;
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
use unread::sandbox::{ACCOUNT, Options, Sandbox};

use crate::token::{SECRET, token};

/// What the badge says of everybody here, by the old address and by the new one.
pub const OLD_BODY: &str = r#"{"unreadByConsumer":true}"#;
pub const NEW_BODY: &str =
    r#"{"unread":true,"count":2,"since":"2026-01-05T12:00:00.000Z","next_poll_s":30}"#;

pub struct Stage {
    pub badge: SocketAddr,
    pub bare: SocketAddr,
    metrics: SocketAddr,
    sandbox: Sandbox,
    database: Database,
    running: Running,
    shutdown: CancellationToken,
}

impl Stage {
    /// With `consumers` who have something unread, and as many customers who have read everything.
    pub async fn set(consumers: i32, customers: i32) -> Result<Self> {
        let sandbox = Sandbox::start(Options::default()).await?;
        let metrics = free_address().await?;
        let mut environment = demo::environment(sandbox.endpoints());
        for (key, value) in [
            ("PORT", "0"),
            ("UNREAD_BIND", "127.0.0.1"),
            ("UNREAD_METRICS_BIND", "127.0.0.1"),
            ("UNREAD_METRICS_PORT", &metrics.port().to_string()),
            ("UNREAD_BADGE_SECRET", SECRET),
            ("UNREAD_BADGE_ORIGINS", "https://www.example.com"),
            // So that customers' ids are searched for, and the unknown can be told from the known, if by time.
            ("UNREAD_BADGE_REQUIRE_TOKEN_FOR_CUSTOMER_IDS", "false"),
            // Turns are taken as always; there are enough of them.
            ("UNREAD_BADGE_REQUESTS_PER_SECOND", "100000"),
        ] {
            environment.insert(key.to_owned(), value.to_owned());
        }
        let sources = Sources {
            environment,
            file: None,
            read_secret: |path: &std::path::Path| std::fs::read_to_string(path),
        };
        let config = Config::read(&sources, ProcessRole::Run)?;
        let database = Database::open(&config, Durability::Throwaway).await?;
        let shutdown = CancellationToken::new();
        let start = Start {
            parts: RoleSet::WEB,
            clock: Clock::System,
            migrate: true,
            demo: None,
            examine: unread::doctor::find_broken,
            shutdown: shutdown.clone(),
        };
        let running = app::start(&config, &database, start).await?;
        populate(&running.pool, consumers, customers).await?;
        let bare = bare(running.pool.clone()).await?;
        Ok(Self {
            badge: running.web.context("the web listens")?,
            bare,
            metrics,
            sandbox,
            database,
            running,
            shutdown,
        })
    }

    /// How many answers came from there so far.
    pub async fn answers_from(&self, source: &str) -> Result<usize> {
        let url = format!("http://{}/metrics", self.metrics);
        let page = unread::liveperson::http_client().get(url).send().await?;
        let page = page.text().await?;
        let start = format!("unread_badge_requests_total{{source=\"{source}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&start));
        Ok(line.map_or(Ok(0), str::parse)?)
    }

    /// How long after a worker has stored each of so many changes an open page hears of it.
    pub async fn pushes(&self, many: u32) -> Result<Vec<Duration>> {
        let consumer = consumer(0);
        let url = format!("http://{}{}/events", self.badge, new_path());
        let page = unread::liveperson::http_client().get(url);
        let page = page.bearer_auth(token(&consumer)).send().await?;
        let mut page = page.error_for_status()?;
        page.chunk().await?.context("the state at the beginning")?;
        let mut times = Vec::new();
        for count in 3..3 + many {
            self.store(&consumer, count).await?;
            let (stored, new) = (Instant::now(), format!("\"count\":{count},"));
            loop {
                let said = page.chunk().await?.context("the stream has ended")?;
                if String::from_utf8_lossy(&said).contains(&new) {
                    break;
                }
            }
            times.push(stored.elapsed());
        }
        Ok(times)
    }

    /// Stores that a consumer has so many unread messages, as a scan does.
    async fn store(&self, consumer: &str, unread_count: u32) -> Result<()> {
        let now = Clock::System.now();
        let snapshot = ConversationSnapshot {
            id: consumer.to_owned(),
            skill: SkillId::UNASSIGNED,
            started_at: now,
            closed_at: None,
            open: true,
            read_state: ReadStatus::Unread,
            episode: Some("m1".to_owned()),
            unread_since: Some(now),
            unread_count,
            time_zone: None,
            language: None,
            consumer_ids: vec![consumer.to_owned()],
            customer_id: None,
            agent_wrote_at: None,
            decided: Decided::default(),
            addresses: PerChannel::default(),
        };
        let mut tx = self.running.pool.begin().await?;
        conversations::store(&mut tx, &ACCOUNT.parse()?, &[snapshot], now).await?;
        Ok(tx.commit().await?)
    }

    pub async fn strike(self) -> Result<()> {
        self.shutdown.cancel();
        self.running.finish().await?;
        self.sandbox.stop().await;
        self.database.close().await
    }
}

async fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await?
        .local_addr()?)
}

/// An id as LivePerson makes them, and of the conversation too: 64 hexadecimal digits in no order.
pub fn consumer(number: usize) -> String {
    let hash = Sha256::digest(format!("consumer {number}"));
    hash.iter().fold(String::new(), |mut id, byte| {
        use std::fmt::Write as _;
        let _ = write!(id, "{byte:02x}");
        id
    })
}

pub fn customer(number: usize) -> String {
    format!("CUST-{number:07}")
}

pub fn old_path(consumer: &str) -> String {
    format!("/helpers/msghist/{ACCOUNT}/{consumer}/unreadByConsumer")
}

pub fn new_path() -> String {
    format!("/v1/badge/{ACCOUNT}")
}

async fn populate(pool: &PgPool, consumers: i32, customers: i32) -> Result<()> {
    let mut tx = pool.begin().await?;
    sqlx::query(
        "insert into conversations (account, id, skill, started_at, open, read_state, episode, unread_since, unread_count,
                                    seen_at, changed_at)
         select $1, encode(sha256(convert_to('consumer ' || n, 'UTF8')), 'hex'), -1, now(), true, 'unread', 'm1',
                timestamptz '2026-01-05 12:00Z', 2, now(), now()
         from generate_series(0, $2 - 1) n
         union all
         select $1, 'of ' || n, -1, now(), true, 'read', null, null, 0, now(), now() from generate_series(0, $3 - 1) n",
    )
    .bind(ACCOUNT)
    .bind(consumers)
    .bind(customers)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "insert into consumers (account, kind, consumer, conversation)
         select $1, 'liveperson', id, id from conversations where read_state = 'unread'
         union all
         select $1, 'customer', 'CUST-' || lpad(n::text, 7, '0'), 'of ' || n from generate_series(0, $2 - 1) n",
    )
    .bind(ACCOUNT)
    .bind(customers)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    for table in ["conversations", "consumers"] {
        let vacuum = format!("vacuum analyze {table}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(vacuum))
            .execute(pool)
            .await?;
    }
    Ok(())
}

/// What the badge is measured against: the same answers without anything that makes them safe or right.
async fn bare(pool: PgPool) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    let app = Router::new()
        .route("/old", get(|| async { OLD_BODY }))
        .route("/verified", get(verified))
        .route("/row/{id}", get(row))
        .with_state(pool);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// The same answer for whoever brings a token, which is verified each time: signature, audience, end.
async fn verified(headers: HeaderMap) -> Result<&'static str, StatusCode> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match token.and_then(subject) {
        Some(_) => Ok(NEW_BODY),
        None => Err(StatusCode::UNAUTHORIZED),
    }
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    sub: String,
    exp: i64,
}

fn subject(token: &str) -> Option<String> {
    let (signed, signature) = token.rsplit_once('.')?;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).ok()?;
    mac.update(signed.as_bytes());
    mac.verify_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?)
        .ok()?;
    let (_, claims) = signed.split_once('.')?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let holds = claims.aud == ACCOUNT && claims.exp > Clock::System.now().timestamp();
    holds.then_some(claims.sub)
}

/// One row by its primary key.
async fn row(State(pool): State<PgPool>, Path(id): Path<String>) -> String {
    let found: Result<String, _> =
        sqlx::query_scalar("select read_state from conversations where account = $1 and id = $2")
            .bind(ACCOUNT)
            .bind(id)
            .fetch_one(&pool)
            .await;
    match found {
        Ok(state) => format!("{{\"unreadByConsumer\":{}}}", state == "unread"),
        Err(error) => error.to_string(),
    }
}
