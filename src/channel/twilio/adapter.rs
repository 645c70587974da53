//! SMS as a channel.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use url::Url;

use super::webhook::{ATTEMPT_PARAM, StatusCallback, Verifier};
use super::{
    MessageStatus, Sms, TwilioCheck, TwilioClient, TwilioLookupError, TwilioMessage, TwilioSender,
    TwilioSettings, explain, of_delivery,
};
use crate::channel::adapter::{
    self, Adapter, Check, Configured, Failed, Finder, Health, OutgoingMessage, PreparedSend,
    ProviderProfile, Redactor, RejectedWebhook, Report, Reporter, Request, SendGate, Signed,
    UnsettledAttempt,
};
use crate::domain::outcome::{Outcome, Retryable};
use crate::domain::reminder::ReminderState;

pub const PROFILE: ProviderProfile = ProviderProfile {
    name: "Twilio",
    switched_on_by: "TWILIO_ACCOUNT_SID",
    set_up_by: "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
    lease: TimeDelta::seconds(90),
    stale: Duration::from_secs(20),
    explain: super::codes::explain,
    reports: true,
    blames_recipients: false,
};

/// A client, and where Twilio reaches us.
#[derive(Clone)]
struct TwilioAccount {
    client: TwilioClient,
    verifier: Arc<Verifier>,
    public_url: Arc<Url>,
}

impl Configured for TwilioSettings {
    fn adapter(&self, public_url: &Url) -> anyhow::Result<Arc<dyn Adapter>> {
        Ok(Arc::new(TwilioAccount {
            client: TwilioClient::new(self.clone()).context("Twilio's settings")?,
            verifier: Arc::new(Verifier::new(self.webhook_tokens.clone(), public_url)),
            public_url: Arc::new(public_url.clone()),
        }))
    }
}

impl TwilioAccount {
    /// Where Twilio reports on an attempt. The fragment is Twilio's: three tries, also when our answer is an error.
    fn status_callback(&self, attempt: &str) -> String {
        let base = self.public_url.as_str().trim_end_matches('/');
        format!("{base}/twilio/status?{ATTEMPT_PARAM}={attempt}#rc=3&rp=all")
    }
}

impl Adapter for TwilioAccount {
    fn connection(&self) -> String {
        self.client.settings().account_sid.clone()
    }

    fn usual_sender(&self) -> Option<String> {
        let sender = self.client.settings().sender.as_ref();
        sender.map(ToString::to_string)
    }

    fn per_second(&self) -> Option<f64> {
        Some(self.client.settings().rate_per_second).filter(|rate| *rate > 0.0)
    }

    fn room(&self, _: Duration) -> usize {
        usize::MAX
    }

    fn open(&self) -> BoxFuture<'_, Result<Box<dyn PreparedSend>, Outcome>> {
        let way: Box<dyn PreparedSend> = Box::new(self.clone());
        Box::pin(std::future::ready(Ok(way)))
    }

    fn finder(&self) -> Option<&dyn Finder> {
        Some(self)
    }

    fn redactor(&self) -> Option<&dyn Redactor> {
        self.client.settings().redact_bodies.then_some(self)
    }

    fn reporter(&self) -> Option<&dyn Reporter> {
        Some(self)
    }

    fn examine(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(self.try_it())
    }
}

impl PreparedSend for TwilioAccount {
    fn send<'a>(
        self: Box<Self>,
        message: &'a OutgoingMessage<'a>,
        gate: SendGate<'a>,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.hand_over(message, gate).await.unwrap_or_else(|no| no) })
    }
}

impl TwilioAccount {
    async fn hand_over(
        &self,
        message: &OutgoingMessage<'_>,
        gate: SendGate<'_>,
    ) -> Result<Outcome, Outcome> {
        let own = message.sender.map(str::parse::<TwilioSender>).transpose();
        let own =
            own.map_err(|_| adapter::config("sender is not a number or a Messaging Service"))?;
        (gate.turn)().await?;
        let callback = message.attempt.map(|attempt| self.status_callback(attempt));
        let sms = Sms {
            to: message.to,
            body: &message.words.text,
            status_callback: callback.as_deref(),
            left: message.left,
            sender: own.as_ref(),
        };
        Ok(self.client.send_unless(gate.last_look, &sms).await)
    }

    async fn try_it(&self) -> Vec<Check> {
        use TwilioCheck::{Able, NoNumber, NoSms, NotOurs, Unlisted};
        let checked = match self.client.check().await {
            Ok(checked) => checked,
            Err(error) => {
                let (found, remedy) = (error.to_string(), remedy(&error));
                return vec![Check::ill("credentials", Health::Failed, found, remedy)];
            }
        };
        let sid = &self.client.settings().account_sid;
        let mut checks = vec![Check::well("credentials", format!("account {sid}"))];
        let failed = |found: String, remedy| Check::ill("sender", Health::Failed, found, remedy);
        let sender = match checked {
            Able { number, inbound } => {
                let incoming = self.inbound(&number, inbound.as_deref());
                checks.extend([Check::well("sender", number), incoming]);
                return checks;
            }
            NoSms(number) => failed(
                format!("{number} cannot send SMS"),
                "Choose a number with the capability SMS (Twilio console: Phone Numbers).",
            ),
            NotOurs(number) => failed(
                format!("{number} is not a number of this account"),
                "Correct TWILIO_FROM, or leave it out: the account's first number is used then.",
            ),
            NoNumber => failed(
                "the account has no number that can send SMS".to_owned(),
                "Buy one in the Twilio console, or set TWILIO_MESSAGING_SERVICE_SID.",
            ),
            Unlisted(sender) => Check::ill(
                "sender",
                Health::Unchecked,
                format!(
                    "{sender} is not a number; whether it may be used is only known when something is sent"
                ),
                "See it in the Twilio console: Messaging, Services or Senders.",
            ),
        };
        checks.push(sender);
        checks
    }

    /// Where Twilio hands over what people write to the number: STOP above all.
    fn inbound(&self, number: &str, told: Option<&str>) -> Check {
        const NAME: &str = "incoming messages";
        let base = self.public_url.as_str().trim_end_matches('/');
        let ours = format!("{base}/twilio/inbound");
        let remedy = format!(
            "Twilio console, Phone Numbers, {number}, A message comes in: webhook {ours}#rc=5&rp=all, HTTP POST. If the number is in a messaging \
             service with a webhook of its own, set it there."
        );
        // What follows the address tells Twilio when to try again.
        let is_ours = |told: &str| {
            told.split('#')
                .next()
                .is_some_and(|address| address.trim_end_matches('/') == ours)
        };
        match told {
            Some(told) if is_ours(told) => {
                Check::well(NAME, format!("{number} hands them to {ours}"))
            }
            // Its address may hold a password.
            Some(told) => {
                let host = Url::parse(told).ok();
                let host = host.as_ref().and_then(Url::host_str).unwrap_or("elsewhere");
                let found =
                    format!("those to {number} go to {host}; STOP does not reach us from there");
                Check::ill(NAME, Health::Warning, found, remedy)
            }
            None => {
                let found = format!("those to {number} go nowhere; STOP does not reach us");
                Check::ill(NAME, Health::Warning, found, remedy)
            }
        }
    }
}

fn remedy(error: &TwilioLookupError) -> &'static str {
    match error.class {
        Retryable::Config => explain(&error.code).remedy,
        _ => {
            "Check DNS, firewall and proxy from here to Twilio, and TWILIO_BASE_URL; then Twilio's status page."
        }
    }
}

impl Finder for TwilioAccount {
    fn find<'a>(
        &'a self,
        lost: UnsettledAttempt<'a>,
    ) -> BoxFuture<'a, Result<Option<Report>, String>> {
        Box::pin(async move {
            let asked = self
                .client
                .find(lost.to, lost.token, lost.since, lost.except);
            let found = asked.await.map_err(|error| error.to_string())?;
            Ok(found.map(Report::from))
        })
    }
}

impl Redactor for TwilioAccount {
    fn redact<'a>(&'a self, provider_id: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            match self.client.redact(provider_id).await {
                Err(error) if !error.not_found => Err(error.to_string()),
                _ => Ok(()),
            }
        })
    }
}

impl Reporter for TwilioAccount {
    fn signature_header(&self) -> &'static str {
        "x-twilio-signature"
    }

    fn read(&self, request: &Request<'_>) -> Result<Option<Signed>, RejectedWebhook> {
        let fields = self.verifier.verify(request)?;
        let callback = StatusCallback::parse(request.query, &fields);
        Ok(callback.map(|callback| Signed {
            attempt: callback.attempt,
            report: Report::from(TwilioMessage {
                sid: callback.message_sid,
                status: callback.status,
                error_code: callback.error_code,
            }),
        }))
    }
}

impl From<TwilioMessage> for Report {
    fn from(found: TwilioMessage) -> Self {
        let TwilioMessage {
            sid,
            status,
            error_code,
        } = found;
        let state = status.reminder_state();
        let is_failure = matches!(state, ReminderState::Undelivered | ReminderState::Failed);
        let failure = is_failure.then(|| {
            let outcome = of_delivery(status, error_code);
            // Twilio's number says it all; without one, its word for the status.
            let number = error_code.map(|code| code.to_string());
            Failed {
                reason: number.unwrap_or_else(|| outcome.code().to_owned()),
                outcome,
            }
        });
        Self {
            provider_id: sid,
            status: status.as_str(),
            state,
            failure,
            gets_through: matches!(
                status,
                MessageStatus::Sent | MessageStatus::Delivered | MessageStatus::Read
            ),
        }
    }
}
