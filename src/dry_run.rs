//! `unread scan --dry-run`: reads accounts as they are at this moment and tells who would be reminded when, and who not and why.
//!
//! First what the rules promise and cannot do. The reading and the deciding are a scan's own (`jobs::scan::read`), so that the answer is
//! what the service would do. It sends nothing, stores nothing and shares no limit: it keeps to the configured rate by itself.
//! Conversations are named by id, addresses masked. What only the moment of sending can know (opt-outs, caps, the newest read state) is
//! not foretold.

mod progress;
mod report;
mod rules;

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
use crate::jobs::forecast::{self, verdict};
use crate::jobs::scan::{self, Paging};
use crate::liveperson::{
    self, ConversationStatus, MAX_SKILLS, MAX_WINDOW, Purpose, RateLimiter, Search, TooBusy,
};

use self::report::{AccountSummary, Report};
use self::rules::{contradictions, installation, read_rules, rules};

pub use progress::{DryRunProgress, show};
pub use report::ReportForm;

/// How long the database may take to answer before the run goes on without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the person asked for.
#[derive(Clone, Debug, Default)]
pub struct DryRunOptions {
    /// `None`: every account.
    pub account: Option<AccountId>,
    /// A file of rules to try instead of the stored ones.
    pub rules: Option<PathBuf>,
    pub form: ReportForm,
}

/// There is a database to go by, and it cannot be used: what the defaults would do says nothing of this installation.
#[derive(Debug, thiserror::Error)]
#[error(
    "the database of this installation cannot be used: {0}. Without it the dry run would go by the default rules, and not by yours"
)]
pub struct DatabaseUnusable(String);

/// Reads the accounts and writes what would happen to `out`, one line per conversation. `progress` is told how far it
/// is. Returns how many reminders would be sent.
pub async fn run(
    config: &Config,
    options: &DryRunOptions,
    clock: &Clock,
    out: impl Write,
    progress: &dyn Fn(DryRunProgress<'_>),
) -> anyhow::Result<usize> {
    let mut report = Report::new(out, options.form);
    let (database, pool) = database(config, progress).await?.unzip();
    let file = options.rules.as_ref();
    let file = file.map(|path| read_rules(path, config)).transpose()?;
    let accounts = config.accounts.iter();
    let accounts: Vec<_> = accounts
        .filter(|account| options.account.as_ref().is_none_or(|id| *id == account.id))
        .collect();
    anyhow::ensure!(!accounts.is_empty(), "no such account is configured");
    let mut reminders = 0;
    for account in accounts {
        let rules = rules(config, account, pool.as_ref(), file.as_deref(), progress).await?;
        contradictions(&rules, config, pool.as_ref(), clock, &mut report).await?;
        let mut pass = DryRunPass {
            account: reader(config, account, clock)?,
            installation: installation(config, &account.id),
            rules,
            database: pool.as_ref(),
            clock,
            seen: HashSet::new(),
            summary: AccountSummary::default(),
        };
        pass.all(account.skills.as_deref(), &mut report, progress)
            .await?;
        pass.summary.open = pass.seen.len();
        report.account(&account.id, &pass.summary)?;
        reminders += pass.summary.reminders();
    }
    if let Some(pool) = pool {
        pool.close().await;
    }
    if let Some(database) = database {
        database.close().await?;
    }
    Ok(reminders)
}

/// The installation's database, if there is one. One that has no tables yet knows no rules either.
async fn database(
    config: &Config,
    progress: &dyn Fn(DryRunProgress<'_>),
) -> Result<Option<(Database, PgPool)>, DatabaseUnusable> {
    if app::locate(config).is_err() {
        return Ok(None);
    }
    let unusable = |why: String| DatabaseUnusable(why.trim_end_matches('.').to_owned());
    let database = Database::find(config)
        .await
        .map_err(|error| unusable(format!("{error:#}")))?;
    let pool = db::pool(database.options.clone(), 2);
    let usable = async {
        // On a connection of its own, whose error says what is wrong.
        db::ping(&pool).await?;
        db::check_schema(&pool).await
    };
    let problem = match tokio::time::timeout(PATIENCE, usable).await {
        Ok(Ok(_)) => return Ok(Some((database, pool))),
        Ok(Err(problem)) if problem.is_without_tables() => None,
        Ok(Err(problem)) => Some(problem.to_string()),
        Err(_) => Some("it does not answer".to_owned()),
    };
    pool.close().await;
    // It may be the server of `unread run`, started for this. That it cannot be stopped is no more than was already wrong.
    let closed = database.close().await;
    if let Some(problem) = problem {
        return Err(unusable(problem));
    }
    closed.map_err(|error| unusable(format!("{error:#}")))?;
    progress(DryRunProgress::Note(
        "The database has no tables yet: `unread migrate` makes them",
    ));
    Ok(None)
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
    summary: AccountSummary,
}

impl DryRunPass<'_> {
    async fn all(
        &mut self,
        skills: Option<&[SkillId]>,
        report: &mut Report<impl Write>,
        progress: &dyn Fn(DryRunProgress<'_>),
    ) -> anyhow::Result<()> {
        match skills {
            None => self.window(&[], report, progress).await,
            Some(skills) => {
                for skills in skills.chunks(MAX_SKILLS) {
                    self.window(skills, report, progress).await?;
                }
                Ok(())
            }
        }
    }

    async fn window(
        &mut self,
        skills: &[SkillId],
        report: &mut Report<impl Write>,
        progress: &dyn Fn(DryRunProgress<'_>),
    ) -> anyhow::Result<()> {
        let now = self.clock.now();
        let mut paging = Paging::new(Search {
            skills: skills.to_vec(),
            status: ConversationStatus::Open,
            from: now - MAX_WINDOW,
            to: now,
            updated_since: None,
            newest_first: false,
        });
        loop {
            let (search, offset) = paging.question();
            let page = self.account.client.search(search, offset).await?;
            let to_come = page.total.saturating_sub(offset + page.received) as usize;
            let goes_on = paging.advance(&page);
            self.summary.unreadable += page.unreadable.len();
            let records = self.unseen(page.records).await;
            progress(DryRunProgress::Result);
            self.decide(&records, report).await?;
            let read = self.seen.len() + self.summary.unreadable;
            progress(DryRunProgress::Read {
                account: &self.account.id,
                read,
                expected: read + to_come,
            });
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Those that no page before had, whole.
    async fn unseen(&mut self, mut records: Vec<Record>) -> Vec<Record> {
        records.retain(|record| self.seen.insert(record.id.clone()));
        scan::complete(&self.account, Purpose::Background, records).await
    }

    async fn decide(
        &mut self,
        records: &[Record],
        report: &mut Report<impl Write>,
    ) -> anyhow::Result<()> {
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
                self.summary.count(&verdict);
                report.conversation(&self.account.id, &record.id, &verdict)?;
            }
        }
        Ok(())
    }
}
