//! Logging in with a token (XOAUTH2): whose, and how one is got from Microsoft 365 or Google Workspace.
//!
//! There is no person who logs in: the program itself is registered at the provider, and may send as the mailbox. Tokens are asked for by
//! [`tokens`], which is the only one to talk to the provider's token endpoint.

mod answer;
mod key;
mod request;
mod tokens;
mod walk;

#[cfg(test)]
mod tests;

use url::Url;

use crate::secret::Secret;

pub use answer::TokenFault;
pub use key::{ClientCertificate, GoogleKey};
pub use tokens::Tokens;
pub(super) use walk::{Reached, walk};

/// What a token is asked for with. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct TokenGrant {
    /// Where it is asked for.
    pub endpoint: Url,
    pub identity: OAuthIdentity,
}

#[derive(Clone, Debug)]
pub enum OAuthIdentity {
    /// An app registration that has the mailbox's permission.
    Microsoft {
        client_id: String,
        proof: ClientProof,
    },
    /// A service account to which the domain has delegated its mailboxes.
    Google(GoogleKey),
}

/// How an app registration shows that it is the one.
#[derive(Clone, Debug)]
pub enum ClientProof {
    Secret(Secret),
    Certificate(ClientCertificate),
}

impl OAuthIdentity {
    pub fn is_microsoft(&self) -> bool {
        matches!(self, Self::Microsoft { .. })
    }
}

/// Where Microsoft gives tokens for a tenant.
pub fn microsoft_endpoint(tenant: &str) -> Option<Url> {
    let is_name = (1..=255).contains(&tenant.len())
        && tenant
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        && !tenant.starts_with('.');
    let url = format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token");
    is_name.then(|| Url::parse(&url).ok()).flatten()
}

/// Where Google gives tokens.
pub const GOOGLE_ENDPOINT: &str = "https://oauth2.googleapis.com/token";
