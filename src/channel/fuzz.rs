//! Hostile bytes at every place where providers and people are read: an error is fine, a panic is not.

use proptest::prelude::*;
use url::Url;

use super::optout;
use super::smtp::{Fault, Phase, Reply, classify};
use super::webhook::{Inbound, Request, StatusCallback, Verifier};
use crate::secret::Secret;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

proptest! {
    #[test]
    fn fuzz_smtp_replies(code in 0..1000_u16, text in "(\\PC{0,40})|([245]\\.[0-9]{1,6}\\.[0-9]{1,6} \\PC{0,80})") {
        let reply = Fault::Reply(Reply::new(code, &text));
        for phase in [Phase::Greeting, Phase::Auth, Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Final] {
            let _ = classify(phase, &reply);
        }
    }

    #[test]
    fn fuzz_inbound_words(body in "\\PC{0,300}") {
        let _ = optout::meaning(&body);
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
}
