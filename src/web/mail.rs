//! `POST /mail/events`: bounces and complaints from whatever carries the mail, signed (docs/webhooks.md).

use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::AppState;
use super::error::{PublicError, problem};
use crate::channel::mail_events::{self, MailEvent, MailEventKind, RejectedEvent};
use crate::control::opt_outs;
use crate::db;
use crate::db::provider_reports::Mailed;
use crate::db::suppressions::{AddressHash, Source, SuppressionRow};
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::opt_out::No;
use crate::hashing::Move;
use crate::jobs::advance;
use crate::jobs::report;
use crate::jobs::way_out::SealedLink;

/// One short transaction of a few statements, however many events.
pub async fn events(
    Shared(state): Shared<AppState>,
    request: Request,
) -> Result<Response, PublicError> {
    if state.mail_webhook_secrets.is_empty() {
        let detail = "this webhook is off: UNREAD_MAIL_WEBHOOK_SECRET is not set";
        return Ok(problem(StatusCode::NOT_FOUND, detail));
    }
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let (time, signature) = (header("x-unread-timestamp"), header("x-unread-signature"));
    // What nobody has signed is not waited for.
    let body = match time.and(signature) {
        Some(_) => Bytes::from_request(request, &state).await,
        None => Ok(Bytes::new()),
    };
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return Ok(rejection.into_response()),
    };
    let now = state.clock.now();
    let secrets = &state.mail_webhook_secrets;
    let events = match mail_events::read(secrets, time, signature, &body, now.timestamp()) {
        Ok(events) => events,
        Err(why) => {
            tracing::warn!("Mail events are refused: {why}");
            state.metrics.webhook("mail_events", "refused");
            let status = match why {
                RejectedEvent::Unreadable => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::FORBIDDEN,
            };
            return Ok(problem(status, &why.to_string()));
        }
    };
    let mut tx = state.pool.begin().await?;
    let addresses = events.iter().filter_map(|event| event.address.as_ref());
    let moves: Vec<Move> = addresses.flat_map(|a| state.hasher.moves(a)).collect();
    db::rekey::ledger(&mut tx, &moves, now).await?;
    let names: Vec<(i64, String)> = events.iter().filter_map(named).collect();
    let mailed: HashMap<(i64, String), Mailed> = db::provider_reports::mailed(&mut tx, &names)
        .await?
        .into_iter()
        .map(|mailed| ((mailed.id.0, mailed.named.clone()), mailed))
        .collect();
    let mut bounced: Vec<(ReminderId, &str)> = Vec::new();
    let (mut rows, mut rows_by_older_key) = (Vec::new(), Vec::new());
    let mut unknown = 0;
    for event in &events {
        let mailed = named(event).and_then(|name| mailed.get(&name));
        let mut suppressed = suppressions(&state, event, mailed, now);
        let sealed = match mailed {
            Some(Mailed {
                recipient_hash: Some(_),
                ..
            }) => None,
            _ => sealed(&state, event, now),
        };
        if mailed.is_none() && suppressed.is_empty() && sealed.is_none() {
            unknown += 1;
        }
        match sealed {
            Some((row, true)) => suppressed.extend(row),
            Some((row, false)) => rows_by_older_key.extend(row),
            None => {}
        }
        rows.extend(suppressed);
        let reason = match event.kind {
            MailEventKind::Hard => "hard bounce",
            MailEventKind::Soft => "soft bounce",
            // It did arrive.
            MailEventKind::Complaint => continue,
        };
        bounced.extend(mailed.map(|mailed| (mailed.id, reason)));
    }
    bounced.sort_unstable();
    bounced.dedup_by_key(|(id, _)| *id);
    db::provider_reports::bounced(&mut tx, &bounced, now).await?;
    // What is there for who was not reached need not wait for a scan.
    let came_back = mailed
        .values()
        .filter(|mailed| bounced.iter().any(|(id, _)| *id == mailed.id));
    advance::schedule(
        &mut tx,
        &state.clock,
        came_back.map(|mailed| (&mailed.account, mailed.conversation.as_str())),
    )
    .await?;
    suppress(&state, &mut tx, rows, now).await?;
    if !rows_by_older_key.is_empty() {
        db::suppressions::by_an_older_key(&mut tx).await?;
        suppress(&state, &mut tx, rows_by_older_key, now).await?;
    }
    tx.commit().await?;
    state.metrics.webhook("mail_events", "applied");
    let applied = events.len() - unknown;
    Ok(axum::Json(json!({ "applied": applied, "unknown": unknown })).into_response())
}

async fn suppress(
    state: &AppState,
    tx: &mut sqlx::PgConnection,
    mut rows: Vec<SuppressionRow>,
    now: chrono::DateTime<chrono::Utc>,
) -> sqlx::Result<()> {
    // Of several events for one address the strongest word counts: complaints before bounces.
    rows.sort_by_key(|row| row.reason != Suppression::Complaint);
    db::suppressions::store(tx, &rows, now).await?;
    spread(state, tx, &rows, now).await
}

/// Where every no holds for all of a consumer's addresses, a complaint does.
async fn spread(
    state: &AppState,
    tx: &mut sqlx::PgConnection,
    rows: &[SuppressionRow],
    now: chrono::DateTime<chrono::Utc>,
) -> sqlx::Result<()> {
    if !state.opt_outs.reach.covers_other_addresses() {
        return Ok(());
    }
    let complaints: BTreeMap<AddressHash, &SuppressionRow> = rows
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

/// What an event asks for by the link that its message carried, where the database has lost the reminder; and whether by the present key.
/// `None`: the link names nobody. A soft bounce names somebody, and asks for nothing.
fn sealed(
    state: &AppState,
    event: &MailEvent,
    now: chrono::DateTime<chrono::Utc>,
) -> Option<(Option<SuppressionRow>, bool)> {
    let word = SealedLink::read(event.way_out.as_deref()?)?;
    let (to, of_now) = word.recipient(&state.hasher)?;
    let ours = to.channel == Channel::Email && state.account(&to.account).is_some();
    ours.then(|| {
        (
            asked(event, now).map(|row| row(to.account, to.hash)),
            of_now,
        )
    })
}

/// The row that an event asks for, of an account and an address.
fn asked(
    event: &MailEvent,
    now: chrono::DateTime<chrono::Utc>,
) -> Option<impl Fn(AccountId, AddressHash) -> SuppressionRow + Copy> {
    let reason = match event.kind {
        MailEventKind::Hard => Suppression::BadAddress,
        MailEventKind::Complaint => Suppression::Complaint,
        MailEventKind::Soft => return None,
    };
    Some(move |account: AccountId, hash| SuppressionRow {
        account,
        channel: Channel::Email,
        hash,
        reason,
        source: Source::MailEvent,
        created_at: now,
        expires_at: reason.lasts().map(|span| now + span),
    })
}

/// The rows that an event asks for. By message it concerns the reminder's account; by address alone, every account: the mailbox is
/// the same, whoever writes to it.
fn suppressions(
    state: &AppState,
    event: &MailEvent,
    mailed: Option<&Mailed>,
    now: chrono::DateTime<chrono::Utc>,
) -> Vec<SuppressionRow> {
    let Some(row) = asked(event, now) else {
        return Vec::new();
    };
    let by_message = mailed.and_then(|mailed| {
        let hash = mailed.recipient_hash.as_deref()?.try_into().ok()?;
        Some(row(mailed.account.clone(), hash))
    });
    let hash = event
        .address
        .as_ref()
        .map(|address| state.hasher.address(address));
    let by_address = hash.into_iter().flat_map(|hash| {
        state
            .context
            .accounts
            .keys()
            .map(move |account| row(account.clone(), hash))
    });
    by_message.into_iter().chain(by_address).collect()
}
