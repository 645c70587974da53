//! Twilio's faults: how a request is answered, and how an accepted message fares afterwards.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rules::{Rule, Rules, When};

/// Which requests a rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    #[default]
    Create,
    List,
    Fetch,
    /// Redacting and deleting.
    Change,
}

/// How a request is answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum TwilioAnswer {
    /// As usual.
    #[default]
    Proceed,
    /// A Twilio error by its number; see [`TwilioRefusal::of`]. Nothing is accepted.
    Error { code: u32 },
    /// 429 with or without `Retry-After` (seconds). Nothing is accepted.
    TooMany { retry_after: Option<u32> },
    /// Any answer of an HTTP server. Nothing is accepted.
    Raw {
        status: u16,
        content_type: String,
        body: String,
    },
    /// Done, answered by 201, but the connection closes in the middle of the body.
    CutBody,
    /// No answer at all. Create: `accepted` says whether the message was.
    Silence { accepted: bool },
    /// The connection closes without an answer. `accepted` as for `Silence`.
    Close { accepted: bool },
    /// Create: accepted, but put off to a legal hour (status `scheduled`); it stays so.
    Scheduled,
}

impl TwilioAnswer {
    /// Whether the request is carried out.
    pub fn accepts(&self) -> bool {
        match self {
            Self::Proceed | Self::CutBody | Self::Scheduled => true,
            Self::Silence { accepted } | Self::Close { accepted } => *accepted,
            Self::Error { .. } | Self::TooMany { .. } | Self::Raw { .. } => false,
        }
    }
}

/// What is done about telling the client of a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Callback {
    #[default]
    Once,
    Twice,
    Missing,
    WronglySigned,
}

/// One later status of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Sandbox time since the message was created.
    pub after_ms: u64,
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    #[serde(default)]
    pub callback: Callback,
    /// Sandbox time between the status and its callback.
    #[serde(default)]
    pub callback_late_ms: u64,
}

/// How a message fares after its creation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Delivery(pub Vec<Step>);

impl Delivery {
    fn ending(last: &str, error_code: Option<u32>) -> Self {
        let step = |after_ms, status: &str| Step {
            after_ms,
            status: status.to_owned(),
            error_code: None,
            callback: Callback::Once,
            callback_late_ms: 0,
        };
        let mut steps = vec![step(200, "queued"), step(500, "sent"), step(1_500, last)];
        match last {
            "failed" => drop(steps.remove(1)), // it never left
            "sent" => drop(steps.pop()),
            _ => {}
        }
        if let Some(last) = steps.last_mut() {
            last.error_code = error_code;
        }
        Self(steps)
    }

    /// `queued` at 0.2 s, `sent` at 0.5 s, `delivered` at 1.5 s.
    pub fn delivered() -> Self {
        Self::ending("delivered", None)
    }

    /// The carrier could not deliver it.
    pub fn undelivered(error_code: u32) -> Self {
        Self::ending("undelivered", Some(error_code))
    }

    /// It never left Twilio.
    pub fn failed(error_code: u32) -> Self {
        Self::ending("failed", Some(error_code))
    }

    /// No receipt ever comes; `sent` is the last status.
    pub fn unconfirmed() -> Self {
        Self::ending("sent", None)
    }

    /// Every callback in this manner.
    #[must_use]
    pub fn calling_back(mut self, callback: Callback) -> Self {
        self.0.iter_mut().for_each(|step| step.callback = callback);
        self
    }

    /// Every callback so much later than its status.
    #[must_use]
    pub fn calling_back_late(mut self, by_ms: u64) -> Self {
        self.0
            .iter_mut()
            .for_each(|step| step.callback_late_ms = by_ms);
        self
    }

    /// The callbacks come in the opposite order, all after the last status.
    #[must_use]
    pub fn calling_back_out_of_order(mut self) -> Self {
        let last = self
            .0
            .iter()
            .map(|step| step.after_ms)
            .max()
            .unwrap_or_default();
        for step in &mut self.0 {
            step.callback_late_ms = 2 * (last - step.after_ms);
        }
        self
    }
}

/// One rule for Twilio. `when.to` is compared with `To`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwilioFault {
    #[serde(default)]
    pub on: Operation,
    #[serde(flatten)]
    pub when: When,
    /// Real time before the answer. What is accepted is accepted before the delay.
    #[serde(default)]
    pub delay_ms: u64,
    #[serde(default)]
    pub answer: TwilioAnswer,
    /// Sandbox time for which the list does not show the new message.
    #[serde(default)]
    pub unlisted_ms: u64,
    /// Instead of the ordinary delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// The rules in force; the first that applies wins.
pub type TwilioFaults = Rules<TwilioFault>;

impl Rule for TwilioFault {
    fn when(&self) -> &When {
        &self.when
    }

    fn when_mut(&mut self) -> &mut When {
        &mut self.when
    }
}

impl TwilioFault {
    /// A rule for creates.
    pub fn answer(when: When, answer: TwilioAnswer) -> Self {
        Self {
            on: Operation::Create,
            when,
            delay_ms: 0,
            answer,
            unlisted_ms: 0,
            delivery: None,
        }
    }

    pub fn error(when: When, code: u32) -> Self {
        Self::answer(when, TwilioAnswer::Error { code })
    }

    /// Answers as usual, but only after `delay_ms` of real time.
    pub fn slow(when: When, delay_ms: u64) -> Self {
        Self {
            delay_ms,
            ..Self::answer(when, TwilioAnswer::Proceed)
        }
    }

    pub fn delivery(when: When, delivery: Delivery) -> Self {
        Self {
            delivery: Some(delivery),
            ..Self::answer(when, TwilioAnswer::Proceed)
        }
    }

    /// Keeps the message out of the list for so long (sandbox time).
    #[must_use]
    pub fn unlisted_for(self, unlisted_ms: u64) -> Self {
        Self {
            unlisted_ms,
            ..self
        }
    }

    #[must_use]
    pub fn on(self, on: Operation) -> Self {
        Self { on, ..self }
    }
}

/// An error answer.
#[derive(Clone, Debug, PartialEq)]
pub struct TwilioRefusal {
    pub status: u16,
    pub content_type: &'static str,
    /// Seconds.
    pub retry_after: Option<u32>,
    pub body: String,
}

impl TwilioRefusal {
    pub fn new(status: u16, code: u32, message: &str) -> Self {
        let more_info = format!("https://www.twilio.com/docs/errors/{code}");
        let body =
            json!({ "code": code, "message": message, "more_info": more_info, "status": status });
        Self::json(status, "application/json", &body)
    }

    /// Too many requests; never processed.
    pub fn too_many(retry_after: Option<u32>) -> Self {
        Self {
            retry_after,
            ..Self::new(429, 20429, "Too Many Requests")
        }
    }

    fn json(status: u16, content_type: &'static str, body: &Value) -> Self {
        Self {
            status,
            content_type,
            retry_after: None,
            body: body.to_string(),
        }
    }

    /// The error with this number, as Twilio words it for `to` and `path`. An unknown number becomes a 400 like any other.
    pub fn of(code: u32, to: &str, path: &str) -> Self {
        let masked = mask(to);
        let (status, message): (u16, &str) = match code {
            20001 => return Self::problem(),
            20003 => (401, "Authenticate"),
            20404 => (404, &format!("The requested resource {path} was not found")),
            20429 => return Self::too_many(None),
            20500 => (500, "Internal Server Error"),
            20503 => return Self::gateway(),
            21211 => (400, &format!("Invalid 'To' Phone Number: {masked}")),
            21408 => {
                let message = "Permission to send an SMS has not been enabled for the region indicated by the 'To' number";
                (400, &format!("{message}: {masked}"))
            }
            21602 => (400, "Message body is required."),
            21603 => (400, "A 'From' phone number is required."),
            21604 => (400, "A 'To' phone number is required."),
            21606 => (
                400,
                "The 'From' phone number provided is not a valid message-capable Twilio phone number for this destination/account",
            ),
            21608 => (
                400,
                &format!(
                    "The number {masked} is unverified. Trial accounts cannot send messages to unverified numbers"
                ),
            ),
            21609 => (400, "The 'StatusCallback' URL is not a valid URL."),
            21610 => (400, "Attempt to send to unsubscribed recipient"),
            21611 => (
                400,
                "This 'From' number has exceeded the maximum number of queued messages",
            ),
            21612 => (
                400,
                "Message cannot be sent with the current combination of 'To' and/or 'From' parameters",
            ),
            21614 => (400, "'To' number is not a valid mobile number"),
            21617 => (
                400,
                "The concatenated message body exceeds the 1600 character limit",
            ),
            21635 => (400, "'To' number cannot be a landline"),
            21659 => (
                400,
                "'From' is not a Twilio phone number or Short Code country mismatch",
            ),
            21705 => (400, "The Messaging Service Sid is invalid."),
            35115 => (400, "Scheduling does not support this timestamp"),
            90007 => (400, "ValidityPeriod is not within 1 and 36000 seconds."),
            _ => (400, "Something new"),
        };
        Self::new(status, code, message)
    }

    /// The RFC 9457 shape of newer services.
    fn problem() -> Self {
        let body = json!({
            "type": "https://www.twilio.com/docs/errors/20001",
            "title": "Invalid parameter",
            "status": 400,
            "code": 20001,
            "detail": "To is malformed",
            "instance": "/requests/RQ00000000000000000000000000000001",
            "errors": [{ "detail": "must be E.164", "pointer": "#/To" }],
        });
        Self::json(400, "application/problem+json", &body)
    }

    /// A gateway before Twilio answers; not JSON.
    fn gateway() -> Self {
        let body = "<html><body>503 Service Unavailable</body></html>".to_owned();
        Self {
            status: 503,
            content_type: "text/html",
            retry_after: None,
            body,
        }
    }
}

/// Twilio hides the end of numbers in error messages.
fn mask(number: &str) -> String {
    let shown = number.chars().count().saturating_sub(4).min(8);
    let hidden = number.chars().count() - shown;
    number.chars().take(shown).collect::<String>() + &"X".repeat(hidden)
}
