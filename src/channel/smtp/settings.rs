//! How to reach the mail server, and as whom.

use std::time::Duration;

use super::Mailbox;
use super::oauth::TokenGrant;
use crate::secret::Secret;

/// How to reach the mail server, and as whom. `Debug` hides secrets.
#[derive(Clone, Debug)]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    /// `None`: no login.
    pub login: Option<SmtpLogin>,
    /// Without a name, messages come under that of the account's brand.
    pub from: Mailbox,
    pub reply_to: Option<Mailbox>,
    /// What we call ourselves in EHLO: the public host name. Some relays refuse `localhost`.
    pub hello_name: String,
    /// Certificates to trust beside the system's, in PEM.
    pub extra_root_pem: Option<String>,
    pub timeouts: Timeouts,
    /// By which name the DNS has the key that mail is signed with.
    pub dkim_selector: Option<String>,
    /// Connections that one worker may hold.
    pub connections: usize,
    /// E-mails per second, all workers together; 0: as fast as we can.
    pub rate_per_second: f64,
}

/// Whom we log in as, and with what.
#[derive(Clone, Debug)]
pub struct SmtpLogin {
    pub user: String,
    pub credential: Credential,
}

#[derive(Clone, Debug)]
pub enum Credential {
    Password(Secret),
    /// By XOAUTH2, with a token of the mailbox that the user's name is.
    Token(TokenGrant),
}

impl SmtpLogin {
    pub fn with_password(user: impl Into<String>, password: Secret) -> Self {
        Self {
            user: user.into(),
            credential: Credential::Password(password),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte (port 465).
    Implicit,
    /// Upgraded by STARTTLS (port 587), which must be offered.
    StartTls,
    /// No TLS: a relay in a trusted network, or the sandbox.
    None,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until one of the pool's connections is free. Short: what was known about the recipient grows old meanwhile.
    pub turn: Duration,
    pub connect: Duration,
    /// The TLS handshake, the greeting and EHLO together.
    pub greeting: Duration,
    /// Each command.
    pub command: Duration,
    /// The reply to the message. Long on purpose: who gives up here does not know whether it was sent.
    pub final_reply: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            turn: Duration::from_secs(20),
            connect: Duration::from_secs(10),
            greeting: Duration::from_secs(15),
            command: Duration::from_secs(30),
            final_reply: Duration::from_mins(2),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SmtpSettingsError {
    #[error("the extra root certificates are not PEM")]
    RootCertificates,
    #[error("tokens cannot be asked for: {0}")]
    Tokens(String),
    #[error("TLS cannot be set up for this host: {0}")]
    Tls(String),
}
