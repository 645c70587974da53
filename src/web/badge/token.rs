//! Bearer tokens: whose badge may be shown.
//!
//! `RS256` is checked with the issuer's key only, `HS256` with the secret shared with the brand's backend only. A refusal has no
//! reasons: who forges tokens shall not learn from it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::answer::plausible;
use super::lately::Lately;
use crate::config::{BadgeTokens, IdTokenKeys};
use crate::domain::ids::AccountId;
use crate::web::jwt::{self, Audience, Jwks, Trust, VerificationKeys};

/// Longer tokens are not looked at.
const MAX_TOKEN: usize = 8 << 10;

/// Whom an account believes.
pub struct TokenVerifier {
    trusted: Vec<Trust>,
    account: AccountId,
    lately: Lately,
}

/// A kind of token that an account believes: what can be told of it, which is no key and no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedTokenKind {
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
pub struct InvalidToken;

impl TokenVerifier {
    pub fn new(account: &AccountId, settings: &BadgeTokens, http: &reqwest::Client) -> Self {
        let backend = settings.secret.iter().map(|secret| Trust {
            keys: VerificationKeys::Secret(secret.clone()),
            issuers: Vec::new(),
            audience: Audience::OneOf(vec![account.to_string()]),
        });
        let issuer = settings.id_tokens.iter().map(|id_tokens| Trust {
            keys: match &id_tokens.keys {
                IdTokenKeys::Public(key) => VerificationKeys::Public(key.clone()),
                IdTokenKeys::Jwks(url) => VerificationKeys::Published(Jwks::new(
                    url.clone(),
                    http.clone(),
                    "badge tokens (UNREAD_BADGE_JWKS_URL)",
                )),
            },
            issuers: vec![id_tokens.issuer.clone()],
            audience: Audience::OneOf(id_tokens.audiences.clone()),
        });
        Self {
            trusted: backend.chain(issuer).collect(),
            account: account.clone(),
            lately: Lately::new(),
        }
    }

    /// What is believed; nothing: no token is.
    pub fn kinds(&self) -> Vec<TrustedTokenKind> {
        let kind = |trust: &Trust| TrustedTokenKind {
            name: match trust.keys {
                VerificationKeys::Secret(_) => "secret",
                VerificationKeys::Public(_) => "public_key",
                VerificationKeys::Published(_) => "jwks",
            },
            issuer: trust.issuers.first().cloned(),
            audiences: match &trust.audience {
                Audience::OneOf(audiences) => audiences.clone(),
                Audience::Client(id) => vec![id.clone()],
            },
        };
        self.trusted.iter().map(kind).collect()
    }

    /// A short-lived token as the brand's backend would sign it, to try the badge out; `None` if no secret is shared with one.
    pub fn sign(&self, subject: &str, now: DateTime<Utc>) -> Option<String> {
        let secret = self.trusted.iter().find_map(|trust| match &trust.keys {
            VerificationKeys::Secret(secret) => Some(secret),
            _ => None,
        })?;
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
    pub async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Verified, InvalidToken> {
        if token.len() > MAX_TOKEN {
            return Err(InvalidToken);
        }
        if let Some(verified) = self.remembered(token, now) {
            return Ok(verified);
        }
        let verified = jwt::verify(token, &self.trusted, None, now)
            .await
            .map_err(|_| InvalidToken)?;
        if !plausible(&verified.subject) {
            return Err(InvalidToken);
        }
        let subject = verified.subject;
        self.lately.keep(token, &subject, verified.grounds);
        Ok(Verified {
            subject,
            expires: verified.expires,
        })
    }

    /// Whose token it is, if it was verified lately and nothing has changed since. Not that it is a bad one if not.
    pub fn remembered(&self, token: &str, now: DateTime<Utc>) -> Option<Verified> {
        self.lately.find(token, &self.trusted, now)
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
