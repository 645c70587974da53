//! Hostile bytes at every place where providers and people are read: an error is fine, a panic is not.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha1::Sha1;
use url::{Url, form_urlencoded};

use super::adapter::Request;
use super::smtp::{Reply, SmtpPhase, StepFault, classify};
use super::twilio::webhook::{Inbound, StatusCallback, Verifier};
use super::{clean, optout, sms};
use crate::secret::Secret;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The name of a form's field: mostly one that is read.
fn field() -> impl Strategy<Value = String> {
    const READ: &[&str] = &[
        "MessageSid",
        "SmsSid",
        "AccountSid",
        "MessageStatus",
        "SmsStatus",
        "ErrorCode",
        "From",
        "To",
        "Body",
        "MessagingServiceSid",
        "OptOutType",
    ];
    prop_oneof![
        prop::sample::select(READ).prop_map(str::to_owned),
        any::<String>()
    ]
}

/// Signs as Twilio does.
fn signature(url: &str, query: Option<&str>, body: &[u8]) -> String {
    let mut signed = url.to_owned();
    if let Some(query) = query {
        signed.extend(["?", query]);
    }
    let fields: BTreeSet<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    signed.extend(fields.into_iter().flat_map(|(name, value)| [name, value]));
    let mac = Hmac::<Sha1>::new_from_slice(TOKEN.as_bytes()).unwrap();
    STANDARD.encode(mac.chain_update(signed).finalize().into_bytes())
}

proptest! {
    #[test]
    fn fuzz_smtp_replies(code in 0..1000_u16, text in "(\\PC{0,40})|([245]\\.[0-9]{1,6}\\.[0-9]{1,6} \\PC{0,80})") {
        let reply = StepFault::Reply(Reply::new(code, &text));
        for phase in [SmtpPhase::Greeting, SmtpPhase::Auth, SmtpPhase::Mail, SmtpPhase::Rcpt, SmtpPhase::Data, SmtpPhase::Final] {
            let _ = classify(phase, &reply);
        }
    }

    #[test]
    fn fuzz_inbound_words(body in "\\PC{0,300}") {
        let _ = optout::meaning(&body);
    }

    #[test]
    fn fuzz_texts(text in any::<String>(), most in 1..200_usize) {
        let _ = sms::measure(&text);
        let _ = clean::line(&text, most);
        let _ = clean::first_name(&text);
    }

    #[test]
    fn fuzz_webhooks(
        path in "/\\PC{0,60}", query in prop::option::of("\\PC{0,80}"), signature in prop::option::of("\\PC{0,60}"),
        body in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let base: Url = "https://example.com/".parse().unwrap();
        let verifier = Verifier::new(vec![Secret::new(TOKEN)], &base);
        let request = Request { path: &path, query: query.as_deref(), signature: signature.as_deref(), body: &body };
        if let Ok(fields) = verifier.verify(&request) {
            let _ = StatusCallback::parse(query.as_deref(), &fields);
            let _ = Inbound::parse(&fields);
        }
    }

    /// Twilio passes on what people and carriers write; its signature says nothing about that.
    #[test]
    fn fuzz_signed_webhooks(
        query in prop::option::of("(rid=)?[!-~]{0,60}"),
        fields in prop::collection::vec((field(), any::<String>()), 0..12),
        raw in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
    ) {
        let base: Url = "https://example.com/".parse().unwrap();
        let verifier = Verifier::new(vec![Secret::new(TOKEN)], &base);
        let body = raw.unwrap_or_else(|| {
            form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish().into_bytes()
        });
        let signature = signature("https://example.com/twilio/status", query.as_deref(), &body);
        let request = Request { path: "/twilio/status", query: query.as_deref(), signature: Some(&signature), body: &body };
        let hashed = query.as_deref().is_some_and(|query| query.contains("bodySHA256"));
        match verifier.verify(&request) {
            Ok(fields) => {
                let _ = StatusCallback::parse(query.as_deref(), &fields);
                let _ = Inbound::parse(&fields);
            }
            Err(why) => prop_assert!(hashed, "{} of {:?}", why, request.query),
        }
    }
}
