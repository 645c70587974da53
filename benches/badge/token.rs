//! Badge tokens as a brand's backend makes them; `load` takes them from here, too.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use unread::clock::Clock;
use unread::sandbox::ACCOUNT;

/// The setting `UNREAD_BADGE_SECRET`.
pub const SECRET: &str = "a secret of thirty-two characters";

/// For a consumer, good for ten minutes.
pub fn token(consumer: &str) -> String {
    let expires = Clock::System.now().timestamp() + 600;
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = format!(r#"{{"aud":"{ACCOUNT}","sub":"{consumer}","exp":{expires}}}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}
