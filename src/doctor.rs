//! `unread doctor`: tries every connection that the settings describe and says what to do about what does not work.
//!
//! It reads and greets; it never sends, stores or migrates. The service's own clients do the trying, so that what is green here is
//! what the service will do. What it cannot find out it calls unchecked and says how to find out; it never guesses green.

mod report;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use url::Url;

use crate::app::{self, Database};
use crate::channel::{smtp, twilio};
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError};
use crate::db;
use crate::db::server::Extension;
use crate::db::{Schema, SchemaProblem};
use crate::jobs::queue;
use crate::liveperson::{self, Error, Unlimited};
use crate::postgres::Durability;

pub use report::{Line, State, healthy, table};

/// The oldest PostgreSQL that the service is tested with.
const OLDEST_POSTGRES: i32 = 140_000;

/// Time for one question to the database or to a page of ours.
const PATIENCE: Duration = Duration::from_secs(10);

/// Clocks that differ by more make reminders early or late.
const MAX_SKEW_SECONDS: i64 = 30;

/// Collects findings, and tells what is being tried.
struct Doctor<'a> {
    lines: Vec<Line>,
    part: String,
    progress: &'a dyn Fn(&str),
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
pub async fn examine(config: &Config, clock: &Clock, progress: &dyn Fn(&str)) -> Vec<Line> {
    let mut doctor = Doctor {
        lines: Vec::new(),
        part: String::new(),
        progress,
    };
    doctor.settings(config);
    doctor.database(config).await;
    for account in &config.accounts {
        doctor.liveperson(config, account, clock).await;
    }
    if let Some(settings) = &config.smtp {
        doctor.mail(settings, &config.web.public_url).await;
    }
    if let Some(settings) = &config.twilio {
        doctor.sms(settings).await;
    }
    doctor.web(config).await;
    doctor.lines
}

impl Doctor<'_> {
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

    async fn database(&mut self, config: &Config) {
        self.begin("database");
        let own = config.database_url.is_none();
        // Of our own: a throw-away one shows as well whether it can be started, and does not disturb one that runs.
        let database = match Database::open(config, Durability::Throwaway).await {
            Ok(database) => database,
            Err(error) => {
                return self.failed(
                    "start",
                    format!("{error:#}"),
                    "Set DATABASE_URL to a PostgreSQL that runs, or install the package postgresql.",
                );
            }
        };
        let pool = db::pool(database.options.clone(), 3);
        self.server(&pool, config, own).await;
        pool.close().await;
        if let Err(error) = database.close().await {
            self.warning(
                "stop",
                format!("{error:#}"),
                "Look for a postgres process that is left.",
            );
        }
    }

    async fn server(&mut self, pool: &PgPool, config: &Config, own: bool) {
        let facts = match tokio::time::timeout(PATIENCE, db::server::facts(pool)).await {
            Ok(Ok(facts)) => facts,
            Ok(Err(error)) => {
                let (found, mend) = unreachable(&error);
                return self.failed("connection", found, mend);
            }
            Err(_) => {
                return self.failed("connection", "no answer", NO_DATABASE);
            }
        };
        if own {
            self.ok(
                "connection",
                "DATABASE_URL is not set; a PostgreSQL of our own starts",
            );
        } else {
            self.ok("connection", "connected");
        }
        if facts.version_number < OLDEST_POSTGRES {
            self.failed("version", facts.version, "Use PostgreSQL 14 or newer.");
        } else {
            self.ok("version", facts.version);
        }
        if facts.is_replica {
            self.failed(
                "primary",
                "DATABASE_URL leads to a read-only replica",
                "Point DATABASE_URL to the primary.",
            );
        }
        let wanted = i64::from(config.database_connections);
        if !own && i64::from(facts.connections) < wanted {
            self.failed(
                "connections",
                format!(
                    "the server allows {} in all, one process may want {wanted}",
                    facts.connections
                ),
                "Raise max_connections, or lower UNREAD_DATABASE_CONNECTIONS.",
            );
        }
        if let Err(error) = self.tables(pool, facts.may_create, own).await {
            let (found, mend) = unreachable(&error);
            self.failed("reading", found, mend);
        }
    }

    async fn tables(&mut self, pool: &PgPool, may_create: bool, own: bool) -> sqlx::Result<()> {
        for (name, state) in db::server::extensions(pool, &["hstore", "pgcrypto"]).await? {
            let check = format!("extension {name}");
            match state {
                Extension::Installed => self.ok(&check, "installed"),
                Extension::Available if may_create => {
                    self.ok(&check, "available; migrating installs it");
                }
                Extension::Available => self.failed(
                    &check,
                    "not installed, and this user may not install it",
                    format!("As the database's owner: create extension {name};"),
                ),
                Extension::Missing => self.failed(
                    &check,
                    "unknown to the server",
                    "Install PostgreSQL's contrib package on the server (Debian: postgresql-contrib).",
                ),
            }
        }
        if own {
            return Ok(());
        }
        match db::check_schema(pool).await {
            Ok(schema) => {
                let queue = queue::depth(pool, Clock::System.now()).await;
                match queue {
                    Ok(_) => self.ok(
                        "migrations",
                        match schema {
                            Schema::Own => "up to date",
                            Schema::Newer => "of a newer version, beside which this one can work",
                        },
                    ),
                    Err(_) => self.failed(
                        "migrations",
                        "the queue's tables are missing or forbidden",
                        MIGRATE,
                    ),
                }
                let forbidden = db::server::forbidden_tables(pool).await?;
                if forbidden.is_empty() {
                    self.ok("permissions", "may read and write every table");
                } else {
                    self.failed(
                        "permissions",
                        format!("may not read and write {}", forbidden.join(", ")),
                        "As the tables' owner: grant select, insert, update, delete on all tables in schema public, apalis to \
                         the user of DATABASE_URL (and usage on the schemas and their sequences).",
                    );
                }
            }
            Err(SchemaProblem::Unreachable(error)) => return Err(error),
            Err(problem @ SchemaProblem::Behind { .. }) => {
                self.failed("migrations", problem.to_string(), MIGRATE);
                if !may_create {
                    self.failed(
                        "permissions",
                        "this user may not create tables in the database",
                        "Run `unread migrate` as the database's owner, or: grant create on database … to the user.",
                    );
                }
            }
            Err(problem @ SchemaProblem::Ahead { .. }) => self.failed(
                "migrations",
                problem.to_string(),
                "Use the version of unread that migrated it, or a newer one.",
            ),
        }
        if db::server::pooled_by_transaction(pool).await? {
            self.failed(
                "pooling",
                "a pooler lends connections for a transaction at a time; LISTEN and prepared statements break",
                POOLER,
            );
        } else {
            self.ok("pooling", "none, or by session");
        }
        Ok(())
    }

    async fn liveperson(&mut self, config: &Config, account: &config::Account, clock: &Clock) {
        self.begin(format!("LivePerson {}", account.id));
        if account.auth.is_none() {
            return self.failed(
                "credentials",
                "none",
                "Set LE_CLIENT_ID and LE_CLIENT_SECRET of an application that is installed in the account.",
            );
        }
        let settings = match app::liveperson_settings(config, account) {
            Ok(settings) => settings,
            Err(error) => return self.failed("credentials", format!("{error:#}"), "Correct them."),
        };
        let client = liveperson::Client::new(
            settings,
            liveperson::http_client(),
            Arc::new(Unlimited),
            clock.clone(),
            Arc::new(()),
        );
        for check in client.check().await {
            match check.outcome {
                Ok(_) if check.what == "clocks" => {}
                Ok(found) => self.ok(check.what, found),
                Err(error) => self.failed(
                    check.what,
                    error.to_string(),
                    mend_of_liveperson(check.what, &error),
                ),
            }
        }
        if let Some(ahead) = client.clock_ahead() {
            let seconds = ahead.num_seconds();
            let found = format!("LivePerson's minus ours: {seconds} s");
            if seconds.abs() > MAX_SKEW_SECONDS {
                self.failed(
                    "clocks",
                    found,
                    "Set this machine's clock (timedatectl set-ntp true): due moments and signatures depend on it.",
                );
            } else {
                self.ok("clocks", found);
            }
        }
    }

    async fn mail(&mut self, settings: &config::Smtp, public_url: &Url) {
        self.begin("e-mail");
        let checked = match app::mail(settings, public_url) {
            Ok(pool) => pool.check().await,
            Err(error) => {
                return self.failed(
                    "settings",
                    format!("{error:#}"),
                    "Correct SMTP_FROM and SMTP_REPLY_TO.",
                );
            }
        };
        let server = format!("{}:{}", settings.host, settings.port);
        match checked {
            Ok(checked) => {
                let tls = if checked.encrypted {
                    "encrypted"
                } else {
                    "not encrypted"
                };
                let login = if checked.logged_in {
                    "logged in"
                } else {
                    "no login"
                };
                self.ok("mail server", format!("{server}, {tls}, {login}"));
            }
            Err(failure) => {
                let hint = failure
                    .hint()
                    .map(|hint| format!(": {hint}"))
                    .unwrap_or_default();
                let found = format!("{server}: {}{hint}", failure.code());
                self.failed("mail server", found, mend_of_mail(&failure));
            }
        }
        let domain = settings
            .from
            .rsplit_once('@')
            .map_or("", |(_, domain)| domain.trim_end_matches('>'));
        self.unchecked(
            "SPF, DKIM, DMARC",
            format!("records of {domain} are not looked up"),
            format!(
                "See them with: dig +short TXT {domain}; dig +short TXT _dmarc.{domain}; and DKIM by sending yourself a mail and \
                 reading its Authentication-Results."
            ),
        );
    }

    async fn sms(&mut self, settings: &config::Twilio) {
        use twilio::Checked::{Able, NoNumber, NoSms, NotOurs, Unlisted};
        self.begin("SMS");
        let client = match app::sms(settings) {
            Ok(client) => client,
            Err(error) => {
                return self.failed(
                    "settings",
                    format!("{error:#}"),
                    "Correct TWILIO_FROM and TWILIO_BASE_URL.",
                );
            }
        };
        let checked = match client.check().await {
            Ok(checked) => checked,
            Err(error) => {
                return self.failed(
                    "credentials",
                    error.to_string(),
                    mend_of_twilio(&error.code),
                );
            }
        };
        self.ok("credentials", format!("account {}", settings.account_sid));
        match checked {
            Able(number) => self.ok("sender", number),
            NoSms(number) => self.failed(
                "sender",
                format!("{number} cannot send SMS"),
                "Choose a number with the capability SMS (Twilio console: Phone Numbers).",
            ),
            NotOurs(number) => self.failed(
                "sender",
                format!("{number} is not a number of this account"),
                "Correct TWILIO_FROM, or leave it out: the account's first number is used then.",
            ),
            NoNumber => self.failed(
                "sender",
                "the account has no number that can send SMS",
                "Buy one in the Twilio console, or set TWILIO_MESSAGING_SERVICE_SID.",
            ),
            Unlisted(sender) => self.unchecked(
                "sender",
                format!("{sender} is no number; whether it may be used shows only when something is sent"),
                "See it in the Twilio console: Messaging, Services or Senders.",
            ),
        }
    }

    async fn web(&mut self, config: &Config) {
        self.begin("public URL");
        let public = &config.web.public_url;
        let sends = config.smtp.is_some() || config.twilio.is_some();
        // `config` has warned already of an address that only this machine knows, and of a plain one.
        if sends && public.host_str().is_some_and(is_nobody) {
            self.failed(
                "host",
                format!("{public} is an example's address"),
                "Set UNREAD_PUBLIC_URL to this service's own address.",
            );
        } else {
            self.ok("address", public.as_str());
        }
        if config.twilio.is_some() && public.scheme() == "https" && public.port().is_some() {
            self.warning(
                "port",
                format!("{public} has a port of its own"),
                "Twilio reaches it only if it is open to the world; port 443 is the usual one.",
            );
        }
        let local = Url::parse(&format!("http://127.0.0.1:{}/healthz", config.web.port));
        let outside = public.join("healthz");
        let (Ok(local), Ok(outside)) = (local, outside) else {
            return;
        };
        match (healthz(&outside).await, healthz(&local).await) {
            (Probe::Ours, _) => self.ok("reachable", format!("{outside} answers")),
            (Probe::Other(status), _) => self.failed(
                "reachable",
                format!("{outside} is answered with {status}, not by this service"),
                "Let the proxy or ingress lead the public address to the web role's PORT.",
            ),
            (Probe::Nothing(why), Probe::Ours) => self.failed(
                "reachable",
                format!("the web role answers on this machine, but {outside} does not: {why}"),
                "Check the name's DNS record, the certificate and the proxy or ingress before the service.",
            ),
            (Probe::Nothing(why), _) => self.unchecked(
                "reachable",
                format!("{outside}: {why}"),
                "Start the service (`unread run` or `unread web`), then run `unread doctor` again.",
            ),
        }
    }
}

const NO_DATABASE: &str = "Check that PostgreSQL runs and that host, port, database, user and password in DATABASE_URL are right.";
const POOLER: &str = "Set the pooler to session mode, or go around it. PgBouncer: pool_mode = session, and ignore_startup_parameters = extra_float_digits.";
const MIGRATE: &str = "Run `unread migrate`.";

/// Why the database could not be asked, without the address (it holds a password), and the mend.
fn unreachable(error: &sqlx::Error) -> (String, &'static str) {
    let Some(told) = error.as_database_error() else {
        return (format!("not reached: {error}"), NO_DATABASE);
    };
    let mend = match told.code().as_deref() {
        Some("28P01" | "28000") => {
            "Correct user and password in DATABASE_URL, or let the user in (pg_hba.conf)."
        }
        Some("3D000") => {
            "Create the database (createdb), or correct its name at the end of DATABASE_URL."
        }
        Some("53300") => {
            "The server has no connection left: raise max_connections, or lower UNREAD_DATABASE_CONNECTIONS."
        }
        // What a pooler says that does not know a parameter, or lends a connection with another's prepared statements.
        Some("08P01" | "42P05" | "26000") => POOLER,
        _ => NO_DATABASE,
    };
    (told.message().to_owned(), mend)
}

fn mend_of_liveperson(what: &str, error: &Error) -> &'static str {
    match error {
        Error::NoService(_) | Error::Rejected { .. } if what.starts_with("domain") => {
            "Correct LE_ACCOUNT: LivePerson knows no such account."
        }
        Error::NoService(_) => {
            "Correct LE_ACCOUNT, or ask LivePerson to enable the service for the account."
        }
        Error::Unauthorized { .. } if what == "access token" => {
            "Correct LE_CLIENT_ID and LE_CLIENT_SECRET (Conversational Cloud: Manage, Management Console, Application Install)."
        }
        Error::Unauthorized { .. } if what == "skills" => {
            "Give the application the scope of the skills API (read), then install it again in the account."
        }
        Error::Unauthorized { .. } => {
            "Give the application the scope of the Messaging Interactions API (msghist), and ask LivePerson to enable that API for \
             the account."
        }
        Error::Throttled { .. } => {
            "LivePerson throttles: lower UNREAD_LIVEPERSON_RATE_PER_SECOND and run doctor later."
        }
        Error::Unavailable { .. } => {
            "Check DNS, firewall and proxy from here to LivePerson, and UNREAD_LIVEPERSON_URL; then LivePerson's status page."
        }
        Error::Rejected { .. } => {
            "Check UNREAD_SOURCES and UNREAD_SKILLS: LivePerson did not accept the question."
        }
        Error::Malformed { .. } => {
            "Something else than LivePerson answers, most often a proxy: check UNREAD_LIVEPERSON_URL and the network."
        }
    }
}

fn mend_of_mail(failure: &smtp::Failure) -> &'static str {
    use smtp::{Fault, Phase};
    match (failure.phase, &failure.fault) {
        (_, Fault::Tls) => {
            "The certificate or protocol was refused: check SMTP_HOST, SMTP_PORT and SMTP_TLS (465: implicit, 587: starttls)."
        }
        (Phase::StartTls, Fault::NotOffered) => {
            "The server offers no STARTTLS here: set SMTP_PORT=465 with SMTP_TLS=implicit, or use the submission port 587."
        }
        (Phase::Auth, Fault::NotOffered) => {
            "The server takes no login here: check SMTP_PORT and SMTP_TLS, or leave SMTP_USER out."
        }
        (Phase::Auth, _) => {
            "Correct SMTP_USER and SMTP_PASS; Gmail and Microsoft want an app password."
        }
        (Phase::Connect | Phase::Greeting, Fault::Reply(_)) => {
            "The server turns this machine away: read its words, and ask its operator to let our address in."
        }
        (Phase::Connect | Phase::Greeting, _) => {
            "Correct SMTP_HOST, SMTP_PORT and SMTP_TLS; and check that outgoing connections to that port are allowed."
        }
        _ => "Read the server's words, and correct the SMTP settings.",
    }
}

fn mend_of_twilio(code: &str) -> &'static str {
    if code.contains("20003")
        || code.contains("401")
        || code.contains("403")
        || code.contains("20404")
    {
        "Correct TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN (or TWILIO_API_KEY and TWILIO_API_SECRET); see the Twilio console's first page."
    } else {
        "Check DNS, firewall and proxy from here to Twilio, and TWILIO_BASE_URL; then Twilio's status page."
    }
}

/// Names that are reserved for documentation (RFC 2606): left over from an example file.
fn is_nobody(host: &str) -> bool {
    ["example.com", "example.org", "example.net"]
        .iter()
        .any(|name| {
            host == *name
                || host
                    .strip_suffix(name)
                    .is_some_and(|rest| rest.ends_with('.'))
        })
}

enum Probe {
    /// Answered as `/healthz` of this service does.
    Ours,
    Other(u16),
    Nothing(&'static str),
}

async fn healthz(url: &Url) -> Probe {
    let client = reqwest::Client::builder()
        .connect_timeout(PATIENCE / 2)
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let Ok(client) = client else {
        return Probe::Nothing("no HTTP client");
    };
    match client.get(url.clone()).send().await {
        Ok(mut answer) => {
            let status = answer.status().as_u16();
            // Of a page that is not ours no more than the first piece is read.
            let start = answer.chunk().await.ok().flatten();
            if status == 200 && start.as_deref() == Some(b"ok\n") {
                Probe::Ours
            } else {
                Probe::Other(status)
            }
        }
        Err(error) if error.is_timeout() => Probe::Nothing("no answer in time"),
        Err(error) if error.is_connect() => Probe::Nothing("no connection"),
        Err(_) => Probe::Nothing("the answer broke off"),
    }
}
