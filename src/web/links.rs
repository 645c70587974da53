//! The links in reminders: back to the conversation, and out of it all.
//!
//! The word in a link is unguessable, belongs to one reminder and expires. It never says where to go: the destination is the
//! account's configured page, so that it cannot be turned into an open redirect. Asking (GET) changes nothing on the
//! unsubscribe link, because mail scanners follow links; only the button or a mail program's one-click POST does.

use anyhow::Context as _;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::TimeDelta;

use super::State;
use super::error::ApiError;
use super::insist::insist;
use super::templates::ToVisitor;
use crate::control::opt_outs;
use crate::db;
use crate::db::links::Linked;
use crate::db::suppressions::Source;
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::opt_out::No;
use crate::domain::user_agent;

/// How long the way back works.
const RETURN_FOR: TimeDelta = TimeDelta::days(30);

/// How long the way out works: 30 days after sending are the law in places, and a reminder may be sent days after it was made.
const UNSUBSCRIBE_FOR: TimeDelta = db::upkeep::RECIPIENT_KEPT;

async fn find(state: &State, token: &str, works_for: TimeDelta) -> sqlx::Result<Option<Linked>> {
    if token.len() > 64 || !token.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    let linked = db::links::find(&state.pool, token).await?;
    Ok(linked.filter(|l| state.clock.now() - l.created_at < works_for))
}

/// `GET /r/{token}`: to the page with the conversation. A click of a person counts as having seen the message.
pub async fn follow(
    Shared(state): Shared<State>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Some(linked) = find(&state, &token, RETURN_FOR).await? else {
        return Ok(gone());
    };
    if method == Method::GET && !is_scanner(&headers) {
        db::links::clicked(&state.pool, linked.id, state.clock.now()).await?;
    }
    let account: Option<AccountId> = linked.account.parse().ok();
    let account = account.and_then(|id| state.accounts.get(&id));
    Ok(match account.and_then(|a| a.page_url.as_ref()) {
        Some(page) => Redirect::to(page.as_str()).into_response(),
        None => ToVisitor {
            brand: account.map(|a| &*a.brand),
            title: "You have a message",
            heading: &format!(
                "{} has answered you",
                account.map_or(NOBODY, |a| &a.brand)
            ),
            text: "Open the page where you started the conversation: your chat and the answer are there.",
            button: None,
        }
        .render(),
    })
}

/// Mail scanners and link previews name themselves, or say that they only fetch ahead.
fn is_scanner(headers: &HeaderMap) -> bool {
    let prefetch = ["purpose", "sec-purpose", "x-purpose", "x-moz"]
        .iter()
        .any(|name| headers.contains_key(*name));
    // Phones' names need not be ASCII.
    let agent = headers
        .get(header::USER_AGENT)
        .map(|agent| String::from_utf8_lossy(agent.as_bytes()));
    prefetch || user_agent::is_automatic(&agent.unwrap_or_default())
}

/// `GET /u/{token}`: shows the button. Nothing is changed.
pub async fn ask_unsubscribe(
    Shared(state): Shared<State>,
    Path(token): Path<String>,
) -> Result<Response, ApiError> {
    let Some(linked) = find(&state, &token, UNSUBSCRIBE_FOR).await? else {
        return Ok(gone());
    };
    let what = if linked.channel == Channel::Sms.as_str() {
        "text messages"
    } else {
        "e-mails"
    };
    let brand = brand(&state, &linked);
    let page = ToVisitor {
        brand,
        title: "Stop reminders",
        heading: "Stop these reminders?",
        text: &format!(
            "You will get no more {what} from {} about unread answers.",
            brand.unwrap_or(NOBODY)
        ),
        button: Some("Stop reminders"),
    };
    Ok(page.render())
}

/// `POST /u/{token}`: stops the reminders to this recipient on this channel, at once and for every worker. The body
/// (`List-Unsubscribe=One-Click` from mail programs, RFC 8058) does not matter: the word in the path says it all.
pub async fn unsubscribe(
    Shared(state): Shared<State>,
    Path(token): Path<String>,
) -> Result<Response, ApiError> {
    // Mail programs post once.
    insist(move || stop(state.clone(), token.clone())).await
}

async fn stop(state: State, token: String) -> anyhow::Result<Response> {
    let Some(linked) = find(&state, &token, UNSUBSCRIBE_FOR).await? else {
        return Ok(gone());
    };
    let account: AccountId = linked
        .account
        .parse()
        .context("reading the account of a reminder")?;
    let channel: Channel = linked
        .channel
        .parse()
        .context("reading the channel of a reminder")?;
    let hash = linked.recipient_hash.as_deref();
    // Nobody was written to by this reminder, or nobody knows any more who it was: "done" would be a lie.
    let Some(hash) = hash.and_then(|hash| hash.try_into().ok()) else {
        return Ok(gone());
    };
    let mut tx = state.pool.begin().await?;
    let whose = (&account, channel, hash);
    let why = (Suppression::OptedOut, Source::UnsubscribeLink);
    let (policy, now) = (&state.opt_outs, state.clock.now());
    opt_outs::refuse(&mut tx, policy, No::Unsubscribe, whose, why, now).await?;
    tx.commit().await?;
    state.metrics.webhook("unsubscribe", "accepted");
    tracing::info!(reminder = linked.id, "A recipient unsubscribed");
    let brand = brand(&state, &linked);
    let page = ToVisitor {
        brand,
        title: "Reminders stopped",
        heading: "Done: no more reminders",
        text: &format!(
            "{} will not write to you about unread answers again on this address.",
            brand.unwrap_or(NOBODY)
        ),
        button: None,
    };
    Ok(page.render())
}

/// What a brand is called that is not configured any more.
const NOBODY: &str = "The team";

fn brand<'a>(state: &'a State, linked: &Linked) -> Option<&'a str> {
    let account: AccountId = linked.account.parse().ok()?;
    Some(&state.accounts.get(&account)?.brand)
}

/// The same answer for words that never existed and for those that have expired.
fn gone() -> Response {
    let page = ToVisitor {
        brand: None,
        title: "Link expired",
        heading: "This link does not work any more",
        text: "It may have expired, or it was cut short on its way. Open the website where you had the conversation: your chat is \
               there.",
        button: None,
    };
    (StatusCode::NOT_FOUND, page.render()).into_response()
}
