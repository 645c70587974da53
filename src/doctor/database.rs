//! The database: version, extensions, permissions, migrations, pooler, clock.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::server::{NO_DATABASE, POOLER, unreachable};
use super::{Doctor, MAX_SKEW_SECONDS, PATIENCE};
use crate::app::{self, Database, DatabaseSource};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::server::Extension;
use crate::db::{self, Schema, SchemaProblem};
use crate::domain::rule::Rule;
use crate::jobs::queue;
use crate::postgres::Durability;

/// The oldest PostgreSQL that the service is tested with.
const OLDEST_POSTGRES: i32 = 140_000;

/// After so long the heartbeat should be in the file beside the journal.
const MOST_BEHIND: TimeDelta = TimeDelta::minutes(5);

/// Processes sign every three seconds: after so long none is at work.
const MOST_IDLE: TimeDelta = TimeDelta::minutes(5);

/// Seconds after which entries of the journal should be where they are kept.
const MOST_LAG: f64 = 300.0;

const MIGRATE: &str = "Run `unread migrate`.";

impl Doctor<'_> {
    /// Returns the rules that are stored, as far as they can be read.
    pub(super) async fn database(&mut self, config: &Config) -> Vec<Rule> {
        self.begin("database");
        let place = app::locate(config).ok();
        if let Some(DatabaseSource::Own(root)) = &place {
            self.folder(config, root, Clock::System.now());
        }
        // Where there is none yet a throw-away one shows whether it can be started.
        let opened = match &place {
            Some(_) => Database::find(config).await,
            None => Database::open(config, Durability::Throwaway).await,
        };
        let database = match opened {
            Ok(database) => database,
            Err(error) => {
                let fix = match &place {
                    Some(DatabaseSource::Own(_)) => {
                        "Do what it says, then run `unread doctor` again."
                    }
                    _ => {
                        "Set DATABASE_URL to a PostgreSQL that runs, or install the package postgresql."
                    }
                };
                self.failed("start", format!("{error:#}"), fix);
                return Vec::new();
            }
        };
        if database.servers().len() > 1 {
            self.servers(database.servers()).await;
        }
        let pool = db::pool(database.options.clone(), 3);
        self.server(&pool, config, place.as_ref()).await;
        // What keeps them from being read has been told.
        let rules = tokio::time::timeout(PATIENCE, db::rules::all(&pool)).await;
        let rules = rules.ok().and_then(Result::ok).unwrap_or_default();
        pool.close().await;
        if let Err(error) = database.close().await {
            self.warning(
                "stop",
                format!("{error:#}"),
                "Look for a leftover postgres process.",
            );
        }
        rules
    }

    /// `None`: a throw-away one.
    async fn server(&mut self, pool: &PgPool, config: &Config, place: Option<&DatabaseSource>) {
        // On a connection of its own: a pool only knows that it has none.
        if let Err(error) = db::ping(pool).await {
            let (found, fix) = unreachable(&error);
            return self.failed("connection", found, fix);
        }
        let facts = match tokio::time::timeout(PATIENCE, db::server::facts(pool)).await {
            Ok(Ok(facts)) => facts,
            Ok(Err(error)) => {
                let (found, fix) = unreachable(&error);
                return self.failed("connection", found, fix);
            }
            Err(_) => {
                return self.failed("connection", "no answer", NO_DATABASE);
            }
        };
        let own = place != Some(&DatabaseSource::Configured);
        self.ok(
            "connection",
            match place {
                None => "DATABASE_URL is not set; a PostgreSQL of our own starts",
                Some(DatabaseSource::Own(_)) => "connected to the PostgreSQL of `unread run`",
                Some(DatabaseSource::Configured) => "connected",
            },
        );
        if facts.version_number < OLDEST_POSTGRES {
            self.failed(
                "version",
                facts.version.clone(),
                "Use PostgreSQL 14 or newer.",
            );
        } else {
            self.ok("version", facts.version.clone());
        }
        // The service goes by the database's clock; logs, certificates and LivePerson's signatures still know this machine's.
        let ahead = (facts.now - Clock::System.now()).num_seconds();
        let found = format!("the database's minus ours: {ahead} s");
        if ahead.abs() > MAX_SKEW_SECONDS {
            self.failed(
                "clocks",
                found,
                "Set both machines' clocks by NTP (timedatectl set-ntp true): what is due goes by the database's.",
            );
        } else {
            self.ok("clocks", found);
        }
        if facts.is_replica {
            self.failed(
                "primary",
                "DATABASE_URL leads to a read-only replica",
                "Point DATABASE_URL to the primary.",
            );
        }
        if facts.is_read_only && !facts.is_replica {
            self.failed(
                "writing",
                "the database takes no changes (default_transaction_read_only)",
                "If the server's disk is full, enlarge it: managed servers refuse changes until then. Otherwise: alter database … set \
                 default_transaction_read_only = off, and the same for the role.",
            );
        }
        if !own {
            self.connections(config, &facts);
            self.encryption(&facts);
        }
        let read = match self.tables(pool, facts.may_create, place.is_some()).await {
            Ok(true) => match self.rounds(pool, config).await {
                Ok(()) => self.memory(pool, config).await,
                Err(error) => Err(error),
            },
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = read {
            let (found, fix) = unreachable(&error);
            self.failed("reading", found, fix);
        }
    }

    /// Whether this is the database that sent, and what of it is kept outside.
    async fn memory(&mut self, pool: &PgPool, config: &Config) -> sqlx::Result<()> {
        for hold in db::holds::active(pool).await? {
            self.failed(&format!("hold: {}", hold.kind), hold.said(), hold.fix());
        }
        self.heartbeat(pool, config).await?;
        let lags = db::journal::lag(pool).await?;
        let late = || lags.iter().filter(|(_, seconds)| *seconds > MOST_LAG);
        for (sink, seconds) in late() {
            self.failed(
                &format!("journal: {}", sink.as_str()),
                format!("opt-outs and erasures have been waiting for {seconds:.0} s to be noted outside the database"),
                "See in the log of the process that keeps the journal why it cannot be written (UNREAD_JOURNAL_FILE, UNREAD_JOURNAL_URL).",
            );
        }
        let newest = db::heartbeat::read(pool).await?;
        let has_run = newest.is_some();
        if let Some(heartbeat) = newest {
            self.newest(pool, heartbeat.beat_at, &heartbeat.installation)
                .await?;
        }
        if lags.is_empty() && has_run {
            self.warning(
                "journal",
                "opt-outs and erasures are kept in the database only: after a restore those of the lost time are gone",
                "Set UNREAD_SECRET and UNREAD_JOURNAL_FILE or UNREAD_JOURNAL_URL (docs/operate.md).",
            );
        } else if has_run && late().next().is_none() {
            self.ok(
                "journal",
                "opt-outs and erasures are noted outside the database",
            );
        }
        self.codes(pool, config).await;
        self.address_key(pool, config).await
    }

    /// Which database this is, and when somebody last worked on it: after a restore, the moment of the backup.
    async fn newest(
        &mut self,
        pool: &PgPool,
        beat_at: DateTime<Utc>,
        installation: &str,
    ) -> sqlx::Result<()> {
        let now = db::server::now(pool).await?;
        let age = now - beat_at;
        let found = format!(
            "installation {installation}, last worked on {} s ago",
            age.num_seconds().max(0)
        );
        if age > MOST_IDLE {
            let fix = "Start the processes. If some run, they work on another database: compare their DATABASE_URL (the line `Starting to work` in the log).";
            self.warning("identity", found, fix);
        } else {
            self.ok("identity", found);
        }
        Ok(())
    }

    /// How far the heartbeat beside this machine's journal is behind the database's. While something is held it stands still.
    async fn heartbeat(&mut self, pool: &PgPool, config: &Config) -> sqlx::Result<()> {
        let pulse = db::heartbeat::read(pool).await?;
        let held = !db::holds::active(pool).await?.is_empty();
        match (app::journal::remembered(config), pulse) {
            (Err(error), _) => self.failed(
                "heartbeat",
                format!("{error:#}"),
                "No service starts here before that is done.",
            ),
            (Ok(Some(seen)), Some(pulse)) if !held => {
                let late = pulse.beat_at - seen.at;
                if late > MOST_BEHIND {
                    let found = format!(
                        "the file beside the journal is {} minutes behind the database: a restore might go unnoticed",
                        late.num_minutes()
                    );
                    let fix = "See in the log of the process that keeps the journal why it cannot be written; is the disk full?";
                    self.warning("heartbeat", found, fix);
                } else {
                    self.ok("heartbeat", "it is remembered beside the journal");
                }
            }
            (Ok(_), _) => {}
        }
        Ok(())
    }

    /// Whether the codes of people's second factors are good, and how many still need an older key.
    async fn codes(&mut self, pool: &PgPool, config: &Config) {
        match app::codes::under_other_keys(config, pool).await {
            Ok(found) if found.lost > 0 => {
                let said = format!("{} {}", found.lost, app::codes::LOST);
                self.warning("second factors", said, app::codes::REMEDY);
            }
            Ok(found) if found.older > 0 => {
                let said = format!(
                    "{} are known under an older key only: keep it in UNREAD_SECRET_OLD until these people have logged in with a code",
                    found.older
                );
                self.ok("second factors", said);
            }
            Ok(_) => {}
            Err(error) => self.warning(
                "second factors",
                format!("it cannot be checked whether their codes are valid: {error:#}"),
                MIGRATE,
            ),
        }
    }

    /// Whether the key of the address hashes is kept apart from them, and how many still need an older one.
    async fn address_key(&mut self, pool: &PgPool, config: &Config) -> sqlx::Result<()> {
        let Some(key_id) = app::key_id(config) else {
            self.warning("address key", app::KEY_BESIDE_HASHES, app::SET_A_KEY);
            return Ok(());
        };
        let older = db::rekey::under_other_keys(pool, &key_id).await?;
        let found = match older {
            0 => "every suppression is known under UNREAD_SECRET".to_owned(),
            more => format!(
                "{more} suppressions are known under an older key only: keep it in UNREAD_SECRET_OLD (the database's own is kept there)"
            ),
        };
        self.ok("address key", found);
        Ok(())
    }

    /// Whether the skills of each account can be scanned as often as they are to be.
    async fn rounds(&mut self, pool: &PgPool, config: &Config) -> sqlx::Result<()> {
        let Ok(pace) = app::scan_pace(config) else {
            return Ok(());
        };
        for account in &config.accounts {
            let round = db::scans::round(pool, &account.id, account.skills.as_deref()).await?;
            let (check, found) = (format!("scans of {}", account.id), round.sentence(pace));
            if round.keeps_up(pace) {
                self.ok(&check, found);
            } else {
                self.warning(
                    &check,
                    found,
                    "Turn off rules for skills that do not need one, or, if LivePerson allows it, raise \
                     UNREAD_LIVEPERSON_RATE_PER_SECOND.",
                );
            }
        }
        Ok(())
    }

    /// Returns whether the tables are there and may be read.
    async fn tables(&mut self, pool: &PgPool, may_create: bool, lasts: bool) -> sqlx::Result<bool> {
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
        if !lasts {
            return Ok(false);
        }
        let mut readable = false;
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
                readable = forbidden.is_empty();
                if readable {
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
            Err(SchemaProblem::OtherBaseline { .. }) => self.failed(
                "migrations",
                "the tables were made by another version of unread from before 1.0, and cannot be brought up to date",
                format!("Use that version, or carry rules and opt-outs over. {}.", db::CARRY_OVER),
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
        Ok(readable)
    }
}
