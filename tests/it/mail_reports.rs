//! What mail providers post in their own shapes, and what becomes of the reminders.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use unread::domain::ids::Channel::{Email, Sms};

use crate::harness::{Setup, TestApp, fallback, run_test_with, step};

const ANN: &str = "ann@example.net";
const LOGIN: &str = "us:a password of some length";
const MAILGUN_KEY: &str = "a webhook signing key";

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Who posts, with what proves it.
struct Providers {
    pair: EcdsaKeyPair,
}

impl Providers {
    fn new() -> Self {
        let random = SystemRandom::new();
        let way = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(way, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(way, pkcs8.as_ref(), &random).unwrap();
        Self { pair }
    }

    fn setup(&self) -> Setup {
        // A P-256 key in X.509's form (RFC 5480).
        let before = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=";
        let mut der = BASE64_STANDARD.decode(before).unwrap();
        der.extend_from_slice(self.pair.public_key().as_ref());
        Setup {
            settings: vec![
                (
                    "UNREAD_MAIL_SENDGRID_KEY",
                    &*BASE64_STANDARD.encode(der).leak(),
                ),
                ("UNREAD_MAIL_POSTMARK_LOGIN", LOGIN),
                ("UNREAD_MAIL_MAILGUN_KEY", MAILGUN_KEY),
                ("UNREAD_MAIL_BREVO_TOKEN", LOGIN),
            ],
            ..Setup::default()
        }
    }

    /// Posts an event of this kind (`delivered`, `hard`, `complaint`) as the provider would.
    async fn post(
        &self,
        t: &TestApp,
        provider: &str,
        kind: &str,
        (id, to): (&str, &str),
    ) -> (u16, Value) {
        let now = t.now().timestamp();
        let word = |words: [&'static str; 3]| match kind {
            "delivered" => words[0],
            "hard" => words[1],
            _ => words[2],
        };
        let body = match provider {
            "sendgrid" => {
                let event = word(["delivered", "bounce", "spamreport"]);
                json!([{ "event": event, "type": "bounce", "email": to, "smtp-id": id }])
            }
            "postmark" => json!({
                "RecordType": word(["Delivery", "Bounce", "SpamComplaint"]), "Type": "HardBounce", "Email": to, "Recipient": to,
                "Headers": [{ "Name": "Message-ID", "Value": id }],
            }),
            "mailgun" => {
                let token = format!("{:064x}", rand::random::<u128>());
                let mac = Hmac::<sha2::Sha256>::new_from_slice(MAILGUN_KEY.as_bytes()).unwrap();
                let signature = hex(mac
                    .chain_update(format!("{now}{token}"))
                    .finalize()
                    .into_bytes()
                    .iter());
                json!({
                    "signature": { "timestamp": now.to_string(), "token": token, "signature": signature },
                    "event-data": {
                        "event": word(["delivered", "failed", "complained"]), "severity": "permanent", "reason": "bounce",
                        "recipient": to, "message": { "headers": { "message-id": id.trim_matches(['<', '>']) } },
                    },
                })
            }
            _ => {
                json!({ "event": word(["delivered", "hard_bounce", "spam"]), "email": to, "message-id": id })
            }
        };
        self.send(t, provider, &body.to_string()).await
    }

    async fn send(&self, t: &TestApp, provider: &str, body: &str) -> (u16, Value) {
        let mut request = t.http.post(format!("{}/mail/events/{provider}", t.web));
        if provider == "sendgrid" {
            let now = t.now().timestamp();
            let signature = self
                .pair
                .sign(&SystemRandom::new(), format!("{now}{body}").as_bytes());
            let signature = BASE64_STANDARD.encode(signature.unwrap());
            request = request
                .header("X-Twilio-Email-Event-Webhook-Signature", signature)
                .header("X-Twilio-Email-Event-Webhook-Timestamp", now);
        }
        let login = BASE64_STANDARD.encode(LOGIN);
        let request = request.header("Authorization", format!("Basic {login}"));
        let answer = request.body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

/// A reminder that has been sent; its conversation and Message-ID.
async fn sent(t: &TestApp, to: &str) -> (String, String) {
    let chat = t.answered(to);
    t.tick().await;
    t.advance(10).await;
    let mail = t.mails().pop().unwrap();
    (chat, mail.message_id().unwrap().to_owned())
}

async fn suppressions(t: &TestApp) -> Vec<String> {
    sqlx::query_scalar("select reason from suppressions order by reason")
        .fetch_all(t.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn each_providers_events_reach_the_reminder_in_any_order_and_once() {
    for provider in ["sendgrid", "postmark", "mailgun", "brevo"] {
        let by = Providers::new();
        run_test_with(by.setup(), async |t| {
            let (chat, id) = sent(t, ANN).await;
            let ours = (id.as_str(), ANN);
            let applied = (200, json!({ "applied": 1, "unknown": 0 }));
            for _ in 0..2 {
                assert_eq!(by.post(t, provider, "delivered", ours).await, applied);
                assert_eq!(t.story(&chat).await[0], "delivered", "{provider}");
            }
            // Sent back by the server that took it; and what is said of it before comes late.
            for kind in ["hard", "delivered", "hard"] {
                assert_eq!(by.post(t, provider, kind, ours).await, applied);
                assert_eq!(t.story(&chat).await[0], "undelivered (hard bounce)");
                assert_eq!(suppressions(t).await, ["bad_address"]);
            }
            assert_eq!(by.post(t, provider, "complaint", ours).await, applied);
            assert_eq!(suppressions(t).await, ["complaint"]);
        })
        .await;
    }
}

#[tokio::test]
async fn only_a_message_of_ours_with_its_own_recipient_counts() {
    for provider in ["sendgrid", "postmark", "mailgun", "brevo"] {
        let by = Providers::new();
        run_test_with(by.setup(), async |t| {
            let (chat, id) = sent(t, ANN).await;
            let (_, other) = sent(t, "bob@example.net").await;
            let (before, domain) = id.split_once('@').unwrap();
            let guessed = format!("{}AAAAAAAA@{domain}", &before[..before.len() - 8]);
            for about in [
                (id.as_str(), "bob@example.net"),
                (other.as_str(), ANN),
                (guessed.as_str(), ANN),
                ("<1234@elsewhere.example>", ANN),
            ] {
                let answer = by.post(t, provider, "hard", about).await;
                assert_eq!(
                    answer,
                    (200, json!({ "applied": 0, "unknown": 1 })),
                    "{about:?}"
                );
                let answer = by.post(t, provider, "complaint", about).await;
                assert_eq!(answer.1["applied"], 0, "{about:?}");
            }
            assert_eq!(t.story(&chat).await[0], "sent");
            assert!(suppressions(t).await.is_empty());
        })
        .await;
    }
}

#[tokio::test]
async fn a_token_of_mailguns_counts_once_and_the_wrong_proof_never() {
    let by = Providers::new();
    run_test_with(by.setup(), async |t| {
        let (chat, id) = sent(t, ANN).await;
        let now = t.now().timestamp();
        let token = "0".repeat(50);
        let signed = |event: &str| {
            let mac = Hmac::<sha2::Sha256>::new_from_slice(MAILGUN_KEY.as_bytes()).unwrap();
            let signature = hex(mac.chain_update(format!("{now}{token}")).finalize().into_bytes().iter());
            json!({
                "signature": { "timestamp": now.to_string(), "token": token, "signature": signature },
                "event-data": { "event": event, "recipient": ANN, "message": { "headers": { "message-id": id } } },
            })
            .to_string()
        };
        assert_eq!(by.send(t, "mailgun", &signed("delivered")).await.0, 200);
        // Whoever has seen it says something else with the same signature.
        assert_eq!(by.send(t, "mailgun", &signed("complained")).await.0, 403);
        assert!(suppressions(t).await.is_empty());
        assert_eq!(t.story(&chat).await[0], "delivered");

        for (provider, status) in [
            ("sendgrid", 403),
            ("postmark", 403),
            ("mailgun", 403),
            ("brevo", 403),
            ("somebody", 404),
        ] {
            let url = format!("{}/mail/events/{provider}", t.web);
            let answer = t.http.post(url).body("[]").send().await.unwrap();
            assert_eq!(answer.status(), status, "{provider}");
        }
    })
    .await;
    run_test_with(Setup::default(), async |t| {
        let url = format!("{}/mail/events/brevo", t.web);
        let answer = t.http.post(url).body("[]").send().await.unwrap();
        assert_eq!(answer.status(), 404, "no setting, no webhook");
    })
    .await;
}

#[tokio::test]
async fn a_bounce_of_a_providers_brings_the_text() {
    let by = Providers::new();
    run_test_with(by.setup(), async |t| {
        t.rule_over(&[Email, Sms], |rule| {
            rule.steps = vec![step(Email, 10), fallback(Sms, 10)];
        })
        .await;
        crate::sequence::answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        let mail = t.mails().pop().unwrap();
        let about = (mail.message_id().unwrap(), mail.to[0].as_str());
        t.tick().await;
        assert!(t.texts().is_empty(), "it may have arrived");
        assert_eq!(by.post(t, "sendgrid", "hard", about).await.0, 200);
        t.tick().await;
        assert_eq!(t.texts().len(), 1);
    })
    .await;
}
