//! `unread scan --dry-run`: reads accounts as they are at this moment and tells who would be reminded when, and who not and why.
//!
//! First what the rules promise and cannot do. The reading and the deciding are a scan's own (`jobs::scan::read`), so that the answer is what the service would do. It sends
//! nothing, stores nothing and shares no limit: it keeps to the configured rate by itself. Conversations are named by id,
//! addresses masked. What only the moment of sending can know (opt-outs, caps, the newest read state) is not foretold.

mod progress;
mod rules;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use futures_util::future::BoxFuture;
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::app::{self, Database};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::db;
use crate::domain::conversation::Record;
use crate::domain::ids::{AccountId, SkillId};
use crate::domain::owed::Installation;
use crate::domain::rule::Rule;
use crate::jobs::context::Account;
use crate::jobs::forecast::{self, ForecastOutcome, Verdict, verdict};
use crate::jobs::scan;
use crate::liveperson::{
    self, ConversationStatus, MAX_SKILLS, MAX_WINDOW, Purpose, RateLimiter, Search, TooBusy,
};

use self::rules::{contradictions, installation, read_rules, rules};

pub use progress::{DryRunProgress, show};

/// How long the database may take to answer before the run goes on without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the person asked for.
#[derive(Clone, Debug, Default)]
pub struct DryRunOptions {
    /// `None`: every account.
    pub account: Option<AccountId>,
    /// A file of rules to try instead of the stored ones.
    pub rules: Option<PathBuf>,
}

/// Reads the accounts and writes what would happen to `out`, one line per conversation. `progress` is told how far it
/// is. Returns how many reminders would be sent.
pub async fn run(
    config: &Config,
    wanted: &DryRunOptions,
    clock: &Clock,
    mut out: impl Write,
    progress: &dyn Fn(DryRunProgress<'_>),
) -> anyhow::Result<usize> {
    let (database, pool) = database(config, progress).await.unzip();
    let file = wanted.rules.as_ref();
    let file = file.map(|path| read_rules(path, config)).transpose()?;
    let accounts = config.accounts.iter();
    let accounts: Vec<_> = accounts
        .filter(|account| wanted.account.as_ref().is_none_or(|id| *id == account.id))
        .collect();
    anyhow::ensure!(!accounts.is_empty(), "no such account is configured");
    let mut reminders = 0;
    for account in accounts {
        let rules = rules(config, account, pool.as_ref(), file.as_deref(), progress).await?;
        contradictions(&rules, config, pool.as_ref(), clock, &mut out).await?;
        let mut pass = DryRunPass {
            account: reader(config, account, clock)?,
            installation: installation(config),
            rules,
            database: pool.as_ref(),
            clock,
            seen: HashSet::new(),
            reminders: 0,
            unreadable: 0,
        };
        pass.all(account.skills.as_deref(), &mut out, progress)
            .await?;
        writeln!(
            out,
            "account {}: {} open conversations, {} reminders, {} conversations that cannot be read",
            account.id,
            pass.seen.len(),
            pass.reminders,
            pass.unreadable
        )?;
        reminders += pass.reminders;
    }
    if let Some(pool) = pool {
        pool.close().await;
    }
    if let Some(database) = database {
        database.close().await?;
    }
    Ok(reminders)
}

/// The installation's database, if there is one and it can be read.
async fn database(
    config: &Config,
    progress: &dyn Fn(DryRunProgress<'_>),
) -> Option<(Database, PgPool)> {
    app::locate(config).ok()?;
    let without = |why: &str| {
        progress(DryRunProgress::Note(&format!(
            "Going on without the database: {why}"
        )));
    };
    let database = match Database::find(config).await {
        Ok(database) => database,
        Err(error) => {
            without(&format!("{error:#}"));
            return None;
        }
    };
    let pool = db::pool(database.options.clone(), 2);
    match tokio::time::timeout(PATIENCE, db::check_schema(&pool)).await {
        Ok(Ok(_)) => return Some((database, pool)),
        Ok(Err(problem)) => without(&problem.to_string()),
        Err(_) => without("it does not answer"),
    }
    None
}

fn reader(
    config: &Config,
    account: &config::AccountSettings,
    clock: &Clock,
) -> anyhow::Result<Account> {
    let client = liveperson::LivePersonClient::new(
        app::liveperson_settings(config, account)?,
        liveperson::http_client(),
        Arc::new(DryRunLimit::new(config.liveperson.rate_per_second)),
        clock.clone(),
        Arc::new(()),
    );
    Ok(app::account_of(account, client))
}

/// Our own rate limit: the shared one is in a database that may not be there.
struct DryRunLimit {
    every: Duration,
    next: Mutex<Instant>,
}

impl DryRunLimit {
    fn new(per_second: f64) -> Self {
        Self {
            every: Duration::from_secs_f64(1.0 / per_second.max(0.01)),
            next: Mutex::new(Instant::now()),
        }
    }
}

impl RateLimiter for DryRunLimit {
    fn pass(&self, _purpose: Purpose) -> BoxFuture<'_, Result<(), TooBusy>> {
        Box::pin(async {
            let mut next = self.next.lock().await;
            tokio::time::sleep_until(*next).await;
            *next = Instant::now() + self.every;
            Ok(())
        })
    }

    fn hold(&self, pause: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut next = self.next.lock().await;
            *next = (*next).max(Instant::now() + pause);
        })
    }
}

/// One account being read.
struct DryRunPass<'a> {
    account: Account,
    installation: Installation,
    rules: Vec<Rule>,
    database: Option<&'a PgPool>,
    clock: &'a Clock,
    /// Conversations met so far: pages overlap when the result moves.
    seen: HashSet<String>,
    reminders: usize,
    unreadable: usize,
}

impl DryRunPass<'_> {
    async fn all(
        &mut self,
        skills: Option<&[SkillId]>,
        out: &mut impl Write,
        progress: &dyn Fn(DryRunProgress<'_>),
    ) -> anyhow::Result<()> {
        match skills {
            None => self.window(&[], out, progress).await,
            Some(skills) => {
                for skills in skills.chunks(MAX_SKILLS) {
                    self.window(skills, out, progress).await?;
                }
                Ok(())
            }
        }
    }

    async fn window(
        &mut self,
        skills: &[SkillId],
        out: &mut impl Write,
        progress: &dyn Fn(DryRunProgress<'_>),
    ) -> anyhow::Result<()> {
        let now = self.clock.now();
        let mut search = Search {
            skills: skills.to_vec(),
            status: ConversationStatus::Open,
            from: now - MAX_WINDOW,
            to: now,
            updated_since: None,
        };
        let mut offset = 0;
        loop {
            let page = self.account.client.search(&search, offset).await?;
            if page.received == 0 {
                return Ok(());
            }
            offset += page.received;
            let to_come = page.total.saturating_sub(offset) as usize;
            let last = offset >= page.total && !page.incomplete;
            if let Some(from) = scan::restart(&search, offset, &page) {
                search.from = from;
                offset = 0;
            }
            self.unreadable += page.unreadable.len();
            let records = self.unseen(page.records).await;
            progress(DryRunProgress::Result);
            self.report(&records, out).await?;
            let read = self.seen.len() + self.unreadable;
            progress(DryRunProgress::Read {
                account: &self.account.id,
                read,
                expected: read + to_come,
            });
            if last {
                return Ok(());
            }
        }
    }

    /// Those that no page before had, whole.
    async fn unseen(&mut self, mut records: Vec<Record>) -> Vec<Record> {
        records.retain(|record| self.seen.insert(record.id.clone()));
        scan::complete(&self.account, Purpose::Background, records).await
    }

    async fn report(&mut self, records: &[Record], out: &mut impl Write) -> anyhow::Result<()> {
        let existing = match self.database {
            Some(pool) => {
                forecast::existing(pool, &self.account.id, records, self.clock.now()).await?
            }
            None => HashMap::new(),
        };
        let now = self.clock.now();
        for record in records {
            let of_one = existing.get(&record.id).map_or(&[][..], Vec::as_slice);
            let (account, installation) = (&self.account, &self.installation);
            let verdict = verdict(account, installation, &self.rules, record, of_one, now);
            if let Some(verdict) = verdict {
                self.reminders +=
                    usize::from(matches!(verdict.what, ForecastOutcome::Remind { .. }));
                writeln!(out, "{} {}", record.id, verdict_message(&verdict))?;
            }
        }
        Ok(())
    }
}

fn verdict_message(verdict: &Verdict) -> String {
    let mut passed_over = String::new();
    for (channel, reason) in &verdict.passed_over {
        let _ = write!(passed_over, ", {channel}: {reason}");
    }
    let what = match &verdict.what {
        ForecastOutcome::Remind {
            step,
            channel,
            at,
            to,
            waits_until,
        } => {
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            let waits = waits_until
                .as_ref()
                .map(|until| format!(", waits until {until}"));
            let waits = waits.unwrap_or_default();
            let channel = channel.as_str();
            format!("remind  {at}  {channel:5}  step {step} to {to}{waits}")
        }
        ForecastOutcome::Not(reason) => format!("not     {reason}"),
    };
    what + &passed_over
}
