//! Samples of each provider, and what hostile callers make of them.

use std::fmt::Write as _;

use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;
const OURS: &str = "<rem.4711.aB3dE6gH@shop.example>";
const ANN: &str = "ann@example.net";
const MAILGUN_KEY: &str = "a webhook signing key of Mailgun";
const TOKEN: &str = "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0a0a8ce0edb2dd8";

/// As Mailgun signs: HMAC-SHA256, in hexadecimal.
fn sign(key: &str, text: &str) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    let bytes = mac.chain_update(text).finalize().into_bytes();
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn key_pair() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap()
}

fn public(pair: &EcdsaKeyPair) -> SendGridKey {
    let der = [&sendgrid::PREFIX[..], pair.public_key().as_ref()].concat();
    SendGridKey::parse(&BASE64_STANDARD.encode(der)).unwrap()
}

/// The settings, and what signs for `SendGrid`.
fn believed() -> (MailReports, EcdsaKeyPair) {
    let pair = key_pair();
    let reports = MailReports {
        sendgrid: vec![public(&key_pair()), public(&pair)],
        postmark: vec![Secret::new("us:a password of some length")],
        mailgun: vec![Secret::new("the next key"), Secret::new(MAILGUN_KEY)],
        brevo: vec![Secret::new("a token of some length")],
    };
    (reports, pair)
}

type Headers = Vec<(&'static str, String)>;

fn signed_by(pair: &EcdsaKeyPair, at: i64, body: &[u8]) -> Headers {
    let message = [at.to_string().as_bytes(), body].concat();
    let signature = pair.sign(&SystemRandom::new(), &message).unwrap();
    vec![
        (
            "x-twilio-email-event-webhook-signature",
            BASE64_STANDARD.encode(signature),
        ),
        ("x-twilio-email-event-webhook-timestamp", at.to_string()),
    ]
}

fn ask(
    reports: &MailReports,
    reporter: MailReporter,
    headers: &Headers,
    body: &[u8],
) -> Result<MailReport, RejectedEvent> {
    let header = |name: &str| {
        let found = headers.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.as_str())
    };
    reports.read(reporter, &header, body, NOW)
}

/// A request of a provider's about this event, as it should be.
fn good(reporter: MailReporter, pair: &EcdsaKeyPair, event: &Value) -> (Headers, Vec<u8>) {
    match reporter {
        MailReporter::SendGrid => {
            let body = json!([event]).to_string().into_bytes();
            (signed_by(pair, NOW, &body), body)
        }
        MailReporter::Postmark => {
            let login = BASE64_STANDARD.encode("us:a password of some length");
            (
                vec![("authorization", format!("Basic {login}"))],
                event.to_string().into_bytes(),
            )
        }
        MailReporter::Mailgun => (Vec::new(), of_mailgun(NOW, TOKEN, event)),
        MailReporter::Brevo => {
            let bearer = vec![("authorization", "Bearer a token of some length".to_owned())];
            (bearer, event.to_string().into_bytes())
        }
    }
}

fn of_mailgun(at: i64, token: &str, event: &Value) -> Vec<u8> {
    let signature = sign(MAILGUN_KEY, &format!("{at}{token}"));
    json!({
        "signature": { "timestamp": at.to_string(), "token": token, "signature": signature },
        "event-data": event,
    })
    .to_string()
    .into_bytes()
}

fn sendgrid(event: &str, more: &Value) -> Value {
    let mut all = json!({ "email": ANN, "smtp-id": OURS, "event": event, "timestamp": NOW, "sg_event_id": "x" });
    all.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    all
}

fn mailgun(event: &str, severity: &str, reason: &str) -> Value {
    // Without its brackets, as Mailgun has it.
    let id = OURS.trim_matches(['<', '>']);
    json!({
        "event": event, "severity": severity, "reason": reason, "recipient": ANN,
        "message": { "headers": { "message-id": id, "to": ANN } },
    })
}

fn postmark(record: &str, kind: &str) -> Value {
    let recipient = if record == "Delivery" {
        "Recipient"
    } else {
        "Email"
    };
    json!({
        "RecordType": record, "Type": kind, recipient: ANN, "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "Headers": [{ "Name": "X-Other", "Value": "1" }, { "Name": "Message-Id", "Value": OURS }],
    })
}

fn brevo(event: &str) -> Value {
    json!({ "event": event, "email": ANN, "message-id": OURS, "id": 26_224, "ts": NOW })
}

#[test]
fn each_providers_words_are_read() {
    use MailEventKind::{Complaint, Delivered, Hard, Soft};
    use MailReporter as R;
    let none = json!({});
    let (reports, pair) = believed();
    for (reporter, sample, kind) in [
        (R::SendGrid, sendgrid("delivered", &none), Some(Delivered)),
        (
            R::SendGrid,
            sendgrid("bounce", &json!({ "type": "bounce" })),
            Some(Hard),
        ),
        (
            R::SendGrid,
            sendgrid(
                "bounce",
                &json!({ "type": "bounce", "bounce_classification": "Invalid Address" }),
            ),
            Some(Hard),
        ),
        (
            R::SendGrid,
            sendgrid(
                "bounce",
                &json!({ "type": "bounce", "bounce_classification": "Reputation" }),
            ),
            Some(Soft),
        ),
        (
            R::SendGrid,
            sendgrid("bounce", &json!({ "type": "blocked" })),
            Some(Soft),
        ),
        (R::SendGrid, sendgrid("dropped", &none), Some(Soft)),
        (R::SendGrid, sendgrid("spamreport", &none), Some(Complaint)),
        (R::SendGrid, sendgrid("deferred", &none), None),
        (R::SendGrid, sendgrid("open", &none), None),
        (R::Postmark, postmark("Delivery", ""), Some(Delivered)),
        (R::Postmark, postmark("Bounce", "HardBounce"), Some(Hard)),
        (R::Postmark, postmark("Bounce", "SoftBounce"), Some(Soft)),
        (R::Postmark, postmark("Bounce", "Transient"), None),
        (R::Postmark, postmark("Bounce", "AutoResponder"), None),
        (R::Postmark, postmark("SpamComplaint", ""), Some(Complaint)),
        (R::Postmark, postmark("Open", ""), None),
        (R::Mailgun, mailgun("delivered", "", ""), Some(Delivered)),
        (
            R::Mailgun,
            mailgun("failed", "permanent", "bounce"),
            Some(Hard),
        ),
        (
            R::Mailgun,
            mailgun("failed", "permanent", "generic"),
            Some(Soft),
        ),
        (
            R::Mailgun,
            mailgun("failed", "permanent", "suppress-bounce"),
            Some(Soft),
        ),
        (R::Mailgun, mailgun("failed", "temporary", "generic"), None),
        (R::Mailgun, mailgun("complained", "", ""), Some(Complaint)),
        (R::Mailgun, mailgun("opened", "", ""), None),
        (R::Brevo, brevo("delivered"), Some(Delivered)),
        (R::Brevo, brevo("hard_bounce"), Some(Hard)),
        (R::Brevo, brevo("invalid_email"), Some(Hard)),
        (R::Brevo, brevo("soft_bounce"), Some(Soft)),
        (R::Brevo, brevo("blocked"), Some(Soft)),
        (R::Brevo, brevo("spam"), Some(Complaint)),
        (R::Brevo, brevo("deferred"), None),
    ] {
        let (headers, body) = good(reporter, &pair, &sample);
        let read = ask(&reports, reporter, &headers, &body).unwrap();
        let kinds: Vec<_> = read.events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, kind.into_iter().collect::<Vec<_>>(), "{sample}");
        for event in &read.events {
            assert_eq!(event.address.as_ref().unwrap().expose(), ANN);
            let id = event.message_id.as_deref().unwrap();
            assert_eq!(id.trim_matches(['<', '>']), OURS.trim_matches(['<', '>']));
        }
        assert_eq!(read.once.is_some(), reporter == R::Mailgun);
    }
}

#[test]
fn of_what_sendgrid_signs_no_byte_can_be_moved() {
    let (reports, pair) = believed();
    let (headers, body) = good(
        MailReporter::SendGrid,
        &pair,
        &sendgrid("delivered", &json!({})),
    );
    let ask = |headers: &Headers, body: &[u8]| ask(&reports, MailReporter::SendGrid, headers, body);
    assert!(ask(&headers, &body).is_ok());
    for at in 0..body.len() {
        let mut moved = body.clone();
        moved[at] ^= 1;
        assert_eq!(
            ask(&headers, &moved),
            Err(RejectedEvent::WrongSignature),
            "byte {at}"
        );
        moved[at] ^= 1;
        moved.remove(at);
        assert!(ask(&headers, &moved).is_err(), "without byte {at}");
    }
    let (signature, time) = (headers[0].1.clone(), headers[1].1.clone());
    let with = |signature: &str, time: &str| {
        vec![
            (headers[0].0, signature.to_owned()),
            (headers[1].0, time.to_owned()),
        ]
    };
    let octets = BASE64_STANDARD.decode(&signature).unwrap();
    for at in 0..octets.len() {
        let mut moved = octets.clone();
        moved[at] ^= 1;
        assert!(
            ask(&with(&BASE64_STANDARD.encode(moved), &time), &body).is_err(),
            "byte {at}"
        );
    }
    for other in ["", "0", &format!("{}", NOW + 1), &format!(" {time}")] {
        assert!(ask(&with(&signature, other), &body).is_err(), "{other}");
    }
    // What is the end of the time cannot become the beginning of the body.
    let shifted = [&time.as_bytes()[9..], &body[..]].concat();
    assert!(ask(&with(&signature, &time[..9]), &shifted).is_err());
    assert_eq!(
        ask(&headers[..1].to_vec(), &body),
        Err(RejectedEvent::Unsigned)
    );
    assert_eq!(ask(&Vec::new(), &body), Err(RejectedEvent::Unsigned));
    assert!(
        ask(&signed_by(&key_pair(), NOW, &body), &body).is_err(),
        "another's key"
    );
    for (at, known) in [
        (NOW - 90_000, true),
        (NOW - 90_001, false),
        (NOW + 300, true),
        (NOW + 301, false),
    ] {
        assert_eq!(
            ask(&signed_by(&pair, at, &body), &body).is_ok(),
            known,
            "{at}"
        );
    }
}

#[test]
fn of_what_mailgun_signs_nothing_is_changed_or_old() {
    let (reports, _) = believed();
    let event = mailgun("delivered", "", "");
    let ask = |body: &[u8]| ask(&reports, MailReporter::Mailgun, &Vec::new(), body);
    let good: Value = serde_json::from_slice(&of_mailgun(NOW, TOKEN, &event)).unwrap();
    assert_eq!(
        ask(good.to_string().as_bytes()).unwrap().once.as_deref(),
        Some(TOKEN)
    );
    let time = NOW.to_string();
    for (field, value) in [
        ("timestamp", format!("{}", NOW + 1)),
        ("timestamp", String::new()),
        ("timestamp", time[..9].to_owned()),
        ("token", TOKEN.replacen('a', "b", 1)),
        ("token", String::new()),
        ("signature", sign("another key", &format!("{time}{TOKEN}"))),
        ("signature", String::new()),
        ("signature", "zz".repeat(32)),
    ] {
        let mut changed = good.clone();
        changed["signature"][field] = value.clone().into();
        assert!(
            ask(changed.to_string().as_bytes()).is_err(),
            "{field}: {value}"
        );
    }
    // A digit of the time moved into the token is the same text to sign.
    let mut shifted = good.clone();
    shifted["signature"]["timestamp"] = time[..9].into();
    shifted["signature"]["token"] = format!("{}{TOKEN}", &time[9..]).into();
    assert_eq!(
        ask(shifted.to_string().as_bytes()),
        Err(RejectedEvent::Unsigned)
    );
    for (at, known) in [
        (NOW - 43_200, true),
        (NOW - 43_201, false),
        (NOW + 300, true),
        (NOW + 301, false),
    ] {
        assert_eq!(ask(&of_mailgun(at, TOKEN, &event)).is_ok(), known, "{at}");
    }
    for body in ["", "{}", "[]", r#"{"event-data":{}}"#] {
        assert_eq!(ask(body.as_bytes()), Err(RejectedEvent::Unsigned));
    }
}

#[test]
fn wrong_credentials_are_nobodys() {
    let (reports, pair) = believed();
    for (reporter, sample, wrong) in [
        (
            MailReporter::Postmark,
            postmark("Delivery", ""),
            "Bearer a token of some length",
        ),
        (
            MailReporter::Brevo,
            brevo("delivered"),
            "Bearer a token of some lengtH",
        ),
        (MailReporter::Brevo, brevo("delivered"), "Bearer "),
        (MailReporter::Brevo, brevo("delivered"), "Basic ***"),
        (
            MailReporter::Brevo,
            brevo("delivered"),
            "a token of some length",
        ),
        (
            MailReporter::Postmark,
            postmark("Delivery", ""),
            "Basic dXM6YSBwYXNzd29yZA==",
        ),
        (MailReporter::Postmark, postmark("Delivery", ""), ""),
    ] {
        let (headers, body) = good(reporter, &pair, &sample);
        assert!(ask(&reports, reporter, &headers, &body).is_ok());
        let wrong = vec![("authorization", wrong.to_owned())];
        assert!(ask(&reports, reporter, &wrong, &body).is_err(), "{wrong:?}");
        assert_eq!(
            ask(&reports, reporter, &Vec::new(), &body),
            Err(RejectedEvent::Unsigned)
        );
        let off = MailReports::default();
        assert!(ask(&off, reporter, &headers, &body).is_err() && off.is_empty());
    }
    assert!(!format!("{reports:?}").contains("a password of some length"));
}

#[test]
fn a_list_is_bounded_and_what_is_not_understood_in_it_is_passed_over() {
    let (reports, pair) = believed();
    let ask = |body: &Value| {
        let body = body.to_string().into_bytes();
        let read = ask(
            &reports,
            MailReporter::SendGrid,
            &signed_by(&pair, NOW, &body),
            &body,
        );
        read.map(|report| report.events.len())
    };
    let good = sendgrid("delivered", &json!({}));
    assert_eq!(
        ask(&json!([good, 1, null, { "event": "new" }, good])),
        Ok(2)
    );
    assert_eq!(ask(&json!(vec![good.clone(); MOST])), Ok(MOST));
    assert_eq!(
        ask(&json!(vec![good; MOST + 1])),
        Err(RejectedEvent::Unreadable)
    );
    assert_eq!(ask(&json!("text")), Err(RejectedEvent::Unreadable));
}

#[test]
fn a_key_of_another_kind_is_none_of_sendgrids() {
    for raw in ["", "MFkw", "hunter2", &BASE64_STANDARD.encode([4; 65])] {
        assert!(SendGridKey::parse(raw).is_err(), "{raw}");
    }
}

proptest! {
    #[test]
    fn fuzz_mail_reports(
        body in prop::collection::vec(any::<u8>(), 0..200),
        values in prop::collection::vec("\\PC{0,12}", 6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (reports, pair) = believed();
        let event = json!({
            "event": values[0], "email": values[1], "smtp-id": values[2], "type": values[3], "RecordType": values[0],
            "Email": values[1], "Headers": [{ "Name": values[4], "Value": values[2] }], "message-id": values[2],
            "recipient": values[1], "severity": values[3], "message": { "headers": { "message-id": values[2] } },
        });
        for reporter in MailReporter::ALL {
            let (headers, whole) = good(reporter, &pair, &event);
            let _ = ask(&reports, reporter, &headers, &whole);
            let _ = ask(&reports, reporter, &headers, &whole[..cut.index(whole.len())]);
            let _ = ask(&reports, reporter, &headers, &body);
        }
    }
}
