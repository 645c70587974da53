//! The journal of this process, and the heartbeat that is remembered beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::roles::RoleSet;
use crate::config::Config;
use crate::db;
use crate::domain::heartbeat::{HeartbeatVerdict, RememberedHeartbeat};
use crate::domain::ids::AccountId;
use crate::jobs::context::Context;
use crate::jobs::heartbeat::{HeartbeatTask, STRANGER};
use crate::jobs::journal::{JournalKeeper, JournalSink};
use crate::journal::{HeartbeatFile, JournalFile, Webhook};
use crate::postgres;

/// Where the journal is, as far as these settings tell: the file that they name, else the one that `run` keeps beside its own PostgreSQL.
/// With a configured database the latter counts if it is there: it tells that another database has sent before.
pub fn file(config: &Config) -> Option<PathBuf> {
    config.journal.file.clone().or_else(|| {
        let beside = beside_own_database(config);
        (config.database_url.is_none() || beside.with_extension("heartbeat").exists())
            .then_some(beside)
    })
}

fn beside_own_database(config: &Config) -> PathBuf {
    let folder = config.data_dir.clone();
    folder
        .unwrap_or_else(|| postgres::default_root("unread"))
        .join("journal.jsonl")
}

/// The heartbeat that is remembered beside this machine's journal, if there is one.
pub fn remembered(config: &Config) -> anyhow::Result<Option<RememberedHeartbeat>> {
    let head = file(config).map(|file| HeartbeatFile::beside(&file));
    Ok(head.map(|head| head.read()).transpose()?.flatten())
}

/// Where this process keeps the journal, if it does.
pub(super) fn of_process(config: &Config, parts: RoleSet, demo: bool) -> Option<PathBuf> {
    match parts {
        RoleSet::ALL if !demo => file(config),
        // One process keeps it; on other machines the same path would be another file.
        _ => config.journal.file.clone().filter(|_| parts.worker),
    }
}

/// Nothing is sent before it is known whether this database is the one that sent.
pub(super) async fn sign_on(
    config: &Config,
    shared: &Arc<Context>,
    journal: Option<&PathBuf>,
    shutdown: &CancellationToken,
) -> anyhow::Result<HeartbeatTask> {
    let heart = heart(shared, journal)?;
    let mut is_said = false;
    let verdict = loop {
        let error = match heart.beat().await {
            Ok(verdict) => break verdict,
            Err(error) => error,
        };
        if !db::is_away(&error) || shutdown.is_cancelled() {
            return Err(error);
        }
        // It was there a moment ago.
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!(
                "The database is away, trying again every second: {}",
                db::explain_all(&error)
            );
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    };
    anyhow::ensure!(verdict != HeartbeatVerdict::Stranger, STRANGER);
    let ids: Vec<AccountId> = config.accounts.iter().map(|a| a.id.clone()).collect();
    db::accounts::ensure(&shared.pool, &ids, shared.clock.now()).await?;
    Ok(heart)
}

/// The heart of a process with this journal.
fn heart(ctx: &Context, journal: Option<&PathBuf>) -> anyhow::Result<HeartbeatTask> {
    HeartbeatTask::new(
        ctx.pool.clone(),
        ctx.clock.clone(),
        Arc::clone(&ctx.heartbeat_status),
        journal.map(|file| HeartbeatFile::beside(file)),
        &ctx.metrics,
    )
}

/// Starts to keep the journal wherever the settings say. Without a key outside the database entries would be of no use.
pub(super) async fn keep(
    config: &Config,
    ctx: &Context,
    journal: Option<PathBuf>,
    tasks: &mut JoinSet<&'static str>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let mut places = Vec::new();
    if config.secret.is_some() {
        let keep = TimeDelta::days(i64::from(config.journal.keep_days));
        places.extend(journal.map(|file| JournalSink::File(JournalFile::at(file), keep)));
    }
    if let Some((url, secret)) = config
        .journal
        .webhook
        .as_ref()
        .filter(|_| config.secret.is_some())
    {
        let webhook = Webhook::new(url.clone(), secret)?;
        places.push(JournalSink::Webhook(webhook));
    }
    for place in places {
        let key = super::key_id(config);
        let keeper = JournalKeeper::start(ctx.pool.clone(), ctx.clock.clone(), place, key).await?;
        tasks.spawn(keeper.run(shutdown.clone()));
    }
    Ok(())
}
