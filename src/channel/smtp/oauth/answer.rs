//! A token endpoint's answer: hostile until it is parsed, and none of its words is kept.

use std::time::Duration;

use serde::Deserialize;

use super::tokens::AccessToken;
use crate::domain::outcome::Retryable;
use crate::secret::Secret;

/// Microsoft's tokens have some 2,000 characters; a command that logs in has room for 8,000 (RFC 4954, 4).
const LONGEST: usize = 8_000;

/// A token that says it lasts longer is asked for anew after a day all the same.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// The endpoint refuses us: OAuth's word for it, and Microsoft's number.
    Refused {
        error: String,
        number: Option<u32>,
    },
    /// It has too much to do, or is out of order.
    Busy {
        status: u16,
        retry_after: Option<Duration>,
    },
    TimedOut,
    Unreachable,
    /// What came is not a token that could be used.
    Unusable(&'static str),
}

impl TokenFault {
    /// In a few words of a closed set: `invalid_client 7000215`, `http 503`.
    pub fn code(&self) -> String {
        match self {
            Self::Refused {
                error,
                number: Some(number),
            } => format!("{error} {number}"),
            Self::Refused { error, .. } => error.clone(),
            Self::Busy { status, .. } => format!("http {status}"),
            Self::TimedOut => "timed out".to_owned(),
            Self::Unreachable => "connection lost".to_owned(),
            Self::Unusable(what) => (*what).to_owned(),
        }
    }

    /// What follows for the message that waits for the token.
    pub fn class(&self) -> Retryable {
        match self {
            Self::Refused { .. } | Self::Unusable(_) => Retryable::Config,
            Self::Busy { .. } | Self::TimedOut | Self::Unreachable => Retryable::Transient,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What came, with a body of bounded size.
pub(super) struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

#[derive(Deserialize)]
struct GoodAnswer {
    access_token: String,
    token_type: Option<String>,
    expires_in: serde_json::Value,
}

#[derive(Deserialize)]
struct BadAnswer {
    error: String,
    #[serde(default)]
    error_codes: Vec<u32>,
    error_description: Option<String>,
}

impl Answer {
    pub fn read(&self) -> Result<AccessToken, TokenFault> {
        match self.status {
            200 => self.token(),
            300..=399 => Err(TokenFault::Unusable("redirect")),
            429 | 500.. => Err(self.busy()),
            _ => Err(self.refusal()),
        }
    }

    fn busy(&self) -> TokenFault {
        TokenFault::Busy {
            status: self.status,
            retry_after: self.retry_after,
        }
    }

    fn token(&self) -> Result<AccessToken, TokenFault> {
        let unusable = TokenFault::Unusable;
        let answer: GoodAnswer =
            serde_json::from_slice(&self.body).map_err(|_| unusable("no token"))?;
        let token = answer.access_token;
        // It goes into a command: what is not of RFC 6750's letters could end that.
        let is_token = (1..=LONGEST).contains(&token.len())
            && token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
        let is_bearer = answer
            .token_type
            .is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        if !is_token || !is_bearer {
            return Err(unusable("no token"));
        }
        // Some write the number as a text.
        let life = match &answer.expires_in {
            serde_json::Value::String(text) => text.parse().ok(),
            number => number.as_i64().or_else(|| {
                number
                    .as_f64()
                    .filter(|n| n.is_finite())
                    .map(|n| if n < 1.0 { 0 } else { i64::MAX })
            }),
        };
        match life.ok_or(unusable("no token"))? {
            ..=0 => Err(unusable("ended token")),
            life => Ok(AccessToken {
                token: Secret::new(token),
                life: Duration::from_secs(life.unsigned_abs().min(LONGEST_LIFE)),
            }),
        }
    }

    fn refusal(&self) -> TokenFault {
        let Ok(bad) = serde_json::from_slice::<BadAnswer>(&self.body) else {
            return TokenFault::Unusable("no answer of a token endpoint");
        };
        if matches!(
            bad.error.as_str(),
            "temporarily_unavailable" | "server_error"
        ) {
            return self.busy();
        }
        let is_word = (1..=40).contains(&bad.error.len())
            && bad
                .error
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_');
        if !is_word {
            return TokenFault::Unusable("no answer of a token endpoint");
        }
        let described = || number_of(bad.error_description.as_deref()?);
        TokenFault::Refused {
            number: bad.error_codes.first().copied().or_else(described),
            error: bad.error,
        }
    }
}

/// The number in `AADSTS7000215: …`.
fn number_of(description: &str) -> Option<u32> {
    let (_, rest) = description.split_once("AADSTS")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
