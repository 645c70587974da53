//! Private keys, and what is signed with them: JSON Web Tokens that say who we are (RFC 7523).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::json;

/// How long an assertion is good for. It is used at once; a clock may be off.
const GOOD_FOR: i64 = 600;

/// An RSA key. `Debug` does not show it.
#[derive(Clone)]
struct SigningKey(Arc<RsaKeyPair>);

impl SigningKey {
    fn of_pem(pem: &str) -> Option<Self> {
        let key = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            _ => return None,
        };
        Some(Self(Arc::new(key.ok()?)))
    }

    fn sign(
        &self,
        padding: &'static dyn RsaEncoding,
        header: &serde_json::Value,
        claims: &serde_json::Value,
    ) -> Option<String> {
        let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(
                padding,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .ok()?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        Some(format!("{signed}.{signature}"))
    }
}

/// A certificate that an app registration of Microsoft's knows, with its private key. `Debug` does not show the key.
#[derive(Clone)]
pub struct ClientCertificate {
    key: SigningKey,
    /// The SHA-256 of the certificate, by which Microsoft finds it.
    thumbprint: String,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(…)")
    }
}

impl ClientCertificate {
    /// A certificate and its RSA key, one below the other.
    pub fn of_pem(pem: &str) -> Result<Self, &'static str> {
        const BOTH: &str = "a certificate and its RSA private key in PEM, one below the other";
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| BOTH)?;
        let key = SigningKey::of_pem(pem).ok_or(BOTH)?;
        let hash = ring::digest::digest(&ring::digest::SHA256, &certificate);
        Ok(Self {
            key,
            thumbprint: BASE64_URL_SAFE_NO_PAD.encode(hash),
        })
    }

    /// Says to `audience` at `now` (seconds since 1970) that we are this app.
    pub(super) fn assertion(&self, client_id: &str, audience: &str, now: i64) -> Option<String> {
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint });
        let claims = json!({
            "aud": audience, "iss": client_id, "sub": client_id, "jti": format!("{:032x}", rand::random::<u128>()),
            "nbf": now, "iat": now, "exp": now + GOOD_FOR,
        });
        self.key.sign(&RSA_PSS_SHA256, &header, &claims)
    }
}

/// The key of a Google service account. `Debug` does not show it.
#[derive(Clone)]
pub struct GoogleKey {
    key: SigningKey,
    key_id: String,
    email: String,
}

impl fmt::Debug for GoogleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GoogleKey(…)")
    }
}

/// As Google's console writes it; of its further fields we need none.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
}

impl GoogleKey {
    /// The file that Google's console made.
    pub fn of_json(json: &str) -> Result<Self, &'static str> {
        const FILE: &str = "the JSON key of a service account, as Google's console has written it, with client_email and an RSA private_key";
        let file: KeyFile = serde_json::from_str(json).map_err(|_| FILE)?;
        let key = SigningKey::of_pem(&file.private_key).ok_or(FILE)?;
        if !file.client_email.contains('@') {
            return Err(FILE);
        }
        Ok(Self {
            key,
            key_id: file.private_key_id,
            email: file.client_email,
        })
    }

    /// Asks `audience` at `now` (seconds since 1970) to be let into a mailbox.
    pub(super) fn assertion(&self, mailbox: &str, audience: &str, now: i64) -> Option<String> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id });
        let claims = json!({
            "iss": self.email, "sub": mailbox, "scope": "https://mail.google.com/", "aud": audience,
            "iat": now, "exp": now + GOOD_FOR,
        });
        self.key.sign(&RSA_PKCS1_SHA256, &header, &claims)
    }
}
