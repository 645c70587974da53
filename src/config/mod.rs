//! All settings, read once at the start: environment (with `.env`) over TOML file over defaults.
//!
//! Plain data; nobody else reads the environment. Every problem is reported at once, each with its fix, and an unknown name is
//! a problem: a mistyped setting must not pass for one left at its default. What is only unwise goes to [`Config::warnings`].
//!
//! One `Config` serves every role. A role that does not need a channel's secret is simply not given it: what is missing becomes a
//! problem only for the [`ProcessRole`] that needs it.

mod account;
mod badge;
mod channel;
mod contradictions;
mod database_url;
mod host;
mod inherit;
mod journal;
mod keys;
mod names;
mod network;
mod notify;
mod parse;
mod problem;
mod reader;
mod role;
mod shown;
mod smtp_login;
mod source;
mod sso;
mod web;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

pub use account::{AccountSettings, LEGACY_KEYS};
pub use badge::{BadgeTokens, IdTokenKeys, IdTokens};
pub use database_url::DatabaseUrl;
pub use host::{HostPattern, InvalidHost};
pub use journal::Journal;
pub use keys::reference;
pub use network::{InvalidNetwork, Network};
pub use notify::Notify;
pub use parse::{is_loopback_name, log_level};
pub use problem::{ConfigError, SettingProblem};
pub use role::ProcessRole;
pub use source::Sources;
pub use sso::Sso;
pub use web::Web;

use crate::channel::AccountChannels;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::live::{Agreed, OtherInstallation};
use crate::domain::zone::Zone;
use crate::secret::Secret;
use reader::{Noted, SettingsReader};

#[derive(Clone, Debug)]
pub struct Config {
    /// `None`: a PostgreSQL of our own.
    pub database_url: Option<DatabaseUrl>,
    /// Connections one process may hold.
    pub database_connections: u32,
    /// What all processes together may hold, as whoever planned them says.
    pub connections_in_all: Option<u32>,
    /// Folder of our own PostgreSQL.
    pub data_dir: Option<PathBuf>,
    /// Folder with `postgres` and `initdb`.
    pub postgres_bin: Option<PathBuf>,
    /// Nightly backups of our own PostgreSQL; 0: none are made.
    pub backups_kept: usize,
    /// Whom to ask about the sender's domain; `None`: the machine's own.
    pub dns_server: Option<SocketAddr>,
    /// Key for address hashes and link tokens; `None`: the one kept in the database.
    pub secret: Option<Secret>,
    /// Keys before it, the newest first.
    pub older_secrets: Vec<Secret>,
    pub journal: Journal,
    pub web: Web,
    /// No two with the same id.
    pub accounts: Vec<AccountSettings>,
    pub liveperson: LivePerson,
    pub notify: Notify,
    /// `None`: people log in with passwords only.
    pub sso: Option<Sso>,
    /// Those of the channels that are on, for accounts that have none of their own ([`Config::channels_of`]).
    pub channels: crate::channel::ChannelSettings,
    /// Channels go live by themselves when nothing stands in the way.
    pub live: bool,
    /// What is answered then to what a person is asked: whether another installation sends …
    pub live_other_installation: Option<OtherInstallation>,
    /// … and how customers agreed to text messages.
    pub sms_consent: Option<Agreed>,
    pub worker: Worker,
    pub retention: RetentionSettings,
    pub log: Log,
    /// What is allowed but probably not meant, as sentences. To be logged once the log is up.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct LivePerson {
    /// Where the domain service (CSDS) is. With `http`, which only loopback may have, so have the services it names.
    pub csds_url: Url,
    /// Calls per second and account, all processes together.
    pub rate_per_second: f64,
    /// Of these, as many as the badge may use for look-ups of its own.
    pub badge_lookups_per_second: f64,
    pub scan_interval: Duration,
    /// Not shorter than `scan_interval`.
    pub full_scan_interval: Duration,
    pub window_days: u32,
    /// The query parameter `source` of every call.
    pub source_name: String,
}

#[derive(Clone, Debug)]
pub struct Worker {
    /// Reminders in hand at once.
    pub slots: usize,
    /// How long to finish what is in hand when told to stop.
    pub drain: Duration,
}

/// How many days to keep what is finished.
#[derive(Clone, Debug)]
pub struct RetentionSettings {
    pub conversations_days: u32,
    pub reminders_days: u32,
    pub decisions_days: u32,
    pub audit_days: u32,
    pub jobs_days: u32,
}

#[derive(Clone, Debug)]
pub struct Log {
    /// `None`: text on a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// As [`parse::log_level`] takes it.
    pub level: String,
    /// Nobody has set it.
    pub level_is_preset: bool,
    /// Where spans go.
    pub otlp: Option<Url>,
    /// Whose they are; `None`: by the role.
    pub service_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

impl Config {
    /// Reads this process's settings. `file` is the path given on the command line.
    pub fn load(file: Option<&Path>, role: ProcessRole) -> Result<Self, ConfigError> {
        let sources = Sources::of_process(file).map_err(ConfigError)?;
        Self::read(&sources, role)
    }

    /// The log's format alone, for whoever has to say that the settings are wrong.
    pub fn log_format(file: Option<&Path>) -> Option<LogFormat> {
        let sources = Sources::of_process(file).ok()?;
        let mut reader = SettingsReader::new(&sources);
        reader
            .optional("UNREAD_LOG_FORMAT", log_format)
            .ok()
            .flatten()
    }

    /// Reads the settings from `sources`: the same without a process.
    pub fn read(sources: &Sources, role: ProcessRole) -> Result<Self, ConfigError> {
        let mut reader = SettingsReader::new(sources);
        let config = read_all(&mut reader, role);
        match config {
            Ok(config) if reader.problems.is_empty() => Ok(Self {
                warnings: reader.warnings,
                ..config
            }),
            _ => Err(ConfigError(reader.problems)),
        }
    }
}

impl Config {
    /// With what an account sends: what is its own, and the installation's for the rest.
    pub fn channels_of(&self, account: &AccountId) -> AccountChannels<'_> {
        let account = self.accounts.iter().find(|own| own.id == *account);
        AccountChannels {
            own: account.map(|account| &account.channels),
            usual: &self.channels,
        }
    }

    /// By whose clock the installation itself lives: that of the first account that has one.
    pub fn zone(&self) -> Zone {
        let mut zones = self.accounts.iter().filter_map(|account| account.time_zone);
        zones.next().unwrap_or(Zone::UTC)
    }

    /// With what accounts send that have nothing of their own.
    pub fn usual_channels(&self) -> AccountChannels<'_> {
        AccountChannels {
            own: None,
            usual: &self.channels,
        }
    }

    /// The channels that any account has.
    pub fn channels_anywhere(&self) -> Vec<Channel> {
        let of_accounts = self.accounts.iter();
        let of_accounts = of_accounts.flat_map(|account| self.channels_of(&account.id).channels());
        let found: Vec<Channel> = of_accounts.collect();
        let is_there = |channel: &Channel| found.contains(channel) || self.channels.has(*channel);
        Channel::ALL.into_iter().filter(is_there).collect()
    }
}

/// The names of the settings that somebody has set, in the environment, `.env` or the file outside of its accounts.
pub fn names_given(file: Option<&Path>) -> Vec<&'static str> {
    let Ok(sources) = Sources::of_process(file) else {
        return Vec::new();
    };
    let mut reader = SettingsReader::new(&sources);
    let keys = keys::all().map(|key| key.env);
    keys.filter(|name| reader.is_given(name)).collect()
}

/// The names of all settings in the environment.
#[cfg(test)]
pub fn setting_names() -> impl Iterator<Item = &'static str> {
    keys::all().map(|key| key.env)
}

/// Reads every part before the first `?`, so that the problems of all parts are found.
fn read_all(r: &mut SettingsReader, role: ProcessRole) -> Result<Config, Noted> {
    let database_url = read_database_url(r, role);
    let database_connections = r.setting("UNREAD_DATABASE_CONNECTIONS", parse::number(2..=1000));
    let connections_in_all = r.optional(
        "UNREAD_DATABASE_CONNECTIONS_IN_ALL",
        parse::number(2..=100_000),
    );
    let data_dir = r.optional("UNREAD_DATA_DIR", str::parse);
    let postgres_bin = r.optional("UNREAD_POSTGRES_BIN", str::parse);
    let backups_kept = r.setting("UNREAD_BACKUPS_KEPT", parse::number(0..=366));
    let dns_server = r.optional("UNREAD_DNS_SERVER", parse::dns_server);
    let secret = read_secret(r);
    let older_secrets = r.list("UNREAD_SECRET_OLD", long_secret);
    let keyed = secret.as_ref().is_ok_and(Option::is_some);
    let journal = journal::read(r, role, keyed);
    let web = web::read(r);
    // What cannot be read is a problem already.
    let dashboard = web.as_ref().is_ok_and(|web| web.dashboard);
    let uses = channel::Use::of(role, dashboard);
    let accounts = account::read(r, role, uses);
    let liveperson = read_liveperson(r);
    let channels = channel::read(r, uses, role);
    let sso = sso::read(r);
    let notify = notify::read(r, role);
    let worker = read_worker(r);
    let live = r.setting("UNREAD_LIVE", parse::flag);
    let live_other_installation = r.optional("UNREAD_LIVE_OTHER_INSTALLATION", |raw| {
        OtherInstallation::parse(&raw.to_ascii_lowercase()).ok_or("none, stopped or sends")
    });
    let sms_consent = r.optional("UNREAD_SMS_CONSENT", |raw| {
        Agreed::parse(raw).ok_or("form, conversation, or a sentence that says how customers agreed")
    });
    let retention = read_retention(r);
    let log = read_log(r);
    let config = Config {
        database_url: database_url?,
        database_connections: database_connections?,
        connections_in_all: connections_in_all?,
        data_dir: data_dir?,
        postgres_bin: postgres_bin?,
        backups_kept: backups_kept?,
        dns_server: dns_server?,
        secret: secret?,
        older_secrets: older_secrets?.unwrap_or_default(),
        journal: journal?,
        web: web?,
        accounts: accounts?,
        liveperson: liveperson?,
        sso: sso?,
        notify: notify?,
        channels: channels?,
        live: live?,
        live_other_installation: live_other_installation?,
        sms_consent: sms_consent?,
        worker: worker?,
        retention: retention?,
        log: log?,
        warnings: Vec::new(),
    };
    let serves = matches!(role, ProcessRole::Run | ProcessRole::Web) && config.web.dashboard;
    if serves && !config.web.passwords && config.sso.is_none() {
        let name = r.name_of("UNREAD_PASSWORDS");
        return Err(r.problem(
            &name,
            "is false, but there is no single sign-on, so no one could log in",
            "Set UNREAD_OIDC_ISSUER and UNREAD_OIDC_CLIENT_ID, or remove this one.",
        ));
    }
    contradictions::warn(r, &config);
    Ok(config)
}

fn read_database_url(
    r: &mut SettingsReader,
    role: ProcessRole,
) -> Result<Option<DatabaseUrl>, Noted> {
    let url = r.optional("DATABASE_URL", DatabaseUrl::parse)?;
    if url.is_none() && role.needs_database_url() {
        return Err(r.problem(
            "DATABASE_URL",
            "is not set",
            "Processes of one role each must share a database: set it to postgres://user:password@host/name. \
             To run everything in one process with a database of its own, use `unread run`.",
        ));
    }
    Ok(url)
}

fn read_secret(r: &mut SettingsReader) -> Result<Option<Secret>, Noted> {
    r.optional("UNREAD_SECRET", long_secret)
}

fn long_secret(raw: &str) -> Result<Secret, &'static str> {
    if raw.len() >= 32 {
        Ok(Secret::new(raw))
    } else {
        Err("at least 32 characters, for example the output of `openssl rand -hex 32`")
    }
}

fn read_liveperson(r: &mut SettingsReader) -> Result<LivePerson, Noted> {
    let csds_url = r.setting("UNREAD_LIVEPERSON_URL", parse::api_url);
    let rate_per_second = r.setting("UNREAD_LIVEPERSON_RATE_PER_SECOND", parse::rate);
    let badge_lookups_per_second = r.setting("UNREAD_BADGE_LOOKUPS_PER_SECOND", parse::rate);
    let scan_interval = r.setting("UNREAD_SCAN_INTERVAL_SECONDS", parse::number(1..=3600));
    let full_scan_interval =
        r.setting("UNREAD_FULL_SCAN_INTERVAL_SECONDS", parse::number(0..=3600));
    let window_days = r.setting("UNREAD_WINDOW_DAYS", parse::number(1..=89));
    let source_name = r.setting(
        "UNREAD_SOURCE_NAME",
        parse::token(20, "1 to 20 letters, digits, - or _"),
    );
    let scan_interval = Duration::from_secs(scan_interval?);
    Ok(LivePerson {
        csds_url: csds_url?,
        rate_per_second: rate_per_second?,
        badge_lookups_per_second: badge_lookups_per_second?,
        scan_interval,
        full_scan_interval: scan_interval.max(Duration::from_secs(full_scan_interval?)),
        window_days: window_days?,
        source_name: source_name?,
    })
}

fn read_worker(r: &mut SettingsReader) -> Result<Worker, Noted> {
    let slots = r.setting("UNREAD_WORKER_SLOTS", parse::number(1..=1000));
    let drain = r.setting("UNREAD_DRAIN_SECONDS", parse::number(0..=600));
    Ok(Worker {
        slots: slots?,
        drain: Duration::from_secs(drain?),
    })
}

fn read_retention(r: &mut SettingsReader) -> Result<RetentionSettings, Noted> {
    // Caps look back 24 hours and returns are counted for 24 more: two days are the least that keeps promises.
    let mut days = |env| r.setting(env, parse::number(2..=3650));
    let conversations_days = days("UNREAD_RETENTION_CONVERSATIONS_DAYS");
    let reminders_days = days("UNREAD_RETENTION_REMINDERS_DAYS");
    let decisions_days = days("UNREAD_RETENTION_DECISIONS_DAYS");
    let audit_days = days("UNREAD_RETENTION_AUDIT_DAYS");
    let jobs_days = r.setting("UNREAD_RETENTION_JOBS_DAYS", parse::number(1..=3650));
    Ok(RetentionSettings {
        conversations_days: conversations_days?,
        reminders_days: reminders_days?,
        decisions_days: decisions_days?,
        audit_days: audit_days?,
        jobs_days: jobs_days?,
    })
}

fn read_log(r: &mut SettingsReader) -> Result<Log, Noted> {
    let format = r.optional("UNREAD_LOG_FORMAT", log_format);
    let level = r.setting("UNREAD_LOG_LEVEL", |raw| {
        parse::log_level(raw).map(|()| raw.to_owned())
    });
    let level_is_preset = !r.is_given("UNREAD_LOG_LEVEL");
    let otlp = r.optional("OTEL_EXPORTER_OTLP_ENDPOINT", parse::base_url);
    let service_name = r.optional(
        "OTEL_SERVICE_NAME",
        parse::token(63, "1 to 63 letters, digits, - or _"),
    );
    Ok(Log {
        format: format?,
        level: level?,
        level_is_preset,
        otlp: otlp?,
        service_name: service_name?,
    })
}

fn log_format(raw: &str) -> Result<LogFormat, &'static str> {
    match raw {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err("text or json"),
    }
}

#[cfg(test)]
mod slips_tests;
#[cfg(test)]
mod tests;
