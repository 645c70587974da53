//! Asking Twilio what it knows: the message list, one message, the account's numbers.

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use super::wire::{self, Messages, PhoneNumbers, TwilioPage, WireSms, is_message_sid};
use super::{CallError, MessageStatus, TwilioClient, TwilioSender, codes};
use crate::domain::contact::Address;
use crate::domain::outcome::{Outcome, Retryable};

/// Fifty entries each: five hundred messages to one recipient since the attempt would be somebody else's problem.
const MAX_PAGES: usize = 10;
/// Clocks differ.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(2);

/// A message Twilio knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwilioMessage {
    pub sid: String,
    pub status: MessageStatus,
    pub error_code: Option<u32>,
}

/// What a [`TwilioClient::check`] found out about the sender; the credentials are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TwilioCheck {
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
pub struct TwilioLookupError {
    pub class: Retryable,
    pub code: String,
    /// Twilio says that there is no such thing.
    pub not_found: bool,
}

impl TwilioLookupError {
    fn new(class: Retryable, code: impl Into<String>) -> Self {
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

impl From<CallError> for TwilioLookupError {
    fn from(error: CallError) -> Self {
        Self::new(Retryable::Transient, error.code())
    }
}

impl TwilioClient {
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
    ) -> Result<Option<TwilioMessage>, TwilioLookupError> {
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
    pub async fn fetch(&self, sid: &str) -> Result<TwilioMessage, TwilioLookupError> {
        let message: WireSms = self.get(self.message_url(sid)?).await?;
        found(&message)
            .ok_or_else(|| TwilioLookupError::new(Retryable::Transient, "unreadable answer"))
    }

    /// Removes a message's text from Twilio's records. For messages in a final status.
    pub async fn redact(&self, sid: &str) -> Result<(), TwilioLookupError> {
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
    pub async fn default_sender(&self) -> Result<TwilioSender, TwilioLookupError> {
        if let Some(sender) = &self.settings.sender {
            return Ok(sender.clone());
        }
        let sender = self.found_sender.get_or_try_init(|| self.first_number());
        sender.await.cloned()
    }

    /// Whether Twilio knows us, and the sender, by reading the account's numbers. Sends nothing.
    pub async fn check(&self) -> Result<TwilioCheck, TwilioLookupError> {
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
                    Some(TwilioSender::From(sender)) if *sender == number => {
                        return Ok(if sends_sms {
                            TwilioCheck::Able { number, inbound }
                        } else {
                            TwilioCheck::NoSms(number)
                        });
                    }
                    None if sends_sms && able.is_none() => able = Some((number, inbound)),
                    _ => {}
                }
            }
            next = following;
        }
        Ok(match (&self.settings.sender, able) {
            (None, Some((number, inbound))) => TwilioCheck::Able { number, inbound },
            (None, None) => TwilioCheck::NoNumber,
            (Some(TwilioSender::From(sender)), _) if sender.starts_with('+') => {
                TwilioCheck::NotOurs(sender.clone())
            }
            // Names, short codes and messaging services are not on this list.
            (Some(sender), _) => TwilioCheck::Unlisted(sender.to_string()),
        })
    }

    async fn first_number(&self) -> Result<TwilioSender, TwilioLookupError> {
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
        Err(TwilioLookupError::new(
            Retryable::Config,
            "no SMS number in the account",
        ))
    }

    /// One page and the address of the next. Only addresses at Twilio's own host are followed: credentials go with them.
    async fn page<P: TwilioPage>(
        &self,
        url: Url,
    ) -> Result<(Vec<P::Item>, Option<Url>), TwilioLookupError> {
        let page: P = self.get(url).await?;
        let (items, next) = page.into_parts();
        let base = &self.settings.base_url;
        let next = next
            .and_then(|uri| base.join(&uri).ok())
            .filter(|url| url.origin() == base.origin());
        Ok((items, next))
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: Url) -> Result<T, TwilioLookupError> {
        let answer = self.call(self.http.get(url)).await?;
        if answer.status != 200 {
            return Err(refused(answer.status, answer.body.as_deref()));
        }
        let body = answer.body.unwrap_or_default();
        serde_json::from_slice(&body)
            .map_err(|_| TwilioLookupError::new(Retryable::Transient, "unreadable answer"))
    }

    fn message_url(&self, sid: &str) -> Result<Url, TwilioLookupError> {
        if is_message_sid(sid) {
            Ok(self.url(&format!("Messages/{sid}.json")))
        } else {
            Err(TwilioLookupError::new(
                Retryable::Config,
                "not a message SID",
            ))
        }
    }
}

/// Reading has no side effects, so whatever is not our own fault may be asked again.
fn refused(status: u16, body: Option<&[u8]>) -> TwilioLookupError {
    let error = wire::error_code(body.unwrap_or_default());
    let (class, code) = match codes::of_answer(status, error, None) {
        Outcome::NotAccepted { class, code, .. } => (class, code),
        Outcome::Unknown { code } => (Retryable::Transient, code),
        Outcome::Refused { code, .. } => (Retryable::Config, code),
        Outcome::Accepted { .. } => (Retryable::Transient, format!("http {status}")),
    };
    TwilioLookupError {
        class,
        code,
        not_found: status == 404,
    }
}

pub(super) fn matching(message: &WireSms, token: &str) -> Option<TwilioMessage> {
    let outbound = message.direction.as_deref()?.starts_with("outbound");
    let contains = message.body.as_deref()?.contains(token);
    (outbound && contains).then(|| found(message)).flatten()
}

fn found(message: &WireSms) -> Option<TwilioMessage> {
    Some(TwilioMessage {
        sid: message.sid()?.to_owned(),
        status: message.status(),
        error_code: message.error_code(),
    })
}

/// A message without a readable date is not known to be old.
pub(super) fn is_older(message: &WireSms, than: DateTime<Utc>) -> bool {
    let created = message
        .date_created
        .as_deref()
        .and_then(|raw| DateTime::parse_from_rfc2822(raw).ok());
    created.is_some_and(|created| created < than)
}
