//! The token endpoints of Microsoft and Google, and what a token is worth at the mail server.
//!
//! Written on their documents, apart from the client: what is signed is checked with the other half of the key, claim by claim. Each of the
//! steps that a brand has to take can be missing, and the endpoint can be out of order in every way.

mod assertion;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Form, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::net::TcpListener;

/// Who is known here. The secrets protect nothing.
#[derive(Clone, Debug)]
pub struct OAuthOptions {
    pub tenant: String,
    pub client_id: String,
    pub client_secret: String,
    /// SHA-256 of the app's certificate in base64url, and its RSA public key in PKCS#1.
    pub certificate: Option<(String, Vec<u8>)>,
    /// E-mail address of a service account, and its RSA public key in PKCS#1.
    pub google: Option<(String, Vec<u8>)>,
    /// The mailbox that may be sent from.
    pub mailbox: String,
}

/// What a brand has set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a step that can be missing by itself"
)]
pub struct SetUp {
    /// Microsoft: an administrator's consent to the permission. Google: delegation to the service account.
    pub consented: bool,
    /// The app is registered in Exchange Online.
    pub principal: bool,
    /// It may use the mailbox.
    pub mailbox: bool,
    /// SMTP AUTH is on.
    pub smtp_auth: bool,
}

impl SetUp {
    pub const WHOLE: Self = Self {
        consented: true,
        principal: true,
        mailbox: true,
        smtp_auth: true,
    };
}

/// What the endpoints answer in place of what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenTrouble {
    /// Nothing, ever.
    Hang,
    Html,
    /// A token in a body of a megabyte.
    Huge,
    /// A token that ends at once.
    Ended,
    /// A token that ended an hour ago.
    Negative,
    /// A token that would end the command it is put into.
    LineEnd,
    Redirect,
    Status(u16),
}

struct Issued {
    ends: Instant,
    of_microsoft: bool,
    consented: bool,
}

struct OAuthState {
    set_up: SetUp,
    trouble: Option<TokenTrouble>,
    life: i64,
    issued: HashMap<String, Issued>,
    asked: u64,
    redirected: u64,
}

/// The endpoints, and the mail server's view of what they gave; clones share them.
#[derive(Clone)]
pub struct OAuth {
    options: Arc<OAuthOptions>,
    address: SocketAddr,
    state: Arc<Mutex<OAuthState>>,
}

impl OAuth {
    /// Listens on any port of this machine, until the runtime ends.
    pub async fn start(options: OAuthOptions) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let oauth = Self {
            options: Arc::new(options),
            address: listener.local_addr()?,
            state: Arc::new(Mutex::new(OAuthState {
                set_up: SetUp::WHOLE,
                trouble: None,
                life: 3_599,
                issued: HashMap::new(),
                asked: 0,
                redirected: 0,
            })),
        };
        let app = Router::new()
            .route("/{tenant}/oauth2/v2.0/token", post(microsoft))
            .route("/token", post(google))
            .route("/elsewhere", post(elsewhere))
            .with_state(oauth.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(oauth)
    }

    /// Microsoft's, for a tenant.
    pub fn microsoft_url(&self, tenant: &str) -> String {
        format!("http://{}/{tenant}/oauth2/v2.0/token", self.address)
    }

    pub fn google_url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    pub fn set_up(&self, set_up: SetUp) {
        self.state().set_up = set_up;
    }

    pub fn trouble(&self, trouble: Option<TokenTrouble>) {
        self.state().trouble = trouble;
    }

    /// How long tokens are good for from now on, in seconds.
    pub fn live_for(&self, seconds: i64) {
        self.state().life = seconds;
    }

    /// No token that was given is good any more.
    pub fn revoke(&self) {
        self.state().issued.clear();
    }

    /// How often a token was asked for.
    pub fn asked(&self) -> u64 {
        self.state().asked
    }

    /// How often somebody followed a redirect, secrets in hand.
    pub fn redirected(&self) -> u64 {
        self.state().redirected
    }

    /// The mail server's word on a log-in with a token: what it says after its challenge was answered, if it refuses.
    pub fn refusal(&self, user: &str, token: &str) -> Option<&'static str> {
        const UNSUCCESSFUL: &str =
            "535 5.7.3 Authentication unsuccessful [AM0PR01CA0001.eurprd01.prod.exchangelabs.com]";
        const NOT_ACCEPTED: &str = "535-5.7.8 Username and Password not accepted. For more information, go to\n535 5.7.8  https://support.google.com/mail/?p=BadCredentials";
        let state = self.state();
        let issued = state
            .issued
            .get(token)
            .filter(|issued| Instant::now() < issued.ends);
        let is_mailbox = user == self.options.mailbox;
        match issued {
            Some(issued) if !issued.of_microsoft => (!is_mailbox).then_some(NOT_ACCEPTED),
            Some(issued) => {
                let set_up = state.set_up;
                let may = issued.consented && set_up.principal && set_up.mailbox && is_mailbox;
                if !may {
                    Some(UNSUCCESSFUL)
                } else if !set_up.smtp_auth {
                    Some(
                        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.",
                    )
                } else {
                    None
                }
            }
            None => Some(UNSUCCESSFUL),
        }
    }

    fn issue(&self, of_microsoft: bool) -> Response {
        let mut state = self.state();
        let consented = state.set_up.consented;
        let roles: &[&str] = if consented { &["SMTP.SendAsApp"] } else { &[] };
        let claims = json!({ "aud": "https://outlook.office365.com", "roles": roles });
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let token = if of_microsoft {
            let signature = format!("{:032x}", rand::random::<u128>());
            format!(
                "{}.{}.{}",
                part("{\"alg\":\"RS256\"}"),
                part(&claims.to_string()),
                part(&signature)
            )
        } else {
            format!("ya29.{:032x}", rand::random::<u128>())
        };
        let life = state.life;
        let issued = Issued {
            ends: Instant::now() + Duration::from_secs(life.max(0).unsigned_abs()),
            of_microsoft,
            consented,
        };
        state.issued.insert(token.clone(), issued);
        granted(&token, life)
    }

    /// What is answered in place of an answer.
    async fn troubled(&self) -> Option<Response> {
        let trouble = {
            let mut state = self.state();
            state.asked += 1;
            state.trouble?
        };
        Some(match trouble {
            TokenTrouble::Hang => std::future::pending().await,
            TokenTrouble::Html => (
                [(header::CONTENT_TYPE, "text/html")],
                "<html>Sign in</html>",
            )
                .into_response(),
            TokenTrouble::Huge => granted(&"a".repeat(1_000_000), 3_599),
            TokenTrouble::Ended => granted("abc", 0),
            TokenTrouble::Negative => granted("abc", -3_600),
            TokenTrouble::LineEnd => granted("abc\r\nMAIL FROM:<>", 3_599),
            TokenTrouble::Redirect => (
                StatusCode::TEMPORARY_REDIRECT,
                [(header::LOCATION, "/elsewhere")],
            )
                .into_response(),
            TokenTrouble::Status(status) => StatusCode::from_u16(status)
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
                .into_response(),
        })
    }

    fn state(&self) -> MutexGuard<'_, OAuthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn granted(token: &str, life: i64) -> Response {
    axum::Json(json!({ "token_type": "Bearer", "expires_in": life, "access_token": token }))
        .into_response()
}

/// A refusal in Microsoft's words.
fn aadsts(status: StatusCode, error: &str, number: u32, words: &str) -> Response {
    let description =
        format!("AADSTS{number}: {words} Trace ID: 0 Timestamp: 2026-12-01 12:00:00Z");
    let body = json!({ "error": error, "error_description": description, "error_codes": [number] });
    (status, axum::Json(body)).into_response()
}

type Fields = HashMap<String, String>;

async fn microsoft(
    State(oauth): State<OAuth>,
    Path(tenant): Path<String>,
    Form(form): Form<Fields>,
) -> Response {
    if let Some(instead) = oauth.troubled().await {
        return instead;
    }
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let options = &oauth.options;
    if tenant != options.tenant {
        let words = format!("Tenant '{tenant}' not found.");
        return aadsts(StatusCode::BAD_REQUEST, "invalid_request", 90002, &words);
    }
    if field("grant_type") != "client_credentials" {
        return aadsts(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            70003,
            "Not supported.",
        );
    }
    if field("scope") != "https://outlook.office365.com/.default" {
        return aadsts(
            StatusCode::BAD_REQUEST,
            "invalid_scope",
            70011,
            "The scope is not valid.",
        );
    }
    if field("client_id") != options.client_id {
        let words = "Application was not found in the directory.";
        return aadsts(
            StatusCode::BAD_REQUEST,
            "unauthorized_client",
            700_016,
            words,
        );
    }
    let audience = oauth.microsoft_url(&tenant);
    let is_asserted = || {
        let (thumbprint, key) = options.certificate.as_ref()?;
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        (field("client_assertion_type") == kind).then_some(())?;
        let claims = assertion::of_app(field("client_assertion"), thumbprint, key)?;
        let is_app = |name: &str| claims[name] == options.client_id.as_str();
        (is_app("iss") && is_app("sub") && claims["aud"] == audience.as_str()).then_some(())
    };
    match (
        form.get("client_secret"),
        form.contains_key("client_assertion"),
    ) {
        (Some(secret), false) if *secret == options.client_secret => {}
        (None, true) if is_asserted().is_some() => {}
        (None, true) => {
            let words = "The certificate with identifier used to sign the client assertion is not registered on application.";
            return aadsts(StatusCode::UNAUTHORIZED, "invalid_client", 700_027, words);
        }
        _ => {
            let words = "Invalid client secret provided.";
            return aadsts(StatusCode::UNAUTHORIZED, "invalid_client", 7_000_215, words);
        }
    }
    oauth.issue(true)
}

async fn google(State(oauth): State<OAuth>, Form(form): Form<Fields>) -> Response {
    if let Some(instead) = oauth.troubled().await {
        return instead;
    }
    let refused = |error: &str, words: &str| {
        let body = json!({ "error": error, "error_description": words });
        (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
    };
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if field("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
        return refused("unsupported_grant_type", "Invalid grant_type");
    }
    let claims = || {
        let (email, key) = oauth.options.google.as_ref()?;
        let claims = assertion::of_account(field("assertion"), key)?;
        let is_ours = claims["iss"] == email.as_str()
            && claims["aud"] == oauth.google_url().as_str()
            && claims["scope"] == "https://mail.google.com/";
        is_ours.then_some(claims)
    };
    match claims() {
        None => refused("invalid_grant", "Invalid JWT Signature."),
        Some(_) if !oauth.state().set_up.consented => refused(
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method.",
        ),
        Some(claims) if claims["sub"] != oauth.options.mailbox.as_str() => {
            refused("invalid_grant", "Invalid email or User ID")
        }
        Some(_) => oauth.issue(false),
    }
}

/// Where a redirect leads: somebody who would be given the secret.
async fn elsewhere(State(oauth): State<OAuth>) -> Response {
    oauth.state().redirected += 1;
    granted("abc", 3_599)
}
