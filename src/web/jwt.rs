//! JSON Web Tokens, read strictly: the one verifier of the badge's bearer tokens and of the login's `id_token`.
//!
//! The algorithm says nothing about the key: `RS256` is checked with an RSA key only, `HS256` with a shared secret only, and nothing
//! else is known. Why on ring and not on `jsonwebtoken`: `docs/decisions/0019-a-jwt-verifier-of-our-own.md`.

mod keys;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::secret::Secret;

pub use self::keys::Jwks;
use self::keys::RsaKey;

/// Clocks differ by so many seconds.
const SKEW: f64 = 60.0;

/// Whose tokens are believed, and which of them.
pub struct Trust {
    pub keys: VerificationKeys,
    /// The spellings of `iss` that are the issuer's; empty: the key alone says whose token it is.
    pub issuers: Vec<String>,
    pub audience: Audience,
}

/// What a signature is checked with. The variant decides the algorithm.
pub enum VerificationKeys {
    /// HS256, with a secret shared with who signs.
    Secret(Secret),
    /// RS256, with this key: an `RSAPublicKey` (PKCS#1) in DER.
    Public(Vec<u8>),
    /// RS256, with the keys that the issuer publishes.
    Published(Jwks),
}

/// For whom a token must be.
pub enum Audience {
    /// For one of these, whoever else it is for. Without any, a token must have no audience: one that has is meant for somebody else.
    OneOf(Vec<String>),
    /// For this client of the issuer: alone, or as the authorised party (OpenID Connect Core 1.0, 3.1.3.7).
    Client(String),
}

/// A token that is believed.
#[derive(Debug)]
pub struct VerifiedToken {
    pub issuer: Option<String>,
    /// As it stands there: what a subject may look like, who uses it says.
    pub subject: String,
    /// When it ends, with the allowance for clocks; at most a day from now, since nobody needs to know more of the far future.
    pub expires: DateTime<Utc>,
    pub grounds: TokenBasis,
    claims: Vec<u8>,
}

impl VerifiedToken {
    /// Further claims. A claim that is there twice is refused, as it is among those that were checked.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, TokenError> {
        serde_json::from_slice(&self.claims).map_err(|_| TokenError("its claims cannot be read"))
    }
}

/// What a token's being believed depends on, the settings aside: when it is good, and which of the keys that its issuer publishes
/// fitted. While that is as it was, the token need not be read again.
#[derive(Clone, Debug)]
pub struct TokenBasis {
    moments: Moments,
    /// By which name it was asked for, and the key.
    published: Option<PublishedKey>,
}

type PublishedKey = (Option<String>, Arc<RsaKey>);

impl TokenBasis {
    /// Until when the token is good. `None`: it is not any more, or must be verified anew to know.
    pub fn hold(&self, trusted: &[Trust], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let is_published = |(kid, key): &PublishedKey| {
            trusted.iter().any(|trust| match &trust.keys {
                VerificationKeys::Published(jwks) => jwks.has(kid.as_deref(), key, Instant::now()),
                VerificationKeys::Secret(_) | VerificationKeys::Public(_) => false,
            })
        };
        let fits = self.published.as_ref().is_none_or(is_published);
        fits.then(|| self.moments.in_time(now).ok()).flatten()
    }
}

/// Why a token is not believed. For logs, not for who sent it; says nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is refused: {0}")]
pub struct TokenError(&'static str);

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is. Whatever its value, its being there is enough.
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

fn is_there<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// The claims that are checked. Moments are RFC 7519's `NumericDate`: seconds, with or without a fraction.
#[derive(Deserialize)]
struct JwtClaims {
    iss: Option<String>,
    sub: String,
    aud: Option<Aud>,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    // Only a login looks at these two; of any kind, so that other tokens may have what they like there.
    azp: Option<Value>,
    nonce: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Aud {
    One(String),
    Many(Vec<String>),
}

impl Aud {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// Checks a token against those whom its algorithm can belong to. `nonce` is that of the login which the token answers: it must be
/// the token's, which must then also say when it was issued (OpenID Connect Core 1.0, 2).
pub async fn verify(
    token: &str,
    trusted: &[Trust],
    nonce: Option<&str>,
    now: DateTime<Utc>,
) -> Result<VerifiedToken, TokenError> {
    let (signed, signature) = token
        .rsplit_once('.')
        .ok_or(TokenError("it has no signature"))?;
    let (header, payload) = signed
        .split_once('.')
        .ok_or(TokenError("it has no claims"))?;
    let signature = decode(signature)?;
    let header: Header = serde_json::from_slice(&decode(header)?)
        .map_err(|_| TokenError("its header cannot be read"))?;
    if header.crit {
        return Err(TokenError("it asks for an extension (crit)"));
    }
    let payload = decode(payload)?;
    let trust = trusted
        .iter()
        .find(|trust| trust.keys.algorithm() == header.alg)
        .ok_or(TokenError("its algorithm is not one that is accepted here"))?;
    let published = trust
        .keys
        .check(signed.as_bytes(), &signature, header.kid)
        .await?;
    let claims: JwtClaims =
        serde_json::from_slice(&payload).map_err(|_| TokenError("its claims cannot be read"))?;
    trust.check(&claims)?;
    if let Some(nonce) = nonce {
        answers(&claims, nonce)?;
    }
    let moments = Moments {
        exp: claims.exp,
        nbf: claims.nbf,
        iat: claims.iat,
    };
    Ok(VerifiedToken {
        expires: moments.in_time(now)?,
        grounds: TokenBasis { moments, published },
        issuer: claims.iss,
        subject: claims.sub,
        claims: payload,
    })
}

impl VerificationKeys {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Public(_) | Self::Published(_) => "RS256",
        }
    }

    /// Checks a signature, and says which of the issuer's published keys fitted.
    async fn check(
        &self,
        signed: &[u8],
        signature: &[u8],
        kid: Option<String>,
    ) -> Result<Option<PublishedKey>, TokenError> {
        let wrong = TokenError("its signature is wrong");
        match self {
            Self::Secret(secret) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
                    .map_err(|_| wrong)?;
                mac.update(signed);
                mac.verify_slice(signature).map_err(|_| wrong)?;
                Ok(None)
            }
            Self::Public(key) => {
                let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
                key.verify(signed, signature).map_err(|_| wrong)?;
                Ok(None)
            }
            Self::Published(jwks) => {
                let now = Instant::now();
                let fits =
                    |key: &RsaKey| key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature);
                let name = kid.as_deref();
                let key = jwks.key(name, now).await;
                let mut key = key.ok_or(TokenError("its key is not among the issuer's"))?;
                if fits(&key).is_err() {
                    key = jwks.instead_of(&key, name, now).await.ok_or(wrong)?;
                    fits(&key).map_err(|_| wrong)?;
                }
                Ok(Some((kid, key)))
            }
        }
    }
}

impl Trust {
    fn check(&self, claims: &JwtClaims) -> Result<(), TokenError> {
        let own = |iss: &String| self.issuers.contains(iss);
        if !self.issuers.is_empty() && !claims.iss.as_ref().is_some_and(own) {
            return Err(TokenError("it is from another issuer"));
        }
        let for_us = match (&self.audience, &claims.aud) {
            (Audience::OneOf(own), None) => own.is_empty(),
            (Audience::OneOf(own), Some(aud)) => own.iter().any(|own| aud.names().contains(own)),
            (Audience::Client(_), None) => false,
            (Audience::Client(id), Some(aud)) => {
                let names = aud.names();
                let alone = names.iter().all(|name| name == id);
                let party = claims.azp.as_ref().and_then(Value::as_str);
                names.contains(id) && (alone || party == Some(id))
            }
        };
        if for_us {
            Ok(())
        } else {
            Err(TokenError("it is for another audience"))
        }
    }
}

fn answers(claims: &JwtClaims, nonce: &str) -> Result<(), TokenError> {
    let own = claims.nonce.as_ref().and_then(Value::as_str);
    if !own.is_some_and(|own| own.as_bytes().ct_eq(nonce.as_bytes()).into()) {
        return Err(TokenError("it is for another login"));
    }
    if claims.iat.is_none() {
        return Err(TokenError("it does not say when it was issued"));
    }
    Ok(())
}

/// A token's own, as they stand there.
#[derive(Clone, Copy, Debug)]
struct Moments {
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
}

impl Moments {
    /// Numbers of any size: nothing is added to a token's moments that could not be.
    fn in_time(self, now: DateTime<Utc>) -> Result<DateTime<Utc>, TokenError> {
        let at = (now - DateTime::UNIX_EPOCH).as_seconds_f64();
        if self.exp + SKEW <= at {
            return Err(TokenError("it has expired"));
        }
        let begun = |moment: Option<f64>| moment.is_none_or(|moment| moment <= at + SKEW);
        if !begun(self.nbf) || !begun(self.iat) {
            return Err(TokenError("it is dated in the future"));
        }
        let left = (self.exp + SKEW - at).clamp(0.0, 86_400.0);
        Ok(now + Duration::from_secs_f64(left))
    }
}

/// Base64url without padding, in its one canonical form.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError("it is not base64url"))
}

#[cfg(test)]
pub mod attacks;
