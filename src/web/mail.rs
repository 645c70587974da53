//! `POST /mail/events`: bounces and complaints from whatever carries the mail, signed (docs/webhooks.md).

use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::State;
use super::error::{ApiError, problem};
use crate::channel::mail_events::{self, Kind, MailEvent, Rejected};
use crate::control::opt_outs;
use crate::db;
use crate::db::reports::Mailed;
use crate::db::suppressions::{AddressHash, Row, Source};
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::opt_out::No;
use crate::jobs::report;

/// One short transaction of three statements, however many events.
pub async fn events(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    if state.mail_webhook_secrets.is_empty() {
        let detail = "this webhook is off: UNREAD_MAIL_WEBHOOK_SECRET is not set";
        return Ok(problem(StatusCode::NOT_FOUND, detail));
    }
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let (time, signature) = (header("x-unread-timestamp"), header("x-unread-signature"));
    let now = state.clock.now();
    let secrets = &state.mail_webhook_secrets;
    let events = match mail_events::read(secrets, time, signature, &body, now.timestamp()) {
        Ok(events) => events,
        Err(why) => {
            tracing::warn!("Mail events are refused: {why}");
            state.metrics.webhook("mail_events", "refused");
            let status = match why {
                Rejected::Unreadable => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::FORBIDDEN,
            };
            return Ok(problem(status, &why.to_string()));
        }
    };
    let mut tx = state.pool.begin().await?;
    let names: Vec<(i64, String)> = events.iter().filter_map(named).collect();
    let mailed: HashMap<(i64, String), Mailed> = db::reports::mailed(&mut tx, &names)
        .await?
        .into_iter()
        .map(|mailed| ((mailed.id, mailed.named.clone()), mailed))
        .collect();
    let mut bounced: Vec<(i64, &str)> = Vec::new();
    let mut rows = Vec::new();
    let mut unknown = 0;
    for event in &events {
        let mailed = named(event).and_then(|name| mailed.get(&name));
        let suppressed = suppressions(&state, event, mailed, now);
        if mailed.is_none() && suppressed.is_empty() {
            unknown += 1;
        }
        rows.extend(suppressed);
        let reason = match event.kind {
            Kind::Hard => "hard bounce",
            Kind::Soft => "soft bounce",
            // It did arrive.
            Kind::Complaint => continue,
        };
        bounced.extend(mailed.map(|mailed| (mailed.id, reason)));
    }
    bounced.sort_unstable();
    bounced.dedup_by_key(|(id, _)| *id);
    // Of several events for one address the strongest word counts: complaints before bounces.
    rows.sort_by_key(|row| row.reason != Suppression::Complaint);
    db::reports::bounced(&mut tx, &bounced, now).await?;
    db::suppressions::store(&mut tx, &rows, now).await?;
    spread(&state, &mut tx, &rows, now).await?;
    tx.commit().await?;
    state.metrics.webhook("mail_events", "applied");
    let applied = events.len() - unknown;
    Ok(axum::Json(json!({ "applied": applied, "unknown": unknown })).into_response())
}

/// Where every no holds for all of a consumer's addresses, a complaint does.
async fn spread(
    state: &State,
    tx: &mut sqlx::PgConnection,
    rows: &[Row],
    now: chrono::DateTime<chrono::Utc>,
) -> sqlx::Result<()> {
    if !state.opt_outs.reach.covers_other_addresses() {
        return Ok(());
    }
    let complaints: BTreeMap<AddressHash, &Row> = rows
        .iter()
        .filter(|row| row.reason == Suppression::Complaint)
        .map(|row| (row.hash, row))
        .collect();
    for (hash, row) in complaints {
        let whose = (&row.account, row.channel, hash);
        let why = (row.reason, row.source);
        opt_outs::refuse(tx, &state.opt_outs, No::Complaint, whose, why, now).await?;
    }
    Ok(())
}

fn named(event: &MailEvent) -> Option<(i64, String)> {
    let (id, proof) = report::parse_message_id(event.message_id.as_deref()?)?;
    Some((id, proof.to_owned()))
}

/// The rows that an event asks for. By message it concerns the reminder's account; by address alone, every account: the mailbox is
/// the same, whoever writes to it.
fn suppressions(
    state: &State,
    event: &MailEvent,
    mailed: Option<&Mailed>,
    now: chrono::DateTime<chrono::Utc>,
) -> Vec<Row> {
    let reason = match event.kind {
        Kind::Hard => Suppression::BadAddress,
        Kind::Complaint => Suppression::Complaint,
        Kind::Soft => return Vec::new(),
    };
    let row = |account: AccountId, hash| Row {
        account,
        channel: Channel::Email,
        hash,
        reason,
        source: Source::MailEvent,
        created_at: now,
        expires_at: reason.lasts().map(|span| now + span),
    };
    let by_message = mailed.and_then(|mailed| {
        let hash = mailed.recipient_hash.as_deref()?.try_into().ok()?;
        Some(row(mailed.account.parse().ok()?, hash))
    });
    let hash = event
        .address
        .as_ref()
        .map(|address| state.hasher.address(address));
    let by_address = hash.into_iter().flat_map(|hash| {
        state
            .accounts
            .keys()
            .map(move |account| row(account.clone(), hash))
    });
    by_message.into_iter().chain(by_address).collect()
}
