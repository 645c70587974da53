//! Hostile bytes where Twilio's answers are read: an error is fine, a panic is not.

use std::time::Duration;

use chrono::DateTime;
use proptest::prelude::*;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::lookup::{is_older, matching};
use super::wire::{Messages, PhoneNumbers, TwilioPage, WireSms};
use super::{TwilioResponse, created, retry_after, wire};
use crate::domain::outcome::Outcome;

const CREATED: &str = include_str!("../../../tests/fixtures/channels/twilio-create-201.json");
const LIST: &str = include_str!("../../../tests/fixtures/channels/twilio-list-200-more-pages.json");
const ERROR: &str =
    r#"{"code":21211,"message":"Invalid","more_info":"https://example.com","status":400}"#;
const NUMBERS: &str = r#"{"incoming_phone_numbers":[{"phone_number":"+14155550100","capabilities":{"sms":true,"SMS":null}}],"next_page_uri":"/x"}"#;

/// A sample with some of its characters changed, cut short somewhere.
fn damaged(sample: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    (
        changes,
        any::<prop::sample::Index>(),
        prop::bool::weighted(0.3),
    )
        .prop_map(move |(changes, end, cut)| {
            let mut bytes = sample.as_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let nonsense = prop::collection::vec(any::<u8>(), 0..100);
    prop_oneof![
        damaged(CREATED),
        damaged(LIST),
        damaged(ERROR),
        damaged(NUMBERS),
        nonsense
    ]
}

proptest! {
    #[test]
    fn fuzz_twilio_creates(status in 100..1000_u16, body in prop::option::of(body()), seconds in prop::option::of(any::<u64>())) {
        let answer = TwilioResponse { status, retry_after: seconds.map(Duration::from_secs), body };
        let outcome = created(&answer);
        // Only what Twilio names was taken.
        if let Outcome::Accepted { provider_id } = outcome {
            prop_assert!((200..300).contains(&status));
            prop_assert!(provider_id.is_some_and(|sid| wire::is_message_sid(&sid)));
        }
    }

    #[test]
    fn fuzz_twilio_lists(body in body(), token in "[0-9A-Za-z]{0,22}") {
        if let Ok(page) = serde_json::from_slice::<Messages>(&body) {
            for message in page.into_parts().0 {
                let _ = (matching(&message, &token), is_older(&message, DateTime::UNIX_EPOCH));
            }
        }
        if let Ok(message) = serde_json::from_slice::<WireSms>(&body) {
            let _ = (message.sid(), message.status(), message.error_code());
        }
        if let Ok(page) = serde_json::from_slice::<PhoneNumbers>(&body) {
            let _ = page.into_parts().0.iter().filter(|number| number.sends_sms()).count();
        }
    }

    #[test]
    fn fuzz_twilio_errors(body in body(), wait in "([0-9]{1,25}|\\PC{0,40}|[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{1,6} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT)") {
        let _ = wire::error_code(&body);
        let mut headers = HeaderMap::new();
        if let Ok(value) = wait.parse::<reqwest::header::HeaderValue>() {
            headers.insert(RETRY_AFTER, value.clone());
            headers.insert(DATE, value);
        }
        let _ = retry_after(&headers);
    }
}
