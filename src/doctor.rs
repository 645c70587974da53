//! `unread doctor`: tries every connection that the settings describe and says what to do about what does not work.
//!
//! It reads and greets; it never sends or migrates, and all that it stores is what the DNS says of the sender's domain. The service's own clients do the trying, so that what is green here is
//! what the service will do. What it cannot find out it calls unchecked and says how to find out; it never guesses green.

mod broken;
mod database;
mod dns;
mod folder;
mod hours;
mod liveperson;
mod mail;
mod records;
mod report;
mod sms;
mod web;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::clock::Clock;
use crate::config::{Account, Config, ConfigError};
use crate::db;
use crate::domain::ids::Channel;
use crate::jobs::contradictions::domain_of;
use crate::liveperson::Turnstile;

pub use broken::find_broken;
pub use report::{Line, State, healthy, table};

/// Time for one question to the database or to a page of ours.
const PATIENCE: Duration = Duration::from_secs(10);

/// Clocks that differ by more make reminders early or late.
const MAX_SKEW_SECONDS: i64 = 30;

/// Collects findings, and tells what is being tried.
struct Doctor<'a> {
    lines: Vec<Line>,
    part: String,
    progress: &'a (dyn Fn(&str) + Sync),
}

/// What makes the settings unusable, as findings.
pub fn of_settings(error: &ConfigError) -> Vec<Line> {
    let problems = error.0.iter();
    problems
        .map(|problem| Line {
            part: "settings".to_owned(),
            check: problem.key.clone(),
            state: State::Failed,
            found: problem.what.clone(),
            mend: Some(problem.mend.clone()),
        })
        .collect()
}

/// Tries everything; `progress` is told what comes next.
pub async fn examine(
    config: &Config,
    clock: &Clock,
    progress: &(dyn Fn(&str) + Sync),
) -> Vec<Line> {
    let mut doctor = Doctor {
        lines: Vec::new(),
        part: String::new(),
        progress,
    };
    doctor.settings(config);
    let rules = doctor.database(config).await;
    doctor.hours(config, &rules, clock.now());
    for account in &config.accounts {
        doctor.liveperson(config, account, None, clock).await;
    }
    if let Some(settings) = &config.smtp {
        doctor.mail(settings, config).await;
    }
    if let Some(settings) = &config.twilio {
        doctor.sms(settings, &config.web.public_url).await;
    }
    doctor.web(config).await;
    doctor.lines
}

/// Tries an account's LivePerson, for a person who waits: within the account's limit.
pub async fn of_liveperson(
    config: &Config,
    account: &Account,
    limit: Option<Arc<dyn Turnstile>>,
    clock: &Clock,
) -> Vec<Line> {
    let mut doctor = Doctor::silent();
    doctor.liveperson(config, account, limit, clock).await;
    doctor.lines
}

/// Tries a channel's provider; nothing where the channel is not configured.
pub async fn of_channel(config: &Config, channel: Channel) -> Vec<Line> {
    let mut doctor = Doctor::silent();
    match (channel, &config.smtp, &config.twilio) {
        (Channel::Email, Some(settings), _) => doctor.mail(settings, config).await,
        (Channel::Sms, _, Some(settings)) => doctor.sms(settings, &config.web.public_url).await,
        _ => {}
    }
    doctor.lines
}

/// Keeps what was found out about the sender's domain, so that the pages of rules can tell it.
pub async fn keep(
    pool: &PgPool,
    config: &Config,
    lines: &[Line],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let checks = mail::sender_checks(lines);
    let domain = config.smtp.as_ref().and_then(|smtp| domain_of(&smtp.from));
    match domain {
        Some(domain) if !checks.is_empty() => {
            db::sender_checks::store(pool, &domain, &checks, now).await
        }
        _ => Ok(()),
    }
}

/// As [`keep`], for who has no database at hand. There may be none, or one that was not migrated: then nothing is kept.
pub async fn keep_if_possible(config: &Config, lines: &[Line], now: DateTime<Utc>) {
    let url = config.database_url.as_ref();
    let Some(options) = url.and_then(|url| url.expose().parse().ok()) else {
        return;
    };
    let pool = db::pool(options, 1);
    let kept = tokio::time::timeout(PATIENCE, keep(&pool, config, lines, now)).await;
    if !matches!(kept, Ok(Ok(()))) {
        tracing::debug!("What the DNS says of the sender's domain was not kept");
    }
    pool.close().await;
}

impl Doctor<'_> {
    fn silent() -> Self {
        Self {
            lines: Vec::new(),
            part: String::new(),
            progress: &|_| {},
        }
    }

    fn begin(&mut self, part: impl Into<String>) {
        self.part = part.into();
        (self.progress)(&self.part);
    }

    fn line(&mut self, check: &str, state: State, found: impl Into<String>, mend: Option<String>) {
        self.lines.push(Line {
            part: self.part.clone(),
            check: check.to_owned(),
            state,
            found: found.into(),
            mend,
        });
    }

    fn ok(&mut self, check: &str, found: impl Into<String>) {
        self.line(check, State::Ok, found, None);
    }

    fn failed(&mut self, check: &str, found: impl Into<String>, mend: impl Into<String>) {
        self.line(check, State::Failed, found, Some(mend.into()));
    }

    fn warning(&mut self, check: &str, found: impl Into<String>, mend: impl Into<String>) {
        self.line(check, State::Warning, found, Some(mend.into()));
    }

    fn unchecked(&mut self, check: &str, found: impl Into<String>, mend: impl Into<String>) {
        self.line(check, State::Unchecked, found, Some(mend.into()));
    }

    fn settings(&mut self, config: &Config) {
        self.begin("settings");
        match config.accounts.len() {
            0 => self.failed(
                "accounts",
                "none",
                "Set LE_ACCOUNT, or write an [[account]] into unread.toml.",
            ),
            count => self.ok("accounts", format!("{count}")),
        }
        let channels: Vec<&str> = [
            config.smtp.as_ref().map(|_| "e-mail"),
            config.twilio.as_ref().map(|_| "SMS"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if channels.is_empty() {
            self.failed(
                "channels",
                "none",
                "Set SMTP_USER and SMTP_PASS for e-mail, or TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN for SMS.",
            );
        } else {
            self.ok("channels", channels.join(", "));
        }
        for warning in &config.warnings {
            self.line("contradiction", State::Warning, warning, None);
        }
    }
}
