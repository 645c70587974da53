//! A channel that exists in test builds only (feature `test-channel`): it shows what adding one takes, and that nothing is forgotten.
//!
//! It hands a message to an endpoint by one POST, signed over its body. The endpoint reports what becomes of it, in requests signed the same
//! way, and can be asked for the messages that it has.

mod codes;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::redirect;
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;
use url::Url;

use super::adapter::{
    Adapter, Check, Configured, Failed, Finder, Health, OutgoingMessage, PreparedSend,
    ProviderProfile, Redactor, RejectedWebhook, Report, Reporter, Request, SendGate, Signed,
    UnsettledAttempt,
};
use crate::domain::outcome::Outcome;
use crate::domain::reminder::ReminderState;
use crate::secret::Secret;

pub const PROFILE: ProviderProfile = ProviderProfile {
    name: "Probe",
    switched_on_by: "PROBE_URL",
    set_up_by: "PROBE_URL and PROBE_SECRET",
    lease: TimeDelta::seconds(60),
    stale: Duration::from_secs(15),
    explain: codes::explain,
    reports: true,
    blames_recipients: false,
};

const TIMEOUT: Duration = Duration::from_secs(10);
const SIGNATURE: &str = "x-probe-signature";

#[derive(Clone, Debug)]
pub struct ProbeSettings {
    pub url: Url,
    /// Signs in both directions.
    pub secret: Secret,
    /// Messages per second, all workers together; 0: as fast as we can.
    pub rate_per_second: f64,
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    settings: ProbeSettings,
    reports_to: String,
}

impl Configured for ProbeSettings {
    fn adapter(&self, public_url: &Url) -> anyhow::Result<Arc<dyn Adapter>> {
        // reqwest is built without a provider of its own and panics if none is set. An error only says that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()?;
        let base = public_url.as_str().trim_end_matches('/');
        Ok(Arc::new(Client {
            http,
            settings: self.clone(),
            reports_to: format!("{base}/probe/status"),
        }))
    }
}

/// What the endpoint says of a message.
#[derive(Deserialize)]
struct Said {
    id: String,
    status: String,
    attempt: Option<String>,
    code: Option<String>,
}

impl Client {
    fn url(&self, resource: &str) -> String {
        let base = self.settings.url.as_str().trim_end_matches('/');
        format!("{base}/{resource}")
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        let key = self.settings.secret.expose().as_bytes();
        let mac = Hmac::<Sha256>::new_from_slice(key);
        mac.expect("HMAC takes keys of any length")
            .chain_update(body)
    }

    async fn hand_over(
        &self,
        message: &OutgoingMessage<'_>,
        gate: SendGate<'_>,
    ) -> Result<Outcome, Outcome> {
        (gate.turn)().await?;
        if let Some(outcome) = (gate.last_look)().await {
            return Err(outcome);
        }
        let body = json!({
            "to": message.to.expose(),
            "text": message.words.text,
            "from": message.sender,
            "attempt": message.attempt,
            "reports_to": message.attempt.map(|_| &self.reports_to),
            "seconds": (message.left)().as_secs(),
        });
        let body = body.to_string();
        let signature = STANDARD.encode(self.mac(body.as_bytes()).finalize().into_bytes());
        let request = self.http.post(self.url("messages"));
        let answer = request.header(SIGNATURE, signature).body(body).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Ok(codes::of_word("not connected")),
            Err(_) => return Ok(codes::of_word("no answer")),
        };
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap_or_default();
        Ok(match serde_json::from_slice::<Said>(&body) {
            Ok(said) if status == 202 => Outcome::Accepted {
                provider_id: Some(said.id),
            },
            Ok(Said {
                code: Some(code), ..
            }) if (400..500).contains(&status) => codes::of_word(&code),
            _ => codes::of_word("no answer"),
        })
    }
}

impl Adapter for Client {
    fn connection(&self) -> String {
        self.settings.url.authority().to_owned()
    }

    fn usual_sender(&self) -> Option<String> {
        None
    }

    fn per_second(&self) -> Option<f64> {
        Some(self.settings.rate_per_second).filter(|rate| *rate > 0.0)
    }

    fn room(&self, _: Duration) -> usize {
        usize::MAX
    }

    fn open(&self) -> BoxFuture<'_, Result<Box<dyn PreparedSend>, Outcome>> {
        let way: Box<dyn PreparedSend> = Box::new(self.clone());
        Box::pin(std::future::ready(Ok(way)))
    }

    fn finder(&self) -> Option<&dyn Finder> {
        Some(self)
    }

    fn redactor(&self) -> Option<&dyn Redactor> {
        None
    }

    fn reporter(&self) -> Option<&dyn Reporter> {
        Some(self)
    }

    fn examine(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async move {
            let answer = self.http.get(self.url("health")).send().await;
            let well = answer.is_ok_and(|answer| answer.status().is_success());
            let url = self.settings.url.as_str();
            vec![if well {
                Check::well("endpoint", url)
            } else {
                let found = format!("{url} does not answer");
                Check::ill("endpoint", Health::Failed, found, "Correct PROBE_URL.")
            }]
        })
    }
}

impl PreparedSend for Client {
    fn send<'a>(
        self: Box<Self>,
        message: &'a OutgoingMessage<'a>,
        gate: SendGate<'a>,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.hand_over(message, gate).await.unwrap_or_else(|no| no) })
    }
}

impl Finder for Client {
    fn find<'a>(
        &'a self,
        lost: UnsettledAttempt<'a>,
    ) -> BoxFuture<'a, Result<Option<Report>, String>> {
        Box::pin(async move {
            let answer = self.http.get(self.url(&format!("messages/{}", lost.token)));
            let answer = answer.send().await.map_err(|error| error.to_string())?;
            let answer = answer.error_for_status().map_err(|e| e.to_string())?;
            let body = answer.bytes().await.map_err(|error| error.to_string())?;
            let found: Vec<Said> =
                serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            let new = |said: &Said| !lost.except.contains(&said.id);
            Ok(found.into_iter().find(new).map(Report::from))
        })
    }
}

impl Reporter for Client {
    fn signature_header(&self) -> &'static str {
        SIGNATURE
    }

    fn read(&self, request: &Request<'_>) -> Result<Option<Signed>, RejectedWebhook> {
        let signature = request.signature.ok_or(RejectedWebhook::Unsigned)?;
        let signature = STANDARD.decode(signature);
        let signature = signature.map_err(|_| RejectedWebhook::WrongSignature)?;
        let right = self.mac(request.body).verify_slice(&signature);
        right.map_err(|_| RejectedWebhook::WrongSignature)?;
        let said = serde_json::from_slice::<Said>(request.body).ok();
        Ok(said.map(|said| Signed {
            attempt: said.attempt.clone(),
            report: Report::from(said),
        }))
    }
}

impl From<Said> for Report {
    fn from(said: Said) -> Self {
        let (status, state) = match said.status.as_str() {
            "delivered" => ("delivered", ReminderState::Delivered),
            "lost" => ("lost", ReminderState::Undelivered),
            _ => ("taken", ReminderState::Sent),
        };
        let failure = (state == ReminderState::Undelivered).then(|| {
            let code = said.code.unwrap_or_else(|| status.to_owned());
            Failed {
                outcome: codes::of_word(&code),
                reason: code,
            }
        });
        Self {
            provider_id: said.id,
            status,
            state,
            failure,
            gets_through: state == ReminderState::Delivered,
        }
    }
}
