//! `/metrics`, on a listener of its own so that it is never exposed with the badge; the probes, which a role without the web
//! answers only here; and the log level, which can be changed from this machine.
//!
//! What a process counted is its own; what is true of the service (reminders by state, queue depth, circuits, the age of the last
//! scan) is read from PostgreSQL at each scrape, so that every replica says the same.
//!
//! A scrape is answered soon, whatever the database does: Prometheus gives up, by default after ten seconds, and a process that is not
//! scraped says nothing at all, not even that the database is away.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use chrono::{DateTime, TimeDelta};
use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, GaugeVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use super::{AppState, health};
use crate::control::accounts::Accounts;
use crate::control::overview;
use crate::db;
use crate::db::journal::Sink;
use crate::domain::contact::Suppression;
use crate::domain::hold::HoldKind;
use crate::domain::ids::{AccountId, Channel, Provider};
use crate::domain::incident::IncidentKind;
use crate::domain::pause::Scope;
use crate::domain::reminder::ReminderState;
use crate::jobs::{names, queue};
use crate::metrics::Metrics;
use crate::telemetry;

/// A process that may still be starting: it waits for its database for as long as that takes, and answers probes and Prometheus meanwhile.
#[derive(Clone)]
pub struct Starting {
    metrics: Metrics,
    started: Arc<OnceLock<AppState>>,
}

impl Starting {
    pub fn new(metrics: Metrics) -> Self {
        let started = Arc::default();
        Self { metrics, started }
    }

    /// It has started.
    pub fn started(&self, state: AppState) {
        // Only once.
        let _ = self.started.set(state);
    }

    fn state(&self) -> Option<&AppState> {
        self.started.get()
    }
}

pub fn router(state: Starting) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(ready))
        .route("/log-level", put(set_log_level))
        .layer(DefaultBodyLimit::max(MAX_LEVEL))
        .with_state(state)
}

async fn ready(Shared(starting): Shared<Starting>) -> Response {
    match starting.state() {
        Some(state) => health::ready(Shared(state.clone())).await,
        None => health::not_yet(),
    }
}

/// A level names parts of the program, at most some dozens.
const MAX_LEVEL: usize = 2048;

/// `PUT /log-level`, from this machine alone: whoever can run a command here may know what the service does.
async fn set_log_level(ConnectInfo(peer): ConnectInfo<SocketAddr>, level: String) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "only from this machine\n").into_response();
    }
    match telemetry::set_level(level.trim()) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}\n")).into_response(),
    }
}

/// What is asked of the database at a scrape may take so long in all.
const PATIENCE: Duration = Duration::from_millis(1_500);

async fn scrape(Shared(starting): Shared<Starting>) -> Response {
    let metrics = &starting.metrics;
    let mut families = metrics.registry().gather();
    let asked = async {
        let state = starting.state().context("the process has not started")?;
        of_the_service(state).await
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    let service = asked.unwrap_or_else(|_| {
        let why = db::explain(&sqlx::Error::PoolTimedOut);
        Err(anyhow::anyhow!(
            "the database has not answered within {PATIENCE:?}: {why}"
        ))
    });
    families.extend(database_up(metrics.role(), service.is_ok()));
    match service {
        Ok(service) => families.extend(service),
        // The process's own numbers are worth having when the database is away.
        Err(error) => tracing::warn!(
            "The service's metrics cannot be read: {}",
            db::explain_all(&error)
        ),
    }
    let mut text = Vec::new();
    match TextEncoder::new().encode(&families, &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!("The metrics cannot be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Whether this process could read the gauges of the service just now.
fn database_up(role: &str, up: bool) -> Vec<MetricFamily> {
    let gauge = IntGaugeVec::new(
        Opts::new(
            "unread_database_up",
            "1 if this process could read the database at this scrape, else 0.",
        ),
        &["role"],
    );
    let gauge = gauge.expect("the name above is valid");
    gauge.with_label_values(&[role]).set(i64::from(up));
    gauge.collect()
}

/// A pause by its kind, as a label.
fn kind_of(scope: &Scope) -> &'static str {
    match scope {
        Scope::Everything => "everything",
        Scope::Account(_) => "account",
        Scope::Channel(..) => "channel",
        Scope::Rule(_) => "rule",
    }
}

/// Gauges read from the database. Each is there from the beginning, with zero where there is nothing: an alert sees a first event as a
/// change, and a series that comes and goes resets what waits for it to last.
#[expect(clippy::too_many_lines, reason = "a list: each gauge beside its query")]
async fn of_the_service(state: &AppState) -> anyhow::Result<Vec<MetricFamily>> {
    let (pool, now) = (&state.pool, state.clock.now());
    let registry = Registry::new();
    let gauges = |name: &str, help: &str, labels: &[&str]| -> anyhow::Result<IntGaugeVec> {
        let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    };
    let seconds = |name: &str, help: &str, labels: &[&str]| -> anyhow::Result<GaugeVec> {
        let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    };

    let metrics = &state.metrics;
    let accounts: Vec<AccountId> = state.config.accounts.iter().map(|a| a.id.clone()).collect();
    let mut labels: Vec<&str> = accounts.iter().map(|id| metrics.label(id)).collect();
    labels.dedup();
    let channels = || {
        let all = Channel::ALL.into_iter();
        all.filter(|channel| state.context.has_anywhere(*channel))
    };

    let yesterday = now - TimeDelta::hours(24);
    let reminders = gauges(
        "unread_reminders",
        "Reminders that ended in the last 24 hours, and all that are not final, by state.",
        &["account", "channel", "state"],
    )?;
    let returns = gauges(
        "unread_returns",
        "Reminders sent in the last 24 hours whose consumer came back.",
        &["account", "channel"],
    )?;
    let suppressions = gauges(
        "unread_suppressions",
        "Suppressed addresses.",
        &["account", "channel", "reason"],
    )?;
    let live = gauges(
        "unread_live",
        "Accounts whose reminders of this channel may go out: 1 by account, else how many.",
        &["account", "channel"],
    )?;
    for (account, channel) in labels.iter().flat_map(|a| channels().map(move |c| (*a, c))) {
        let channel = channel.as_str();
        for state in ReminderState::ALL {
            reminders
                .with_label_values(&[account, channel, state.as_str()])
                .set(0);
        }
        for reason in Suppression::ALL {
            suppressions
                .with_label_values(&[account, channel, reason.as_str()])
                .set(0);
        }
        returns.with_label_values(&[account, channel]).set(0);
        live.with_label_values(&[account, channel]).set(0);
    }
    for (account, channel, state, count) in db::reminder_counts::by_state(pool, yesterday).await? {
        reminders
            .with_label_values(&[metrics.label(&account), channel.as_str(), state.as_str()])
            .add(count);
    }
    for (account, channel, count) in db::reminder_counts::returns(pool, yesterday).await? {
        returns
            .with_label_values(&[metrics.label(&account), channel.as_str()])
            .add(count);
    }
    for (account, channel, reason, count) in db::reports::suppressions(pool).await? {
        suppressions
            .with_label_values(&[metrics.label(&account), channel.as_str(), reason.as_str()])
            .add(count);
    }
    for (account, channel) in db::live::of_accounts(pool, &accounts).await? {
        live.with_label_values(&[metrics.label(&account), channel.as_str()])
            .inc();
    }
    let paused = seconds(
        "unread_pause_seconds",
        "How long the oldest pause has lasted, by what is paused (`everything`, `account`, `channel`, `rule`), and 0 without one.",
        &["account", "scope"],
    )?;
    for scope in ["everything", "account", "channel", "rule"] {
        paused.with_label_values(&["", scope]).set(0.0);
    }
    // The newest first, so that the oldest stays.
    for pause in db::pauses::all(pool).await? {
        let account = pause.scope.account().map_or("", |id| metrics.label(id));
        paused
            .with_label_values(&[account, kind_of(&pause.scope)])
            .set((now - pause.paused_at).as_seconds_f64().max(0.0));
    }
    let scans = db::reports::scans(pool, None).await?;
    let conversations = gauges(
        "unread_conversations",
        "Open conversations by read state, as the last scan of each skill saw them.",
        &["account", "read_state"],
    )?;
    for (account, word) in labels
        .iter()
        .flat_map(|a| ["read", "unread", "undecided"].map(|word| (*a, word)))
    {
        conversations.with_label_values(&[account, word]).set(0);
    }
    for scan in &scans {
        let account = metrics.label(&scan.account);
        let (unread, undecided) = (i64::from(scan.unread), i64::from(scan.undecided));
        let read = i64::from(scan.conversations) - unread - undecided;
        for (word, count) in [("read", read), ("unread", unread), ("undecided", undecided)] {
            conversations.with_label_values(&[account, word]).add(count);
        }
    }
    let settling = IntGauge::new(
        "unread_attempts_settling",
        "Attempts of unknown outcome that are being looked up at the provider.",
    )?;
    registry.register(Box::new(settling.clone()))?;
    settling.set(db::reports::to_settle(pool).await?);
    let circuits = gauges(
        "unread_circuits_open",
        "Open circuits by provider.",
        &["provider"],
    )?;
    for provider in Provider::ALL {
        circuits.with_label_values(&[provider.as_str()]).set(0);
    }
    for circuit in db::circuits::open_ones(pool).await? {
        circuits
            .with_label_values(&[circuit.provider.as_str()])
            .inc();
    }
    let holds = gauges(
        "unread_hold_active",
        "1 while sending is held, because the database may not be the one that sent, by kind.",
        &["kind"],
    )?;
    let active = db::holds::active(pool).await?;
    for kind in HoldKind::ALL {
        let is_active = active.iter().any(|hold| hold.kind == kind);
        holds
            .with_label_values(&[kind.as_str()])
            .set(i64::from(is_active));
    }
    let incidents = gauges(
        "unread_incidents",
        "Incidents that people were told of and that are not over, by kind.",
        &["kind"],
    )?;
    for kind in IncidentKind::ALL {
        incidents.with_label_values(&[kind.as_str()]).set(0);
    }
    let begun = db::incidents::going_on(pool).await?.into_iter();
    for incident in begun.filter(|incident| incident.begun_at.is_some()) {
        incidents
            .with_label_values(&[incident.trouble.kind.as_str()])
            .inc();
    }
    let lag = seconds(
        "unread_journal_lag_seconds",
        "How long the oldest opt-out or erasure has been waiting to be noted outside the database, by where, and 0 where none is kept.",
        &["sink"],
    )?;
    for sink in Sink::ALL {
        lag.with_label_values(&[sink.as_str()]).set(0.0);
    }
    for (sink, waiting) in db::journal::lag(pool).await? {
        lag.with_label_values(&[sink.as_str()]).set(waiting);
    }
    let last_success = seconds(
        "unread_scan_last_success_timestamp_seconds",
        "When a skill was last scanned, in full or for what is new, and of one that never was, when its account became known.",
        &["account", "skill"],
    )?;
    for (account, skill, at) in db::scans::last_success(pool, &accounts).await? {
        let only = state.config.accounts.iter().find(|a| a.id == account);
        let only = only.and_then(|settings| settings.skills.as_ref());
        if only.is_some_and(|skills| !skills.contains(&skill)) {
            continue;
        }
        let at = (at - DateTime::UNIX_EPOCH).as_seconds_f64();
        last_success
            .with_label_values(&[account.as_str(), &skill.to_string()])
            .set(at);
    }
    let rounds = seconds(
        "unread_scan_round_seconds",
        "How long a full pass over all skills of an account takes at half the rate of the settings, by what the last ones cost.",
        &["account"],
    )?;
    let all = Accounts::of_installation(state.account_ids());
    for (account, round) in overview::rounds(&state.context, &all).await? {
        let takes = round.seconds(state.context.scan_pace);
        rounds.with_label_values(&[account.as_str()]).set(takes);
    }
    let calls = seconds(
        "unread_scan_pass_calls",
        "Calls to LivePerson that the last pass over an account's skills took, by kind of pass. Of `badges`: that open badges were last asked about with.",
        &["account", "pass"],
    )?;
    let changed = gauges(
        "unread_scan_pass_changed",
        "Conversations of which the last pass found something new, by kind of pass.",
        &["account", "pass"],
    )?;
    let age = seconds(
        "unread_scan_full_pass_age_seconds",
        "How long ago the last full pass began, over the skill that has waited longest for one.",
        &["account"],
    )?;
    let distrusted = gauges(
        "unread_scan_filter_distrusted",
        "1 while an account has full passes only, because LivePerson's filter by update missed an agent message.",
        &["account"],
    )?;
    for latest in db::recent_passes::latest(pool, all.ids(), now).await? {
        let account = latest.account.as_str();
        for (pass, cost, new) in [
            ("full", latest.full_calls, latest.full_changed),
            (
                "recent",
                f64::from(latest.recent_calls),
                i64::from(latest.recent_changed),
            ),
            (
                "badges",
                f64::from(latest.badge_calls),
                i64::from(latest.badge_changed),
            ),
        ] {
            calls.with_label_values(&[account, pass]).set(cost);
            changed.with_label_values(&[account, pass]).set(new);
        }
        if let Some(at) = latest.full_at {
            let age_seconds = (now - at).as_seconds_f64().max(0.0);
            age.with_label_values(&[account]).set(age_seconds);
        }
        let is_distrusted = latest.distrusted_at.is_some();
        distrusted
            .with_label_values(&[account])
            .set(i64::from(is_distrusted));
    }
    let jobs = gauges(
        "unread_queue_jobs",
        "Jobs in the queue by kind and what they wait for.",
        &["queue", "state"],
    )?;
    let oldest = seconds(
        "unread_queue_oldest_seconds",
        "How long the oldest ready job has been waiting.",
        &["queue"],
    )?;
    let delivering = channels().map(names::deliver_queue);
    for queue in [names::SCAN, names::UPKEEP, names::ADVANCE, names::HINT]
        .into_iter()
        .chain(delivering)
    {
        for word in ["ready", "scheduled", "held", "dead"] {
            jobs.with_label_values(&[queue, word]).set(0);
        }
        oldest.with_label_values(&[queue]).set(0.0);
    }
    for depth in queue::depth(pool, now).await? {
        for (word, count) in [
            ("ready", depth.ready),
            ("scheduled", depth.scheduled),
            ("held", depth.held),
            ("dead", depth.dead),
        ] {
            jobs.with_label_values(&[&depth.queue, word]).set(count);
        }
        let age = depth
            .oldest_ready
            .map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0));
        oldest.with_label_values(&[&depth.queue]).set(age);
    }
    Ok(registry.gather())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_level_is_not_for_other_machines() {
        for (peer, status) in [
            ("10.0.0.7:4000", StatusCode::FORBIDDEN),
            ("[::ffff:10.0.0.7]:4000", StatusCode::FORBIDDEN),
            // Past the gate; a test keeps no log.
            ("[::ffff:127.0.0.1]:4000", StatusCode::BAD_REQUEST),
        ] {
            let peer = ConnectInfo(peer.parse().unwrap());
            let answer = set_log_level(peer, "debug".to_owned()).await;
            assert_eq!(answer.status(), status);
        }
    }
}
