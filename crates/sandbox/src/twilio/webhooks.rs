//! The life of a message after its creation, and the status callbacks that tell of it.

use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};

use super::faults::{Callback, Delivery, Step};
use super::store::Record;
use super::{TwilioAccount, signature};
use crate::outbox::StatusChange;

/// Something that happens to a message at a time.
enum Event {
    Change(Step),
    Post(Step),
}

/// A message on its way.
struct MessageInFlight {
    account: TwilioAccount,
    sid: String,
    to: String,
    /// The number it is sent from; for a Messaging Service known only later.
    sender: String,
    messaging_service: Option<String>,
    status_callback: Option<String>,
}

/// What is known of the way ahead when a message is created.
pub struct PlannedReports {
    /// The number it will be sent from.
    pub sender: String,
    pub status_callback: Option<String>,
    /// Seconds.
    pub validity_period: Option<u32>,
    pub delivery: Delivery,
}

/// Lets the message live its life in the background.
pub fn deliver(account: &TwilioAccount, record: &Record, itinerary: PlannedReports) {
    let PlannedReports {
        sender,
        status_callback,
        validity_period,
        delivery,
    } = itinerary;
    let mut events = Vec::new();
    for step in expire(delivery.0, validity_period) {
        // A sender of its own is queued at once: the first answer said so.
        if step.status == "queued" && record.messaging_service.is_none() {
            continue;
        }
        let at = record.created + milliseconds(step.after_ms);
        let posted = at + milliseconds(step.callback_late_ms);
        events.push((at, Event::Change(step.clone())));
        if status_callback.is_some() {
            events.push((posted, Event::Post(step)));
        }
    }
    // Stable: at the same time a change comes before its callback.
    events.sort_by_key(|(at, _)| *at);
    let journey = MessageInFlight {
        account: account.clone(),
        sid: record.sid.clone(),
        to: record.to.clone(),
        sender,
        messaging_service: record.messaging_service.clone(),
        status_callback,
    };
    let stop = account.inner.stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(journey.live(events)).await });
}

/// A message not handed over within its validity ends as failed/30036.
fn expire(mut steps: Vec<Step>, validity_period: Option<u32>) -> Vec<Step> {
    let Some(validity_ms) = validity_period.map(|seconds| u64::from(seconds) * 1_000) else {
        return steps;
    };
    let handed_over = steps
        .iter()
        .position(|step| !matches!(step.status.as_str(), "queued" | "sending"));
    if let Some(place) = handed_over.filter(|place| steps[*place].after_ms > validity_ms) {
        steps.truncate(place + 1);
        steps[place].after_ms = validity_ms;
        "failed".clone_into(&mut steps[place].status);
        steps[place].error_code = Some(30036);
    }
    steps
}

/// Sandbox time, as faults count it.
pub fn milliseconds(count: u64) -> TimeDelta {
    TimeDelta::milliseconds(i64::try_from(count).unwrap_or(i64::MAX / 1_000_000))
}

impl MessageInFlight {
    async fn live(self, events: Vec<(DateTime<Utc>, Event)>) {
        for (at, event) in events {
            self.account.inner.clock.until(at).await;
            match event {
                Event::Change(step) => self.change(&step),
                Event::Post(step) => self.call_back(&step).await,
            }
        }
    }

    fn change(&self, step: &Step) {
        let inner = &self.account.inner;
        let now = inner.clock.now();
        if let Some(record) = self.account.store().get_mut(&self.sid) {
            record.status.clone_from(&step.status);
            record.error_code = step.error_code;
            record.updated = now;
            record.from = Some(self.sender.clone());
            if matches!(step.status.as_str(), "sent" | "delivered" | "undelivered") {
                record.sent = record.sent.or(Some(now));
            }
        }
        let change = StatusChange {
            at: now,
            status: step.status.clone(),
            error_code: step.error_code,
        };
        inner
            .outbox
            .change_text(&self.sid, Some(&self.sender), change);
    }

    async fn call_back(&self, step: &Step) {
        let Some(url) = &self.status_callback else {
            return;
        };
        let times = match step.callback {
            Callback::Missing => 0,
            Callback::Once | Callback::WronglySigned => 1,
            Callback::Twice => 2,
        };
        let inner = &self.account.inner;
        let fields = self.fields(step);
        let token = match step.callback {
            Callback::WronglySigned => "not the token",
            _ => inner.options.auth_token.as_str(),
        };
        for _ in 0..times {
            let event = format!("{}-{}", self.sid, step.status);
            let answered = post(&inner.client, token, url, &fields, &event).await;
            let counter = match answered {
                Ok((status, _)) if (200..300).contains(&status) => &inner.callbacks,
                _ => &inner.lost_callbacks,
            };
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn fields(&self, step: &Step) -> Vec<(String, String)> {
        let inner = &self.account.inner;
        let mut fields = vec![
            ("SmsSid", self.sid.clone()),
            ("SmsStatus", step.status.clone()),
            ("MessageStatus", step.status.clone()),
            ("To", self.to.clone()),
            ("MessageSid", self.sid.clone()),
            ("AccountSid", inner.options.account_sid.clone()),
            ("From", self.sender.clone()),
            ("ApiVersion", "2010-04-01".to_owned()),
        ];
        if let Some(code) = step.error_code {
            fields.push(("ErrorCode", code.to_string()));
        }
        if matches!(step.status.as_str(), "delivered" | "undelivered") {
            fields.push((
                "RawDlrDoneDate",
                inner.clock.now().format("%y%m%d%H%M").to_string(),
            ));
        }
        if let Some(service) = &self.messaging_service {
            fields.push(("MessagingServiceSid", service.clone()));
        }
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// Posts a signed form and answers status and body; repeats it as the fragment of the URL asks (`rc` times, on `rp`), by default
/// once and only when no connection could be made.
pub async fn post(
    client: &reqwest::Client,
    token: &str,
    url: &str,
    fields: &[(String, String)],
    event: &str,
) -> reqwest::Result<(u16, String)> {
    let (url, overrides) = url.split_once('#').unwrap_or((url, ""));
    let overrides = |key: &str| {
        overrides
            .split('&')
            .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    };
    let retries = overrides("rc")
        .and_then(|count| count.parse().ok())
        .unwrap_or(1_u32)
        .min(5);
    let policy = overrides("rp").unwrap_or("ct");
    let again = |kind: &str| {
        policy
            .split(',')
            .any(|wanted| wanted == kind || wanted == "all")
    };
    let signature = signature::sign(token, url, fields);
    let mut tries = 0;
    loop {
        let request = client
            .post(url)
            .header("X-Twilio-Signature", &signature)
            .header("I-Twilio-Idempotency-Token", event)
            .form(fields);
        let answered = request.send().await;
        let repeat = match &answered {
            Ok(response) if response.status().is_client_error() => again("4xx"),
            Ok(response) if response.status().is_server_error() => again("5xx"),
            Ok(_) => false,
            Err(error) if error.is_connect() => again("ct"),
            Err(_) => again("rt"),
        };
        if repeat && tries < retries {
            tries += 1;
            continue;
        }
        let response = answered?;
        return Ok((response.status().as_u16(), response.text().await?));
    }
}
