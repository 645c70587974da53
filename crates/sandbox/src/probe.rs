//! The endpoint of the service's test channel: takes signed messages, can be asked for them, and reports what becomes of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;

/// What signs in both directions.
pub const SECRET: &str = "the secret of the test channel";
const SIGNATURE: &str = "x-probe-signature";

/// A message that was taken.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeMessage {
    pub id: String,
    pub to: String,
    pub text: String,
    pub attempt: Option<String>,
    pub reports_to: Option<String>,
    pub seconds: u64,
    pub status: String,
}

/// What becomes of the next messages, one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeFault {
    /// Taken, and the answer is an error.
    AnswerLost,
    /// Not taken, and the answer is an error.
    Nothing,
    /// Refused with this code.
    Refused(&'static str),
}

#[derive(Default)]
struct ProbeState {
    messages: Vec<ProbeMessage>,
    faults: VecDeque<ProbeFault>,
}

/// A running endpoint; clones are the same one.
#[derive(Clone)]
pub struct Probe {
    kept: Arc<Mutex<ProbeState>>,
    address: SocketAddr,
    http: reqwest::Client,
}

impl Probe {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            kept: Arc::default(),
            address,
            http: reqwest::Client::new(),
        }
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/health", get(async || "ok"))
            .route("/messages", post(take))
            .route("/messages/{word}", get(list))
            .with_state(self.clone())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn lock(&self) -> MutexGuard<'_, ProbeState> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn messages(&self) -> Vec<ProbeMessage> {
        self.lock().messages.clone()
    }

    pub fn add_fault(&self, fault: ProbeFault) {
        self.lock().faults.push_back(fault);
    }

    /// Reports on a message, signed with this secret. Returns the answer's status.
    pub async fn report(
        &self,
        message: &ProbeMessage,
        status: &str,
        code: Option<&str>,
        secret: &str,
    ) -> anyhow::Result<u16> {
        let url = message.reports_to.clone().context("no reports wanted")?;
        let body =
            json!({ "id": message.id, "attempt": message.attempt, "status": status, "code": code });
        let body = body.to_string();
        let request = self.http.post(url);
        let signature = sign(secret, body.as_bytes());
        let answer = request.header(SIGNATURE, signature).body(body).send();
        let answer = answer.await.context("posting a report")?;
        ensure!(
            !answer.status().is_server_error(),
            "the report is not taken"
        );
        Ok(answer.status().as_u16())
    }
}

fn sign(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mac = mac.expect("HMAC takes keys of any length");
    STANDARD.encode(mac.chain_update(body).finalize().into_bytes())
}

async fn take(State(probe): State<Probe>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let refused = |code: &str| {
        let body = json!({ "id": "", "status": "refused", "code": code });
        (StatusCode::UNPROCESSABLE_ENTITY, body.to_string())
    };
    let signature = headers.get(SIGNATURE).and_then(|v| v.to_str().ok());
    if signature != Some(sign(SECRET, &body).as_str()) {
        return refused("P20");
    }
    let Ok(asked) = serde_json::from_slice::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, String::new());
    };
    let word = |name: &str| asked[name].as_str().map(str::to_owned);
    let mut kept = probe.lock();
    let fault = kept.faults.pop_front();
    match fault {
        Some(ProbeFault::Refused(code)) => return refused(code),
        Some(ProbeFault::Nothing) => return (StatusCode::BAD_GATEWAY, String::new()),
        Some(ProbeFault::AnswerLost) | None => {}
    }
    let message = ProbeMessage {
        id: format!("probe-{}", kept.messages.len() + 1),
        to: word("to").unwrap_or_default(),
        text: word("text").unwrap_or_default(),
        attempt: word("attempt"),
        reports_to: word("reports_to"),
        seconds: asked["seconds"].as_u64().unwrap_or_default(),
        status: "taken".to_owned(),
    };
    let answer = json!(message).to_string();
    kept.messages.push(message);
    if fault.is_some() {
        return (StatusCode::BAD_GATEWAY, String::new());
    }
    (StatusCode::ACCEPTED, answer)
}

/// The messages whose text holds a word.
async fn list(State(probe): State<Probe>, Path(word): Path<String>) -> String {
    let messages = probe.messages();
    let found: Vec<&ProbeMessage> = messages.iter().filter(|m| m.text.contains(&word)).collect();
    json!(found).to_string()
}
