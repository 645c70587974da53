//! What this process counts about itself. What is true of the service as a whole (queue depth, reminders by state, circuits) is
//! read from PostgreSQL when scraped (`web::metrics`), so that replicas agree.
//!
//! Labels come from closed sets; never a conversation, an address or a consumer.

use std::time::Duration;

use chrono::TimeDelta;
use prometheus::{
    CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry,
};

use crate::domain::decide::Decision;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::outcome::Outcome;
use crate::liveperson::Observer;

/// Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
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
    requests: IntCounterVec,
    access: IntCounterVec,
}

/// What came of asking to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessOutcome {
    LoggedIn,
    WrongPassword,
    /// Too many logins were tried for this name or from this address.
    TooManyTries,
    /// The issuer of the single sign-on knows the person, and nobody here does; or it has refused them.
    SsoRefused,
    /// The single sign-on does not work, or its answer is not to be believed.
    SsoFailed,
    /// A program's bearer token that is not known here, or has expired.
    WrongToken,
    /// Somebody is known and may not do this.
    MissingPermission,
}

impl AccessOutcome {
    pub const ALL: [Self; 7] = [
        Self::LoggedIn,
        Self::WrongPassword,
        Self::TooManyTries,
        Self::SsoRefused,
        Self::SsoFailed,
        Self::WrongToken,
        Self::MissingPermission,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoggedIn => "logged_in",
            Self::WrongPassword => "wrong_password",
            Self::TooManyTries => "too_many_tries",
            Self::SsoRefused => "sso_refused",
            Self::SsoFailed => "sso_failed",
            Self::WrongToken => "wrong_token",
            Self::MissingPermission => "missing_permission",
        }
    }
}

/// Where the badge's answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadgeSource {
    Memory,
    Database,
    LivePerson,
    /// The last that was known, because LivePerson or the database could not be asked.
    Stale,
    /// What was asked for cannot be an id.
    None,
}

impl BadgeSource {
    pub const ALL: [Self; 5] = [
        Self::Memory,
        Self::Database,
        Self::LivePerson,
        Self::Stale,
        Self::None,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Database => "database",
            Self::LivePerson => "liveperson",
            Self::Stale => "stale",
            Self::None => "none",
        }
    }
}

/// From 5 ms to about five minutes.
fn seconds() -> Vec<f64> {
    vec![
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    ]
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
        let build = register(
            &registry,
            IntGauge::with_opts(
                Opts::new(
                    "unread_build_info",
                    "Constant 1, labelled with the version.",
                )
                .const_label("version", env!("CARGO_PKG_VERSION")),
            ),
        );
        build.set(1);
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
            lateness: histogram(
                "unread_lateness_seconds",
                "Time from a reminder's due moment to the provider's acceptance.",
                &["channel"],
            ),
            attempts: histogram(
                "unread_attempt_duration_seconds",
                "Time a provider took for an attempt, by outcome.",
                &["channel", "outcome"],
            ),
            decisions: counter(
                "unread_decisions_total",
                "Answers to \"should this be sent now?\" by verdict and reason.",
                &["channel", "verdict", "reason"],
            ),
            liveperson: histogram(
                "unread_liveperson_request_duration_seconds",
                "Calls to LivePerson, retries included.",
                &["endpoint", "outcome"],
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
            requests: counter(
                "unread_http_requests_total",
                "Answers on PORT by route and kind of status.",
                &["route", "status"],
            ),
            access: access(&registry),
            registry,
        }
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A reminder was accepted, this long after it was due.
    pub fn sent(&self, channel: Channel, lateness: TimeDelta) {
        self.lateness
            .with_label_values(&[channel.as_str()])
            .observe(lateness.as_seconds_f64().max(0.0));
    }

    pub fn attempted(&self, channel: Channel, outcome: &Outcome, took: Duration) {
        self.attempts
            .with_label_values(&[channel.as_str(), outcome.as_str()])
            .observe(took.as_secs_f64());
    }

    pub fn decided_on(&self, channel: Channel, decision: &Decision) {
        let (verdict, reason) = match decision {
            Decision::Send(_) => ("send", "due"),
            Decision::Cancel(reason) => ("cancel", reason.as_str()),
            Decision::Postpone(_, reason) => ("postpone", reason.as_str()),
            Decision::Expire(reason) => ("expire", reason.as_str()),
        };
        self.decided(channel, verdict, reason);
    }

    pub fn decided(&self, channel: Channel, verdict: &str, reason: &str) {
        self.decisions
            .with_label_values(&[channel.as_str(), verdict, reason])
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

    pub fn webhook(&self, kind: &str, result: &str) {
        self.webhooks.with_label_values(&[kind, result]).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Metrics {
    fn on_call(&self, endpoint: &'static str, outcome: &'static str, elapsed: Duration) {
        self.liveperson
            .with_label_values(&[endpoint, outcome])
            .observe(elapsed.as_secs_f64());
    }
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
