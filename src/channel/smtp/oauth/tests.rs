//! Answers of token endpoints, one by one and at random.

use std::time::Duration;

use proptest::prelude::*;

use super::answer::{Answer, TokenFault};
use super::walk::{Reached, walk};
use super::*;
use crate::channel::adapter::Health::{Failed, Unchecked, Well};
use crate::channel::smtp::codes;
use crate::channel::smtp::{Failure, Reply, SmtpPhase, StepFault};

fn read(status: u16, body: &str) -> Result<u64, String> {
    let answer = Answer {
        status,
        retry_after: None,
        body: body.as_bytes().to_vec(),
    };
    match answer.read() {
        Ok(token) => Ok(token.life.as_secs()),
        Err(fault) => Err(fault.code()),
    }
}

#[test]
fn a_token_lasts_as_long_as_it_says_within_reason() {
    for (life, expected) in [
        ("3599", Ok(3_599)),
        ("\"3599\"", Ok(3_599)),
        ("1", Ok(1)),
        ("9223372036854775807", Ok(86_400)),
        ("1e30", Ok(86_400)),
        ("0", Err("ended token")),
        ("-3599", Err("ended token")),
        ("\"-1\"", Err("ended token")),
        ("0.5", Err("ended token")),
        ("-1e30", Err("ended token")),
        ("null", Err("no token")),
        ("\"soon\"", Err("no token")),
        ("[]", Err("no token")),
    ] {
        let body = format!(
            r#"{{"token_type":"Bearer","access_token":"a.b-c_d~+/=","expires_in":{life}}}"#
        );
        assert_eq!(read(200, &body), expected.map_err(str::to_owned), "{life}");
    }
}

#[test]
fn what_is_no_token_goes_into_no_command() {
    let long = "a".repeat(8_001);
    for token in ["", "a b", "a\\r\\nQUIT", "a\\u0001", "é", &long] {
        let body = format!(r#"{{"access_token":"{token}","expires_in":3599}}"#);
        assert_eq!(read(200, &body), Err("no token".to_owned()), "{token}");
    }
    for body in [
        "",
        "<html>Sign in</html>",
        "[]",
        r#"{"expires_in":3599}"#,
        r#"{"access_token":"abc"}"#,
        r#"{"access_token":"abc","expires_in":3599,"token_type":"mac"}"#,
    ] {
        assert_eq!(read(200, body), Err("no token".to_owned()), "{body}");
    }
}

#[test]
fn refusals_are_words_of_a_closed_set() {
    for (status, body, code) in [
        (
            401,
            r#"{"error":"invalid_client","error_codes":[7000215]}"#,
            "invalid_client 7000215",
        ),
        (
            400,
            r#"{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired."}"#,
            "invalid_client 7000222",
        ),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"hunter2"}"#,
            "invalid_grant",
        ),
        (400, r#"{"error":"temporarily_unavailable"}"#, "http 400"),
        (
            400,
            r#"{"error":"Dana <dana@example.com>"}"#,
            "no answer of a token endpoint",
        ),
        (400, "<html>", "no answer of a token endpoint"),
        (404, "", "no answer of a token endpoint"),
        (302, "", "redirect"),
        (429, "", "http 429"),
        (500, "{}", "http 500"),
        (204, "", "no answer of a token endpoint"),
    ] {
        assert_eq!(read(status, body), Err(code.to_owned()), "{status} {body}");
    }
}

#[test]
fn every_fault_has_words_of_its_own() {
    let generic = codes::explain("token something_else").sentence;
    let own = [
        "invalid_client 7000215",
        "invalid_client 7000222",
        "invalid_client 700027",
        "unauthorized_client 700016",
        "invalid_request 90002",
        "invalid_grant 65001",
        "unauthorized_client",
        "invalid_grant",
        "timed out",
        "connection lost",
        "http 503",
        "redirect",
        "no token",
        "ended token",
        "too much",
        "no answer of a token endpoint",
    ];
    for code in own {
        assert_ne!(
            codes::explain(&format!("token {code}")).sentence,
            generic,
            "{code}"
        );
    }
}

#[test]
fn a_step_is_called_missing_only_where_a_reply_says_so() {
    let states = |reached: &Reached<'_>| walk(reached).iter().map(|c| c.health).collect::<Vec<_>>();
    let no_consent = TokenFault::Refused {
        error: "invalid_client".to_owned(),
        number: Some(7_000_229),
    };
    assert_eq!(
        states(&Reached::NoToken(&no_consent)),
        [Well, Failed, Unchecked, Unchecked]
    );
    let opaque = crate::secret::Secret::new("opaque");
    let refused = |code: u16, text: &str| Failure {
        phase: SmtpPhase::AuthToken,
        fault: StepFault::Reply(Reply::new(code, text)),
    };
    for (failure, expected) in [
        (
            refused(535, "5.7.3 no"),
            [Well, Unchecked, Failed, Unchecked],
        ),
        (
            refused(535, "5.7.139 SMTP AUTH is disabled for the Mailbox"),
            [Well, Unchecked, Unchecked, Failed],
        ),
        (refused(535, "no"), [Well, Unchecked, Unchecked, Unchecked]),
        (
            Failure {
                phase: SmtpPhase::Connect,
                fault: StepFault::TimedOut,
            },
            [Well, Unchecked, Unchecked, Unchecked],
        ),
    ] {
        assert_eq!(
            states(&Reached::Refused(&opaque, &failure)),
            expected,
            "{failure:?}"
        );
    }
    assert_eq!(states(&Reached::LoggedIn), [Well; 4]);
}

#[test]
fn a_key_that_is_none_is_refused_and_none_shows_itself() {
    let key = include_str!("../../../../tests/fixtures/oauth/app.pem");
    assert_eq!(
        format!("{:?}", ClientCertificate::of_pem(key).unwrap()),
        "ClientCertificate(…)"
    );
    let only_key = include_str!("../../../../tests/fixtures/badge/issuer.key.pem");
    let only_certificate = include_str!("../../../../tests/fixtures/channels/tls/mail.cert.pem");
    for pem in ["", "abc", only_key, only_certificate] {
        assert!(ClientCertificate::of_pem(pem).is_err());
    }
    for json in ["", "{}", r#"{"client_email":"a@b","private_key":"abc"}"#] {
        assert!(GoogleKey::of_json(json).is_err());
    }
}

#[test]
fn a_tenant_is_a_name_and_not_a_way() {
    for tenant in ["shop.example", "0a1b2c3d-0000-4000-8000-000000000000"] {
        assert!(microsoft_endpoint(tenant).is_some(), "{tenant}");
    }
    for tenant in ["", "a/b", "..", "a?b", "a#b", "a b", "é"] {
        assert!(microsoft_endpoint(tenant).is_none(), "{tenant}");
    }
}

proptest! {
    #[test]
    fn fuzz_token_answers(
        status in 100_u16..600,
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            ("\\PC{0,20}", "[-0-9.e\"]{0,12}").prop_map(|(token, life)| {
                format!(r#"{{"access_token":"{token}","expires_in":{life}}}"#).into_bytes()
            }),
            ("\\PC{0,20}", "\\PC{0,20}").prop_map(|(error, words)| {
                serde_json::json!({ "error": error, "error_description": words }).to_string().into_bytes()
            }),
        ],
    ) {
        match (Answer { status, retry_after: None, body }).read() {
            Ok(token) => {
                prop_assert!(token.life > Duration::ZERO);
                let is_letter = |b: u8| b.is_ascii_graphic();
                prop_assert!(token.token.expose().bytes().all(is_letter));
            }
            Err(fault) => {
                let code = fault.code();
                prop_assert!(code.len() < 60 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_ ".contains(&b)), "{code}");
            }
        }
    }
}
