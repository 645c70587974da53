//! The links in reminders: back to the conversation, and out of it all.
//!
//! The word in a link is unguessable, belongs to one reminder and expires. That of an unsubscribe link also says, sealed, whom it is about, so
//! that a no is heard when the database has lost the reminder. It never says where to go: the destination is the
//! account's configured page, so that it cannot be turned into an open redirect. Asking (GET) changes nothing on the
//! unsubscribe link, because mail scanners follow links; only the button or a mail program's one-click POST does.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::TimeDelta;

use super::AppState;
use super::client::ClientAddress;
use super::error::PublicError;
use super::limiter::Limiter;
use super::retry::until_database_returns;
use super::templates::ToVisitor;
use crate::control::opt_outs;
use crate::db;
use crate::db::links::Linked;
use crate::db::suppressions::{AddressHash, Source};
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::opt_out::No;
use crate::domain::user_agent;
use crate::hashing;
use crate::jobs::way_out::SealedLink;

/// How long the way back works.
const RETURN_FOR: TimeDelta = TimeDelta::days(30);

/// How long the way out works: 30 days after sending are the law in places, and a reminder may be sent days after it was made.
const UNSUBSCRIBE_FOR: TimeDelta = db::upkeep::RECIPIENT_KEPT;

/// Addresses and words remembered by the limits.
const REMEMBERED: usize = 10_000;

/// How often links are looked up in one process. Of an address only those count that are no reminder's: behind one there may be a whole
/// company, or a scanner that follows every link of its mail.
pub struct LinkLimits {
    unknown: Limiter<IpAddr>,
    /// Generous, since a no must get through whatever others behind the same address do.
    unknown_out: Limiter<IpAddr>,
    /// One link, wherever from.
    own: Limiter<[u8; 16]>,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            unknown: Limiter::new(10.0, 50.0, REMEMBERED),
            unknown_out: Limiter::new(100.0, 500.0, REMEMBERED),
            own: Limiter::new(2.0, 50.0, REMEMBERED),
        }
    }
}

/// How a link is followed.
#[derive(Clone, Copy)]
struct LinkUse {
    from: IpAddr,
    works_for: TimeDelta,
    /// It is asked for again and again, and so has a limit of its own. Else it is somebody's no.
    again: bool,
}

async fn find(state: &AppState, token: &str, way: LinkUse) -> Result<Option<Linked>, PublicError> {
    if !hashing::is_token(token) {
        return Ok(None);
    }
    let now = Instant::now();
    let mut word = [0; 16];
    word.copy_from_slice(&hashing::digest(token)[..16]);
    let unknown = if way.again {
        let passed = state.links.own.peek(word, now);
        passed.map_err(PublicError::TooMany)?;
        &state.links.unknown
    } else {
        &state.links.unknown_out
    };
    unknown.pass(way.from, now).map_err(PublicError::TooMany)?;
    let linked = db::links::find(&state.pool, token).await?;
    if linked.is_some() {
        unknown.give_back(way.from, now);
        if way.again {
            let passed = state.links.own.pass(word, Instant::now());
            passed.map_err(PublicError::TooMany)?;
        }
    }
    Ok(linked.filter(|l| state.clock.now() - l.created_at < way.works_for))
}

/// `GET /r/{token}`: to the page with the conversation. A click of a person counts as having seen the message.
pub async fn follow(
    Shared(state): Shared<AppState>,
    Path(token): Path<String>,
    ClientAddress(from): ClientAddress,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, PublicError> {
    let way = LinkUse {
        from,
        works_for: RETURN_FOR,
        again: true,
    };
    let Some(linked) = find(&state, &token, way).await? else {
        return Ok(gone());
    };
    if method == Method::GET && !is_scanner(&headers) {
        db::links::clicked(&state.pool, linked.id, state.clock.now()).await?;
    }
    let account = state.account(&linked.account);
    Ok(match account.and_then(|a| a.page_url.as_ref()) {
        Some(page) => Redirect::to(page.as_str()).into_response(),
        None => ToVisitor {
            brand: account.map(|a| &*a.brand),
            title: "You have a message",
            heading: &format!("{} replied to you", account.map_or(NOBODY, |a| &a.brand)),
            text: "Open the website where you started the conversation to read the reply.",
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

/// Whom a link out of it all is about.
struct LinkRecipient {
    /// `None`: it is not in this database, or nobody knows there any more whom it went to; the link itself says it.
    reminder: Option<ReminderId>,
    account: AccountId,
    channel: Channel,
    hash: AddressHash,
    /// Whether the hash is known to be under another key than the present one.
    by_older_key: bool,
}

/// `None`: a word that never existed or has expired; or nobody was written to, or nobody knows any more who it was: "done" would be a lie.
async fn recipient(
    state: &AppState,
    word: &str,
    way: LinkUse,
) -> Result<Option<LinkRecipient>, PublicError> {
    let Some(word) = SealedLink::read(word) else {
        return Ok(None);
    };
    let sealed = word.recipient(&state.hasher);
    // Of an account that is not served any more nobody is written to.
    let sealed = sealed.filter(|(to, _)| {
        state.clock.now() - to.sent_at < way.works_for && state.account(&to.account).is_some()
    });
    let linked = match find(state, word.token, way).await {
        // What is sealed proves itself, whatever others behind the same address have asked for.
        Err(PublicError::TooMany(_)) if sealed.is_some() => None,
        found => found?,
    };
    if let Some(linked) = linked
        && let Some(hash) = linked.recipient_hash.as_deref()
        && let Ok(hash) = hash.try_into()
    {
        return Ok(Some(LinkRecipient {
            reminder: Some(linked.id),
            account: linked.account,
            channel: linked.channel,
            hash,
            by_older_key: false,
        }));
    }
    Ok(sealed.map(|(to, of_now)| LinkRecipient {
        reminder: None,
        account: to.account,
        channel: to.channel,
        hash: to.hash,
        by_older_key: !of_now,
    }))
}

/// `GET /u/{token}`: shows the button. Nothing is changed.
pub async fn ask_unsubscribe(
    Shared(state): Shared<AppState>,
    Path(token): Path<String>,
    ClientAddress(from): ClientAddress,
) -> Result<Response, PublicError> {
    let way = LinkUse {
        from,
        works_for: UNSUBSCRIBE_FOR,
        again: true,
    };
    let Some(recipient) = recipient(&state, &token, way).await? else {
        return Ok(gone());
    };
    let what = recipient.channel.names().messages;
    let brand = brand(&state, &recipient.account);
    let page = ToVisitor {
        brand,
        title: "Stop reminders",
        heading: "Stop these reminders?",
        text: &format!(
            "You will no longer get {what} from {} about unread messages.",
            brand.unwrap_or(NOBODY)
        ),
        button: Some("Stop reminders"),
    };
    Ok(page.render())
}

/// `POST /u/{token}`: stops the reminders to this recipient on this channel, at once and for every worker. The body
/// (`List-Unsubscribe=One-Click` from mail programs, RFC 8058) does not matter: the word in the path says it all.
pub async fn unsubscribe(
    Shared(state): Shared<AppState>,
    Path(token): Path<String>,
    ClientAddress(from): ClientAddress,
) -> Result<Response, PublicError> {
    // Mail programs post once.
    until_database_returns(move || stop(state.clone(), token.clone(), from)).await
}

async fn stop(state: AppState, token: String, from: IpAddr) -> anyhow::Result<Response> {
    let way = LinkUse {
        from,
        works_for: UNSUBSCRIBE_FOR,
        again: false,
    };
    let recipient = match recipient(&state, &token, way).await {
        Ok(Some(recipient)) => recipient,
        Ok(None) => return Ok(gone()),
        // The cause, by which it shows whether to try again here.
        Err(PublicError::Internal(cause)) => return Err(cause),
        Err(answer) => return Ok(answer.into_response()),
    };
    let mut tx = state.pool.begin().await?;
    if recipient.by_older_key {
        db::suppressions::by_an_older_key(&mut tx).await?;
    }
    let whose = (&recipient.account, recipient.channel, recipient.hash);
    let why = (Suppression::OptedOut, Source::UnsubscribeLink);
    let (policy, now) = (&state.opt_outs, state.clock.now());
    opt_outs::refuse(&mut tx, policy, No::Unsubscribe, whose, why, now).await?;
    tx.commit().await?;
    state.metrics.webhook("unsubscribe", "accepted");
    if let Some(reminder) = recipient.reminder {
        tracing::info!(reminder = reminder.0, "A recipient unsubscribed");
    } else {
        tracing::info!(
            "A recipient unsubscribed by the link of a reminder that is not in the database"
        );
    }
    let brand = brand(&state, &recipient.account);
    let page = ToVisitor {
        brand,
        title: "Reminders stopped",
        heading: "Reminders stopped",
        text: &format!(
            "{} will no longer send reminders about unread messages to this address.",
            brand.unwrap_or(NOBODY)
        ),
        button: None,
    };
    Ok(page.render())
}

/// What a brand is called that is not configured any more.
const NOBODY: &str = "The team";

fn brand<'a>(state: &'a AppState, account: &AccountId) -> Option<&'a str> {
    Some(&state.account(account)?.brand)
}

/// The same answer for words that never existed and for those that have expired.
fn gone() -> Response {
    let page = ToVisitor {
        brand: None,
        title: "Link expired",
        heading: "This link no longer works",
        text: "It may have expired, or was not copied completely. Open the website where you started the conversation to find your chat.",
        button: None,
    };
    (StatusCode::NOT_FOUND, page.render()).into_response()
}
