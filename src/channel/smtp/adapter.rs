//! E-mail as a channel.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::oauth::{Reached, walk};
use super::{
    Credential, Email, Failure, Pool, Reserved, SmtpCheck, SmtpPhase, SmtpSettings, StepFault,
};
use crate::channel::adapter::{
    self, Adapter, Check, Configured, Finder, Health, OutgoingMessage, PreparedSend,
    ProviderProfile, Redactor, Reporter, SendGate,
};
use crate::domain::outcome::Outcome;

pub const PROFILE: ProviderProfile = ProviderProfile {
    name: "SMTP",
    switched_on_by: "SMTP_USER",
    set_up_by: "SMTP_USER and SMTP_PASS",
    lease: TimeDelta::seconds(360),
    // A wait for a connection and a conversation with the server come before the message.
    stale: Duration::from_mins(1),
    explain: super::codes::explain,
    reports: false,
    blames_recipients: true,
};

impl Configured for SmtpSettings {
    fn adapter(&self, public_url: &Url) -> anyhow::Result<Arc<dyn Adapter>> {
        let settings = Self {
            hello_name: public_url.host_str().unwrap_or("localhost").to_owned(),
            ..self.clone()
        };
        let pool = Pool::new(settings, self.connections).context("the mail server's settings")?;
        Ok(Arc::new(pool))
    }
}

impl Adapter for Pool {
    fn connection(&self) -> String {
        let SmtpSettings {
            host, port, login, ..
        } = self.settings();
        match login {
            // At some services the name is half of the key: it is told apart, and not shown.
            Some(login) => {
                let name = Sha256::digest(login.user.as_bytes());
                let short = u32::from_be_bytes([name[0], name[1], name[2], name[3]]);
                format!("{host}:{port}, login {short:08x}")
            }
            None => format!("{host}:{port}"),
        }
    }

    fn usual_sender(&self) -> Option<String> {
        Some(self.settings().from.address().to_owned())
    }

    fn per_second(&self) -> Option<f64> {
        Some(self.settings().rate_per_second).filter(|rate| *rate > 0.0)
    }

    fn room(&self, within: Duration) -> usize {
        Pool::room(self, within)
    }

    fn open(&self) -> BoxFuture<'_, Result<Box<dyn PreparedSend>, Outcome>> {
        Box::pin(async move {
            let reserved = self.reserve().await?;
            Ok(Box::new(ToServer {
                pool: self.clone(),
                reserved,
            }) as Box<dyn PreparedSend>)
        })
    }

    fn finder(&self) -> Option<&dyn Finder> {
        None
    }

    fn redactor(&self) -> Option<&dyn Redactor> {
        None
    }

    fn reporter(&self) -> Option<&dyn Reporter> {
        None
    }

    fn examine(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async move {
            let mut checks = self.try_it().await;
            checks.extend(password_ends(self.settings()));
            checks
        })
    }
}

/// A place in the queue for connections.
struct ToServer {
    pool: Pool,
    reserved: Reserved,
}

impl PreparedSend for ToServer {
    fn send<'a>(
        self: Box<Self>,
        message: &'a OutgoingMessage<'a>,
        gate: SendGate<'a>,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.hand_over(message, gate).await.unwrap_or_else(|no| no) })
    }
}

impl ToServer {
    async fn hand_over(
        self,
        message: &OutgoingMessage<'_>,
        gate: SendGate<'_>,
    ) -> Result<Outcome, Outcome> {
        let usual = &self.pool.settings().from;
        let from = usual.for_brand(message.sender, message.brand);
        let from = from.map_err(|_| adapter::config("sender is not an address"))?;
        let email = Email {
            from: Some(&from),
            reply_to: None,
            to: message.to,
            to_name: message.to_name,
            subject: message.words.subject.as_deref().unwrap_or_default(),
            text: &message.words.text,
            html: message.words.html.as_deref(),
            message_id: &format!("{}@{}", message.name, from.domain()),
            thread_ref: &format!("{}@{}", message.thread, from.domain()),
            unsubscribe_url: message.way_out,
            unsubscribe_mailto: None,
            feedback_id: None,
            date: message.date,
        };
        let line = self.reserved.line().await?;
        (gate.turn)().await?;
        Ok(line.send(&email, gate.last_look).await)
    }
}

impl Pool {
    /// The connection, and where the login is by a token of Microsoft's the steps to it.
    async fn try_it(&self) -> Vec<Check> {
        let checked = self.check().await;
        let mut checks = vec![self.connection(&checked)];
        let Some(tokens) = self.tokens().filter(|t| t.grant().identity.is_microsoft()) else {
            return checks;
        };
        let token = tokens.token().await;
        let reached = match (&checked, &token) {
            (Ok(_), _) => Reached::LoggedIn,
            (Err(_), Err(fault)) => Reached::NoToken(fault),
            (Err(failure), Ok(token)) => Reached::Refused(token, failure),
        };
        checks.extend(walk(&reached));
        checks
    }

    fn connection(&self, checked: &Result<SmtpCheck, Failure>) -> Check {
        const NAME: &str = "mail server";
        let settings = self.settings();
        let server = format!("{}:{}", settings.host, settings.port);
        match checked {
            Ok(checked) => {
                let tls = if checked.encrypted {
                    "encrypted"
                } else {
                    "not encrypted"
                };
                let login = if checked.logged_in {
                    "logged in"
                } else {
                    "no login"
                };
                Check::well(NAME, format!("{server}, {tls}, {login}"))
            }
            Err(failure) => {
                let hint = failure
                    .hint()
                    .map(|hint| format!(": {hint}"))
                    .unwrap_or_default();
                let found = format!("{server}: {}{hint}", failure.code());
                Check::ill(NAME, Health::Failed, found, remedy(failure))
            }
        }
    }
}

/// A login by password that its provider is about to end.
fn password_ends(settings: &SmtpSettings) -> Option<Check> {
    const NAME: &str = "login by password";
    let login = settings.login.as_ref()?;
    if !matches!(login.credential, Credential::Password(_)) {
        return None;
    }
    let host = settings.host.to_ascii_lowercase();
    let (found, remedy) = match host.trim_end_matches('.') {
        "smtp.office365.com" => (
            "Microsoft 365 switches it off at the end of December 2026, unless an administrator switches it on again, and removes it later",
            "Register an app and set SMTP_OAUTH_TENANT, SMTP_OAUTH_CLIENT_ID and SMTP_OAUTH_CLIENT_SECRET in place of SMTP_PASS (docs/connect.md).",
        ),
        "smtp.gmail.com" => (
            "Google takes app passwords only, which an administrator or Advanced Protection can switch off",
            "In Google Workspace, set SMTP_OAUTH_GOOGLE_KEY in place of SMTP_PASS (docs/connect.md); a private Gmail account keeps its app password.",
        ),
        _ => return None,
    };
    Some(Check::ill(NAME, Health::Warning, found, remedy))
}

fn remedy(failure: &Failure) -> &'static str {
    match (failure.phase, &failure.fault) {
        (_, StepFault::Tls) => {
            "The certificate or protocol was refused: check SMTP_HOST, SMTP_PORT and SMTP_TLS (465: implicit, 587: starttls)."
        }
        (SmtpPhase::StartTls, StepFault::NotOffered) => {
            "The server offers no STARTTLS here: set SMTP_PORT=465 with SMTP_TLS=implicit, or use the submission port 587."
        }
        (SmtpPhase::Token | SmtpPhase::AuthToken, _) => {
            super::codes::explain(&failure.code()).remedy
        }
        (SmtpPhase::Auth, StepFault::NotOffered) => {
            "The server accepts no login here: check SMTP_PORT and SMTP_TLS, or leave SMTP_USER out."
        }
        (SmtpPhase::Auth, _) => {
            "Correct SMTP_USER and SMTP_PASS; Gmail and Microsoft require an app password."
        }
        (SmtpPhase::Connect | SmtpPhase::Greeting, StepFault::Unreadable) => {
            "What answers there is not a mail server: correct SMTP_HOST, SMTP_PORT and SMTP_TLS."
        }
        (SmtpPhase::Connect | SmtpPhase::Greeting, StepFault::Reply(_)) => {
            "The server rejects this machine: read its message, and ask its operator to allow our address."
        }
        (SmtpPhase::Connect | SmtpPhase::Greeting, _) => {
            "Correct SMTP_HOST, SMTP_PORT and SMTP_TLS; and check that outgoing connections to that port are allowed."
        }
        _ => "Read the server's words, and correct the SMTP settings.",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::super::{SmtpLogin, microsoft_endpoint};
    use super::*;
    use crate::channel::smtp::{ClientProof, OAuthIdentity, TokenGrant};
    use crate::secret::Secret;

    #[test]
    fn a_password_that_its_provider_is_about_to_end_is_warned_of() {
        let warned = |host: &str, login: Option<SmtpLogin>| {
            let settings = SmtpSettings {
                host: host.to_owned(),
                login,
                ..settings(587)
            };
            password_ends(&settings).map(|check| (check.health, check.remedy.unwrap_or_default()))
        };
        let password = || Some(SmtpLogin::with_password("u", Secret::new("p")));
        for (host, remedy) in [
            ("smtp.office365.com", "SMTP_OAUTH_TENANT"),
            ("SMTP.Office365.com.", "SMTP_OAUTH_TENANT"),
            ("smtp.gmail.com", "SMTP_OAUTH_GOOGLE_KEY"),
        ] {
            let (health, told) = warned(host, password()).unwrap();
            assert_eq!(health, Health::Warning);
            assert!(told.contains(remedy), "{told}");
            assert_eq!(warned(host, None), None, "no login");
        }
        assert_eq!(warned("smtp.example.com", password()), None);
        let token = SmtpLogin {
            user: "u".to_owned(),
            credential: Credential::Token(TokenGrant {
                endpoint: microsoft_endpoint("shop.example").unwrap(),
                identity: OAuthIdentity::Microsoft {
                    client_id: "app".to_owned(),
                    proof: ClientProof::Secret(Secret::new("s")),
                },
            }),
        };
        assert_eq!(warned("smtp.office365.com", Some(token)), None);
    }
}
