//! How to log in at the mail server: by password, by a token of Microsoft's or Google's, or not at all.

use url::Url;

use super::parse;
use super::reader::{Noted, SettingsReader};
use crate::channel::smtp::{
    ClientCertificate, ClientProof, Credential, GOOGLE_ENDPOINT, GoogleKey, OAuthIdentity,
    SmtpLogin, TokenGrant, microsoft_endpoint,
};
use crate::secret::Secret;

/// What was written about tokens.
struct WrittenOAuth {
    tenant: Option<Url>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    certificate: Option<ClientCertificate>,
    google: Option<GoogleKey>,
    endpoint: Option<Url>,
}

impl WrittenOAuth {
    fn read(r: &mut SettingsReader) -> Result<Self, Noted> {
        let tenant = r.optional("SMTP_OAUTH_TENANT", |raw| {
            microsoft_endpoint(raw)
                .ok_or("the directory (tenant) id of Microsoft Entra, or a domain of the tenant")
        });
        let client_id = r.optional("SMTP_OAUTH_CLIENT_ID", parse::text);
        let client_secret = r.secret("SMTP_OAUTH_CLIENT_SECRET");
        let certificate = r.optional("SMTP_OAUTH_CERTIFICATE", ClientCertificate::of_pem);
        let google = r.optional("SMTP_OAUTH_GOOGLE_KEY", GoogleKey::of_json);
        let endpoint = r.optional("SMTP_OAUTH_TOKEN_URL", parse::webhook_url);
        Ok(Self {
            tenant: tenant?,
            client_id: client_id?,
            client_secret: client_secret?,
            certificate: certificate?,
            google: google?,
            endpoint: endpoint?,
        })
    }

    fn is_of_microsoft(&self) -> bool {
        self.tenant.is_some()
            || self.client_id.is_some()
            || self.client_secret.is_some()
            || self.certificate.is_some()
    }
}

pub fn read(r: &mut SettingsReader) -> Result<Option<SmtpLogin>, Noted> {
    let user = r.optional("SMTP_USER", parse::text);
    let password = r.secret("SMTP_PASS");
    let oauth = WrittenOAuth::read(r);
    let (user, password, oauth) = (user?, password?, oauth?);
    let Some(grant) = grant(r, oauth)? else {
        return by_password(r, user, password);
    };
    if password.is_some() {
        let fix = "Keep one of the two: the password, or the settings SMTP_OAUTH_….";
        return Err(r.problem_of("SMTP_PASS", "is set beside a log-in by token", fix));
    }
    let Some(user) = user else {
        let fix = "Set it to the mailbox that the token is for, for example support@example.com.";
        return Err(r.problem_of("SMTP_USER", "is not set, but a log-in by token is", fix));
    };
    if grant.identity.is_microsoft() && !r.is_given("SMTP_HOST") {
        let fix = "Set it to smtp.office365.com, and SMTP_PORT to 587.";
        return Err(r.problem_of("SMTP_HOST", "is not set, so it would be Gmail's", fix));
    }
    Ok(Some(SmtpLogin {
        user,
        credential: Credential::Token(grant),
    }))
}

fn grant(r: &mut SettingsReader, oauth: WrittenOAuth) -> Result<Option<TokenGrant>, Noted> {
    let of_microsoft = oauth.is_of_microsoft();
    match oauth.google {
        Some(_) if of_microsoft => {
            let fix = "Keep the settings of one provider: for Google this alone, for Microsoft SMTP_OAUTH_TENANT, SMTP_OAUTH_CLIENT_ID and a secret or certificate.";
            Err(r.problem_of(
                "SMTP_OAUTH_GOOGLE_KEY",
                "is set beside settings of Microsoft's",
                fix,
            ))
        }
        Some(key) => {
            let google = || Url::parse(GOOGLE_ENDPOINT).expect("a URL");
            Ok(Some(TokenGrant {
                endpoint: oauth.endpoint.unwrap_or_else(google),
                identity: OAuthIdentity::Google(key),
            }))
        }
        None if of_microsoft => microsoft(r, oauth).map(Some),
        None if oauth.endpoint.is_some() => {
            let fix = "Set SMTP_OAUTH_CLIENT_ID or SMTP_OAUTH_GOOGLE_KEY, or leave it out.";
            Err(r.problem_of(
                "SMTP_OAUTH_TOKEN_URL",
                "is set, but nothing to ask with",
                fix,
            ))
        }
        None => Ok(None),
    }
}

fn microsoft(r: &mut SettingsReader, oauth: WrittenOAuth) -> Result<TokenGrant, Noted> {
    let endpoint = oauth.endpoint.or(oauth.tenant).ok_or_else(|| {
        let fix =
            "Set it to the directory (tenant) id that the app registration's page in Entra shows.";
        r.problem_of("SMTP_OAUTH_TENANT", "is not set", fix)
    });
    let client_id = oauth.client_id.ok_or_else(|| {
        let fix = "Set it to the application (client) id that the app registration's page in Entra shows.";
        r.problem_of(
"SMTP_OAUTH_CLIENT_ID", "is not set", fix)
    });
    let proof = match (oauth.client_secret, oauth.certificate) {
        (Some(secret), None) => Ok(ClientProof::Secret(secret)),
        (None, Some(certificate)) => Ok(ClientProof::Certificate(certificate)),
        (Some(_), Some(_)) => {
            let fix = "Keep one of the two.";
            Err(r.problem_of(
                "SMTP_OAUTH_CLIENT_SECRET",
                "is set beside SMTP_OAUTH_CERTIFICATE",
                fix,
            ))
        }
        (None, None) => {
            let fix = "Set it to the value of a client secret of the app registration, or set SMTP_OAUTH_CERTIFICATE.";
            Err(r.problem_of("SMTP_OAUTH_CLIENT_SECRET", "is not set", fix))
        }
    };
    let (endpoint, client_id, proof) = (endpoint?, client_id?, proof?);
    Ok(TokenGrant {
        endpoint,
        identity: OAuthIdentity::Microsoft { client_id, proof },
    })
}

fn by_password(
    r: &mut SettingsReader,
    user: Option<String>,
    password: Option<Secret>,
) -> Result<Option<SmtpLogin>, Noted> {
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some(SmtpLogin::with_password(user, password))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            let name = r.name_of("SMTP_PASS");
            let fix = "Set the password that belongs to SMTP_USER; for Gmail an app password. A server without login needs neither.";
            Err(r.problem(&name, "is not set, but SMTP_USER is", fix))
        }
        (None, Some(_)) => {
            let name = r.name_of("SMTP_USER");
            let fix = "Set the user name that belongs to SMTP_PASS. A server without login needs neither.";
            Err(r.problem(&name, "is not set, but SMTP_PASS is", fix))
        }
    }
}
