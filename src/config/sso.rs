//! Single sign-on: the OpenID Connect issuer whose people may log in to the dashboard.

use url::Url;

use super::parse;
use super::reader::{Noted, SettingsReader};
use crate::domain::access::Role;
use crate::secret::Secret;

#[derive(Clone, Debug)]
pub struct Sso {
    /// As the issuer writes itself in `iss`.
    pub issuer: Url,
    pub issuer_name: String,
    pub client_id: String,
    /// `None`: a public client; PKCE alone protects the code.
    pub client_secret: Option<Secret>,
    /// What people may do whom nobody has added; `None`: they are not let in.
    pub role: Option<Role>,
    /// Whether an address counts as the person's of which the issuer does not say that it has been verified.
    pub trust_email: bool,
}

pub fn read(r: &mut SettingsReader) -> Result<Option<Sso>, Noted> {
    let issuer = r.optional("UNREAD_OIDC_ISSUER", |raw| {
        parse::api_url(raw).map(|url| (url, raw.to_owned()))
    });
    let client_id = r.optional("UNREAD_OIDC_CLIENT_ID", parse::text);
    let client_secret = r.secret("UNREAD_OIDC_CLIENT_SECRET");
    let role = r.optional("UNREAD_OIDC_ROLE", str::parse::<Role>);
    let trust_email = r.setting("UNREAD_OIDC_TRUST_EMAIL", parse::flag);
    let (issuer, client_id) = (issuer?, client_id?);
    let (client_secret, role, trust_email) = (client_secret?, role?, trust_email?);
    match (issuer, client_id) {
        (Some((issuer, issuer_name)), Some(client_id)) => Ok(Some(Sso {
            issuer,
            issuer_name,
            client_id,
            client_secret,
            role,
            trust_email,
        })),
        (Some(_), None) => {
            let name = r.name_of("UNREAD_OIDC_CLIENT_ID");
            Err(r.problem(
                &name,
                "is not set, but an issuer is",
                "Write the id of the client that was registered for unread at the issuer.",
            ))
        }
        (None, client_id) => {
            if client_id.is_some() || client_secret.is_some() || role.is_some() {
                let name = r.name_of("UNREAD_OIDC_ISSUER");
                return Err(r.problem(
                    &name,
                    "is not set, but other settings of the single sign-on are",
                    "Write the issuer's address, for example https://login.example.com, or remove the others.",
                ));
            }
            Ok(None)
        }
    }
}
