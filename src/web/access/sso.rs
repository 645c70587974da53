//! Single sign-on: OpenID Connect's authorisation code flow with PKCE, state and nonce.
//!
//! A client of our own on the verifier of tokens that the badge has too: what is needed is one flow with one kind of token. The `id_token`
//! comes from the issuer over TLS and is verified nevertheless. A person is known by issuer and subject; the first time, by the name
//! under which an administrator has added them, and only an address that the issuer has verified counts as a name.

use anyhow::{Context as _, ensure};
use axum::extract::{FromRequestParts as _, Query, Request, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use url::Url;

use super::{Table, csrf, login, session};
use crate::config;
use crate::control::logins::{self, Known, Login};
use crate::db;
use crate::db::sso::Started;
use crate::domain::access::Role;
use crate::hashing;
use crate::metrics::AccessOutcome;
use crate::web::State;
use crate::web::badge::Client;
use crate::web::dashboard::{Unshown, careful};
use crate::web::jwt::{self, Audience, Jwks, Keys, Trust};
use crate::web::templates;

/// How long a person may take at the issuer.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

const MAX_BODY: usize = 64 << 10;

/// The issuer, as far as it is known.
pub struct Issuer {
    settings: config::Sso,
    http: reqwest::Client,
    redirect: Url,
    found: OnceCell<Found>,
}

/// What the issuer says of itself.
struct Found {
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
struct Tokens {
    id_token: String,
}

/// What the token says of the person.
#[derive(Deserialize)]
struct Claims {
    email: Option<String>,
    email_verified: Option<serde_json::Value>,
    preferred_username: Option<String>,
}

impl Claims {
    /// What the person can be known by who has not come before.
    fn name(&self) -> Option<&str> {
        let verified = match &self.email_verified {
            Some(serde_json::Value::Bool(verified)) => *verified,
            Some(serde_json::Value::String(word)) => word == "true",
            _ => false,
        };
        let email = self.email.as_deref().filter(|_| verified);
        email.or(self.preferred_username.as_deref())
    }
}

impl Issuer {
    pub fn new(
        settings: config::Sso,
        http: reqwest::Client,
        public_url: &Url,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            settings,
            http,
            redirect: public_url
                .join("login/sso/callback")
                .context("extending the public URL")?,
            found: OnceCell::new(),
        })
    }

    async fn found(&self) -> anyhow::Result<&Found> {
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
            Ok(Found {
                authorization: address(&told.authorization_endpoint)?,
                token: address(&told.token_endpoint)?,
                secret_in_body: methods
                    .is_some_and(|m| !m.iter().any(|m| m == "client_secret_basic")),
                trust: trust(
                    &self.settings,
                    Keys::Published(Jwks::new(
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
    async fn address(&self, state: &str, started: &Started) -> anyhow::Result<Url> {
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
    async fn redeem(
        &self,
        code: &str,
        started: &Started,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Known> {
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
        let tokens: Tokens = read(request.form(&form))
            .await
            .context("redeeming the code")?;
        let role = self.settings.role;
        identify(&found.trust, &tokens.id_token, &started.nonce, role, now).await
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
    role: Option<Role>,
    now: DateTime<Utc>,
) -> anyhow::Result<Known> {
    let trusted = std::slice::from_ref(trust);
    let verified = jwt::verify(token, trusted, Some(nonce), now).await?;
    let (issuer, subject) = (verified.issuer.as_deref(), &verified.subject);
    ensure!(
        (1..=255).contains(&subject.len()) && !subject.contains(char::is_control),
        "the token names nobody"
    );
    let claims: Claims = verified.claims()?;
    Ok(Known {
        subject: format!("{} {subject}", issuer.unwrap_or_default()),
        name: claims.name().map(str::to_owned),
        role,
    })
}

/// What is believed of the issuer: its name with and without the slash at the end, since settings are typed by people.
fn trust(settings: &config::Sso, keys: Keys) -> Trust {
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

pub fn add(table: &mut Table) {
    table.open(Method::GET, "/login/sso", get(start));
    table.open(Method::GET, "/login/sso/callback", get(come_back));
}

/// Ties the login to the browser that began it.
fn cookie_name(state: &State) -> &'static str {
    if state.access.secure {
        "__Host-unread-sso"
    } else {
        "unread-sso"
    }
}

#[derive(Deserialize)]
struct Back {
    #[serde(default)]
    to: String,
}

async fn start(
    Shared(state): Shared<State>,
    Query(back): Query<Back>,
    request: Request,
) -> Result<Response, Unshown> {
    let Some(issuer) = &state.access.sso else {
        return Ok(Redirect::to("/login").into_response());
    };
    let (mut parts, _) = request.into_parts();
    let Ok(Client(address)) = Client::from_request_parts(&mut parts, &state).await;
    if state
        .access
        .strangers
        .pass(address, std::time::Instant::now())
        .is_err()
    {
        return Err(Unshown::too_many());
    }
    let word = hashing::token();
    let started = Started {
        nonce: hashing::token(),
        code_verifier: format!("{}{}", hashing::token(), hashing::token()),
        back_to: login::inside(&back.to).to_owned(),
    };
    let url = match issuer.address(&word, &started).await {
        Ok(url) => url,
        Err(error) => return Ok(failed(&error)),
    };
    let expires_at = state.clock.now() + PATIENCE;
    db::sso::start(&state.pool, &hashing::digest(&word), &started, expires_at).await?;
    let age = u32::try_from(PATIENCE.num_seconds()).ok();
    let cookie = session::header_of(&state.access, cookie_name(&state), &word, age);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(url.as_str())).into_response())
}

#[derive(Deserialize)]
struct Came {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    error: Option<String>,
}

async fn come_back(
    Shared(state): Shared<State>,
    Query(came): Query<Came>,
    Client(from): Client,
    headers: HeaderMap,
) -> Result<Response, Unshown> {
    let Some(issuer) = &state.access.sso else {
        return Ok(Redirect::to("/login").into_response());
    };
    let refused = |outcome| state.refused(outcome, from, None);
    let began_here = session::cookie(&headers, cookie_name(&state))
        .is_some_and(|own| csrf::fits(own, &came.state));
    if !began_here {
        return Ok(not_let_in(
            "This login was not begun in this browser, or took too long. Try again.",
        ));
    }
    let now = state.clock.now();
    let taken = db::sso::take(&state.pool, &hashing::digest(&came.state), now).await?;
    let Some(started) = taken else {
        return Ok(not_let_in(
            "This login took too long, or was used already. Try again.",
        ));
    };
    if came.error.is_some() || came.code.is_empty() {
        refused(AccessOutcome::SsoRefused);
        return Ok(not_let_in("The single sign-on did not let you in."));
    }
    let known = match issuer.redeem(&came.code, &started, now).await {
        Ok(known) => known,
        Err(error) => {
            refused(AccessOutcome::SsoFailed);
            return Ok(failed(&error));
        }
    };
    match logins::with_sso(&state.pool, &known, now).await? {
        Login::In { user } => login::enter(&state, &headers, user, &started.back_to).await,
        Login::Wrong { .. } | Login::Later(_) => {
            refused(AccessOutcome::SsoRefused);
            let name = known.name.as_deref().unwrap_or("you");
            Ok(not_let_in(&format!(
                "The single sign-on knows you, but nobody has let you in here yet. Ask an administrator to add {name}."
            )))
        }
    }
}

fn failed(error: &anyhow::Error) -> Response {
    tracing::error!("The single sign-on failed: {error:#}");
    not_let_in("The single sign-on does not work at the moment; the log of the service says why.")
}

fn not_let_in(why: &str) -> Response {
    let page = templates::message("Not logged in", why, Some(("/login", "To the login")));
    (StatusCode::FORBIDDEN, careful(page)).into_response()
}

#[cfg(test)]
#[path = "sso_tests.rs"]
mod tests;
