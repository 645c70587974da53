//! Tokens as forgers and careless issuers write them, against the one that is right. Every user of the verifier is tried with all of
//! them: it must trust [`ISSUER_PUBLIC`] under [`ISSUER`], for [`AUDIENCE`], and have begun the login [`NONCE`] if it has logins.

use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::json;

use super::*;

pub const ISSUER_KEY: &str = include_str!("../../../tests/fixtures/badge/issuer.key.pem");
pub const ISSUER_PUBLIC: &str = include_str!("../../../tests/fixtures/badge/issuer.public.pem");
pub const STRANGER_KEY: &str = include_str!("../../../tests/fixtures/badge/stranger.key.pem");

pub const ISSUER: &str = "https://login.example.com";
pub const AUDIENCE: &str = "shop";
pub const NONCE: &str = "the nonce of this login";

/// The second at which the tokens are looked at.
pub const NOW: i64 = 1_800_000_000;

pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).unwrap()
}

pub fn pem(text: &str) -> Vec<u8> {
    let base64: String = text.lines().filter(|l| !l.starts_with('-')).collect();
    STANDARD.decode(base64).unwrap()
}

/// The issuer's key as settings give it: behind the 24 bytes that say "RSA key".
pub fn issuer_public() -> Vec<u8> {
    pem(ISSUER_PUBLIC)[24..].to_vec()
}

fn part(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

pub fn rs256(key: &str, header: &str, claims: &str) -> String {
    let pair = RsaKeyPair::from_pkcs8(&pem(key)).unwrap();
    let signed = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    let random = SystemRandom::new();
    pair.sign(
        &RSA_PKCS1_SHA256,
        &random,
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub fn hs256(secret: &[u8], header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// Claims with some of them replaced; `null` takes one away.
pub fn replaced(claims: &Value, by: &Value) -> Value {
    let mut claims = claims.as_object().unwrap().clone();
    for (name, value) in by.as_object().unwrap() {
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    claims.into()
}

/// What every user of the verifier believes, with some claims replaced.
pub fn id_token(by: &Value) -> Value {
    let good = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "auth0|42", "nonce": NONCE, "iat": NOW - 10, "exp": NOW + 300,
    });
    replaced(&good, by)
}

pub const RS256: &str = r#"{"alg":"RS256","typ":"JWT"}"#;
pub const HS256: &str = r#"{"alg":"HS256"}"#;

pub fn signed(by: &Value) -> String {
    rs256(ISSUER_KEY, RS256, &id_token(by).to_string())
}

/// Tokens, whether they must be believed, and why.
pub fn tokens() -> Vec<(&'static str, String, bool)> {
    let mut all = Vec::new();
    all.extend(forged());
    all.extend(headers());
    all.extend(claims());
    all.extend(times());
    all.extend(raw_claims());
    let good = signed(&json!({}));
    for end in 0..good.len() {
        all.push(("cut short", good[..end].to_owned(), false));
    }
    all
}

fn forged() -> Vec<(&'static str, String, bool)> {
    let good = id_token(&json!({})).to_string();
    let none = part(r#"{"alg":"none"}"#);
    let signed = rs256(ISSUER_KEY, RS256, &good);
    let parts: Vec<&str> = signed.split('.').collect();
    let other = part(&id_token(&json!({ "sub": "auth0|43" })).to_string());
    let changed = format!("{}.{other}.{}", parts[0], parts[2]);
    // The public key, which everybody has, as the secret of an HMAC.
    let confused = |secret: &[u8]| hs256(secret, HS256, &good);
    let refused = [
        ("no signature", format!("{none}.{}.", part(&good))),
        ("no signature at all", format!("{none}.{}", part(&good))),
        ("the PEM as secret", confused(ISSUER_PUBLIC.as_bytes())),
        ("the DER as secret", confused(&pem(ISSUER_PUBLIC))),
        ("the RSA key as secret", confused(&issuer_public())),
        ("an empty secret", confused(&[])),
        ("HMAC that calls itself RSA", hs256(b"x", RS256, &good)),
        ("a stranger's key", rs256(STRANGER_KEY, RS256, &good)),
        ("changed claims", changed),
        ("padded", format!("{signed}=")),
        ("a fourth part", format!("{signed}.{}", parts[2])),
        ("white space", format!("{signed} ")),
        ("not base64", "a.b.c".to_owned()),
        ("not ASCII", "é.é.é".to_owned()),
        ("nothing", String::new()),
        ("dots", "...".to_owned()),
    ];
    let refused = refused
        .into_iter()
        .map(|(why, token)| (why, token, false))
        .collect::<Vec<_>>();
    [vec![("good", signed, true)], refused].concat()
}

fn headers() -> impl Iterator<Item = (&'static str, String, bool)> {
    let good = id_token(&json!({})).to_string();
    [
        ("of another spelling", r#"{"alg":"rs256"}"#, false),
        ("not asked for", r#"{"alg":"RS512"}"#, false),
        ("PSS", r#"{"alg":"PS256"}"#, false),
        ("elliptic", r#"{"alg":"ES256"}"#, false),
        ("HMAC in name only", HS256, false),
        ("none in name only", r#"{"alg":"none"}"#, false),
        ("no algorithm", "{}", false),
        ("no word", r#"{"alg":256}"#, false),
        ("a list of algorithms", r#"{"alg":["RS256"]}"#, false),
        ("two algorithms", r#"{"alg":"RS256","alg":"none"}"#, false),
        ("no object", r#""RS256""#, false),
        ("more behind it", r#"{"alg":"RS256"}{}"#, false),
        // RFC 7515, 4.1.11: who does not understand an extension must refuse; a list must not be empty.
        ("crit", r#"{"alg":"RS256","crit":["exp"]}"#, false),
        (
            "crit of b64",
            r#"{"alg":"RS256","b64":true,"crit":["b64"]}"#,
            false,
        ),
        ("empty crit", r#"{"alg":"RS256","crit":[]}"#, false),
        ("crit of nothing", r#"{"alg":"RS256","crit":null}"#, false),
        (
            "crit that is no list",
            r#"{"alg":"RS256","crit":false}"#,
            false,
        ),
        (
            "a kid that is a number",
            r#"{"alg":"RS256","kid":7}"#,
            false,
        ),
        ("a kid of nothing", r#"{"alg":"RS256","kid":null}"#, true),
        // Whose key it is, settings say: what a token brings along is not looked at.
        (
            "a key of its own",
            r#"{"alg":"RS256","jwk":{"kty":"oct","k":"AA"}}"#,
            true,
        ),
        (
            "an address of keys",
            r#"{"alg":"RS256","jku":"https://evil.example"}"#,
            true,
        ),
        (
            "unknown words",
            r#"{"alg":"RS256","x5t":"a","zip":1}"#,
            true,
        ),
    ]
    .into_iter()
    .map(move |(why, header, good_one)| (why, rs256(ISSUER_KEY, header, &good), good_one))
}

fn claims() -> impl Iterator<Item = (&'static str, String, bool)> {
    [
        (
            "another issuer",
            json!({ "iss": "https://evil.example.com" }),
            false,
        ),
        (
            "an issuer below ours",
            json!({ "iss": "https://login.example.com/evil" }),
            false,
        ),
        ("no issuer", json!({ "iss": null }), false),
        (
            "an issuer that is a list",
            json!({ "iss": [ISSUER] }),
            false,
        ),
        ("another audience", json!({ "aud": "another-shop" }), false),
        (
            "an audience in other letters",
            json!({ "aud": "Shop" }),
            false,
        ),
        ("other audiences", json!({ "aud": ["another-shop"] }), false),
        ("no audiences", json!({ "aud": [] }), false),
        ("no audience", json!({ "aud": null }), false),
        (
            "an audience that is no word",
            json!({ "aud": { "shop": true } }),
            false,
        ),
        ("a list of one audience", json!({ "aud": [AUDIENCE] }), true),
        (
            "several, and we are the party",
            json!({ "aud": ["x", AUDIENCE], "azp": AUDIENCE }),
            true,
        ),
        ("no subject", json!({ "sub": null }), false),
        ("an empty subject", json!({ "sub": "" }), false),
        ("a subject with a NUL", json!({ "sub": "a\u{0}b" }), false),
        ("a subject with a line end", json!({ "sub": "a\nb" }), false),
        (
            "a subject that is too long",
            json!({ "sub": "a".repeat(257) }),
            false,
        ),
        ("a subject that is a number", json!({ "sub": 42 }), false),
        ("unknown claims", json!({ "x": { "y": [1, null] } }), true),
    ]
    .into_iter()
    .map(|(why, by, good)| (why, signed(&by), good))
}

/// Moments are numbers of seconds, with or without a fraction (RFC 7519, 2).
fn times() -> impl Iterator<Item = (&'static str, String, bool)> {
    let second = |more: i64| NOW + more;
    [
        (
            "a fraction at the end",
            json!({ "exp": 1_800_000_300.5 }),
            true,
        ),
        (
            "a fraction at the issue",
            json!({ "iat": 1_799_999_990.123_456 }),
            true,
        ),
        (
            "a fraction at the start",
            json!({ "nbf": 1_799_999_990.9 }),
            true,
        ),
        (
            "just over, within the skew",
            json!({ "exp": second(-59) }),
            true,
        ),
        (
            "just over, with a fraction",
            json!({ "exp": 1_799_999_940.5 }),
            true,
        ),
        ("over", json!({ "exp": second(-60) }), false),
        (
            "over by a fraction",
            json!({ "exp": 1_799_999_939.9 }),
            false,
        ),
        ("long over", json!({ "exp": 1 }), false),
        ("over before 1970", json!({ "exp": -1 }), false),
        ("over since ever", json!({ "exp": -9e300 }), false),
        ("far away", json!({ "exp": 9e300 }), true),
        ("the largest number", json!({ "exp": u64::MAX }), true),
        ("no end", json!({ "exp": null }), false),
        ("an end in words", json!({ "exp": "1800000300" }), false),
        ("an end that is true", json!({ "exp": true }), false),
        (
            "an end that is a list",
            json!({ "exp": [1_800_000_300] }),
            false,
        ),
        ("begins within the skew", json!({ "nbf": second(60) }), true),
        ("begins later", json!({ "nbf": second(61) }), false),
        (
            "begins later by a fraction",
            json!({ "nbf": 1_800_000_060.5 }),
            false,
        ),
        ("began before 1970", json!({ "nbf": -1 }), true),
        ("begins in words", json!({ "nbf": "1" }), false),
        ("issued within the skew", json!({ "iat": second(60) }), true),
        ("issued later", json!({ "iat": second(61) }), false),
        ("issued at the end of time", json!({ "iat": 9e300 }), false),
        ("issued in words", json!({ "iat": "1799999990" }), false),
    ]
    .into_iter()
    .map(|(why, by, good)| (why, signed(&by), good))
}

/// What no JSON library writes.
fn raw_claims() -> impl Iterator<Item = (&'static str, String, bool)> {
    let good = id_token(&json!({ "exp": null })).to_string();
    let start = good.trim_end_matches('}').to_owned();
    [
        ("a number that is too large", r#","exp":1e400}"#, false),
        ("a number that is too small", r#","exp":-1e400}"#, false),
        ("not a number", r#","exp":NaN}"#, false),
        ("infinity", r#","exp":Infinity}"#, false),
        ("a hexadecimal number", r#","exp":0x7fffffff}"#, false),
        ("nothing", r#","exp":null}"#, false),
        ("an exponent", r#","exp":18000003e2}"#, true),
        ("an end twice", r#","exp":1800000300,"exp":9e9}"#, false),
        (
            "an end twice, in another spelling",
            r#","exp":1800000300,"\u0065xp":9e9}"#,
            false,
        ),
        (
            "a subject twice",
            r#","exp":1800000300,"sub":"auth0|43"}"#,
            false,
        ),
        (
            "an issuer twice",
            r#","exp":1800000300,"iss":"https://login.example.com"}"#,
            false,
        ),
        (
            "an audience twice",
            r#","exp":1800000300,"aud":"shop"}"#,
            false,
        ),
        (
            "a start twice",
            r#","exp":1800000300,"nbf":1,"nbf":2}"#,
            false,
        ),
        ("more behind it", r#","exp":1800000300}{}"#, false),
        ("no end of it", r#","exp":1800000300"#, false),
        ("white space in it", " , \"exp\" : 1800000300 }", true),
    ]
    .into_iter()
    .map(move |(why, end, good_one)| {
        (
            why,
            rs256(ISSUER_KEY, RS256, &format!("{start}{end}")),
            good_one,
        )
    })
}

#[test]
fn the_matrix_is_large_and_has_both_kinds() {
    let all = tokens();
    let good = all.iter().filter(|(_, _, good)| *good).count();
    assert!(all.len() > 100 && good > 15, "{} and {good}", all.len());
}
