//! The issuer of the single sign-on: what it says of itself, and what its tokens say of people.
//!
//! A client of our own on the verifier of tokens that the badge has too: what is needed is one flow with one kind of token. The `id_token`
//! comes from the issuer over TLS and is verified nevertheless.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use crate::config;
use crate::control::sso::SsoIdentity;
use crate::db::sso::Started;
use crate::hashing;
use crate::web::jwt::{self, Audience, Jwks, Trust, VerificationKeys};

const MAX_BODY: usize = 64 << 10;

/// The issuer, as far as it is known.
pub struct OidcIssuer {
    settings: config::Sso,
    http: reqwest::Client,
    redirect: Url,
    found: OnceCell<IssuerMetadata>,
}

/// What the issuer says of itself.
struct IssuerMetadata {
    authorization: Url,
    token: Url,
    secret_in_body: bool,
    trust: Trust,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct TokenResponse {
    id_token: String,
}

/// What the token says of the person. A name that people may choose for themselves (`preferred_username`) is not among it.
#[derive(Deserialize)]
struct PersonClaims {
    email: Option<String>,
    /// `None`: the issuer does not say, which is not the same as `null`.
    #[serde(default, deserialize_with = "said")]
    email_verified: Option<Value>,
}

fn said<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

impl PersonClaims {
    /// The person's address, if it is known to be the person's. `trust`: of an issuer that does not say, it is.
    ///
    /// Some issuers write `true` as a word. In plain ASCII only: letters that become others in lower case would be somebody else's address.
    fn email(&self, trust: bool) -> Option<&str> {
        let verified = match &self.email_verified {
            Some(Value::Bool(verified)) => *verified,
            Some(Value::String(word)) => word == "true",
            Some(_) => false,
            None => trust,
        };
        let email = self.email.as_deref()?;
        let (who, at) = email.split_once('@')?;
        let one_mailbox = !who.is_empty() && !at.is_empty() && !at.contains('@');
        let plain = email.bytes().all(|b| b.is_ascii_graphic());
        (verified && one_mailbox && plain).then_some(email)
    }
}

impl OidcIssuer {
    pub fn new(
        settings: config::Sso,
        http: reqwest::Client,
        dashboard_url: &Url,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            settings,
            http,
            redirect: dashboard_url
                .join("login/sso/callback")
                .context("extending the dashboard's URL")?,
            found: OnceCell::new(),
        })
    }

    async fn found(&self) -> anyhow::Result<&IssuerMetadata> {
        let url = self
            .settings
            .issuer
            .join(".well-known/openid-configuration")?;
        let find = async || {
            let told: Discovery = read(self.http.get(url.clone())).await?;
            let same = told.issuer.trim_end_matches('/')
                == self.settings.issuer_name.trim_end_matches('/');
            ensure!(same, "the issuer calls itself {}", told.issuer);
            let plain = self.settings.issuer.scheme() == "http";
            let address = |text: &str| -> anyhow::Result<Url> {
                let url = Url::parse(text)?;
                ensure!(plain || url.scheme() == "https", "an address is not https");
                Ok(url)
            };
            let methods = told.token_endpoint_auth_methods_supported;
            Ok(IssuerMetadata {
                authorization: address(&told.authorization_endpoint)?,
                token: address(&told.token_endpoint)?,
                secret_in_body: methods
                    .is_some_and(|m| !m.iter().any(|m| m == "client_secret_basic")),
                trust: trust(
                    &self.settings,
                    VerificationKeys::Published(Jwks::new(
                        address(&told.jwks_uri)?,
                        self.http.clone(),
                        "single sign-on (UNREAD_OIDC_ISSUER)",
                    )),
                ),
            })
        };
        let found = self.found.get_or_try_init(find).await;
        found.context("reading what the issuer says of itself")
    }

    /// The address to send the browser to.
    pub async fn address(&self, state: &str, started: &Started) -> anyhow::Result<Url> {
        let mut url = self.found().await?.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", self.redirect.as_str())
            .append_pair("scope", "openid email profile")
            .append_pair("state", state)
            .append_pair("nonce", &started.nonce)
            .append_pair("code_challenge", &challenge(&started.code_verifier))
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Who came back with this code.
    pub async fn redeem(
        &self,
        code: &str,
        started: &Started,
        now: DateTime<Utc>,
    ) -> anyhow::Result<SsoIdentity> {
        let found = self.found().await?;
        let client_id = self.settings.client_id.as_str();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect.as_str()),
            ("client_id", client_id),
            ("code_verifier", started.code_verifier.as_str()),
        ];
        let mut request = self.http.post(found.token.clone());
        if let Some(secret) = &self.settings.client_secret {
            if found.secret_in_body {
                form.push(("client_secret", secret.expose()));
            } else {
                let word = |raw: &str| -> String {
                    url::form_urlencoded::byte_serialize(raw.as_bytes()).collect()
                };
                request = request.basic_auth(word(client_id), Some(word(secret.expose())));
            }
        }
        let tokens: TokenResponse = read(request.form(&form))
            .await
            .context("redeeming the code")?;
        identify(
            &found.trust,
            &tokens.id_token,
            &started.nonce,
            &self.settings,
            now,
        )
        .await
    }
}

/// RFC 7636.
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(hashing::digest(verifier))
}

/// Who the token says has logged in.
async fn identify(
    trust: &Trust,
    token: &str,
    nonce: &str,
    settings: &config::Sso,
    now: DateTime<Utc>,
) -> anyhow::Result<SsoIdentity> {
    let trusted = std::slice::from_ref(trust);
    let verified = jwt::verify(token, trusted, Some(nonce), now).await?;
    let (issuer, subject) = (verified.issuer.as_deref(), &verified.subject);
    ensure!(
        (1..=255).contains(&subject.len()) && !subject.contains(char::is_control),
        "the token has no subject"
    );
    let claims: PersonClaims = verified.claims()?;
    Ok(SsoIdentity {
        subject: format!("{} {subject}", issuer.unwrap_or_default()),
        email: claims.email(settings.trust_email).map(str::to_owned),
        role: settings.role,
    })
}

/// What is believed of the issuer: its name with and without the slash at the end, since settings are typed by people.
fn trust(settings: &config::Sso, keys: VerificationKeys) -> Trust {
    let name = settings.issuer_name.trim_end_matches('/');
    Trust {
        keys,
        issuers: vec![name.to_owned(), format!("{name}/")],
        audience: Audience::Client(settings.client_id.clone()),
    }
}

/// Asks the issuer for JSON. Errors name no address: codes are in them.
async fn read<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> anyhow::Result<T> {
    let mut answer = request.send().await.map_err(reqwest::Error::without_url)?;
    let status = answer.status();
    ensure!(status.is_success(), "the issuer answers {status}");
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        ensure!(
            body.len() + chunk.len() <= MAX_BODY,
            "the answer is too long"
        );
        body.extend_from_slice(&chunk);
    }
    // serde_json quotes what it finds.
    serde_json::from_slice(&body).map_err(|_| anyhow::anyhow!("the issuer's answer cannot be read"))
}

#[cfg(test)]
#[path = "issuer_tests.rs"]
mod tests;
