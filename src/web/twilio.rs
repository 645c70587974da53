//! What people answer to text messages, from Twilio. Nothing is read before the signature is checked.

use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::{OriginalUri, Request as Incoming, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::error::PublicError;
use super::reports::signed;
use super::retry::until_database_returns;
use crate::channel::adapter::Request;
use crate::channel::optout::{self, Meaning};
use crate::channel::twilio::webhook::{Inbound, WebhookFields};
use crate::control::opt_outs::{self, InboundText, TextEffect};
use crate::domain::ids::AccountId;

/// The fields of a request that Twilio has signed, and the accounts that send with the Twilio account that it comes from.
async fn checked<'s>(
    state: &'s AppState,
    uri: &OriginalUri,
    request: Incoming,
) -> Result<(WebhookFields, &'s [AccountId]), Response> {
    let forbidden = || StatusCode::FORBIDDEN.into_response();
    if state.twilio_accounts.is_empty() {
        return Err(forbidden());
    }
    let (signature, body) = signed(state, "x-twilio-signature", request).await?;
    let request = Request {
        path: uri.path(),
        query: uri.query(),
        signature: signature.as_deref(),
        body: &body,
    };
    let mut refused = None;
    for of in &state.twilio_accounts {
        match of.verifier.verify(&request) {
            Ok(fields) => return Ok((fields, &of.accounts)),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    let why = refused.map_or_else(String::new, |why| why.to_string());
    tracing::warn!("A Twilio webhook is refused: {why}");
    state.metrics.webhook("inbound", "refused");
    Err(forbidden())
}

/// `POST /twilio/inbound`: somebody answered an SMS. STOP, in whatever words, stops our SMS to that number; START lifts that. Each
/// message counts once. Twilio itself replies to the keywords; we never do.
pub async fn inbound(
    Shared(state): Shared<AppState>,
    uri: OriginalUri,
    request: Incoming,
) -> Result<Response, PublicError> {
    let (fields, accounts) = match checked(&state, &uri, request).await {
        Ok(checked) => checked,
        Err(refused) => return Ok(refused),
    };
    if let Some(message) = Inbound::parse(&fields) {
        // Twilio's own reading knows words and languages that we do not.
        let meaning = message
            .opt_out
            .map_or_else(|| optout::meaning(&message.body), Meaning::from);
        let answer = InboundText {
            sid: message.message_sid,
            from: state.hasher.address(&message.from),
            moves: state.hasher.moves(&message.from),
            to: message.to,
            messaging_service: message.messaging_service_sid,
            accounts: accounts.to_vec(),
            meaning,
            language: optout::language(&message.body),
        };
        let heard = receive_text(&state, answer).await?;
        let result = match (heard, meaning) {
            (TextEffect::Repeated, _) => "repeated",
            (TextEffect::Stopped, _) => "stop",
            (TextEffect::Lifted, Meaning::Yes) => "yes",
            (TextEffect::Lifted, _) => "start",
            (TextEffect::Other, _) => "other",
        };
        state.metrics.webhook("inbound", result);
    }
    let empty = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response/>\n";
    Ok(([(header::CONTENT_TYPE, "text/xml")], empty).into_response())
}

/// Acts on an answer, if need be when the database is back: Twilio posts it once.
async fn receive_text(state: &AppState, answer: InboundText) -> Result<TextEffect, PublicError> {
    let (pool, policy) = (state.pool.clone(), Arc::new(state.opt_outs.clone()));
    let (answer, now) = (Arc::new(answer), state.clock.now());
    until_database_returns(move || {
        let (pool, policy, answer) = (pool.clone(), policy.clone(), answer.clone());
        async move {
            let heard = opt_outs::receive_text(&pool, &policy, &answer, now).await;
            heard.context("acting on an answer")
        }
    })
    .await
}
