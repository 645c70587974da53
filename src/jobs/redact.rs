//! Asks providers to forget the texts of messages that have come to their end. Level-triggered and bounded: what fails is asked for
//! again, later.

use anyhow::Context as _;

use super::context::Context;
use crate::channel::adapter::Redactor;
use crate::db;
use crate::domain::ids::Channel;

/// Messages per run.
const MOST: i64 = 100;

pub async fn redact(ctx: &Context) -> anyhow::Result<()> {
    let redactor = |channel| ctx.channels.get(channel)?.redactor();
    for channel in Channel::ALL {
        if let Some(redactor) = redactor(channel) {
            redact_on(ctx, channel, redactor).await?;
        }
    }
    Ok(())
}

async fn redact_on(ctx: &Context, channel: Channel, redactor: &dyn Redactor) -> anyhow::Result<()> {
    let mut conn = ctx.pool.acquire().await?;
    let now = ctx.clock.now();
    let due = db::provider_reports::to_redact(&mut conn, channel, MOST, now)
        .await
        .context("reading which texts to redact")?;
    drop(conn);
    for message in due {
        let answer = redactor.redact(&message.provider_id).await;
        let mut conn = ctx.pool.acquire().await?;
        db::provider_reports::redacted(&mut conn, message.attempt, answer.is_ok(), ctx.clock.now())
            .await?;
        if let Err(error) = answer {
            tracing::warn!("A text cannot be redacted, trying again later: {error}");
            break;
        }
    }
    Ok(())
}
