//! Values that must never be seen: passwords, tokens, keys.
//!
//! A secret shows itself only through [`Secret::expose`], so that a search for that word lists every place where one leaves this
//! program. It is never written into a log, an error or a page by accident.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

/// A password, token or key. `Debug` and `Display` show `…`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Every caller hands it to its provider or computes with it; nobody logs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The key with which it signs webhooks, as Standard Webhooks has it: `whsec_`, and 24 to 64 bytes in base64. `None`: it is not one.
    pub fn signing_key(&self) -> Option<Vec<u8>> {
        let key = STANDARD.decode(self.0.strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&key.len()).then_some(key)
    }
}

/// Takes the same time wherever two secrets of one length differ.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "… Secret(…)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_secret_that_signs_is_one_of_standard_webhooks() {
        let key = |bytes: usize| {
            let secret = format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
            Secret::new(secret).signing_key().map(|key| key.len())
        };
        assert_eq!([23, 24, 64, 65].map(key), [None, Some(24), Some(64), None]);
        for secret in ["", "whsec_", "whsec_hunter2", &STANDARD.encode([7; 32])] {
            assert_eq!(Secret::new(secret).signing_key(), None, "{secret}");
        }
    }

    #[test]
    fn secrets_compare_by_value() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
        assert_ne!(Secret::new("a"), Secret::new("aa"));
    }
}
