//! What this process counts about itself. What is true of the service as a whole (queue depth, reminders by state, circuits) is
//! read from PostgreSQL when scraped (`web::metrics`), so that replicas agree.
//!
//! Labels come from closed sets; never a conversation, an address or a consumer. The account is one of them everywhere, and empty, which
//! is no label to Prometheus, unless the settings ask for it: an installation with many accounts would multiply its series.

mod labels;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::domain::decide::{Decision, Reason, Verdict};
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::outcome::Outcome;
use crate::liveperson::Observer;
use crate::version::{REVISION, VERSION};

pub use labels::{AccessOutcome, BadgeSource, Closed, RefusedConnection};

/// Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// What this process plays, as a label.
    role: &'static str,
    /// Whether what is counted for one account carries its name.
    by_account: bool,
    build: IntGaugeVec,
    lateness: HistogramVec,
    attempts: HistogramVec,
    decisions: IntCounterVec,
    liveperson: HistogramVec,
    scans: IntCounterVec,
    scan_seconds: HistogramVec,
    limit_wait: CounterVec,
    badge: [IntCounter; BadgeSource::ALL.len()],
    badge_seconds: Histogram,
    webhooks: IntCounterVec,
    notices: IntCounterVec,
    requests: IntCounterVec,
    access: IntCounterVec,
    connections: (IntGaugeVec, IntCounterVec, IntCounterVec),
    /// Without labels, but there is none before the first backup.
    bodies_refused: IntCounter,
    last_backup: IntGaugeVec,
    /// Without labels, but only where the heartbeat is remembered beside a journal.
    heartbeat_lag: GaugeVec,
}

/// The connections of one listener.
#[derive(Clone)]
pub struct ConnectionMetrics {
    open: IntGauge,
    refused: [IntCounter; RefusedConnection::ALL.len()],
    closed: [IntCounter; Closed::ALL.len()],
}

impl ConnectionMetrics {
    pub fn open(&self, count: usize) {
        self.open.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub fn refused(&self, why: RefusedConnection) {
        self.refused[why as usize].inc();
    }

    pub fn closed(&self, why: Closed) {
        self.closed[why as usize].inc();
    }
}

/// From 5 ms to about five minutes.
fn seconds() -> Vec<f64> {
    vec![
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    ]
}

/// The same up to a day: so late a reminder may be that is still in time by the usual rules, and more.
fn lateness(registry: &Registry) -> HistogramVec {
    let mut bounds = seconds();
    bounds.extend([900.0, 3_600.0, 21_600.0, 86_400.0]);
    register(
        registry,
        HistogramVec::new(
            HistogramOpts::new(
                "unread_lateness_seconds",
                "Time from a reminder's due moment to the provider's acceptance.",
            )
            .buckets(bounds),
            &["account", "channel"],
        ),
    )
}

fn build(registry: &Registry) -> IntGaugeVec {
    register(
        registry,
        IntGaugeVec::new(
            Opts::new(
                "unread_build_info",
                "Constant 1, labelled with version, revision and role of the process.",
            ),
            &["version", "revision", "role"],
        ),
    )
}

fn bodies_refused(registry: &Registry) -> IntCounter {
    let name = "unread_bodies_refused_total";
    let help =
        "Requests that were asked to try again later because too much was being sent at once.";
    register(registry, IntCounter::new(name, help))
}

fn last_backup(registry: &Registry) -> IntGaugeVec {
    register(
        registry,
        IntGaugeVec::new(
            Opts::new(
                "unread_backup_last_success_timestamp_seconds",
                "When the newest nightly backup was made, in seconds since 1970. Only where `run` keeps its own PostgreSQL.",
            ),
            &[],
        ),
    )
}

fn heartbeat_lag(registry: &Registry) -> GaugeVec {
    register(
        registry,
        GaugeVec::new(
            Opts::new(
                "unread_heartbeat_lag_seconds",
                "For how long the heartbeat could not be written beside the journal. Only where a process keeps a journal in a file.",
            ),
            &[],
        ),
    )
}

impl Metrics {
    /// # Panics
    /// If two metrics have one name, which a test would show.
    pub fn new() -> Self {
        let registry = Registry::new();
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let metric =
                HistogramVec::new(HistogramOpts::new(name, help).buckets(seconds()), labels);
            register(&registry, metric)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let badge = counter(
            "unread_badge_requests_total",
            "Badge answers by where they came from.",
            &["source"],
        );
        #[cfg(target_os = "linux")]
        let _ = registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ));
        Self {
            role: "",
            by_account: false,
            build: build(&registry),
            lateness: lateness(&registry),
            attempts: histogram(
                "unread_attempt_duration_seconds",
                "Time a provider took for an attempt, by outcome.",
                &["account", "channel", "outcome"],
            ),
            decisions: counter(
                "unread_decisions_total",
                "Answers to \"should this be sent now?\" by verdict and reason.",
                &["account", "channel", "verdict", "reason"],
            ),
            liveperson: histogram(
                "unread_liveperson_request_duration_seconds",
                "Calls to LivePerson, retries included.",
                &["account", "endpoint", "outcome"],
            ),
            scans: counter(
                "unread_scans_total",
                "Finished scans.",
                &["account", "skill", "result"],
            ),
            scan_seconds: histogram(
                "unread_scan_duration_seconds",
                "Time a scan took.",
                &["account"],
            ),
            limit_wait: register(
                &registry,
                CounterVec::new(
                    Opts::new(
                        "unread_limit_wait_seconds_total",
                        "Time spent waiting for a shared limit.",
                    ),
                    &["limit"],
                ),
            ),
            badge: BadgeSource::ALL.map(|source| badge.with_label_values(&[source.as_str()])),
            badge_seconds: register(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "unread_badge_duration_seconds",
                        "Time to answer a badge request.",
                    )
                    .buckets(seconds()),
                ),
            ),
            webhooks: counter(
                "unread_webhooks_total",
                "Calls of providers, by kind and result.",
                &["kind", "result"],
            ),
            notices: notices(&registry),
            requests: counter(
                "unread_http_requests_total",
                "Answers on PORT by route and kind of status.",
                &["route", "status"],
            ),
            access: access(&registry),
            connections: connections(&registry),
            bodies_refused: bodies_refused(&registry),
            last_backup: last_backup(&registry),
            heartbeat_lag: heartbeat_lag(&registry),
            registry,
        }
    }

    /// Those of a process that plays this role, with accounts as labels or without.
    #[must_use]
    pub fn of_process(role: &'static str, by_account: bool) -> Self {
        let metrics = Self {
            role,
            by_account,
            ..Self::new()
        };
        metrics
            .build
            .with_label_values(&[VERSION, REVISION, role])
            .set(1);
        metrics
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn role(&self) -> &'static str {
        self.role
    }

    /// An account as a label: its id, or nothing.
    pub fn label<'a>(&self, account: &'a AccountId) -> &'a str {
        if self.by_account {
            account.as_str()
        } else {
            ""
        }
    }

    /// A reminder was accepted, this long after it was due.
    pub fn sent(&self, account: &AccountId, channel: Channel, lateness: TimeDelta) {
        self.lateness
            .with_label_values(&[self.label(account), channel.as_str()])
            .observe(lateness.as_seconds_f64().max(0.0));
    }

    pub fn attempted(
        &self,
        account: &AccountId,
        channel: Channel,
        outcome: &Outcome,
        took: Duration,
    ) {
        self.attempts
            .with_label_values(&[self.label(account), channel.as_str(), outcome.as_str()])
            .observe(took.as_secs_f64());
    }

    pub fn decided_on(&self, account: &AccountId, channel: Channel, decision: &Decision) {
        let (verdict, reason) = match decision {
            Decision::Send(_) => (Verdict::Send, Reason::Due),
            Decision::Cancel(reason) => (Verdict::Cancel, *reason),
            Decision::Postpone(_, reason) => (Verdict::Postpone, *reason),
            Decision::Expire(reason) => (Verdict::Expire, *reason),
        };
        self.decided(account, channel, verdict, reason);
    }

    pub fn decided(&self, account: &AccountId, channel: Channel, verdict: Verdict, reason: Reason) {
        let account = self.label(account);
        self.decisions
            .with_label_values(&[account, channel.as_str(), verdict.as_str(), reason.as_str()])
            .inc();
    }

    pub fn scanned(&self, account: &AccountId, skill: SkillId, complete: bool, took: Duration) {
        let result = if complete { "complete" } else { "stopped" };
        self.scans
            .with_label_values(&[account.as_str(), &skill.to_string(), result])
            .inc();
        self.scan_seconds
            .with_label_values(&[account.as_str()])
            .observe(took.as_secs_f64());
    }

    pub fn waited(&self, limit: &str, took: Duration) {
        self.limit_wait
            .with_label_values(&[limit])
            .inc_by(took.as_secs_f64());
    }

    pub fn badge(&self, source: BadgeSource, took: Duration) {
        self.badge[source as usize].inc();
        self.badge_seconds.observe(took.as_secs_f64());
    }

    /// Badge answers of this process since it started, by where they came from.
    pub fn badges(&self) -> [(BadgeSource, u64); BadgeSource::ALL.len()] {
        BadgeSource::ALL.map(|source| (source, self.badge[source as usize].get()))
    }

    /// `route` as it is written in the program, never a path that was asked for.
    pub fn answered(&self, route: &str, status: u16) {
        let kind = match status {
            ..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            500.. => "5xx",
        };
        self.requests.with_label_values(&[route, kind]).inc();
    }

    pub fn access(&self, outcome: AccessOutcome) {
        self.access.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Of the listener `web` or `metrics`.
    pub fn connections(&self, listener: &str) -> ConnectionMetrics {
        let (open, refused, closed) = &self.connections;
        // From zero on, so that the first of a kind is an increase.
        ConnectionMetrics {
            open: open.with_label_values(&[listener]),
            refused: RefusedConnection::ALL
                .map(|why| refused.with_label_values(&[listener, why.as_str()])),
            closed: Closed::ALL.map(|why| closed.with_label_values(&[listener, why.as_str()])),
        }
    }

    /// There is a backup of this moment.
    pub fn backed_up(&self, at: DateTime<Utc>) {
        let none: [&str; 0] = [];
        self.last_backup
            .with_label_values(&none)
            .set(at.timestamp());
    }

    /// For so long the heartbeat could not be written beside the journal.
    pub fn heartbeat_lag(&self, lag: Duration) {
        let none: [&str; 0] = [];
        self.heartbeat_lag
            .with_label_values(&none)
            .set(lag.as_secs_f64());
    }

    /// A body found no room beside the others in hand.
    pub fn body_refused(&self) {
        self.bodies_refused.inc();
    }

    /// People were told of something, or could not be.
    pub fn notified(&self, way: &str, result: &str) {
        self.notices.with_label_values(&[way, result]).inc();
    }

    pub fn webhook(&self, kind: &str, result: &str) {
        self.webhooks.with_label_values(&[kind, result]).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts the calls to one account's LivePerson.
pub struct LivePersonCalls {
    metrics: Metrics,
    account: AccountId,
}

impl LivePersonCalls {
    pub fn new(metrics: Metrics, account: AccountId) -> Self {
        Self { metrics, account }
    }
}

impl Observer for LivePersonCalls {
    fn on_call(&self, endpoint: &'static str, outcome: &'static str, elapsed: Duration) {
        let account = self.metrics.label(&self.account);
        self.metrics
            .liveperson
            .with_label_values(&[account, endpoint, outcome])
            .observe(elapsed.as_secs_f64());
    }
}

fn notices(registry: &Registry) -> IntCounterVec {
    let notices = IntCounterVec::new(
        Opts::new(
            "unread_notices_total",
            "Messages to people of the installation about incidents and results, by way and result.",
        ),
        &["way", "result"],
    );
    let notices = register(registry, notices);
    // From zero on, so that the first of a kind is an increase.
    for (way, result) in ["email", "webhook"]
        .into_iter()
        .flat_map(|way| [(way, "told"), (way, "failed")])
    {
        notices.with_label_values(&[way, result]);
    }
    notices
}

fn access(registry: &Registry) -> IntCounterVec {
    let access = IntCounterVec::new(
        Opts::new(
            "unread_access_total",
            "Logins and refusals of the dashboard and the config API by outcome.",
        ),
        &["outcome"],
    );
    let access = register(registry, access);
    // From zero on, so that the first of a kind is an increase.
    for outcome in AccessOutcome::ALL {
        access.with_label_values(&[outcome.as_str()]);
    }
    access
}

fn connections(registry: &Registry) -> (IntGaugeVec, IntCounterVec, IntCounterVec) {
    let open = IntGaugeVec::new(
        Opts::new("unread_connections", "Open connections by listener."),
        &["listener"],
    );
    let refused = IntCounterVec::new(
        Opts::new(
            "unread_connections_refused_total",
            "Connections that were not let in, by listener and the limit that was reached.",
        ),
        &["listener", "reason"],
    );
    let closed = IntCounterVec::new(
        Opts::new(
            "unread_connections_closed_total",
            "Connections that were closed by us, by listener and what took too long, or `room` for those that made place for others.",
        ),
        &["listener", "reason"],
    );
    (
        register(registry, open),
        register(registry, refused),
        register(registry, closed),
    )
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.expect("the names and labels above are valid");
    registry
        .register(Box::new(metric.clone()))
        .expect("each name is registered once");
    metric
}
