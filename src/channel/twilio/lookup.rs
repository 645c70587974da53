//! Asking Twilio what it knows: the message list, one message, the account's numbers.

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use super::wire::{self, Message, Messages, Page, PhoneNumbers, is_message_sid};
use super::{CallError, Client, MessageStatus, Sender, codes};
use crate::domain::contact::Address;
use crate::domain::outcome::{Obstacle, Outcome};

/// Fifty entries each: five hundred messages to one recipient since the attempt would be somebody else's problem.
const MAX_PAGES: usize = 10;
/// Clocks differ.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(2);

/// A message Twilio knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub sid: String,
    pub status: MessageStatus,
    pub error_code: Option<u32>,
}

/// What a [`Client::check`] found out about the sender; the credentials are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// A number of the account that can send SMS, and the address to which Twilio hands what people write to it.
    Able {
        number: String,
        inbound: Option<String>,
    },
    /// A number of the account that cannot.
    NoSms(String),
    /// Not a number of the account.
    NotOurs(String),
    /// No sender is configured, and the account has no number that can send SMS.
    NoNumber,
    /// A sender that is no number: whether it may be used shows only when something is sent.
    Unlisted(String),
}

/// Why there is no answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Twilio could not be asked: {code}")]
pub struct LookupError {
    pub class: Obstacle,
    pub code: String,
    /// Twilio says that there is no such thing.
    pub not_found: bool,
}

impl LookupError {
    fn new(class: Obstacle, code: impl Into<String>) -> Self {
        Self {
            class,
            code: code.into(),
            not_found: false,
        }
    }

    /// The outcome of an attempt that got no further than this question: nothing was sent.
    pub(super) fn outcome(self) -> Outcome {
        Outcome::NotAccepted {
            class: self.class,
            code: self.code,
            retry_after: None,
        }
    }
}

impl From<CallError> for LookupError {
    fn from(error: CallError) -> Self {
        Self::new(Obstacle::Transient, error.code())
    }
}

impl Client {
    /// Looks in Twilio's list for a message to `to` whose body contains `token`, created since about `since`.
    /// Those with an SID in `except` are known to be another attempt's.
    ///
    /// `None` a moment after sending proves nothing: how soon the list shows a new message is not documented. Look twice.
    pub async fn find(
        &self,
        to: &Address,
        token: &str,
        since: DateTime<Utc>,
        except: &[String],
    ) -> Result<Option<Found>, LookupError> {
        if token.is_empty() {
            return Ok(None);
        }
        let oldest = since - CLOCK_SKEW;
        let mut first = self.url("Messages.json");
        // Without DateSent: a message still in a queue has none.
        first
            .query_pairs_mut()
            .append_pair("To", to.expose())
            .append_pair("PageSize", "50");
        let mut next = Some(first);
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { break };
            let (messages, following) = self.page::<Messages>(url).await?;
            if let Some(found) = messages
                .iter()
                .filter_map(|m| matching(m, token))
                .find(|found| !except.contains(&found.sid))
            {
                return Ok(Some(found));
            }
            // Newest first in practice but not by contract: stop only at a page without anything recent.
            next = following.filter(|_| messages.iter().any(|m| !is_older(m, oldest)));
        }
        Ok(None)
    }

    /// One message by its SID.
    pub async fn fetch(&self, sid: &str) -> Result<Found, LookupError> {
        let message: Message = self.get(self.message_url(sid)?).await?;
        found(&message).ok_or_else(|| LookupError::new(Obstacle::Transient, "unreadable answer"))
    }

    /// Removes a message's text from Twilio's records. For messages in a final status.
    pub async fn redact(&self, sid: &str) -> Result<(), LookupError> {
        let request = self.http.post(self.message_url(sid)?).form(&[("Body", "")]);
        let answer = self.call(request).await?;
        if (200..300).contains(&answer.status) {
            Ok(())
        } else {
            Err(refused(answer.status, answer.body.as_deref()))
        }
    }

    /// The configured sender or, without one, the account's first number that can send SMS. Asked once; also a good test of the
    /// credentials.
    pub async fn default_sender(&self) -> Result<Sender, LookupError> {
        if let Some(sender) = &self.settings.sender {
            return Ok(sender.clone());
        }
        let sender = self.found_sender.get_or_try_init(|| self.first_number());
        sender.await.cloned()
    }

    /// Whether Twilio knows us, and the sender, by reading the account's numbers. Sends nothing.
    pub async fn check(&self) -> Result<Checked, LookupError> {
        let mut able = None;
        let mut next = Some(self.url("IncomingPhoneNumbers.json"));
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { break };
            let (numbers, following) = self.page::<PhoneNumbers>(url).await?;
            for number in numbers {
                let sends_sms = number.sends_sms();
                let inbound = number.sms_url.filter(|url| !url.is_empty());
                let Some(number) = number.number else {
                    continue;
                };
                match &self.settings.sender {
                    Some(Sender::From(sender)) if *sender == number => {
                        return Ok(if sends_sms {
                            Checked::Able { number, inbound }
                        } else {
                            Checked::NoSms(number)
                        });
                    }
                    None if sends_sms && able.is_none() => able = Some((number, inbound)),
                    _ => {}
                }
            }
            next = following;
        }
        Ok(match (&self.settings.sender, able) {
            (None, Some((number, inbound))) => Checked::Able { number, inbound },
            (None, None) => Checked::NoNumber,
            (Some(Sender::From(sender)), _) if sender.starts_with('+') => {
                Checked::NotOurs(sender.clone())
            }
            // Names, short codes and messaging services are not on this list.
            (Some(sender), _) => Checked::Unlisted(sender.to_string()),
        })
    }

    async fn first_number(&self) -> Result<Sender, LookupError> {
        let mut next = Some(self.url("IncomingPhoneNumbers.json"));
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { break };
            let (numbers, following) = self.page::<PhoneNumbers>(url).await?;
            let mut able = numbers.into_iter().filter(wire::PhoneNumber::sends_sms);
            if let Some(number) = able.find_map(|n| n.number?.parse().ok()) {
                return Ok(number);
            }
            next = following;
        }
        Err(LookupError::new(
            Obstacle::Config,
            "no SMS number in the account",
        ))
    }

    /// One page and the address of the next. Only addresses at Twilio's own host are followed: credentials go with them.
    async fn page<P: Page>(&self, url: Url) -> Result<(Vec<P::Item>, Option<Url>), LookupError> {
        let page: P = self.get(url).await?;
        let (items, next) = page.into_parts();
        let base = &self.settings.base_url;
        let next = next
            .and_then(|uri| base.join(&uri).ok())
            .filter(|url| url.origin() == base.origin());
        Ok((items, next))
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: Url) -> Result<T, LookupError> {
        let answer = self.call(self.http.get(url)).await?;
        if answer.status != 200 {
            return Err(refused(answer.status, answer.body.as_deref()));
        }
        let body = answer.body.unwrap_or_default();
        serde_json::from_slice(&body)
            .map_err(|_| LookupError::new(Obstacle::Transient, "unreadable answer"))
    }

    fn message_url(&self, sid: &str) -> Result<Url, LookupError> {
        if is_message_sid(sid) {
            Ok(self.url(&format!("Messages/{sid}.json")))
        } else {
            Err(LookupError::new(Obstacle::Config, "not a message SID"))
        }
    }
}

/// Reading has no side effects, so whatever is not our own fault may be asked again.
fn refused(status: u16, body: Option<&[u8]>) -> LookupError {
    let error = wire::error_code(body.unwrap_or_default());
    let (class, code) = match codes::of_answer(status, error, None) {
        Outcome::NotAccepted { class, code, .. } => (class, code),
        Outcome::Unknown { code } => (Obstacle::Transient, code),
        Outcome::Refused { code, .. } => (Obstacle::Config, code),
        Outcome::Accepted { .. } => (Obstacle::Transient, format!("http {status}")),
    };
    LookupError {
        class,
        code,
        not_found: status == 404,
    }
}

pub(super) fn matching(message: &Message, token: &str) -> Option<Found> {
    let outbound = message.direction.as_deref()?.starts_with("outbound");
    let contains = message.body.as_deref()?.contains(token);
    (outbound && contains).then(|| found(message)).flatten()
}

fn found(message: &Message) -> Option<Found> {
    Some(Found {
        sid: message.sid()?.to_owned(),
        status: message.status(),
        error_code: message.error_code(),
    })
}

/// A message without a readable date is not known to be old.
pub(super) fn is_older(message: &Message, than: DateTime<Utc>) -> bool {
    let created = message
        .date_created
        .as_deref()
        .and_then(|raw| DateTime::parse_from_rfc2822(raw).ok());
    created.is_some_and(|created| created < than)
}
