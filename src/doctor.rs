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
mod server;
mod way;
mod web;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::app;
use crate::channel;
use crate::channel::adapter::{Check, Health};
use crate::clock::Clock;
use crate::config::{AccountSettings, Config, ConfigError};
use crate::db;
use crate::domain::ids::Channel;
use crate::jobs::contradictions::domain_of;
use crate::liveperson::RateLimiter;

pub use broken::find_broken;
pub use report::{CheckState, DoctorFinding, healthy, table};
use way::Way;

/// Time for one question to the database or to a page of ours.
const PATIENCE: Duration = Duration::from_secs(10);

/// Clocks that differ by more make reminders early or late.
const MAX_SKEW_SECONDS: i64 = 30;

/// Collects findings, and tells what is being tried.
struct Doctor<'a> {
    lines: Vec<DoctorFinding>,
    part: String,
    progress: &'a (dyn Fn(&str) + Sync),
}

/// What makes the settings unusable, as findings.
pub fn of_settings(error: &ConfigError) -> Vec<DoctorFinding> {
    let problems = error.0.iter();
    problems
        .map(|problem| DoctorFinding {
            part: "settings".to_owned(),
            check: problem.key.clone(),
            state: CheckState::Failed,
            found: problem.what.clone(),
            fix: Some(problem.fix.clone()),
        })
        .collect()
}

/// Tries everything; `progress` is told what comes next.
pub async fn examine(
    config: &Config,
    clock: &Clock,
    progress: &(dyn Fn(&str) + Sync),
) -> Vec<DoctorFinding> {
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
    for channel in Channel::ALL {
        doctor.channel(config, None, channel).await;
        for account in config.accounts.iter().filter(|a| a.channels.has(channel)) {
            doctor.channel(config, Some(account), channel).await;
        }
    }
    doctor.web(config).await;
    doctor.lines
}

/// Tries an account's LivePerson, for a person who waits: within the account's limit.
pub async fn of_liveperson(
    config: &Config,
    account: &AccountSettings,
    limit: Option<Arc<dyn RateLimiter>>,
    clock: &Clock,
) -> Vec<DoctorFinding> {
    let mut doctor = Doctor::silent();
    doctor.liveperson(config, account, limit, clock).await;
    doctor.lines
}

/// Tries what an account sends with on a channel; nothing where the channel is not configured.
pub async fn of_channel(
    config: &Config,
    account: &AccountSettings,
    channel: Channel,
) -> Vec<DoctorFinding> {
    let mut doctor = Doctor::silent();
    let own = Some(account).filter(|account| account.channels.has(channel));
    doctor.channel(config, own, channel).await;
    doctor.lines
}

/// How the lines about a channel are headed: the installation's, or an account's own.
fn part_of_channel(account: Option<&AccountSettings>, channel: Channel) -> String {
    let name = channel.names().inside;
    match account {
        Some(account) => format!("{name} of account {}", account.id),
        None => name.to_owned(),
    }
}

/// Keeps what was found out about the sender's domain, so that the pages of rules can tell it.
pub async fn keep(
    pool: &PgPool,
    config: &Config,
    lines: &[DoctorFinding],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let own = config.accounts.iter().map(Some);
    for account in std::iter::once(None).chain(own) {
        let part = part_of_channel(account, Channel::Email);
        let checks = mail::sender_checks(lines.iter().filter(|line| line.part == part));
        let channels = match account {
            Some(account) => config.channels_of(&account.id),
            None => config.usual_channels(),
        };
        let sender = channels.sender_of_mail();
        if let Some(domain) = sender.and_then(|sender| domain_of(&sender))
            && !checks.is_empty()
        {
            db::sender_checks::store(pool, &domain, &checks, now).await?;
        }
    }
    Ok(())
}

/// As [`keep`], for who has no database at hand. There may be none, or one that was not migrated: then nothing is kept.
pub async fn keep_if_possible(config: &Config, lines: &[DoctorFinding], now: DateTime<Utc>) {
    if config.database_url.is_none() {
        return;
    }
    let Ok(database) = app::Database::find(config).await else {
        return;
    };
    let pool = db::pool(database.options, 1);
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

    fn line(
        &mut self,
        check: &str,
        state: CheckState,
        found: impl Into<String>,
        fix: Option<String>,
    ) {
        self.lines.push(DoctorFinding {
            part: self.part.clone(),
            check: check.to_owned(),
            state,
            found: found.into(),
            fix,
        });
    }

    fn ok(&mut self, check: &str, found: impl Into<String>) {
        self.line(check, CheckState::Ok, found, None);
    }

    fn failed(&mut self, check: &str, found: impl Into<String>, fix: impl Into<String>) {
        self.line(check, CheckState::Failed, found, Some(fix.into()));
    }

    fn warning(&mut self, check: &str, found: impl Into<String>, fix: impl Into<String>) {
        self.line(check, CheckState::Warning, found, Some(fix.into()));
    }

    fn unchecked(&mut self, check: &str, found: impl Into<String>, fix: impl Into<String>) {
        self.line(check, CheckState::Unchecked, found, Some(fix.into()));
    }

    /// Tries a channel's provider, the installation's or an account's; nothing where the channel is not configured.
    async fn channel(
        &mut self,
        config: &Config,
        account: Option<&AccountSettings>,
        channel: Channel,
    ) {
        let channels = match account {
            Some(account) => config.channels_of(&account.id),
            None => config.usual_channels(),
        };
        let Some(settings) = channels.of(channel) else {
            return;
        };
        self.begin(part_of_channel(account, channel));
        let adapter = match settings.adapter(&config.web.public_url) {
            Ok(adapter) => adapter,
            Err(error) => {
                let fix = format!(
                    "Correct the settings of {}.",
                    channel::profile(channel.provider()).name
                );
                return self.failed("settings", format!("{error:#}"), fix);
            }
        };
        let mail = channels
            .smtp()
            .filter(|_| channel.profile().has_sender_domain);
        for Check {
            name,
            health,
            mut found,
            mut remedy,
        } in adapter.examine().await
        {
            if let (Health::Failed, Some(server)) = (&health, mail)
                && let Some(obstacle) = Way::to_mail_server(server).obstacle().await
            {
                found = format!("{found}: {}", obstacle.found);
                remedy = Some(obstacle.fix);
            }
            let state = match health {
                Health::Well => CheckState::Ok,
                Health::Failed => CheckState::Failed,
                Health::Warning => CheckState::Warning,
                Health::Unchecked => CheckState::Unchecked,
            };
            self.line(name, state, found, remedy);
        }
        if let Some(smtp) = mail {
            self.sender_domain(smtp, config.dns_server).await;
        }
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
        let channels = config.channels_anywhere().into_iter();
        let channels: Vec<&str> = channels.map(|channel| channel.names().inside).collect();
        if channels.is_empty() {
            let each = Channel::ALL.map(|channel| {
                let settings = channel::profile(channel.provider()).set_up_by;
                format!("{settings} for {}", channel.names().inside)
            });
            self.failed("channels", "none", format!("Set {}.", each.join(", or ")));
        } else {
            self.ok("channels", channels.join(", "));
        }
        for warning in &config.warnings {
            self.line("contradiction", CheckState::Warning, warning, None);
        }
    }
}
