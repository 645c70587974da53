//! What a program signs to show who it is: JSON Web Tokens, checked as the providers say that they check them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;

/// Seconds that a clock may be off.
const SKEW: i64 = 300;

/// An app's, signed by the key of the certificate with this thumbprint; its claims.
pub fn of_app(jwt: &str, thumbprint: &str, key: &[u8]) -> Option<Value> {
    let (header, claims) = read(jwt, &RSA_PSS_2048_8192_SHA256, key)?;
    let is_named = header["alg"] == "PS256" && header["x5t#S256"] == thumbprint;
    let once = claims["jti"].as_str().is_some_and(|id| id.len() >= 16);
    (is_named && once && is_of_now(&claims, &claims["nbf"])).then_some(claims)
}

/// A service account's; its claims.
pub fn of_account(jwt: &str, key: &[u8]) -> Option<Value> {
    let (header, claims) = read(jwt, &RSA_PKCS1_2048_8192_SHA256, key)?;
    (header["alg"] == "RS256" && is_of_now(&claims, &claims["iat"])).then_some(claims)
}

fn is_of_now(claims: &Value, begins: &Value) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    match (begins.as_i64(), claims["exp"].as_i64()) {
        (Some(begins), Some(ends)) => {
            begins <= now + SKEW && now < ends + SKEW && (1..=3_600).contains(&(ends - begins))
        }
        _ => false,
    }
}

fn read(jwt: &str, how: &'static dyn VerificationAlgorithm, key: &[u8]) -> Option<(Value, Value)> {
    let (signed, signature) = jwt.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).ok();
    let key = UnparsedPublicKey::new(how, key);
    key.verify(signed.as_bytes(), &part(signature)?).ok()?;
    let json = |text: &str| serde_json::from_slice(&part(text)?).ok();
    Some((json(header)?, json(claims)?))
}
