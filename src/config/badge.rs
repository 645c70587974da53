//! Whom the badge believes: the keys behind the tokens that a brand's pages send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::parse;
use super::reader::{Noted, SettingsReader};
use crate::secret::Secret;

/// Tokens that are believed for an account; without either, none is.
#[derive(Clone, Debug, Default)]
pub struct BadgeTokens {
    /// The `id_tokens` that the brand's login issues, signed with RS256.
    pub id_tokens: Option<IdTokens>,
    /// Shared with the brand's backend, which signs with HS256.
    pub secret: Option<Secret>,
}

#[derive(Clone, Debug)]
pub struct IdTokens {
    pub keys: IdTokenKeys,
    pub issuer: String,
    /// One of these must be among a token's audiences. Empty: tokens must have none, since one that has is meant for somebody else.
    pub audiences: Vec<String>,
}

#[derive(Clone, Debug)]
pub enum IdTokenKeys {
    /// An `RSAPublicKey` (PKCS#1) in DER.
    Public(Vec<u8>),
    /// Where the issuer publishes its keys.
    Jwks(Url),
}

pub fn read(r: &mut SettingsReader) -> Result<BadgeTokens, Noted> {
    let public_key = r.optional("UNREAD_BADGE_PUBLIC_KEY", public_key);
    let jwks_url = r.optional("UNREAD_BADGE_JWKS_URL", endpoint);
    let issuer = r.optional("UNREAD_BADGE_ISSUER", parse::text);
    let audiences = r.list("UNREAD_BADGE_AUDIENCE", parse::text);
    let secret = r.optional("UNREAD_BADGE_SECRET", |raw| {
        if raw.len() >= 32 {
            Ok(Secret::new(raw))
        } else {
            Err("at least 32 characters, for example the output of `openssl rand -hex 32`")
        }
    });
    let keys = match (public_key?, jwks_url?) {
        (Some(_), Some(_)) => {
            let name = r.name_of("UNREAD_BADGE_JWKS_URL");
            return Err(r.problem(
                &name,
                "is set, and a public key too",
                "Keep one of the two: the JWKS follows the issuer's key changes, the public key never changes.",
            ));
        }
        (Some(key), None) => Some(IdTokenKeys::Public(key)),
        (None, Some(url)) => Some(IdTokenKeys::Jwks(url)),
        (None, None) => None,
    };
    let (issuer, audiences) = (issuer?, audiences?);
    let id_tokens = match keys {
        None => None,
        Some(keys) => Some(IdTokens {
            keys,
            issuer: needed(
                r,
                "UNREAD_BADGE_ISSUER",
                issuer,
                "the `iss` of your id_tokens, for example https://login.example.com",
            )?,
            audiences: accepted(needed(
                r,
                "UNREAD_BADGE_AUDIENCE",
                audiences,
                "the `aud` of your id_tokens; `none` if they have none",
            )?),
        }),
    };
    Ok(BadgeTokens {
        id_tokens,
        secret: secret?,
    })
}

/// A key alone believes every token it ever signed, also those meant for others.
fn needed<T>(r: &mut SettingsReader, env: &str, value: Option<T>, what: &str) -> Result<T, Noted> {
    value.ok_or_else(|| {
        let name = r.name_of(env);
        r.problem(
            &name,
            "is not set, but the badge is to believe id_tokens",
            format!("Write {what}."),
        )
    })
}

fn accepted(audiences: Vec<String>) -> Vec<String> {
    if audiences == ["none"] {
        Vec::new()
    } else {
        audiences
    }
}

/// An address that may carry a query, unlike a base address.
fn endpoint(raw: &str) -> Result<Url, &'static str> {
    parse::page_url(raw)
        .ok()
        .filter(|url| url.scheme() == "https" || parse::is_loopback(url))
        .ok_or("an address that begins with https://, for example https://login.example.com/.well-known/jwks.json")
}

/// The key as LivePerson takes it (base64 of the X.509 form, no PEM lines) or as PEM.
fn public_key(raw: &str) -> Result<Vec<u8>, &'static str> {
    let base64: String = raw
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .collect();
    let der = STANDARD.decode(base64).ok();
    if der.as_deref().is_some_and(is_private_key) {
        return Err(
            "the public key: this is the private one, which belongs into no setting; make a new pair if others may have seen it",
        );
    }
    der.and_then(|der| rsa_public_key(&der).map(<[u8]>::to_vec))
        .ok_or("an RSA public key of 2048 bits or more in base64 or PEM (BEGIN PUBLIC KEY), as registered at LivePerson")
}

/// The `RSAPublicKey` inside a `SubjectPublicKeyInfo`.
fn rsa_public_key(der: &[u8]) -> Option<&[u8]> {
    /// `rsaEncryption` and its NULL.
    const RSA: &[u8] = &[
        0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    let (info, rest) = element(der, 0x30)?;
    let (algorithm, info) = element(info, 0x30)?;
    let (bits, after) = element(info, 0x03)?;
    let key = bits.strip_prefix(&[0])?;
    let (numbers, _) = element(key, 0x30)?;
    let (modulus, _) = element(numbers, 0x02)?;
    let strong = modulus.len() >= 256;
    (rest.is_empty() && after.is_empty() && algorithm == RSA && strong).then_some(key)
}

/// A private key, in PKCS#8 or PKCS#1, begins with its version, a small number; a public one does not.
fn is_private_key(der: &[u8]) -> bool {
    let version = element(der, 0x30).and_then(|(info, _)| element(info, 0x02));
    version.is_some_and(|(version, _)| matches!(version, [0 | 1]))
}

/// The contents of a DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_at_checked(2)?;
    if head[0] != tag {
        return None;
    }
    let (length, rest) = match usize::from(head[1]) {
        short @ 0..=0x7f => (short, rest),
        long @ 0x81..=0x82 => {
            let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
            (bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../../tests/fixtures/badge/issuer.public.pem");

    #[test]
    fn a_public_key_is_taken_as_pem_and_as_liveperson_takes_it() {
        let bare: String = KEY.lines().filter(|l| !l.starts_with('-')).collect();
        let key = public_key(KEY).unwrap();
        assert_eq!(public_key(&bare).unwrap(), key);
        assert_eq!(key[0], 0x30);
    }

    #[test]
    fn what_is_not_a_public_key_is_refused_and_nothing_panics() {
        let der = STANDARD
            .decode(
                KEY.lines()
                    .filter(|l| !l.starts_with('-'))
                    .collect::<String>(),
            )
            .unwrap();
        assert!(rsa_public_key(&der).is_some());
        for end in 0..der.len() {
            assert_eq!(rsa_public_key(&der[..end]), None);
        }
        // Version, algorithm and key of PKCS#8, cut short.
        let private = STANDARD.encode([0x30, 0x05, 0x02, 0x01, 0x00, 0x30, 0x00]);
        assert!(public_key(&private).unwrap_err().contains("private one"));
        for raw in ["", "hello", "-----BEGIN PUBLIC KEY-----", "MIIB"] {
            assert!(public_key(raw).is_err(), "{raw}");
        }
    }
}
