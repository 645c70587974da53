//! `POST /mail/events`: what became of mail, in a shape of our own, signed; and `POST /mail/events/{provider}`, in theirs (docs/webhooks.md).

use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Path, Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::AppState;
use super::error::{PublicError, problem};
use crate::channel::mail_events::{self, MailEvent, MailEventKind, RejectedEvent};
use crate::channel::mail_reports::MailReporter;
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
    let applied = apply(&state, &mut tx, &events, Believed::Brand).await?;
    tx.commit().await?;
    state.metrics.webhook("mail_events", "applied");
    Ok(applied.into_response())
}

/// The same in a provider's own shape.
pub async fn reports(
    Shared(state): Shared<AppState>,
    Path(provider): Path<String>,
    request: Request,
) -> Result<Response, PublicError> {
    let believed = &state.mail_reports;
    let Some(provider) = MailReporter::parse(&provider).filter(|each| believed.has(*each)) else {
        let detail = "this webhook is off: no setting says how its requests are verified";
        return Ok(problem(StatusCode::NOT_FOUND, detail));
    };
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let refused = |why: RejectedEvent| {
        tracing::warn!(
            provider = provider.as_str(),
            "Mail events are refused: {why}"
        );
        state.metrics.webhook("mail_events", "refused");
        let status = match why {
            RejectedEvent::Unreadable => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::FORBIDDEN,
        };
        problem(status, &why.to_string())
    };
    if let Err(why) = believed.greet(provider, &header) {
        return Ok(refused(why));
    }
    let body = match Bytes::from_request(request, &state).await {
        Ok(body) => body,
        Err(rejection) => return Ok(rejection.into_response()),
    };
    let now = state.clock.now();
    let report = match believed.read(provider, &header, &body, now.timestamp()) {
        Ok(report) => report,
        Err(why) => return Ok(refused(why)),
    };
    let mut tx = state.pool.begin().await?;
    if let Some(once) = &report.once {
        let name = format!("{} {once}", provider.as_str());
        // Whoever has seen the request could put another event to its signature. Names are kept far longer than signatures are taken.
        if !db::opt_outs::first_time(&mut tx, &name, false, now).await? {
            return Ok(refused(RejectedEvent::Repeated));
        }
    }
    let applied = apply(&state, &mut tx, &report.events, Believed::Provider).await?;
    tx.commit().await?;
    state.metrics.webhook("mail_events", "applied");
    Ok(applied.into_response())
}

/// How far who posts is believed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Believed {
    /// The brand: an address counts without a message, too.
    Brand,
    /// A provider, which serves others and may be made to say anything about addresses: only what names a message of ours and its recipient.
    Provider,
}

#[derive(Serialize)]
struct Applied {
    applied: usize,
    unknown: usize,
}

impl Applied {
    fn into_response(self) -> Response {
        axum::Json(self).into_response()
    }
}

async fn apply(
    state: &AppState,
    tx: &mut sqlx::PgConnection,
    events: &[MailEvent],
    believed: Believed,
) -> sqlx::Result<Applied> {
    let now = state.clock.now();
    let addresses = events.iter().filter_map(|event| event.address.as_ref());
    let moves: Vec<Move> = addresses.flat_map(|a| state.hasher.moves(a)).collect();
    db::rekey::ledger(tx, &moves, now).await?;
    let names: Vec<(i64, String)> = events.iter().filter_map(named).collect();
    let mailed: HashMap<(i64, String), Mailed> = db::provider_reports::mailed(tx, &names)
        .await?
        .into_iter()
        .map(|mailed| ((mailed.id.0, mailed.named.clone()), mailed))
        .collect();
    let mut bounced: Vec<(ReminderId, &str)> = Vec::new();
    let mut delivered: Vec<ReminderId> = Vec::new();
    let (mut rows, mut rows_by_older_key) = (Vec::new(), Vec::new());
    let mut unknown = 0;
    for event in events {
        let mailed = named(event).and_then(|name| mailed.get(&name));
        let mailed = mailed
            .filter(|mailed| believed == Believed::Brand || is_recipient(state, event, mailed));
        if believed == Believed::Provider && mailed.is_none() {
            unknown += 1;
            continue;
        }
        let mut suppressed = suppressions(state, event, mailed, believed, now);
        let sealed = match mailed {
            Some(Mailed {
                recipient_hash: Some(_),
                ..
            }) => None,
            _ => sealed(state, event, now),
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
            MailEventKind::Delivered => {
                delivered.extend(mailed.map(|mailed| mailed.id));
                continue;
            }
            // It did arrive.
            MailEventKind::Complaint => continue,
        };
        bounced.extend(mailed.map(|mailed| (mailed.id, reason)));
    }
    bounced.sort_unstable();
    bounced.dedup_by_key(|(id, _)| *id);
    delivered.sort_unstable();
    delivered.dedup();
    // A server may take a message and send it back: that it came back is the last word, in whichever order it is said.
    db::provider_reports::delivered(tx, &delivered, now).await?;
    db::provider_reports::bounced(tx, &bounced, now).await?;
    // What is there for who was not reached need not wait for a scan.
    let came_back = mailed
        .values()
        .filter(|mailed| bounced.iter().any(|(id, _)| *id == mailed.id));
    advance::schedule(
        tx,
        &state.clock,
        came_back.map(|mailed| (&mailed.account, mailed.conversation.as_str())),
    )
    .await?;
    suppress(state, tx, rows, now).await?;
    if !rows_by_older_key.is_empty() {
        db::suppressions::by_an_older_key(tx).await?;
        suppress(state, tx, rows_by_older_key, now).await?;
    }
    Ok(Applied {
        applied: events.len() - unknown,
        unknown,
    })
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

/// Whether the event's address is the one that the message went to.
fn is_recipient(state: &AppState, event: &MailEvent, mailed: &Mailed) -> bool {
    let hash = event
        .address
        .as_ref()
        .map(|address| state.hasher.address(address));
    match (hash, &mailed.recipient_hash) {
        (Some(hash), Some(recipient)) => hash[..] == recipient[..],
        _ => false,
    }
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
        MailEventKind::Soft | MailEventKind::Delivered => return None,
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
    believed: Believed,
    now: chrono::DateTime<chrono::Utc>,
) -> Vec<SuppressionRow> {
    let Some(row) = asked(event, now) else {
        return Vec::new();
    };
    let by_message = mailed.and_then(|mailed| {
        let hash = mailed.recipient_hash.as_deref()?.try_into().ok()?;
        Some(row(mailed.account.clone(), hash))
    });
    let alone = event
        .address
        .as_ref()
        .filter(|_| believed == Believed::Brand);
    let hash = alone.map(|address| state.hasher.address(address));
    let by_address = hash.into_iter().flat_map(|hash| {
        state
            .context
            .accounts
            .keys()
            .map(move |account| row(account.clone(), hash))
    });
    by_message.into_iter().chain(by_address).collect()
}
