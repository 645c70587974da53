//! Bearer tokens: whose badge may be shown. JSON Web Tokens, read strictly.
//!
//! The algorithm says nothing about the key: `RS256` is checked with the issuer's RSA key only, `HS256` with the secret shared with
//! the brand's backend only, and nothing else is known. A refusal has no reasons: who forges tokens shall not learn from it.
//! A parser of our own, because what is accepted here is far less than what JWT libraries do.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;
use sha2::Sha256;

use super::answer::plausible;
use super::jwks::Jwks;
use crate::config::{BadgeTokens, IdTokenKeys};
use crate::domain::ids::AccountId;
use crate::secret::Secret;

/// Longer tokens are not looked at.
const MAX_TOKEN: usize = 8 << 10;

/// Clocks differ by so much.
const SKEW: f64 = 60.0;

/// Whom an account believes.
pub struct Tokens {
    issuer: Option<Issuer>,
    backend: Option<Secret>,
    account: AccountId,
}

struct Issuer {
    keys: Keys,
    name: String,
    audiences: Vec<String>,
}

enum Keys {
    One(Vec<u8>),
    Published(Jwks),
}

/// A kind of token that an account believes: what can be told of it, which is no key and no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    /// Whose tokens, and for whom.
    pub issuer: Option<String>,
    pub audiences: Vec<String>,
}

/// A token for a try-out lasts so long.
const TRIED: TimeDelta = TimeDelta::minutes(10);

/// A good token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub subject: String,
    pub expires: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: String,
    aud: Option<Audience>,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn includes(&self, name: &str) -> bool {
        match self {
            Self::One(own) => own == name,
            Self::Many(own) => own.iter().any(|own| own == name),
        }
    }
}

impl Tokens {
    pub fn new(account: &AccountId, settings: &BadgeTokens, http: &reqwest::Client) -> Self {
        let issuer = settings.id_tokens.as_ref().map(|id_tokens| Issuer {
            keys: match &id_tokens.keys {
                IdTokenKeys::Public(key) => Keys::One(key.clone()),
                IdTokenKeys::Jwks(url) => Keys::Published(Jwks::new(
                    url.clone(),
                    http.clone(),
                    "badge tokens (UNREAD_BADGE_JWKS_URL)",
                )),
            },
            name: id_tokens.issuer.clone(),
            audiences: id_tokens.audiences.clone(),
        });
        Self {
            issuer,
            backend: settings.secret.clone(),
            account: account.clone(),
        }
    }

    /// What is believed; nothing: no token is.
    pub fn kinds(&self) -> Vec<Kind> {
        let issuer = self.issuer.iter().map(|issuer| Kind {
            name: match issuer.keys {
                Keys::One(_) => "public_key",
                Keys::Published(_) => "jwks",
            },
            issuer: Some(issuer.name.clone()),
            audiences: issuer.audiences.clone(),
        });
        let backend = self.backend.iter().map(|_| Kind {
            name: "secret",
            issuer: None,
            audiences: vec![self.account.to_string()],
        });
        backend.chain(issuer).collect()
    }

    /// A short-lived token as the brand's backend would sign it, to try the badge out; `None` if no secret is shared with one.
    pub fn sign(&self, subject: &str, now: DateTime<Utc>) -> Option<String> {
        let secret = self.backend.as_ref()?;
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(serde_json::json!({ "alg": "HS256", "typ": "JWT" }));
        let claims = part(serde_json::json!({
            "sub": subject,
            "aud": self.account.as_str(),
            "exp": (now + TRIED).timestamp(),
        }));
        let signed = format!("{header}.{claims}");
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
        mac.update(signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        Some(format!("{signed}.{signature}"))
    }

    /// Whose token it is, if it is a good one for this account now.
    pub async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Verified, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused)?;
        let (header, claims) = signed.split_once('.').ok_or(Refused)?;
        let signature = decode(signature)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refused)?;
        if header.crit.is_some() {
            return Err(Refused);
        }
        let claims = decode(claims)?;
        match header.alg.as_str() {
            "RS256" => {
                let issuer = self.issuer.as_ref().ok_or(Refused)?;
                issuer
                    .check(signed.as_bytes(), &signature, header.kid.as_deref())
                    .await?;
                let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Refused)?;
                if claims.iss.as_deref() != Some(&issuer.name) || !issuer.is_for_us(&claims) {
                    return Err(Refused);
                }
                in_time(claims, now)
            }
            "HS256" => {
                let secret = self.backend.as_ref().ok_or(Refused)?;
                let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
                    .map_err(|_| Refused)?;
                mac.update(signed.as_bytes());
                mac.verify_slice(&signature).map_err(|_| Refused)?;
                let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Refused)?;
                let ours = |aud: &Audience| aud.includes(self.account.as_str());
                if !claims.aud.as_ref().is_some_and(ours) {
                    return Err(Refused);
                }
                in_time(claims, now)
            }
            _ => Err(Refused),
        }
    }
}

impl Issuer {
    async fn check(
        &self,
        signed: &[u8],
        signature: &[u8],
        kid: Option<&str>,
    ) -> Result<(), Refused> {
        match &self.keys {
            Keys::One(key) => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
                .verify(signed, signature)
                .map_err(|_| Refused),
            Keys::Published(jwks) => {
                let key = jwks.key(kid, Instant::now()).await.ok_or(Refused)?;
                key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
                    .map_err(|_| Refused)
            }
        }
    }

    fn is_for_us(&self, claims: &Claims) -> bool {
        match &claims.aud {
            None => self.audiences.is_empty(),
            Some(aud) => self.audiences.iter().any(|own| aud.includes(own)),
        }
    }
}

/// Base64url without padding, in its one canonical form.
fn decode(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused)
}

fn in_time(claims: Claims, now: DateTime<Utc>) -> Result<Verified, Refused> {
    let at = (now - DateTime::UNIX_EPOCH).as_seconds_f64();
    let begun = |moment: Option<f64>| moment.is_none_or(|moment| moment <= at + SKEW);
    let good = claims.exp + SKEW > at && begun(claims.nbf) && begun(claims.iat);
    if !good || !plausible(&claims.sub) {
        return Err(Refused);
    }
    // Nobody needs to know more of the far future than that it is far.
    let left = (claims.exp + SKEW - at).clamp(0.0, 86_400.0);
    Ok(Verified {
        subject: claims.sub,
        expires: now + Duration::from_secs_f64(left),
    })
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
