//! Bounces and complaints as mail providers report them, in one plain shape of our own (`docs/webhooks.md`): a signed list.
//!
//! Nothing is read before the signature is checked, and a signature is good for a few minutes only: a recorded request cannot be
//! played again later. Within those minutes playing it again changes nothing.

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::domain::contact::Address;
use crate::secret::Secret;

/// How far the sender's clock may be from ours, either way, in seconds.
const WINDOW: i64 = 300;

/// Events of one request.
pub const MOST: usize = 1_000;

/// Why a request is turned away. All but the last are one answer to the caller: 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectedEvent {
    #[error("no signature, or no time")]
    Unsigned,
    #[error("wrong signature")]
    WrongSignature,
    #[error("the time of the signature is not within five minutes of ours")]
    Stale,
    #[error("these have been posted before")]
    Repeated,
    #[error("not a list of events as docs/webhooks.md describes it, or more than 1000")]
    Unreadable,
}

/// Something a mail provider has to say about one message or one address. `Debug` shows no address.
#[derive(Clone, PartialEq, Eq)]
pub struct MailEvent {
    pub kind: MailEventKind,
    pub address: Option<Address>,
    /// As the provider wrote it.
    pub message_id: Option<String>,
    /// The word of the unsubscribe link that the message carried: the last part of its address.
    pub way_out: Option<String>,
}

impl std::fmt::Debug for MailEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailEvent")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailEventKind {
    /// The address does not work.
    Hard,
    /// This message did not arrive; another may.
    Soft,
    /// The recipient called it spam.
    Complaint,
    /// The recipient's server has taken it.
    Delivered,
}

#[derive(Deserialize)]
struct WireMailEvent {
    kind: MailEventKind,
    address: Option<String>,
    message_id: Option<String>,
    list_unsubscribe: Option<String>,
}

/// The word of our link in a `List-Unsubscribe` header, or in the address alone.
fn way_out(header: &str) -> Option<String> {
    let mut links = header
        .split(',')
        .map(|part| part.trim().trim_matches(['<', '>']));
    let link = links.find(|link| link.starts_with("https://") || link.starts_with("http://"))?;
    let (_, word) = link.rsplit_once('/')?;
    Some(word.to_owned())
}

/// The signature of a body at a time: what the sender puts into the header after `v1=`.
pub fn sign(secret: &Secret, timestamp: i64, body: &[u8]) -> String {
    use std::fmt::Write as _;
    let bytes = mac(secret, timestamp, body).finalize().into_bytes();
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn mac(secret: &Secret, timestamp: i64, body: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes keys of any length")
        .chain_update(timestamp.to_string())
        .chain_update(b".")
        .chain_update(body)
}

/// The events of a request, if one of the secrets signed it lately. `now` in seconds since 1970.
pub fn read(
    secrets: &[Secret],
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now: i64,
) -> Result<Vec<MailEvent>, RejectedEvent> {
    let timestamp: i64 = timestamp
        .and_then(|t| t.parse().ok())
        .ok_or(RejectedEvent::Unsigned)?;
    let signature = signature
        .and_then(|s| s.strip_prefix("v1="))
        .and_then(unhex)
        .ok_or(RejectedEvent::Unsigned)?;
    let signed = |secret: &&Secret| {
        mac(secret, timestamp, body)
            .verify_slice(&signature)
            .is_ok()
    };
    if !secrets.iter().any(|secret| signed(&secret)) {
        return Err(RejectedEvent::WrongSignature);
    }
    if now.abs_diff(timestamp) > WINDOW.unsigned_abs() {
        return Err(RejectedEvent::Stale);
    }
    let events: Vec<WireMailEvent> =
        serde_json::from_slice(body).map_err(|_| RejectedEvent::Unreadable)?;
    if events.len() > MOST {
        return Err(RejectedEvent::Unreadable);
    }
    Ok(events
        .into_iter()
        .map(|event| MailEvent {
            kind: event.kind,
            address: event.address.as_deref().and_then(Address::email),
            message_id: event.message_id.filter(|id| id.len() <= 998),
            way_out: event.list_unsubscribe.as_deref().and_then(way_out),
        })
        .collect())
}

/// 32 bytes in hexadecimal.
pub(super) fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &[u8] = br#"[{"kind":"hard","address":"Dana@Example.com"},{"kind":"soft","message_id":"<rem.1.abcdefgh@x>"}]"#;

    fn secret() -> Secret {
        Secret::new("an agreed secret of some length")
    }

    fn ask(signature: &str, now: i64) -> Result<Vec<MailEvent>, RejectedEvent> {
        let secrets = [Secret::new("the next one"), secret()];
        read(&secrets, Some("1000"), Some(signature), BODY, now)
    }

    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let signature = sign(&secret(), 1000, b"[]");
        let page = include_str!("../../docs/webhooks.md");
        assert!(
            page.contains(&signature),
            "docs/webhooks.md shows {signature}"
        );
    }

    #[test]
    fn a_signed_list_is_read() {
        let events = ask(&format!("v1={}", sign(&secret(), 1000, BODY)), 1200).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].kind, MailEventKind::Hard);
        assert_eq!(
            events[0].address.as_ref().unwrap().expose(),
            "Dana@example.com"
        );
        assert_eq!(events[1].message_id.as_deref(), Some("<rem.1.abcdefgh@x>"));
        assert!(!format!("{events:?}").contains("Dana"));
    }

    #[test]
    fn the_link_out_of_it_is_found_in_its_header() {
        for header in [
            "<https://unread.example.com/u/w0rd>",
            "https://unread.example.com/u/w0rd",
            "<mailto:stop@example.com?subject=x/y>, <https://unread.example.com/base/u/w0rd>",
        ] {
            assert_eq!(way_out(header).as_deref(), Some("w0rd"), "{header}");
        }
        for none in ["", "<mailto:stop@example.com>", "w0rd", "<>,"] {
            assert_eq!(way_out(none), None, "{none}");
        }
    }

    #[test]
    fn wrong_old_and_foreign_requests_are_turned_away() {
        let good = format!("v1={}", sign(&secret(), 1000, BODY));
        assert_eq!(ask(&good, 1301), Err(RejectedEvent::Stale));
        assert_eq!(ask(&good, 699), Err(RejectedEvent::Stale));
        let other_time = format!("v1={}", sign(&secret(), 1001, BODY));
        assert_eq!(ask(&other_time, 1000), Err(RejectedEvent::WrongSignature));
        let other_key = format!("v1={}", sign(&Secret::new("?"), 1000, BODY));
        assert_eq!(ask(&other_key, 1000), Err(RejectedEvent::WrongSignature));
        for bad in ["", "v1=", "v1=zz", &good[3..], "v1=é"] {
            assert_eq!(ask(bad, 1000), Err(RejectedEvent::Unsigned), "{bad}");
        }
        assert_eq!(
            read(&[], Some("1000"), Some(&good), BODY, 1000),
            Err(RejectedEvent::WrongSignature)
        );
    }

    #[test]
    fn what_is_no_list_of_events_is_unreadable() {
        let long = format!("[{}]", vec![r#"{"kind":"hard"}"#; MOST + 1].join(","));
        for body in ["", "{}", "[1]", r#"[{"kind":"other"}]"#, long.as_str()] {
            let signature = format!("v1={}", sign(&secret(), 5, body.as_bytes()));
            let got = read(&[secret()], Some("5"), Some(&signature), body.as_bytes(), 5);
            assert_eq!(got, Err(RejectedEvent::Unreadable));
        }
    }

    proptest! {
        #[test]
        fn fuzz_mail_events(time in ".{0,20}", signature in ".{0,70}", body in prop::collection::vec(any::<u8>(), 0..200), now in any::<i64>()) {
            let _ = read(&[secret()], Some(&time), Some(&signature), &body, now);
            let signature = format!("v1={}", sign(&secret(), now, &body));
            let _ = read(&[secret()], Some(&now.to_string()), Some(&signature), &body, now);
        }

        #[test]
        fn fuzz_signed_mail_events(
            events in prop::collection::vec(("(hard|soft|complaint|\\PC{0,5})", any::<String>(), any::<String>(), any::<String>()), 0..4),
            cut in any::<prop::sample::Index>(), now in any::<i64>(),
        ) {
            let events: Vec<_> = events.into_iter().map(|(kind, address, id, link)| {
                serde_json::json!({ "kind": kind, "address": address, "message_id": id, "list_unsubscribe": link })
            }).collect();
            let whole = serde_json::to_vec(&events).unwrap();
            for body in [&whole[..], &whole[..cut.index(whole.len())]] {
                let signature = format!("v1={}", sign(&secret(), now, body));
                let read = read(&[secret()], Some(&now.to_string()), Some(&signature), body, now);
                prop_assert!(matches!(read, Ok(_) | Err(RejectedEvent::Unreadable)));
            }
        }
    }
}
