//! Puts the parts together: from settings to running roles, and down again.

pub mod codes;
mod database;
pub mod journal;
mod live;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use crate::channel::render::Texts;
use crate::channel::webhook::Verifier;
use crate::channel::{smtp, twilio};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control;
use crate::db;
use crate::db::upkeep::Retention;
use crate::db::{Schema, SchemaProblem};
use crate::domain::contact::ContactPolicy;
use crate::domain::heartbeat::Verdict;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::round::Pace;
use crate::domain::rule::Settings;
use crate::domain::zone::Zone;
use crate::hashing::Hasher;
use crate::jobs::context::{ACCOUNT_DEFAULT, Account, Context};
use crate::jobs::heart::{Heart, STRANGER};
use crate::jobs::queue::{self, Host};
use crate::jobs::round::Sets;
use crate::jobs::turnstile::SharedTurnstile;
use crate::liveperson;
use crate::metrics::Metrics;
use crate::scheduler::Scheduler;
use crate::secret::Secret;
use crate::web;
use crate::web::Named;
use crate::web::connections::{self, Limits, Plain};
use crate::worker::{self, Capacity};

pub use database::{Database, Place, backups, locate};
pub use live::examine;

/// Which parts this process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    pub web: bool,
    pub worker: bool,
    pub scheduler: bool,
}

impl Parts {
    pub const ALL: Self = Self {
        web: true,
        worker: true,
        scheduler: true,
    };
    pub const WEB: Self = Self {
        web: true,
        worker: false,
        scheduler: false,
    };
    pub const WORKER: Self = Self {
        web: false,
        worker: true,
        scheduler: false,
    };
    pub const SCHEDULER: Self = Self {
        web: false,
        worker: false,
        scheduler: true,
    };
}

/// Brings the ledger's and the queue's tables up to date. Tables of a newer version that this one can work with stay as they are:
/// an old process may be started anew in the middle of a roll-out. Those of another baseline are refused, the queue's included.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    match db::check_schema(pool).await {
        Ok(Schema::Newer) => {
            info!(NEWER);
            return Ok(());
        }
        Ok(Schema::Own) | Err(SchemaProblem::Behind { .. }) => {}
        Err(problem) => return Err(problem.into()),
    }
    queue::migrate(pool).await?;
    db::migrate(pool)
        .await
        .context("migrating the ledger's tables")
}

/// Migrates, waiting for a database that is still starting.
pub async fn migrate_when_up(pool: &PgPool) -> anyhow::Result<()> {
    let give_up = tokio::time::sleep(Duration::from_mins(1));
    tokio::select! {
        () = reach(pool) => migrate(pool).await,
        () = give_up => {
            db::ping(pool).await.context("the database cannot be reached; look at DATABASE_URL")?;
            migrate(pool).await
        }
    }
}

/// Waits until the database answers, with growing pauses.
async fn reach(pool: &PgPool) {
    let mut pause = Duration::from_millis(200);
    while let Err(error) = db::ping(pool).await {
        warn!(
            "The database cannot be reached, trying again in {pause:?} (look at DATABASE_URL): {error}"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

/// Waits for a database that can be worked with: long-running roles start before it and outlive its absence, but never work on
/// tables they do not know. False if the shutdown came first.
async fn wait_for_schema(pool: &PgPool, shutdown: &CancellationToken) -> anyhow::Result<bool> {
    tokio::select! {
        () = shutdown.cancelled() => return Ok(false),
        () = reach(pool) => {}
    }
    if db::check_schema(pool).await? == Schema::Newer {
        info!(NEWER);
    }
    Ok(true)
}

const NEWER: &str =
    "The database was migrated by a newer version of unread, beside which this one can work";

/// How often a running process looks whether it can still work with the tables.
const SCHEMA_WATCH: Duration = Duration::from_secs(10);

/// Ends when the tables have changed in a way that this program cannot work with: to stop is better than to guess. A database that
/// is away is nobody's fault here.
async fn watch_schema(pool: PgPool, shutdown: CancellationToken) -> &'static str {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(SCHEMA_WATCH) => {}
        }
        match db::check_schema(&pool).await {
            Ok(_) | Err(SchemaProblem::Unreachable(_)) => {}
            Err(problem) => {
                tracing::error!("Stopping: {problem}");
                break;
            }
        }
    }
    "watch over the tables"
}

/// How often a process compares its clock with the database's.
const CLOCK_WATCH: Duration = Duration::from_secs(10);

/// A machine's clock that is off by more is worth a word.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(2);

/// Keeps this process's clock by the database's.
async fn keep_time(pool: PgPool, clock: Clock, shutdown: CancellationToken) -> &'static str {
    let mut warned = false;
    loop {
        let off = clock.now() - clock.machine();
        if off.abs() > CLOCK_TOLERANCE && !warned {
            warned = true;
            warn!(
                "This machine's clock and the database server's differ by {} s; the database's counts. Synchronise both (NTP)",
                off.num_seconds()
            );
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(CLOCK_WATCH) => {}
        }
        set_clock_right(&pool, &clock).await;
    }
    "clock"
}

/// Compares once. A database that is away leaves the clock as it was.
async fn set_clock_right(pool: &PgPool, clock: &Clock) {
    let asked = clock.machine();
    match db::server::now(pool).await {
        Ok(shown) => {
            clock.set_right(asked, shown, clock.machine());
        }
        Err(error) => tracing::debug!("The database's clock cannot be read: {error}"),
    }
}

/// A service that runs until its shutdown token is cancelled.
pub struct Running {
    /// Where the web listens, if it does.
    pub web: Option<SocketAddr>,
    pub pool: PgPool,
    /// What the web's handlers have at hand.
    pub state: web::State,
    tasks: JoinSet<&'static str>,
    shutdown: CancellationToken,
    host: Option<Arc<Host>>,
}

impl Running {
    /// Waits for the shutdown, and for every part to finish what it has in hand.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        let mut failed = None;
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(part) if !self.shutdown.is_cancelled() => {
                    failed = Some(format!("the {part} ended by itself"));
                }
                Ok(_) => {}
                Err(error) => failed = Some(format!("a part of the service crashed: {error}")),
            }
            self.shutdown.cancel();
        }
        if let Some(host) = self.host.and_then(Arc::into_inner) {
            host.leave().await;
        }
        self.pool.close().await;
        failed.map_or(Ok(()), |why| bail!(why))
    }
}

/// How a service is started beside its settings.
pub struct Start {
    pub parts: Parts,
    pub clock: Clock,
    /// Bring the tables up to date first; separate roles leave that to `unread migrate`.
    pub migrate: bool,
    pub demo: Option<web::Demo>,
    pub shutdown: CancellationToken,
}

/// Starts the parts of the service on a database.
pub async fn start(config: &Config, database: &Database, start: Start) -> anyhow::Result<Running> {
    let Start {
        parts,
        clock,
        migrate,
        demo,
        shutdown,
    } = start;
    let files = connections::raise_file_limit();
    let web_listener = if parts.web {
        Some(bind(&config.web).await?)
    } else {
        None
    };
    let metrics_listener = listen(
        config.web.metrics_bind,
        config.web.metrics_port,
        "UNREAD_METRICS_PORT",
    )
    .await?;

    let pool = connect(config, database, &clock, migrate, &shutdown).await?;
    let hasher = if parts.web || parts.worker {
        hasher(config, &pool).await?
    } else {
        // It hashes no address, and is not given the key.
        Hasher::new(crate::hashing::token().as_bytes())
    };
    if parts.web && config.web.dashboard {
        codes::warn_of_lost(&pool, &hasher).await?;
    }
    let metrics = Metrics::new();
    let shared = Arc::new(context(config, &pool, &clock, &hasher, &metrics)?);
    let journal = journal_file(config, parts, demo.is_some());
    let heart = sign_on(config, &shared, journal.as_ref(), &shutdown).await?;

    let mut tasks = JoinSet::new();
    tasks.spawn(heart.run(shutdown.clone()));
    if parts.worker {
        journal::keep(config, &shared, journal, &mut tasks, &shutdown).await?;
    }
    tasks.spawn(watch(database.lost(), shutdown.clone()));
    tasks.spawn(watch_schema(pool.clone(), shutdown.clone()));
    if matches!(clock, Clock::OfDatabase(_)) {
        tasks.spawn(keep_time(pool.clone(), clock.clone(), shutdown.clone()));
    }
    if let Some(nightly) = database.nightly(config, &clock, &metrics)? {
        tasks.spawn(nightly.run(shutdown.clone()));
    }
    let mut host = None;
    if parts.worker {
        default_rules(config, &pool, &clock).await?;
        let ctx = shared.clone();
        let own = Arc::new(Host::start(
            pool.clone(),
            clock.clone(),
            "worker",
            worker::LEASE,
        ));
        host = Some(own.clone());
        if config.live {
            let (config, ctx, token) = (config.clone(), shared.clone(), shutdown.clone());
            tasks.spawn(live::go_when_possible(config, ctx, token));
        }
        let (capacity, token) = (capacity(config), shutdown.clone());
        tasks.spawn(async move {
            worker::run(ctx, &own, capacity, token).await;
            "worker"
        });
    }
    if parts.scheduler {
        let scheduler = scheduler(config, &pool, &clock)?;
        let token = shutdown.clone();
        tasks.spawn(async move {
            scheduler.run(token).await;
            "scheduler"
        });
    }

    let healthy = host.as_ref().map(health_of);
    let state = web_state(config, &shared, healthy, demo, &shutdown)?;
    let mut address = None;
    if let Some(listener) = web_listener {
        address = Some(listener.local_addr()?);
        web::access::login::tell_first_link(&state, true).await?;
        let (following, token) = (state.clone(), shutdown.clone());
        tasks.spawn(async move {
            web::badge::follow_changes(following, token).await;
            "ear for changes"
        });
        let stop = shutdown.clone();
        tasks.spawn(serve_web(listener, &state, config, files, stop));
    }
    let stop = shutdown.clone();
    tasks.spawn(serve_metrics(metrics_listener, &state, config, stop));
    Ok(Running {
        web: address,
        pool,
        state,
        tasks,
        shutdown,
        host,
    })
}

/// Nothing is sent before it is known whether this database is the one that sent.
async fn sign_on(
    config: &Config,
    shared: &Arc<Context>,
    journal: Option<&PathBuf>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Heart> {
    let heart = journal::heart(shared, journal)?;
    let mut is_said = false;
    let verdict = loop {
        let error = match heart.beat().await {
            Ok(verdict) => break verdict,
            Err(error) => error,
        };
        if !db::is_away(&error) || shutdown.is_cancelled() {
            return Err(error);
        }
        // It was there a moment ago.
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!("The database is away, trying again every second: {error:#}");
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    };
    anyhow::ensure!(verdict != Verdict::Stranger, STRANGER);
    let ids: Vec<AccountId> = config.accounts.iter().map(|a| a.id.clone()).collect();
    db::accounts::ensure(&shared.pool, &ids, shared.clock.now()).await?;
    Ok(heart)
}

/// Where this process keeps the journal, if it does.
fn journal_file(config: &Config, parts: Parts, demo: bool) -> Option<PathBuf> {
    match parts {
        Parts::ALL if !demo => journal::file(config),
        // One process keeps it; on other machines the same path would be another file.
        _ => config.journal.file.clone().filter(|_| parts.worker),
    }
}

/// A pool on tables that are up to date, with the clock set right by them.
async fn connect(
    config: &Config,
    database: &Database,
    clock: &Clock,
    migrate: bool,
    shutdown: &CancellationToken,
) -> anyhow::Result<PgPool> {
    let options = database.options.clone();
    let pool = db::pool_with_key(options, config.database_connections, key_id(config));
    if migrate {
        migrate_when_up(&pool).await?;
    } else {
        anyhow::ensure!(
            wait_for_schema(&pool, shutdown).await?,
            "stopped before the database could be reached"
        );
    }
    database.settle(&pool).await?;
    // Before anything is dated. What it cannot be told now it is told soon.
    set_clock_right(&pool, clock).await;
    Ok(pool)
}

/// A PostgreSQL of our own that dies takes the service with it: whoever started us starts both again.
async fn watch(lost: impl Future<Output = String>, shutdown: CancellationToken) -> &'static str {
    tokio::select! {
        () = shutdown.cancelled() => {}
        why = lost => tracing::error!("PostgreSQL of our own has ended: {why}"),
    }
    "database server"
}

/// Asks the queue's host, if it is still there, whether work can be done.
fn health_of(host: &Arc<Host>) -> web::Health {
    let host = Arc::downgrade(host);
    Arc::new(move || host.upgrade().is_some_and(|host| host.healthy()))
}

async fn bind(web: &config::Web) -> anyhow::Result<TcpListener> {
    listen(web.bind, web.port, "PORT").await
}

async fn listen(ip: IpAddr, port: u16, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind((ip, port))
        .await
        .with_context(|| format!("cannot listen on {ip} port {port}; another program may use it: set {key} to a free port"))
}

fn serve_web(
    listener: TcpListener,
    state: &web::State,
    config: &Config,
    files: usize,
    shutdown: CancellationToken,
) -> impl Future<Output = &'static str> + Send + use<> {
    let door = Named::new(web::Entrance::new(state.clone()), &config.web);
    let (limits, metrics) = (limits(config, files), state.metrics.connections("web"));
    async move {
        connections::serve(listener, door, limits, metrics, shutdown).await;
        "web"
    }
}

fn serve_metrics(
    listener: TcpListener,
    state: &web::State,
    config: &Config,
    shutdown: CancellationToken,
) -> impl Future<Output = &'static str> + Send + use<> {
    let door = Named::new(Plain(web::metrics_router(state.clone())), &config.web);
    let (limits, metrics) = (Limits::of_metrics(), state.metrics.connections("metrics"));
    async move {
        connections::serve(listener, door, limits, metrics, shutdown).await;
        "metrics"
    }
}

/// What the web's connections may cost, given the files that this process may open.
fn limits(config: &Config, files: usize) -> Limits {
    let wanted = config.web.connections;
    let total = connections::that_fit(wanted, files, config.database_connections);
    if total < wanted {
        warn!(
            "This process may open {files} files, which is room for {total} connections and not for {wanted}. Raise the hard limit \
             (ulimit -Hn, LimitNOFILE), or lower UNREAD_CONNECTIONS"
        );
    }
    let (per_address, proxies) = (
        config.web.connections_per_address,
        config.web.trusted_proxies.clone(),
    );
    Limits::new(total, per_address, proxies)
}

/// Where the database keeps a key of address hashes of its own.
const KEPT_KEY: &str = "address_hash_key";

/// The key of address hashes: configured, or made once and kept in the database. Older ones are still recognised: those of the
/// settings, and the database's, if there was none in the settings before.
pub async fn hasher(config: &Config, pool: &PgPool) -> anyhow::Result<Hasher> {
    let mut older: Vec<Secret> = config.older_secrets.clone();
    let key = if let Some(secret) = &config.secret {
        older.extend(kept_key(pool).await?.map(Secret::new));
        secret.clone()
    } else {
        let fresh = crate::hashing::token() + &crate::hashing::token();
        let kept = db::instance::once(pool, KEPT_KEY, &fresh).await;
        Secret::new(kept.context(READING_KEY)?)
    };
    let older: Vec<&[u8]> = older.iter().map(|old| old.expose().as_bytes()).collect();
    Ok(Hasher::with_older(key.expose().as_bytes(), &older))
}

/// The key that the database keeps, if one was ever made.
async fn kept_key(pool: &PgPool) -> anyhow::Result<Option<String>> {
    let kept = db::instance::find(pool, KEPT_KEY).await;
    kept.context(READING_KEY)
}

const READING_KEY: &str = "reading the installation's key";

/// The name of the configured key; that of the database has none.
pub fn key_id(config: &Config) -> Option<String> {
    let secret = config.secret.as_ref()?;
    Some(Hasher::new(secret.expose().as_bytes()).key_id())
}

/// Without `UNREAD_SECRET`.
pub const KEY_BESIDE_HASHES: &str = "the key of the address hashes is in the database beside them: whoever gets a copy of it, a backup too, \
    can find out by trying which addresses and numbers are in it";
pub const SET_A_KEY: &str = "Set UNREAD_SECRET (`openssl rand -hex 32`) and keep it elsewhere. What was hashed with the database's key is \
    still recognised.";

/// An account that has never had rules gets one per configured channel, so that the first start already reminds.
async fn default_rules(config: &Config, pool: &PgPool, clock: &Clock) -> anyhow::Result<()> {
    let mut channels = Vec::new();
    if config.smtp.is_some() {
        channels.push((Channel::Email, Settings::default_for(Channel::Email)));
    }
    if config.twilio.is_some() {
        channels.push((Channel::Sms, Settings::default_for(Channel::Sms)));
    }
    for account in &config.accounts {
        let mut tx = pool.begin().await?;
        if db::rules::make_defaults(&mut tx, &account.id, &channels, clock.now()).await? {
            info!(account = %account.id, "First start: the account gets default rules (see `unread rules export`)");
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Everything the jobs need, from the settings.
pub fn context(
    config: &Config,
    pool: &PgPool,
    clock: &Clock,
    hasher: &Hasher,
    metrics: &Metrics,
) -> anyhow::Result<Context> {
    let mut accounts = HashMap::new();
    // A scheduler knows no credentials, and needs none.
    for account in config.accounts.iter().filter(|a| a.auth.is_some()) {
        let client = client(config, account, pool, clock, metrics)?;
        accounts.insert(
            account.id.clone(),
            Account {
                id: account.id.clone(),
                brand: account.brand.clone(),
                count_bots: account.count_bots,
                contact_policy: ContactPolicy {
                    default_region: account.default_region.clone(),
                    unauthenticated: account.unauthenticated_contacts,
                },
                time_zone: account.time_zone.unwrap_or(Zone::UTC),
                client,
                failed_at: std::sync::Mutex::default(),
                only_skills: account.skills.clone(),
                sets: Sets::default(),
            },
        );
    }
    Ok(Context {
        pool: pool.clone(),
        clock: clock.clone(),
        hasher: hasher.clone(),
        accounts,
        mail: config
            .smtp
            .as_ref()
            .map(|s| mail(s, &config.web.public_url))
            .transpose()?,
        sms: config.twilio.as_ref().map(sms).transpose()?,
        texts: Texts::linking_to(&config.web.public_url),
        test_recipients: config.web.test_recipients.clone(),
        window: TimeDelta::days(i64::from(config.liveperson.window_days))
            .min(liveperson::MAX_WINDOW),
        public_url: config.web.public_url.clone(),
        smtp_rate: config
            .smtp
            .as_ref()
            .map(|s| s.rate_per_second)
            .filter(|rate| *rate > 0.0),
        twilio_rate: config
            .twilio
            .as_ref()
            .map(|t| t.rate_per_second)
            .filter(|rate| *rate > 0.0),
        scan_pace: scan_pace(config)?,
        redact_bodies: config.twilio.as_ref().is_some_and(|t| t.redact_bodies),
        metrics: metrics.clone(),
        witness: Arc::default(),
    })
}

/// What the client of LivePerson must be told about an account.
pub fn liveperson_settings(
    config: &Config,
    account: &config::Account,
) -> anyhow::Result<liveperson::Settings> {
    let auth = match account
        .auth
        .clone()
        .context("the account has no LivePerson credentials")?
    {
        config::Auth::OAuth2 {
            client_id,
            client_secret,
        } => liveperson::Auth::OAuth2 {
            client_id,
            client_secret,
        },
        config::Auth::OAuth1 {
            consumer_key,
            consumer_secret,
            token,
            token_secret,
        } => {
            let token = token.expose().to_owned();
            liveperson::Auth::OAuth1 {
                consumer_key,
                consumer_secret,
                token,
                token_secret,
            }
        }
    };
    let csds_url = config.liveperson.csds_url.clone();
    let plain = csds_url.scheme() == "http";
    Ok(liveperson::Settings {
        csds_url,
        service_scheme: if plain {
            liveperson::Scheme::Http
        } else {
            liveperson::Scheme::Https
        },
        source: config.liveperson.source_name.clone(),
        channels: account.sources.clone(),
        unauthenticated: account.unauthenticated_contacts,
        ..liveperson::Settings::new(account.id.clone(), auth)
    })
}

fn client(
    config: &Config,
    account: &config::Account,
    pool: &PgPool,
    clock: &Clock,
    metrics: &Metrics,
) -> anyhow::Result<liveperson::Client> {
    let limit = SharedTurnstile::new(
        pool.clone(),
        &account.id,
        config.liveperson.rate_per_second,
        metrics.clone(),
    );
    Ok(liveperson::Client::new(
        liveperson_settings(config, account)?,
        liveperson::http_client(),
        limit,
        clock.clone(),
        Arc::new(metrics.clone()),
    ))
}

pub fn mail(settings: &config::Smtp, public_url: &Url) -> anyhow::Result<smtp::Pool> {
    let mailbox = |address: &str, name: Option<&str>| {
        smtp::Mailbox::new(address, name)
            .with_context(|| "SMTP_FROM or SMTP_REPLY_TO is not an address".to_owned())
    };
    let (user, password) = settings.login.clone().unzip();
    let pool = smtp::Pool::new(
        smtp::Settings {
            host: settings.host.clone(),
            port: settings.port,
            tls: match settings.tls {
                config::Tls::Implicit => smtp::Tls::Implicit,
                config::Tls::StartTls => smtp::Tls::StartTls,
                config::Tls::None => smtp::Tls::None,
            },
            user,
            password,
            from: mailbox(&settings.from, settings.from_name.as_deref())?,
            reply_to: settings
                .reply_to
                .as_deref()
                .map(|r| mailbox(r, None))
                .transpose()?,
            hello_name: public_url.host_str().unwrap_or("localhost").to_owned(),
            extra_root_pem: None,
            timeouts: smtp::Timeouts::default(),
        },
        settings.connections,
    );
    pool.context("setting up SMTP")
}

pub fn sms(settings: &config::Twilio) -> anyhow::Result<twilio::Client> {
    let service = settings.messaging_service_sid.clone();
    let sender = match (service.map(twilio::Sender::Service), &settings.from) {
        (Some(service), _) => Some(service),
        (None, Some(from)) => Some(from.parse().context("TWILIO_FROM is not a sender")?),
        (None, None) => None,
    };
    let auth = match settings.login.clone() {
        config::TwilioLogin::ApiKey { sid, secret } => twilio::Auth::ApiKey { sid, secret },
        config::TwilioLogin::AuthToken(token) => twilio::Auth::Token(token),
    };
    let client = twilio::Client::new(twilio::Settings {
        base_url: settings.base_url.clone(),
        account_sid: settings.account_sid.clone(),
        auth,
        webhook_tokens: settings.webhook_tokens.clone(),
        sender,
    });
    client.context("setting up Twilio")
}

/// How the settings want accounts to be scanned.
pub fn scan_pace(config: &Config) -> anyhow::Result<Pace> {
    let every = TimeDelta::from_std(config.liveperson.scan_interval);
    Ok(Pace {
        per_second: config.liveperson.rate_per_second,
        every: every.context("the scan interval is too long")?,
    })
}

/// The scheduler of these settings, for whoever ticks it.
pub fn scheduler(config: &Config, pool: &PgPool, clock: &Clock) -> anyhow::Result<Scheduler> {
    let accounts = config.accounts.iter();
    Ok(Scheduler {
        pool: pool.clone(),
        clock: clock.clone(),
        accounts: accounts.map(|account| account.id.clone()).collect(),
        scan_every: scan_pace(config)?.every,
    })
}

fn capacity(config: &Config) -> Capacity {
    let days = |days: u32| TimeDelta::days(i64::from(days));
    Capacity {
        deliveries: config.worker.slots,
        drain: config.worker.drain,
        keep: Retention {
            decisions: days(config.retention.decisions_days),
            conversations: days(config.retention.conversations_days),
            reminders: days(config.retention.reminders_days),
            audit: days(config.retention.audit_days),
        },
        keep_jobs: days(config.retention.jobs_days),
    }
}

/// Everything the web needs, from the settings.
pub fn web_state(
    config: &Config,
    context: &Arc<Context>,
    queue_healthy: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    demo: Option<web::Demo>,
    shutdown: &CancellationToken,
) -> anyhow::Result<web::State> {
    Ok(web::State::new(web::Inner {
        pool: context.pool.clone(),
        clock: context.clock.clone(),
        hasher: context.hasher.clone(),
        accounts: web_accounts(config, &context.pool, &context.clock, &context.metrics)?,
        context: context.clone(),
        badge: web::badge::Badge::new(&config.web, &context.pool, shutdown.clone()),
        verifier: config
            .twilio
            .as_ref()
            .map(|t| Verifier::new(t.webhook_tokens.clone(), &config.web.public_url)),
        mail_webhook_secrets: config.web.mail_webhook_secrets.clone(),
        opt_outs: opt_outs(config, context),
        metrics: context.metrics.clone(),
        queue_healthy,
        serves_dashboard: config.web.dashboard,
        config: Arc::new(config.clone()),
        examine,
        looks: crate::control::live::Looks::default(),
        access: web::access::Access::new(&config.web, sso(config)?),
        imports: crate::control::suppressions::Imports::default(),
        links: web::Links::default(),
        public_url: config.web.public_url.clone(),
        demo,
    }))
}

/// What is done with a consumer's no.
fn opt_outs(config: &Config, context: &Context) -> control::opt_outs::Policy {
    let usual = context.usual_sender(Channel::Sms);
    control::opt_outs::Policy {
        reach: config.web.opt_out_reach,
        accounts: config.accounts.iter().map(|a| a.id.clone()).collect(),
        usual_sender: usual.filter(|sender| sender != ACCOUNT_DEFAULT),
    }
}

fn sso(config: &Config) -> anyhow::Result<Option<web::access::issuer::Issuer>> {
    let settings = config.sso.clone();
    let issuer = settings.map(|settings| {
        let http = liveperson::http_client();
        web::access::issuer::Issuer::new(settings, http, &config.web.public_url)
    });
    issuer.transpose()
}

fn web_accounts(
    config: &Config,
    pool: &PgPool,
    clock: &Clock,
    metrics: &Metrics,
) -> anyhow::Result<HashMap<AccountId, web::Account>> {
    let mut accounts = HashMap::new();
    let http = liveperson::http_client();
    for account in config.accounts.iter().filter(|a| a.auth.is_some()) {
        accounts.insert(
            account.id.clone(),
            web::Account {
                brand: account.brand.clone(),
                page_url: account.page_url.clone(),
                count_bots: account.count_bots,
                default_region: account.default_region.clone(),
                client: client(config, account, pool, clock, metrics)?,
                badge: web::badge::Site::new(account, &config.liveperson, &http),
            },
        );
    }
    Ok(accounts)
}

/// The account that is meant: the one named, or the only one there is.
pub fn account<'c>(
    config: &'c Config,
    named: Option<&AccountId>,
) -> anyhow::Result<&'c config::Account> {
    match (named, config.accounts.as_slice()) {
        (Some(id), accounts) => accounts
            .iter()
            .find(|account| account.id == *id)
            .with_context(|| format!("account {id} is not configured")),
        (None, [only]) => Ok(only),
        (None, []) => bail!("no account is configured: set LE_ACCOUNT"),
        (None, _) => bail!("there are several accounts: name one with --account"),
    }
}

#[cfg(test)]
mod tests;
