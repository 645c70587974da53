//! The login's `id_token`: what every verifier of tokens is tried with, and what only a login asks for.

use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::web::jwt::attacks::{
    self, AUDIENCE, ISSUER, ISSUER_KEY, NONCE, NOW, RS256, now, rs256, signed,
};

/// The issuer as its settings name it.
fn settings_of(name: &str) -> config::Sso {
    config::Sso {
        issuer: ISSUER.parse().unwrap(),
        issuer_name: name.to_owned(),
        client_id: AUDIENCE.to_owned(),
        client_secret: None,
        role: None,
        trust_email: false,
    }
}

fn trust_in(settings: &config::Sso) -> Trust {
    trust(settings, VerificationKeys::Public(attacks::issuer_public()))
}

static TRUST: std::sync::LazyLock<Trust> =
    std::sync::LazyLock::new(|| trust_in(&settings_of(ISSUER)));

/// No key has to be fetched, so nothing waits.
fn identified(trust: &Trust, token: &str) -> anyhow::Result<SsoIdentity> {
    identify(trust, token, NONCE, &settings_of(ISSUER), now())
        .now_or_never()
        .unwrap()
}

#[test]
fn what_forgers_and_careless_issuers_write() {
    for (why, token, good) in attacks::tokens() {
        let known = identified(&TRUST, &token);
        assert_eq!(known.is_ok(), good, "{why}: {token}");
        let quoted = known.is_err_and(|error| format!("{error:#}").contains("auth0"));
        assert!(!quoted, "{why}: an error that tells of the token");
    }
}

#[test]
fn a_login_asks_for_more() {
    let cases = [
        ("no nonce", json!({ "nonce": null }), false),
        (
            "another nonce",
            json!({ "nonce": "the nonce of that login" }),
            false,
        ),
        (
            "a nonce that is longer",
            json!({ "nonce": format!("{NONCE} ") }),
            false,
        ),
        (
            "a nonce that is no word",
            json!({ "nonce": [NONCE] }),
            false,
        ),
        ("no moment of issue", json!({ "iat": null }), false),
        (
            "several, and nobody is the party",
            json!({ "aud": [AUDIENCE, "x"] }),
            false,
        ),
        (
            "several, and another is the party",
            json!({ "aud": [AUDIENCE, "x"], "azp": "x" }),
            false,
        ),
        (
            "several, and the party is no word",
            json!({ "aud": [AUDIENCE, "x"], "azp": [AUDIENCE] }),
            false,
        ),
        (
            "the party, but not among those it is for",
            json!({ "aud": ["x", "y"], "azp": AUDIENCE }),
            false,
        ),
        (
            "the same twice",
            json!({ "aud": [AUDIENCE, AUDIENCE] }),
            true,
        ),
        ("a subject of 255", json!({ "sub": "a".repeat(255) }), true),
        ("a subject of 256", json!({ "sub": "a".repeat(256) }), false),
        (
            "an issuer with a slash",
            json!({ "iss": format!("{ISSUER}/") }),
            true,
        ),
        (
            "an issuer with two",
            json!({ "iss": format!("{ISSUER}//") }),
            false,
        ),
        ("an address that is no word", json!({ "email": 7 }), false),
    ];
    for (why, by, good) in cases {
        assert_eq!(identified(&TRUST, &signed(&by)).is_ok(), good, "{why}");
    }
    let with_slash = trust_in(&settings_of(&format!("{ISSUER}/")));
    assert!(identified(&with_slash, &signed(&json!({}))).is_ok());
}

/// What the issuer writes of the address, and whether it is the person's: as it stands, and of an issuer that is trusted.
#[test]
fn an_address_is_a_person_s_when_the_issuer_says_so() {
    let cases = [
        (json!({ "email_verified": true }), true, true),
        (json!({ "email_verified": "true" }), true, true),
        (json!({ "email_verified": false }), false, false),
        (json!({ "email_verified": "false" }), false, false),
        (json!({ "email_verified": "True" }), false, false),
        (json!({ "email_verified": " true" }), false, false),
        (json!({ "email_verified": "yes" }), false, false),
        (json!({ "email_verified": 1 }), false, false),
        (json!({ "email_verified": [true] }), false, false),
        (json!({}), false, true),
        (
            json!({ "preferred_username": "ann@example.net", "email": null }),
            false,
            false,
        ),
        (
            json!({ "preferred_username": "root@example.net" }),
            false,
            true,
        ),
    ];
    for (by, stands, trusted) in cases {
        let mut claims = json!({ "email": "ann@example.net" });
        for (name, value) in by.as_object().unwrap() {
            claims[name] = value.clone();
        }
        for (trust_email, good) in [(false, stands), (true, trusted)] {
            let settings = config::Sso {
                trust_email,
                ..settings_of(ISSUER)
            };
            let token = signed(&claims);
            let known = identify(&TRUST, &token, NONCE, &settings, now());
            let known = known.now_or_never().unwrap().unwrap();
            let expected = good.then_some("ann@example.net");
            assert_eq!(known.email.as_deref(), expected, "{by}, {trust_email}");
            assert_eq!(known.subject, format!("{ISSUER} auth0|42"));
        }
    }
    // A claim that is there and says nothing is not a claim that is missing.
    let null = attacks::id_token(&json!({ "email": "ann@example.net" })).to_string();
    let null = format!("{},\"email_verified\":null}}", null.trim_end_matches('}'));
    let settings = config::Sso {
        trust_email: true,
        ..settings_of(ISSUER)
    };
    let token = rs256(ISSUER_KEY, RS256, &null);
    let known = identify(&TRUST, &token, NONCE, &settings, now());
    assert_eq!(known.now_or_never().unwrap().unwrap().email, None);
    for odd in [
        "ann",
        "@example.net",
        "ann@",
        "ann@example.net@evil.example",
        " ann@example.net",
        "ann@example.net\u{a0}",
        "\u{212a}ate@example.net",
        "",
    ] {
        let by = json!({ "email": odd, "email_verified": true });
        let known = identified(&TRUST, &signed(&by)).unwrap();
        assert_eq!(known.email, None, "{odd:?}");
    }
    let twice = attacks::id_token(&json!({ "email_verified": true })).to_string();
    let twice = twice.trim_end_matches('}').to_owned();
    let twice = format!(r#"{twice},"email":"ann@example.net","email":"root@example.net"}}"#);
    assert!(identified(&TRUST, &rs256(ISSUER_KEY, RS256, &twice)).is_err());
}

proptest! {
    #[test]
    fn fuzz_login_tokens(token in "\\PC{0,200}", parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
        prop_assert!(identified(&TRUST, &token).is_err());
        let parts: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        prop_assert!(identified(&TRUST, &parts.join(".")).is_err());
    }
}

proptest! {
    // Each is signed.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn fuzz_times_of_login_tokens(
        exp in prop_oneof![any::<f64>(), -1e12..1e12, 1.79e9..1.81e9], iat in prop_oneof![any::<f64>(), -1e12..1e12, 1.79e9..1.81e9],
    ) {
        let token = signed(&json!({ "exp": exp, "iat": iat }));
        let at = Value::from(NOW).as_f64().unwrap();
        // JSON has no infinity: serde_json writes null, and a moment is missing.
        let good = exp.is_finite() && iat.is_finite() && exp + 60.0 > at && iat <= at + 60.0;
        prop_assert_eq!(identified(&TRUST, &token).is_ok(), good);
    }
}
