//! E-mail over SMTP.
//!
//! A pool of at most `size` connections, each carrying one message at a time, so that "which reply belongs to which message"
//! is never a question. A connection whose state is in doubt is dropped, never reused. There is no fallback from TLS to plain text.

mod adapter;
mod classify;
mod codes;
mod connection;
mod doubt;
mod email;
mod login;
mod oauth;
mod pool;
mod reply;
mod settings;
mod tls;
mod wait;
mod wire;
mod words;

pub use adapter::PROFILE;
pub use classify::{SmtpPhase, StepFault, classify};
pub use connection::Failure;
pub use email::{Email, InvalidMailbox, Mailbox};
pub use oauth::{
    ClientCertificate, ClientProof, GOOGLE_ENDPOINT, GoogleKey, OAuthIdentity, TokenGrant,
    microsoft_endpoint,
};
pub use pool::{Pool, PooledConnection, Reserved, SmtpCheck};
pub use reply::{Enhanced, Reply};
pub use settings::{Credential, SmtpLogin, SmtpSettings, SmtpSettingsError, SmtpTls, Timeouts};

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
