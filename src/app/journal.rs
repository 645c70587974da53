//! The journal of this process, and the heartbeat that is remembered beside it.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::heartbeat::Seen;
use crate::jobs::context::Context;
use crate::jobs::heart::Heart;
use crate::jobs::journal::{Keeper, Place};
use crate::journal::{File, Head, Webhook};
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
pub fn remembered(config: &Config) -> anyhow::Result<Option<Seen>> {
    let head = file(config).map(|file| Head::beside(&file));
    Ok(head.map(|head| head.read()).transpose()?.flatten())
}

/// The heart of a process with this journal.
pub(super) fn heart(ctx: &Context, journal: Option<&PathBuf>) -> anyhow::Result<Heart> {
    Heart::new(
        ctx.pool.clone(),
        ctx.clock.clone(),
        Arc::clone(&ctx.witness),
        journal.map(|file| Head::beside(file)),
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
        places.extend(journal.map(|file| Place::File(File::at(file), keep)));
    }
    if let Some((url, secret)) = config
        .journal
        .webhook
        .as_ref()
        .filter(|_| config.secret.is_some())
    {
        let webhook = Webhook::new(url.clone(), secret.clone())?;
        places.push(Place::Webhook(webhook));
    }
    for place in places {
        let key = super::key_id(config);
        let keeper = Keeper::start(ctx.pool.clone(), ctx.clock.clone(), place, key).await?;
        tasks.spawn(keeper.run(shutdown.clone()));
    }
    Ok(())
}
