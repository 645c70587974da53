//! Asks providers to forget the texts of messages that have come to their end. Level-triggered and bounded: what fails is asked for
//! again, later.

use std::collections::BTreeSet;

use anyhow::Context as _;

use super::context::Context;
use crate::channel::adapter::Adapter;
use crate::db;
use crate::domain::ids::{AccountId, Channel};

/// Messages per run.
const MOST: i64 = 100;

pub async fn redact(ctx: &Context) -> anyhow::Result<()> {
    for channel in Channel::ALL {
        let redacts = |account: &&AccountId| {
            let adapter = ctx.channels.of(account, channel);
            adapter.is_some_and(|adapter| adapter.redactor().is_some())
        };
        let accounts: Vec<AccountId> = ctx.accounts.keys().filter(redacts).cloned().collect();
        if !accounts.is_empty() {
            redact_on(ctx, channel, &accounts).await?;
        }
    }
    Ok(())
}

async fn redact_on(ctx: &Context, channel: Channel, accounts: &[AccountId]) -> anyhow::Result<()> {
    let mut conn = ctx.pool.acquire().await?;
    let now = ctx.clock.now();
    let due = db::provider_reports::to_redact(&mut conn, (channel, accounts), MOST, now)
        .await
        .context("reading which texts to redact")?;
    drop(conn);
    // One provider that is away does not hold up the others.
    let mut away = BTreeSet::new();
    for message in due {
        let adapter = ctx
            .channels
            .of_key(&message.account, channel, &message.sender);
        let connection = adapter.map(Adapter::connection);
        if away.contains(&connection) {
            continue;
        }
        let answer = match adapter.and_then(Adapter::redactor) {
            Some(redactor) => redactor.redact(&message.provider_id).await,
            None => Err("the settings do not know its provider any more".to_owned()),
        };
        let mut conn = ctx.pool.acquire().await?;
        db::provider_reports::redacted(&mut conn, message.attempt, answer.is_ok(), ctx.clock.now())
            .await?;
        if let Err(error) = answer {
            tracing::warn!("A text cannot be redacted, trying again later: {error}");
            away.insert(connection);
        }
    }
    Ok(())
}
