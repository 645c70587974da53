//! `/metrics`, on a listener of its own so that it is never exposed with the badge; the probes, which a role without the web
//! answers only here; and the log level, which can be changed from this machine.
//!
//! What a process counted is its own; what is true of the service (reminders by state, queue depth, circuits, the age of the last
//! scan) is read from PostgreSQL at each scrape, so that every replica says the same.

use std::net::SocketAddr;

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
use crate::domain::hold::HoldKind;
use crate::domain::ids::Provider;
use crate::jobs::queue;
use crate::telemetry;

pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/log-level", put(set_log_level))
        .layer(DefaultBodyLimit::max(MAX_LEVEL))
        .with_state(state)
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

async fn scrape(Shared(state): Shared<AppState>) -> Response {
    let mut families = state.metrics.registry().gather();
    let service = of_the_service(&state).await;
    families.extend(database_up(service.is_ok()));
    match service {
        Ok(service) => families.extend(service),
        // The process's own numbers are worth having when the database is away.
        Err(error) => tracing::warn!("The service's metrics cannot be read: {error:#}"),
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
fn database_up(up: bool) -> Vec<MetricFamily> {
    let gauge = IntGauge::new(
        "unread_database_up",
        "1 if this process could read the database at this scrape, else 0.",
    );
    let gauge = gauge.expect("the name above is valid");
    gauge.set(i64::from(up));
    gauge.collect()
}

/// Gauges read from the database.
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

    let yesterday = now - TimeDelta::hours(24);
    let reminders = gauges(
        "unread_reminders",
        "Reminders that ended in the last 24 hours, and all that are not final, by state.",
        &["channel", "state"],
    )?;
    for (channel, state, count) in db::reminder_counts::by_state(pool, yesterday).await? {
        reminders
            .with_label_values(&[channel.as_str(), state.as_str()])
            .set(count);
    }
    let returns = gauges(
        "unread_returns",
        "Reminders sent in the last 24 hours whose consumer came back.",
        &["channel"],
    )?;
    for (channel, count) in db::reminder_counts::returns(pool, yesterday).await? {
        returns.with_label_values(&[channel.as_str()]).set(count);
    }
    let scans = db::reports::scans(pool, None).await?;
    let conversations = gauges(
        "unread_conversations",
        "Open conversations by read state, as the last scan of each skill saw them.",
        &["read_state"],
    )?;
    for scan in &scans {
        let (unread, undecided) = (i64::from(scan.unread), i64::from(scan.undecided));
        let read = i64::from(scan.conversations) - unread - undecided;
        for (word, count) in [("read", read), ("unread", unread), ("undecided", undecided)] {
            conversations.with_label_values(&[word]).add(count);
        }
    }
    let suppressions = gauges(
        "unread_suppressions",
        "Suppressed addresses.",
        &["channel", "reason"],
    )?;
    for (channel, reason, count) in db::reports::suppressions(pool).await? {
        suppressions
            .with_label_values(&[channel.as_str(), reason.as_str()])
            .set(count);
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
        "When a skill was last scanned completely: all open conversations, or all that were updated.",
        &["account", "skill"],
    )?;
    for scan in scans {
        if let Some(at) = scan.succeeded_at {
            let at = (at - DateTime::UNIX_EPOCH).as_seconds_f64();
            last_success
                .with_label_values(&[scan.account.as_str(), &scan.skill.to_string()])
                .set(at);
        }
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
        "Calls to LivePerson that the last pass over an account's skills took, by kind of pass.",
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
        ] {
            calls.with_label_values(&[account, pass]).set(cost);
            changed.with_label_values(&[account, pass]).set(new);
        }
        if let Some(at) = latest.full_at {
            let passed = (now - at).as_seconds_f64().max(0.0);
            age.with_label_values(&[account]).set(passed);
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
