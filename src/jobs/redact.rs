//! Asks Twilio to forget the texts of messages that have come to their end. Level-triggered and bounded: what fails is asked for
//! again, later.

use anyhow::Context as _;

use super::context::Context;
use crate::db;

/// Messages per run.
const MOST: i64 = 100;

pub async fn redact(ctx: &Context) -> anyhow::Result<()> {
    let Some(twilio) = ctx.sms.as_ref().filter(|_| ctx.redact_bodies) else {
        return Ok(());
    };
    let mut conn = ctx.pool.acquire().await?;
    let now = ctx.clock.now();
    let due = db::reports::to_redact(&mut conn, MOST, now)
        .await
        .context("reading which texts to redact")?;
    drop(conn);
    for message in due {
        let answer = twilio.redact(&message.provider_id).await;
        // What Twilio does not know any more needs no redaction.
        let done = answer
            .as_ref()
            .map_or_else(|error| error.not_found, |()| true);
        let mut conn = ctx.pool.acquire().await?;
        db::reports::redacted(&mut conn, message.attempt, done, ctx.clock.now()).await?;
        if let (Err(error), false) = (answer, done) {
            tracing::warn!("A text cannot be redacted, trying again later: {error}");
            break;
        }
    }
    Ok(())
}
