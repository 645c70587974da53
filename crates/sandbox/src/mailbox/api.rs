//! The mailbox for programs: what was received, and the faults of both servers, so that tests in other processes can steer them.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Desk;
use crate::outbox::{Mail, OutboxMessage, Text};
use crate::rules::Rules;
use crate::smtp::SmtpFault;
use crate::twilio::{InboundError, OptOutType, TwilioFault};

/// Messages in one answer unless asked otherwise.
const LIMIT: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Only to this address or number.
    to: Option<String>,
    /// Only newer than this id.
    after: Option<u64>,
    limit: Option<usize>,
}

/// Oldest first; `counts` are totals since the start.
pub async fn messages(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Json<Value> {
    let outbox = &desk.mailbox.outbox;
    let shown = outbox.messages().into_iter().filter(|message| {
        wanted.after.is_none_or(|after| message.id() > after)
            && wanted.to.as_ref().is_none_or(|to| is_to(message, to))
    });
    let shown: Vec<Value> = shown
        .take(wanted.limit.unwrap_or(LIMIT))
        .map(|message| to_json(&message))
        .collect();
    let counts = outbox.counts();
    Json(json!({
        "messages": shown,
        "counts": { "mails": counts.mails, "texts": counts.texts, "dropped": counts.dropped },
    }))
}

fn is_to(message: &OutboxMessage, to: &str) -> bool {
    match message {
        OutboxMessage::Mail(mail) => mail.to.iter().any(|other| other.eq_ignore_ascii_case(to)),
        OutboxMessage::Text(text) => text.to == to,
    }
}

pub async fn message(
    State(desk): State<Desk>,
    Path(id): Path<u64>,
) -> Result<Json<Value>, StatusCode> {
    desk.mailbox
        .outbox
        .message(id)
        .map(|message| Json(to_json(&message)))
        .ok_or(StatusCode::NOT_FOUND)
}

pub async fn clear(State(desk): State<Desk>) -> StatusCode {
    desk.mailbox.outbox.clear();
    StatusCode::NO_CONTENT
}

fn to_json(message: &OutboxMessage) -> Value {
    match message {
        OutboxMessage::Mail(mail) => mail_json(mail),
        OutboxMessage::Text(text) => text_json(text),
    }
}

fn mail_json(mail: &Mail) -> Value {
    json!({
        "id": mail.id,
        "kind": "mail",
        "at": mail.at,
        "from": mail.from,
        "to": mail.to,
        "subject": mail.subject(),
        "message_id": mail.message_id(),
        "list_unsubscribe": mail.list_unsubscribe(),
        "headers": mail.headers,
        "text": mail.text,
        "html": mail.html,
        "size": mail.size,
        "returned": mail.returned,
    })
}

fn text_json(text: &Text) -> Value {
    let history: Vec<Value> = text
        .history
        .iter()
        .map(|change| json!({ "at": change.at, "status": change.status, "error_code": change.error_code }))
        .collect();
    json!({
        "id": text.id,
        "kind": "text",
        "at": text.at,
        "sid": text.sid,
        "from": text.from,
        "messaging_service": text.messaging_service,
        "to": text.to,
        "body": text.body,
        "segments": text.segments,
        "status": text.status(),
        "status_callback": text.status_callback,
        "validity_period": text.validity_period,
        "history": history,
    })
}

/// The rules of both servers. In a PUT, a list that is left out stays as it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRules {
    smtp: Option<Vec<SmtpFault>>,
    twilio: Option<Vec<TwilioFault>>,
}

pub async fn faults(State(desk): State<Desk>) -> Json<FaultRules> {
    Json(FaultRules {
        smtp: desk.mailbox.smtp.as_ref().map(Rules::rules),
        twilio: desk
            .mailbox
            .twilio
            .as_ref()
            .map(|account| account.faults().rules()),
    })
}

pub async fn set_faults(State(desk): State<Desk>, Json(wanted): Json<FaultRules>) -> StatusCode {
    let Desk { mailbox, .. } = &desk;
    if wanted.smtp.is_some() && mailbox.smtp.is_none()
        || wanted.twilio.is_some() && mailbox.twilio.is_none()
    {
        return StatusCode::NOT_FOUND;
    }
    if let (Some(rules), Some(faults)) = (wanted.smtp, &mailbox.smtp) {
        faults.set(rules);
    }
    if let (Some(rules), Some(account)) = (wanted.twilio, &mailbox.twilio) {
        account.faults().set(rules);
    }
    StatusCode::NO_CONTENT
}

pub async fn clear_faults(State(desk): State<Desk>) -> StatusCode {
    if let Some(faults) = &desk.mailbox.smtp {
        faults.clear();
    }
    if let Some(account) = &desk.mailbox.twilio {
        account.faults().clear();
    }
    StatusCode::NO_CONTENT
}

/// A text from a person to one of our numbers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    from: String,
    to: String,
    body: String,
    opt_out_type: Option<OptOutType>,
}

/// Answers what the service answered to the webhook.
pub async fn inbound(State(desk): State<Desk>, Json(inbound): Json<Inbound>) -> Response {
    let Some(account) = &desk.mailbox.twilio else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match account
        .inbound(
            &inbound.from,
            &inbound.to,
            &inbound.body,
            inbound.opt_out_type,
        )
        .await
    {
        Ok((status, body)) => Json(json!({ "status": status, "body": body })).into_response(),
        Err(InboundError::NoUrl) => StatusCode::CONFLICT.into_response(),
        Err(InboundError::Unreachable(_)) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
