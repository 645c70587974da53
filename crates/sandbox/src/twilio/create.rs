//! Creating a message: the checks Twilio makes, in its order, and the first answer.

use serde_json::Value;

use super::api::{Fields, field};
use super::faults::{TwilioAnswer, TwilioFault, TwilioRefusal};
use super::store::Record;
use super::webhooks::{self, PlannedReports};
use super::{ANY_NUMBER, TwilioAccount, segments};
use crate::outbox::{StatusChange, Text};

const MAX_BODY: usize = 1_600;
/// Seconds.
const MAX_VALIDITY: u32 = 36_000;

/// A message that passed the checks.
struct Draft {
    to: String,
    from: Option<String>,
    messaging_service: Option<String>,
    body: String,
    status_callback: Option<String>,
    validity_period: Option<u32>,
}

/// Accepts the message and answers its resource, or says why not.
pub fn create(
    account: &TwilioAccount,
    fields: &Fields,
    fault: &TwilioFault,
) -> Result<Value, TwilioRefusal> {
    let inner = &account.inner;
    let draft = check(account, fields)?;
    let scheduled = fault.answer == TwilioAnswer::Scheduled;
    let record = enter(account, &draft, scheduled, fault.unlisted_ms);
    inner.outbox.accept_text(Text {
        id: 0,
        at: record.created,
        sid: record.sid.clone(),
        to: draft.to,
        from: record.from.clone(),
        messaging_service: draft.messaging_service,
        body: draft.body,
        segments: record.segments,
        status_callback: draft.status_callback.clone(),
        validity_period: draft.validity_period,
        history: vec![StatusChange {
            at: record.created,
            status: record.status.clone(),
            error_code: None,
        }],
    });
    if !scheduled {
        let delivery = fault.delivery.as_ref().unwrap_or(&inner.options.delivery);
        let itinerary = PlannedReports {
            sender: draft.from.unwrap_or_else(|| ANY_NUMBER.to_owned()),
            status_callback: draft.status_callback,
            validity_period: draft.validity_period,
            delivery: delivery.clone(),
        };
        webhooks::deliver(account, &record, itinerary);
    }
    Ok(record.to_json(&inner.options.account_sid))
}

/// Puts the message into Twilio's own books.
fn enter(account: &TwilioAccount, draft: &Draft, scheduled: bool, unlisted_ms: u64) -> Record {
    let now = account.inner.clock.now();
    let status = match &draft.messaging_service {
        _ if scheduled => "scheduled",
        Some(_) => "accepted",
        None => "queued",
    };
    // A Messaging Service, and whoever puts a message off, chooses the sender later.
    let from = (status == "queued").then(|| draft.from.clone()).flatten();
    let mut store = account.store();
    let record = Record {
        sid: store.next_sid(),
        to: draft.to.clone(),
        from,
        messaging_service: draft.messaging_service.clone(),
        body: draft.body.clone(),
        segments: segments::count(&draft.body),
        direction: "outbound-api",
        status: status.to_owned(),
        error_code: None,
        created: now,
        updated: now,
        sent: None,
        listed_from: now + webhooks::milliseconds(unlisted_ms),
    };
    store.insert(record.clone());
    record
}

fn check(account: &TwilioAccount, fields: &Fields) -> Result<Draft, TwilioRefusal> {
    let options = &account.inner.options;
    let given = |name| {
        field(fields, name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    let to = given("To").ok_or_else(|| TwilioRefusal::of(21604, "", ""))?;
    let refuse = |code| TwilioRefusal::of(code, &to, "");
    if !is_e164(&to) {
        return Err(refuse(21211));
    }
    let (from, messaging_service) = (given("From"), given("MessagingServiceSid"));
    let from = match (from, &messaging_service) {
        (None, None) => return Err(refuse(21603)),
        (from, Some(service)) => {
            let pool = options.services.get(service);
            if pool.is_none() && !options.services.is_empty() {
                return Err(refuse(21705));
            }
            from.or_else(|| pool.and_then(|numbers| numbers.first().cloned()))
        }
        (Some(from), None) if !options.senders.is_empty() && !options.senders.contains(&from) => {
            return Err(refuse(21606));
        }
        (from, None) => from,
    };
    let body = given("Body")
        .filter(|body| !body.trim().is_empty())
        .ok_or_else(|| refuse(21602))?;
    if body.chars().count() > MAX_BODY {
        return Err(refuse(21617));
    }
    let validity_period = match given("ValidityPeriod").map(|text| text.parse::<u32>()) {
        None => None,
        Some(Ok(seconds)) if (1..=MAX_VALIDITY).contains(&seconds) => Some(seconds),
        Some(_) => return Err(refuse(90007)),
    };
    let status_callback = given("StatusCallback");
    if status_callback
        .as_ref()
        .is_some_and(|url| !is_callback(url))
    {
        return Err(refuse(21609));
    }
    let sender = messaging_service.as_ref().or(from.as_ref());
    if sender.is_some_and(|sender| account.store().has_opted_out(&to, sender)) {
        return Err(refuse(21610));
    }
    Ok(Draft {
        to,
        from,
        messaging_service,
        body,
        status_callback,
        validity_period,
    })
}

fn is_e164(number: &str) -> bool {
    let Some(digits) = number.strip_prefix('+') else {
        return false;
    };
    (2..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|digit| digit.is_ascii_digit())
}

fn is_callback(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.contains('_'))
    })
}
