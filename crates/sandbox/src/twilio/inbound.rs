//! Texts from people to our numbers: the signed webhook, and what STOP and START change.

use std::sync::PoisonError;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::store::Record;
use super::webhooks::post;
use super::{ANY_NUMBER, TwilioAccount, segments};

const STOP: [&str; 8] = [
    "STOP",
    "UNSUBSCRIBE",
    "END",
    "QUIT",
    "STOPALL",
    "REVOKE",
    "OPTOUT",
    "CANCEL",
];
const START: [&str; 3] = ["START", "YES", "UNSTOP"];

/// What Advanced Opt-Out made of an inbound message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OptOutType {
    Stop,
    Start,
    Help,
}

impl OptOutType {
    /// What Twilio's default keywords make of a message: one English word, whatever its case.
    pub fn of(body: &str) -> Option<Self> {
        let word = body.trim().to_uppercase();
        match word.as_str() {
            word if STOP.contains(&word) => Some(Self::Stop),
            word if START.contains(&word) => Some(Self::Start),
            "HELP" | "INFO" => Some(Self::Help),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "STOP",
            Self::Start => "START",
            Self::Help => "HELP",
        }
    }
}

/// Why an inbound message did not reach the service. Twilio has recorded it all the same.
#[derive(Debug, thiserror::Error)]
pub enum InboundError {
    #[error("no inbound URL is set")]
    NoUrl,
    #[error("the inbound webhook could not be posted")]
    Unreachable(#[source] reqwest::Error),
}

impl TwilioAccount {
    /// Where inbound messages are posted. Without it they are only recorded.
    pub fn set_inbound_url(&self, url: &str) {
        *self
            .inner
            .inbound_url
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(url.to_owned());
    }

    /// Where they are posted.
    pub fn inbound_url(&self) -> Option<String> {
        let url = self.inner.inbound_url.lock();
        url.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A number that people can write to.
    pub fn number(&self) -> String {
        let options = &self.inner.options;
        let pools = options.services.values().flatten();
        let number = options.senders.iter().chain(pools).next();
        number.cloned().unwrap_or_else(|| ANY_NUMBER.to_owned())
    }

    /// The texts a person has sent since `since`, oldest first.
    pub fn received(&self, from: &str, since: DateTime<Utc>) -> Vec<String> {
        self.store().received(from, since)
    }

    /// A person at `from` writes to our number `to`; the webhook's status and body come back. STOP and START change what later
    /// creates are answered. With `advanced`, the Messaging Service that owns `to` handled the message (any wording, any
    /// language); else Twilio's default keywords apply.
    pub async fn inbound(
        &self,
        from: &str,
        to: &str,
        body: &str,
        advanced: Option<OptOutType>,
    ) -> Result<(u16, String), InboundError> {
        let service = self.service_of(to);
        let sid = self.record_inbound(from, to, body, service.as_deref());
        let sender = service.as_deref().unwrap_or(to);
        match advanced.or_else(|| OptOutType::of(body)) {
            Some(OptOutType::Stop) => self.store().opt_out(from, sender),
            Some(OptOutType::Start) => self.store().opt_in(from, sender),
            Some(OptOutType::Help) | None => {}
        }
        let url = self.inbound_url().ok_or(InboundError::NoUrl)?;
        let fields = self.inbound_fields(&sid, from, to, body, service.as_deref(), advanced);
        let inner = &self.inner;
        post(
            &inner.client,
            &inner.options.auth_token,
            &url,
            &fields,
            &sid,
        )
        .await
        .map_err(InboundError::Unreachable)
    }

    fn service_of(&self, number: &str) -> Option<String> {
        let services = &self.inner.options.services;
        services
            .iter()
            .find(|(_, pool)| pool.iter().any(|other| other == number))
            .map(|(service, _)| service.clone())
    }

    fn record_inbound(&self, from: &str, to: &str, body: &str, service: Option<&str>) -> String {
        let now = self.inner.clock.now();
        let mut store = self.store();
        let sid = store.next_sid();
        store.insert(Record {
            sid: sid.clone(),
            to: to.to_owned(),
            from: Some(from.to_owned()),
            messaging_service: service.map(str::to_owned),
            body: body.to_owned(),
            segments: segments::count(body),
            direction: "inbound",
            status: "received".to_owned(),
            error_code: None,
            created: now,
            updated: now,
            sent: Some(now),
            listed_from: now,
        });
        sid
    }

    fn inbound_fields(
        &self,
        sid: &str,
        from: &str,
        to: &str,
        body: &str,
        service: Option<&str>,
        advanced: Option<OptOutType>,
    ) -> Vec<(String, String)> {
        let segments = segments::count(body).to_string();
        let mut fields = vec![
            ("ToCountry", "US"),
            ("ToState", "CA"),
            ("SmsMessageSid", sid),
            ("NumMedia", "0"),
            ("ToCity", ""),
            ("FromZip", ""),
            ("SmsSid", sid),
            ("FromState", "CA"),
            ("SmsStatus", "received"),
            ("FromCity", "SAN FRANCISCO"),
            ("Body", body),
            ("FromCountry", "US"),
            ("To", to),
            ("ToZip", ""),
            ("NumSegments", &segments),
            ("MessageSid", sid),
            ("AccountSid", &self.inner.options.account_sid),
            ("From", from),
            ("ApiVersion", "2010-04-01"),
        ];
        if let Some(service) = service {
            fields.push(("MessagingServiceSid", service));
        }
        if let Some(advanced) = advanced {
            fields.push(("OptOutType", advanced.as_str()));
        }
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}
