//! What a channel is to everybody else: an interface that each provider's folder implements.
//!
//! An adapter takes a finished message and answers with an [`Outcome`]: what is known, never more. It decides nothing about *whether* or
//! *when* to send, stores nothing and retries nothing; all of that is the ledger's.
//!
//! No method has a body here: whoever adds a provider says of each what it does, also that it does nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use url::Url;

use super::codes::Explained;
use super::render::Rendered;
use crate::domain::contact::Address;
use crate::domain::outcome::{Outcome, Retryable};
use crate::domain::reminder::ReminderState;

/// What is known of a provider, configured or not.
pub struct ProviderProfile {
    /// As people know it.
    pub name: &'static str,
    /// The setting that switches it on, and those without which it does not work.
    pub switched_on_by: &'static str,
    pub set_up_by: &'static str,
    /// How long an attempt may take before it counts as unknown: longer than its time-outs together.
    pub lease: TimeDelta,
    /// An attempt that was begun so long ago is not made any more: far shorter than the lease, past which it is somebody else's.
    pub stale: Duration,
    /// What a code of its attempts means.
    pub explain: fn(&str) -> Explained,
    /// It reports what becomes of its messages, in requests that it signs.
    pub reports: bool,
    /// A refusal that names its recipient may be about us: several are looked at together.
    pub blames_recipients: bool,
}

/// Settings of one provider. They are read by `config`, and are what an adapter is made of.
pub trait Configured: Send + Sync {
    /// Makes the adapter. `public_url` is where the outside world reaches us.
    fn adapter(&self, public_url: &Url) -> anyhow::Result<Arc<dyn Adapter>>;
}

/// A message, finished but for what only its provider knows.
pub struct OutgoingMessage<'a> {
    pub to: &'a Address,
    pub to_name: Option<&'a str>,
    pub words: &'a Rendered,
    /// Whom it comes from, if not from the channel's usual sender.
    pub sender: Option<&'a str>,
    pub brand: &'a str,
    /// The same on every attempt, so that a copy sent twice collapses: `rem.42.aB3dE6gH`.
    pub name: &'a str,
    /// The same for all messages about one conversation. A hash, never the conversation's own id.
    pub thread: &'a str,
    /// The attempt, as reports are to name it; `None`: nobody waits for any.
    pub attempt: Option<&'a str>,
    /// The link that stops further messages.
    pub way_out: Option<&'a str>,
    /// How long it may still be delivered, asked when it leaves.
    pub left: &'a (dyn Fn() -> Duration + Send + Sync),
    pub date: DateTime<Utc>,
}

/// Asked right before a message leaves: why it must not any more. A process may have stood still since it decided to send, or what it
/// decided by has grown old meanwhile and is asked about again.
pub type LastCheck<'a> = &'a (dyn Fn() -> BoxFuture<'a, Option<Outcome>> + Send + Sync);

/// Waits for the moment at which a message may leave; the outcome if there is none.
pub type WaitForTurn<'a> = &'a (dyn Fn() -> BoxFuture<'a, Result<(), Outcome>> + Send + Sync);

/// What is waited for and looked at on the way of one message.
#[derive(Clone, Copy)]
pub struct SendGate<'a> {
    /// When everything is ready that can be.
    pub turn: WaitForTurn<'a>,
    /// At the moment at which its content would leave.
    pub last_look: LastCheck<'a>,
}

impl SendGate<'_> {
    /// For messages that wait for nobody.
    pub fn open() -> Self {
        Self {
            turn: &at_once,
            last_look: &nothing_in_the_way,
        }
    }
}

fn at_once<'a>() -> BoxFuture<'a, Result<(), Outcome>> {
    Box::pin(std::future::ready(Ok(())))
}

/// Nothing is in the way, whenever it is asked.
pub fn nothing_in_the_way<'a>() -> BoxFuture<'a, Option<Outcome>> {
    Box::pin(std::future::ready(None))
}

/// One provider, as it is configured.
pub trait Adapter: Send + Sync {
    /// At which server or account this is, and as whom, without secrets: who has the same shares limits and troubles.
    fn connection(&self) -> String;

    /// Whom messages come from where a rule names nobody; `None`: the provider chooses.
    fn usual_sender(&self) -> Option<String>;

    /// What the provider's own limit allows; `None`: as fast as we can.
    fn per_second(&self) -> Option<f64>;

    /// How many more messages could be on their way within this time.
    fn room(&self, within: Duration) -> usize;

    /// Goes as far as can be gone before it is known what is to be sent: connects and logs in, where that is a step of its own.
    fn open(&self) -> BoxFuture<'_, Result<Box<dyn PreparedSend>, Outcome>>;

    /// Who finds out what became of a message whose outcome is unknown; `None`: nobody can be asked.
    fn finder(&self) -> Option<&dyn Finder>;

    /// Who removes the texts of messages that have ended; `None`: they stay, or are not kept.
    fn redactor(&self) -> Option<&dyn Redactor>;

    /// Who reads what the provider reports; `None`: it reports nothing.
    fn reporter(&self) -> Option<&dyn Reporter>;

    /// Tries the connection, for doctor. Sends nothing.
    fn examine(&self) -> BoxFuture<'_, Vec<Check>>;
}

/// A way to the provider, for one message.
pub trait PreparedSend: Send {
    fn send<'a>(
        self: Box<Self>,
        message: &'a OutgoingMessage<'a>,
        gate: SendGate<'a>,
    ) -> BoxFuture<'a, Outcome>;
}

/// We are misconfigured.
pub(super) fn config(code: &str) -> Outcome {
    Outcome::NotAccepted {
        class: Retryable::Config,
        code: code.to_owned(),
        retry_after: None,
    }
}

/// There is no way: the channel is not configured.
pub fn not_configured() -> Outcome {
    config("channel is not configured")
}

/// A message that the provider may have.
pub struct UnsettledAttempt<'a> {
    pub to: &'a Address,
    /// A word of its text that no other message has.
    pub token: &'a str,
    /// About when it was handed over.
    pub since: DateTime<Utc>,
    /// By the provider's names: those of other attempts.
    pub except: &'a [String],
}

pub trait Finder: Send + Sync {
    /// Looks for a message. `None` a moment after sending proves nothing: look twice. An error says why there is no answer.
    fn find<'a>(
        &'a self,
        lost: UnsettledAttempt<'a>,
    ) -> BoxFuture<'a, Result<Option<Report>, String>>;
}

pub trait Redactor: Send + Sync {
    /// Removes a message's text at the provider; what it does not know any more has none. An error says why it could not.
    fn redact<'a>(&'a self, provider_id: &'a str) -> BoxFuture<'a, Result<(), String>>;
}

/// What a provider says became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub provider_id: String,
    /// The provider's word, for the log.
    pub status: &'static str,
    /// Anything short of an end means that the provider has it.
    pub state: ReminderState,
    /// Why it did not arrive. To be decided on like a failed attempt.
    pub failure: Option<Failed>,
    /// It shows that messages of its sender get through.
    pub gets_through: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub outcome: Outcome,
    /// What is kept as the reason: the provider's own code where it gave one.
    pub reason: String,
}

/// A request as it arrived.
pub struct Request<'a> {
    pub path: &'a str,
    /// The raw query, untouched, without `?`.
    pub query: Option<&'a str>,
    /// The header of [`Reporter::signature_header`].
    pub signature: Option<&'a str>,
    pub body: &'a [u8],
}

/// Why a request is turned away, for the log and a metric. The answer is 403 in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectedWebhook {
    #[error("no signature")]
    Unsigned,
    #[error("wrong signature")]
    WrongSignature,
    #[error("the body is not the one that was signed")]
    WrongBody,
    #[error("too large")]
    TooLarge,
}

/// A report that the provider has signed, and the attempt that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub attempt: Option<String>,
    pub report: Report,
}

pub trait Reporter: Send + Sync {
    /// The header with the signature: the body of a request without it is not waited for.
    fn signature_header(&self) -> &'static str;

    /// Reads a request whose signature is right; `None`: it is not about a message.
    fn read(&self, request: &Request<'_>) -> Result<Option<Signed>, RejectedWebhook>;
}

/// Something that doctor has tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub health: Health,
    pub found: String,
    pub remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Well,
    Failed,
    Warning,
    Unchecked,
}

impl Check {
    pub fn well(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            health: Health::Well,
            found: found.into(),
            remedy: None,
        }
    }

    pub fn ill(
        name: &'static str,
        health: Health,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            name,
            health,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}
