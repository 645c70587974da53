//! SMS over Twilio.
//!
//! Creating a message has no idempotency key, so the client never repeats a request by itself and says `Unknown` whenever it
//! cannot prove that nothing was sent. The attempt's id travels in the status callback's URL: a callback proves acceptance even
//! if the answer to the request was lost, and [`TwilioClient::find`] asks Twilio's own list.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, redirect};
use tokio::sync::OnceCell;
use url::Url;

use crate::channel::{LastCheck, nothing_in_the_way};
use crate::domain::contact::Address;
use crate::domain::outcome::{Outcome, Refusal};
use crate::trace;

mod adapter;
mod codes;
#[cfg(test)]
mod fuzz;
mod gate;
mod lookup;
mod response;
mod settings;
mod status;
pub mod webhook;
mod wire;

pub use adapter::PROFILE;
use codes::explain;
pub use codes::{known, of_delivery};
pub use lookup::{TwilioCheck, TwilioLookupError, TwilioMessage};
use response::{CallError, TwilioResponse, created, read_body, retry_after};
pub use settings::{InvalidSender, TwilioAuth, TwilioSender, TwilioSettings, TwilioSettingsError};
pub use status::MessageStatus;
use wire::is_message_sid;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the connect limit, or a slow connect could not be told from a lost answer.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Twilio's limits of `ValidityPeriod`; below ten seconds hardly anything is ever delivered.
const VALIDITY_SECONDS: (u64, u64) = (10, 36_000);
/// So much earlier than it must Twilio gives up: the request and the way to the phone take time.
const SLACK_SECONDS: u64 = 10;
/// When somebody comes back for whom too little time was left.
const TOO_LATE: Duration = Duration::from_secs(5);

/// One reminder by SMS.
pub struct Sms<'a> {
    pub to: &'a Address,
    /// Holds a link with a token of plain letters and digits that [`TwilioClient::find`] can look for.
    pub body: &'a str,
    /// Where Twilio reports what becomes of it. Names the attempt in its query ([`ATTEMPT_PARAM`](webhook::ATTEMPT_PARAM)).
    pub status_callback: Option<&'a str>,
    /// How long it may still be delivered, asked when it leaves: Twilio gives up shortly before instead of delivering late.
    pub left: &'a (dyn Fn() -> Duration + Send + Sync),
    /// Instead of the channel's own sender.
    pub sender: Option<&'a TwilioSender>,
}

impl fmt::Debug for Sms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sms")
            .field("status_callback", &self.status_callback)
            .finish_non_exhaustive()
    }
}

/// Speaks to one Twilio account; cheap to clone.
#[derive(Clone)]
pub struct TwilioClient {
    http: reqwest::Client,
    settings: std::sync::Arc<TwilioSettings>,
    found_sender: std::sync::Arc<OnceCell<TwilioSender>>,
}

impl TwilioClient {
    pub fn new(settings: TwilioSettings) -> Result<Self, TwilioSettingsError> {
        Self::with_timeout(settings, TOTAL_TIMEOUT)
    }

    fn with_timeout(
        settings: TwilioSettings,
        total: Duration,
    ) -> Result<Self, TwilioSettingsError> {
        // It becomes a part of URLs. Stand-ins for Twilio do not keep to its 32 hexadecimal digits.
        let sid = settings.account_sid.strip_prefix("AC").unwrap_or_default();
        if sid.is_empty() || !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(TwilioSettingsError::AccountSid);
        }
        if settings.base_url.cannot_be_a_base() {
            return Err(TwilioSettingsError::BaseUrl(settings.base_url));
        }
        // reqwest is built without a provider of its own and panics if none is set. An error only says that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("unread/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(total)
            .pool_idle_timeout(Duration::from_mins(1))
            // A redirect or a silent repetition would send the message again.
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .https_only(settings.base_url.scheme() == "https")
            .build()
            .map_err(|error| TwilioSettingsError::Http(error.to_string()))?;
        Ok(Self {
            http,
            settings: std::sync::Arc::new(settings),
            found_sender: std::sync::Arc::default(),
        })
    }

    pub fn settings(&self) -> &TwilioSettings {
        &self.settings
    }

    /// Hands over one SMS.
    pub async fn send(&self, sms: &Sms<'_>) -> Outcome {
        self.send_unless(&nothing_in_the_way, sms).await
    }

    /// Hands over one SMS, unless there is a reason not to at the moment at which the request would leave.
    pub async fn send_unless(&self, withdrawn: LastCheck<'_>, sms: &Sms<'_>) -> Outcome {
        let Address::Phone(to) = sms.to else {
            return Outcome::Refused {
                class: Refusal::Other,
                code: "not a phone number".to_owned(),
            };
        };
        let sender = match self.sender(sms.sender).await {
            Ok(sender) => sender,
            Err(error) => return error.outcome(),
        };
        if let Some(outcome) = withdrawn().await {
            return outcome;
        }
        // After the re-check, which may have taken seconds.
        let Some(validity) = validity((sms.left)()) else {
            return too_late();
        };
        let mut form = vec![
            ("To", to.clone()),
            ("Body", sms.body.to_owned()),
            ("ValidityPeriod", validity.to_string()),
        ];
        form.push(match sender {
            TwilioSender::From(from) => ("From", from),
            TwilioSender::Service(sid) => ("MessagingServiceSid", sid),
        });
        if let Some(callback) = sms.status_callback {
            form.push(("StatusCallback", callback.to_owned()));
        }
        // Once more when there is a connection: it may have been long in coming, longer than what Twilio is told allows for.
        let last_look = || -> BoxFuture<'_, Option<Outcome>> {
            Box::pin(async move {
                let reason = withdrawn().await;
                let left = (sms.left)();
                let in_time = self::validity(left).is_some() && validity <= left.as_secs();
                reason.or_else(|| (!in_time).then(too_late))
            })
        };
        let content = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&form)
            .finish();
        let (gate, body) = gate::gated(content.into());
        let request = self
            .http
            .post(self.url("Messages.json"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(reqwest::Body::wrap(body));
        let (reason_against, answer) = tokio::join!(gate.open(&last_look), self.call(request));
        match (reason_against, answer) {
            (Some(outcome), _) => outcome,
            (None, Ok(answer)) => created(&answer),
            (None, Err(error)) => error.outcome(),
        }
    }

    async fn sender(
        &self,
        wanted: Option<&TwilioSender>,
    ) -> Result<TwilioSender, TwilioLookupError> {
        match wanted.or(self.settings.sender.as_ref()) {
            Some(sender) => Ok(sender.clone()),
            None => self.default_sender().await,
        }
    }

    fn url(&self, resource: &str) -> Url {
        let mut url = self.settings.base_url.clone();
        url.path_segments_mut()
            .expect("checked when the client was made")
            .pop_if_empty()
            .extend(["2010-04-01", "Accounts", &self.settings.account_sid])
            .extend(resource.split('/'));
        url
    }

    /// Sends one request and reads the whole answer.
    async fn call(&self, request: RequestBuilder) -> Result<TwilioResponse, CallError> {
        let (user, password) = match &self.settings.auth {
            TwilioAuth::Token(token) => (&self.settings.account_sid, token),
            TwilioAuth::ApiKey { sid, secret } => (sid, secret),
        };
        let response = request
            .basic_auth(user, Some(password.expose()))
            .headers(trace::headers())
            .send()
            .await
            .map_err(|error| CallError::of(&error))?;
        Ok(TwilioResponse {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
            body: read_body(response).await,
        })
    }
}

/// What Twilio is told when so much time is left; `None`: it is too late to begin.
fn validity(left: Duration) -> Option<u64> {
    let (least, most) = VALIDITY_SECONDS;
    let seconds = left.as_secs().checked_sub(SLACK_SECONDS)?;
    (seconds >= least).then_some(seconds.min(most))
}

fn too_late() -> Outcome {
    Outcome::not_tried("too little time left", TOO_LATE)
}

#[cfg(test)]
mod tests;
