//! The client for LivePerson: who has unread messages, which skills exist.
//!
//! It asks and parses; it never decides, stores or sends. Three of LivePerson's services are used: the history of
//! conversations (`msgHist`), the skills (`accountConfigReadOnly`) and, with OAuth 2.0, the token server (`sentinel`). Where
//! they live is looked up per account (`csds`), as LivePerson demands.
//!
//! Wire shapes stay in this folder. They accept every quirk seen in LivePerson's answers, because one odd record must not
//! hide the other ninety-nine of its page. There is no trait over the client and no mock of it: tests and the demonstration
//! point the base address at a server that speaks LivePerson's protocol.

mod answer;
mod check;
mod client;
mod contact;
mod csds;
mod error;
mod http;
mod oauth1;
mod purpose;
mod record;
mod request;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod token;
mod tolerant;
mod wire;

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::clock::Moment;
use crate::domain::conversation::Record;
use crate::domain::ids::SkillId;

pub use check::AccessCheck;
pub use client::LivePersonClient;
pub use error::LivePersonError;
pub use http::http_client;
pub use purpose::Purpose;
pub use request::{ConversationStatus, MARK, MAX_IDS, MAX_PAGE, MAX_SKILLS, MAX_WINDOW, Search};
pub use settings::{LivePersonAuth, LivePersonSettings, Scheme};

/// One page of a search.
#[derive(Debug, Default)]
pub struct SearchPage {
    pub records: Vec<Record>,
    pub unreadable: Vec<UnreadableRecord>,
    /// How many records LivePerson sent, readable or not: what to add to the offset of the next page. Zero: the end.
    pub received: u32,
    /// How many conversations match in all, as LivePerson counts at this moment. The set moves while it is paged through.
    pub total: u32,
    /// LivePerson could not ask all of its shards: what is missing here is not therefore closed.
    pub incomplete: bool,
    /// When the question was sent; nothing if none was.
    pub asked: Option<Moment>,
}

/// The answer to a question about named conversations or one consumer.
#[derive(Debug, Default)]
pub struct Records {
    pub records: Vec<Record>,
    pub unreadable: Vec<UnreadableRecord>,
    /// As [`SearchPage::incomplete`].
    pub incomplete: bool,
    /// When the first of the questions was sent; nothing if none was.
    pub asked: Option<Moment>,
}

impl Records {
    /// Adds what another question brought.
    pub fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        self.unreadable.extend(other.unreadable);
        self.incomplete |= other.incomplete;
        self.asked = match (self.asked, other.asked) {
            (Some(ours), Some(theirs)) => Some(ours.earlier(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
    }
}

impl From<SearchPage> for Records {
    fn from(page: SearchPage) -> Self {
        Self {
            records: page.records,
            unreadable: page.unreadable,
            incomplete: page.incomplete,
            asked: page.asked,
        }
    }
}

/// A conversation that LivePerson sent in a shape that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRecord {
    pub id: Option<String>,
    /// The skill that has it now, if that can be read.
    pub skill: Option<SkillId>,
    /// For a log line: names a field or a position, never a value.
    pub why: String,
}

/// Reads the body of an answer to a search, as [`LivePersonClient::search`] does with what it fetched. `offset` and `limit` are those of the
/// question.
pub fn parse_page(body: &[u8], offset: u32, limit: u32) -> Result<SearchPage, LivePersonError> {
    answer::page(body, offset, limit, "search")
}

/// All skills of the account at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skills {
    /// To be handed to the next call, which then costs LivePerson nothing if no skill has changed.
    pub revision: Option<String>,
    pub skills: Vec<LivePersonSkill>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePersonSkill {
    pub id: SkillId,
    pub name: String,
    pub deleted: bool,
}

/// The account's rate limit, shared by all processes. Every call to the history or the skills passes it first, so that no
/// number of workers together calls more often than one would.
pub trait RateLimiter: Send + Sync {
    /// Waits for this caller's turn. Only a person is refused: [`TooBusy`].
    fn pass(&self, purpose: Purpose) -> BoxFuture<'_, Result<(), TooBusy>>;

    /// LivePerson said 429: nobody passes before `pause` is over.
    fn hold(&self, pause: Duration) -> BoxFuture<'_, ()>;
}

/// No turn comes soon enough; ask again after this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBusy(pub Duration);

/// No limit: for tests and `doctor`, which make a handful of calls.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl RateLimiter for Unlimited {
    fn pass(&self, _purpose: Purpose) -> BoxFuture<'_, Result<(), TooBusy>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn hold(&self, _pause: Duration) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Told of every HTTP call, retries included. Both words come from small closed sets, fit for metric labels: the endpoint is
/// one of `domain`, `token`, `search`, `by_ids`, `by_consumer`, `skills`; the outcome is `ok`, `not_modified` or
/// [`LivePersonError::label`]. An answer that arrives but turns out not to be understandable counts as `ok`: the call itself went well.
pub trait Observer: Send + Sync {
    fn on_call(&self, endpoint: &'static str, outcome: &'static str, elapsed: Duration);
}

/// Nobody is told.
impl Observer for () {
    fn on_call(&self, _endpoint: &'static str, _outcome: &'static str, _elapsed: Duration) {}
}
