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
use super::visitor::{PageButton, VisitorPage, VisitorWords};
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

/// What a word leads to.
enum Found {
    Works(Linked),
    Expired(Linked),
    Nothing,
}

async fn find(state: &AppState, token: &str, way: LinkUse) -> Result<Found, PublicError> {
    if !hashing::is_token(token) {
        return Ok(Found::Nothing);
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
    Ok(match linked {
        Some(linked) if state.clock.now() - linked.created_at < way.works_for => {
            Found::Works(linked)
        }
        Some(linked) => Found::Expired(linked),
        None => Found::Nothing,
    })
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
    let linked = match find(&state, &token, way).await? {
        Found::Works(linked) => linked,
        Found::Expired(linked) => return Ok(gone(&state, &headers, Some(&linked))),
        Found::Nothing => return Ok(gone(&state, &headers, None)),
    };
    if method == Method::GET && !is_scanner(&headers) {
        db::links::clicked(&state.pool, linked.id, state.clock.now()).await?;
    }
    let account = state.account(&linked.account);
    if let Some(page) = account.and_then(|a| a.page_url.as_ref()) {
        return Ok(Redirect::to(page.as_str()).into_response());
    }
    let about = About::reminder(&state, &headers, &linked);
    let words = &about.words.message;
    Ok(about.page(&words.heading, &words.text, None).render())
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
    /// Of the message.
    language: Option<String>,
}

/// Whom a link is about; the answer if it is about nobody: its word never existed or has expired, or nobody was written to, or nobody
/// knows any more who it was, and "done" would be a lie.
async fn recipient(
    state: &AppState,
    headers: &HeaderMap,
    word: &str,
    way: LinkUse,
) -> Result<Result<LinkRecipient, Response>, PublicError> {
    let Some(word) = SealedLink::read(word) else {
        return Ok(Err(gone(state, headers, None)));
    };
    let sealed = word.recipient(&state.hasher);
    // Of an account that is not served any more nobody is written to.
    let sealed = sealed.filter(|(to, _)| {
        state.clock.now() - to.sent_at < way.works_for && state.account(&to.account).is_some()
    });
    let found = match find(state, word.token, way).await {
        // What is sealed proves itself, whatever others behind the same address have asked for.
        Err(PublicError::TooMany(_)) if sealed.is_some() => Found::Nothing,
        found => found?,
    };
    let linked = match &found {
        Found::Works(linked) | Found::Expired(linked) => Some(linked),
        Found::Nothing => None,
    };
    if let Found::Works(linked) = &found
        && let Some(hash) = linked.recipient_hash.as_deref()
        && let Ok(hash) = hash.try_into()
    {
        return Ok(Ok(LinkRecipient {
            reminder: Some(linked.id),
            account: linked.account.clone(),
            channel: linked.channel,
            hash,
            by_older_key: false,
            language: linked.language.clone(),
        }));
    }
    let Some((to, of_now)) = sealed else {
        return Ok(Err(gone(state, headers, linked)));
    };
    Ok(Ok(LinkRecipient {
        reminder: None,
        account: to.account,
        channel: to.channel,
        hash: to.hash,
        by_older_key: !of_now,
        language: linked.and_then(|linked| linked.language.clone()),
    }))
}

/// `GET /u/{token}`: shows how it stands and the button that changes it. Nothing is changed.
pub async fn ask_unsubscribe(
    Shared(state): Shared<AppState>,
    Path(token): Path<String>,
    ClientAddress(from): ClientAddress,
    headers: HeaderMap,
) -> Result<Response, PublicError> {
    let way = LinkUse {
        from,
        works_for: UNSUBSCRIBE_FOR,
        again: true,
    };
    let recipient = match recipient(&state, &headers, &token, way).await? {
        Ok(recipient) => recipient,
        Err(answer) => return Ok(answer),
    };
    let now = state.clock.now();
    let active = db::suppressions::active(&state.pool, &[recipient.hash], now).await?;
    let whose = (recipient.hash, recipient.channel, recipient.account.clone());
    let no = active
        .get(&whose)
        .filter(|active| active.reason != Suppression::BadAddress);
    let about = About::recipient(&state, &headers, &recipient);
    Ok(match no {
        None => about.ask(recipient.channel).render(),
        Some(no) => {
            let by_link =
                no.reason == Suppression::OptedOut && no.source == Source::UnsubscribeLink;
            let undo = by_link.then_some(&*token);
            about.stopped(recipient.channel, undo).render()
        }
    })
}

/// `POST /u/{token}`: stops the reminders to this recipient on this channel, at once and for every worker. The body
/// (`List-Unsubscribe=One-Click` from mail programs, RFC 8058) does not matter: the word in the path says it all.
pub async fn unsubscribe(
    Shared(state): Shared<AppState>,
    Path(token): Path<String>,
    ClientAddress(from): ClientAddress,
    headers: HeaderMap,
) -> Result<Response, PublicError> {
    // Mail programs post once.
    until_database_returns(move || stop(state.clone(), token.clone(), from, headers.clone())).await
}

async fn stop(
    state: AppState,
    token: String,
    from: IpAddr,
    headers: HeaderMap,
) -> anyhow::Result<Response> {
    let way = LinkUse {
        from,
        works_for: UNSUBSCRIBE_FOR,
        again: false,
    };
    let recipient = match recipient(&state, &headers, &token, way).await {
        Ok(Ok(recipient)) => recipient,
        Ok(Err(answer)) => return Ok(answer),
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
    let about = About::recipient(&state, &headers, &recipient);
    Ok(about.stopped(recipient.channel, Some(&token)).render())
}

/// `POST /u/{token}/undo`: "I did not mean that". Takes back what was said by such a link, and nothing that was said in another way.
pub async fn undo(
    Shared(state): Shared<AppState>,
    Path(token): Path<String>,
    ClientAddress(from): ClientAddress,
    headers: HeaderMap,
) -> Result<Response, PublicError> {
    let way = LinkUse {
        from,
        works_for: UNSUBSCRIBE_FOR,
        again: true,
    };
    let recipient = match recipient(&state, &headers, &token, way).await? {
        Ok(recipient) => recipient,
        Err(answer) => return Ok(answer),
    };
    let mut tx = state.pool.begin().await?;
    let whose = (&recipient.account, recipient.channel, recipient.hash);
    let now = state.clock.now();
    let free = opt_outs::take_back(&mut tx, &state.opt_outs, whose, now).await?;
    tx.commit().await?;
    state.metrics.webhook("unsubscribe", "undone");
    tracing::info!("A recipient took an unsubscription back");
    let about = About::recipient(&state, &headers, &recipient);
    let words = about.words;
    Ok(if free {
        let resumed = &words.resumed;
        let text = resumed.text(recipient.channel);
        about.page(&resumed.heading, text, None).render()
    } else {
        let blocked = &words.blocked;
        about.page(&blocked.heading, &blocked.text, None).render()
    })
}

/// What a page is about: in which words, and whose.
struct About<'a> {
    words: &'static VisitorWords,
    brand: Option<&'a str>,
    home: Option<&'a str>,
}

impl<'a> About<'a> {
    fn new(
        state: &'a AppState,
        headers: &HeaderMap,
        account: Option<&AccountId>,
        language: Option<&str>,
    ) -> Self {
        let account = account.and_then(|id| state.account(id));
        Self {
            words: VisitorWords::choose(language, headers),
            brand: account.map(|account| &*account.brand),
            home: account.and_then(|account| Some(account.page_url.as_ref()?.as_str())),
        }
    }

    fn reminder(state: &'a AppState, headers: &HeaderMap, linked: &Linked) -> Self {
        let language = linked.language.as_deref();
        Self::new(state, headers, Some(&linked.account), language)
    }

    fn recipient(state: &'a AppState, headers: &HeaderMap, recipient: &LinkRecipient) -> Self {
        let language = recipient.language.as_deref();
        Self::new(state, headers, Some(&recipient.account), language)
    }

    fn page<'p>(
        &'p self,
        heading: &'p str,
        text: &'p str,
        button: Option<PageButton<'p>>,
    ) -> VisitorPage<'p> {
        VisitorPage {
            words: self.words,
            brand: self.brand,
            home: self.home,
            help: None,
            heading,
            text,
            button,
        }
    }

    fn ask(&self, channel: Channel) -> VisitorPage<'_> {
        let stop = &self.words.stop;
        let button = PageButton {
            label: &stop.button,
            action: None,
            quiet: false,
        };
        self.page(&stop.heading, stop.text(channel), Some(button))
    }

    /// `undo`: the word of the link, where it can be taken back.
    fn stopped(&self, channel: Channel, undo: Option<&str>) -> VisitorPage<'_> {
        let stopped = &self.words.stopped;
        let button = undo.map(|token| PageButton {
            label: &stopped.button,
            action: Some(format!("/u/{token}/undo")),
            quiet: true,
        });
        self.page(&stopped.heading, stopped.text(channel), button)
    }
}

/// The same answer for words that never existed and for those that nobody knows any more; one that has expired still knows its language
/// and its brand.
fn gone(state: &AppState, headers: &HeaderMap, linked: Option<&Linked>) -> Response {
    let about = match linked {
        Some(linked) => About::reminder(state, headers, linked),
        None => About::new(state, headers, None, None),
    };
    let expired = &about.words.expired;
    let page = about.page(&expired.heading, &expired.text, None);
    (StatusCode::NOT_FOUND, page.render()).into_response()
}
