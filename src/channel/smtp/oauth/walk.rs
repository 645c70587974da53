//! The four steps at a brand's Microsoft 365 that a log-in by token needs, one line each, and which of them is missing.
//!
//! Microsoft's replies tell them apart only in part: what one cannot show is called unchecked, never green.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::answer::TokenFault;
use crate::channel::adapter::{Check, Health};
use crate::channel::smtp::SmtpPhase;
use crate::channel::smtp::classify::StepFault;
use crate::channel::smtp::codes;
use crate::channel::smtp::connection::Failure;
use crate::secret::Secret;

/// How far a log-in got.
pub enum Reached<'a> {
    NoToken(&'a TokenFault),
    /// With this token, until this failed.
    Refused(&'a Secret, &'a Failure),
    LoggedIn,
}

const STEPS: [&str; 4] = [
    "1 app registration",
    "2 permission",
    "3 service principal",
    "4 mailbox",
];

const REGISTRATION: &str = "Microsoft knows the app, and gave a token";
const PERMISSION: &str = "SMTP.SendAsApp";

/// The four lines.
pub fn walk(reached: &Reached<'_>) -> Vec<Check> {
    let steps = match reached {
        Reached::LoggedIn => [
            Ok(REGISTRATION),
            Ok("SMTP.SendAsApp, with an administrator's consent"),
            Ok("Exchange Online knows the app"),
            Ok("the app may use the mailbox, and SMTP AUTH is on for it"),
        ],
        Reached::NoToken(fault) => without_token(fault),
        Reached::Refused(token, failure) => refused(token, failure),
    };
    let lines = STEPS.into_iter().zip(steps);
    lines
        .map(|(name, step)| match step {
            Ok(found) => Check::well(name, found),
            Err((health, found, remedy)) => Check::ill(name, health, found, remedy),
        })
        .collect()
}

type Step = Result<&'static str, (Health, String, String)>;

fn missing(found: impl Into<String>, remedy: impl Into<String>) -> Step {
    Err((Health::Failed, found.into(), remedy.into()))
}

fn unchecked(found: impl Into<String>) -> Step {
    let remedy = "Correct what failed, then run `unread doctor` again.".to_owned();
    Err((Health::Unchecked, found.into(), remedy))
}

fn later() -> Step {
    unchecked("could not be tried yet")
}

/// An app without consent in this tenant: Microsoft refuses to give it a token at all.
const NO_CONSENT: [u32; 2] = [65_001, 7_000_229];

fn without_token(fault: &TokenFault) -> [Step; 4] {
    let code = fault.code();
    let explained = codes::explain(&format!("token {code}"));
    let found = format!("no token: {code}. {}", explained.sentence);
    match fault {
        TokenFault::Refused {
            number: Some(number),
            ..
        } if NO_CONSENT.contains(number) => [
            Ok("Microsoft knows the app"),
            missing(found, CONSENT),
            later(),
            later(),
        ],
        TokenFault::Refused { .. } | TokenFault::Unusable(_) => {
            [missing(found, explained.remedy), later(), later(), later()]
        }
        TokenFault::Busy { .. } | TokenFault::TimedOut | TokenFault::Unreachable => {
            [unchecked(found), later(), later(), later()]
        }
    }
}

const CONSENT: &str = "In Entra, give the app the application permission SMTP.SendAsApp of Office 365 Exchange Online, and grant an administrator's \
                       consent to it.";
const PRINCIPAL: &str = "In Exchange Online PowerShell, register the app with New-ServicePrincipal (with the object id of the enterprise application, not of the \
                         app registration). If it is registered, step 4 is what is missing: give it the mailbox with Add-MailboxPermission.";
const MAILBOX: &str = "Switch SMTP AUTH on for the mailbox that SMTP_USER names: Set-CASMailbox -SmtpClientAuthenticationDisabled $false; and give the app the \
                       mailbox with Add-MailboxPermission.";

fn refused(token: &Secret, failure: &Failure) -> [Step; 4] {
    let permission = match roles(token) {
        Some(roles) if roles.iter().any(|role| role == PERMISSION) => {
            Ok("SMTP.SendAsApp is in the token")
        }
        Some(_) => {
            let found = "the token lacks SMTP.SendAsApp";
            return [Ok(REGISTRATION), missing(found, CONSENT), later(), later()];
        }
        None => unchecked("the token does not say what it permits"),
    };
    let StepFault::Reply(reply) = &failure.fault else {
        return [Ok(REGISTRATION), permission, later(), later()];
    };
    if failure.phase != SmtpPhase::AuthToken {
        return [Ok(REGISTRATION), permission, later(), later()];
    }
    let code = failure.code();
    match reply.subject() {
        // "SmtpClientAuthentication is disabled for the Tenant" or "… for the Mailbox".
        (7, 139) => {
            let of_tenant = reply.text.to_ascii_lowercase().contains("tenant");
            let (found, remedy) = if of_tenant {
                let remedy = format!(
                    "{MAILBOX} Or for all mailboxes: Set-TransportConfig -SmtpClientAuthenticationDisabled $false."
                );
                ("SMTP AUTH is turned off for the tenant", remedy)
            } else {
                (
                    "SMTP AUTH is turned off for the mailbox",
                    MAILBOX.to_owned(),
                )
            };
            [
                Ok(REGISTRATION),
                permission,
                later(),
                missing(format!("{code}: {found}"), remedy),
            ]
        }
        (7, 3) => {
            let found = format!("{code}: Exchange Online does not let the app into the mailbox");
            [
                Ok(REGISTRATION),
                permission,
                missing(found, PRINCIPAL),
                later(),
            ]
        }
        _ => {
            let found = format!("{code}: a reply that does not say what is missing");
            [
                Ok(REGISTRATION),
                permission,
                unchecked(found.clone()),
                unchecked(found),
            ]
        }
    }
}

/// What a token of Microsoft's permits; `None`: it does not say so, or not to us. Read for the person who sets it up and believed by nobody.
fn roles(token: &Secret) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(default)]
        roles: Vec<String>,
    }
    let claims = token.expose().split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some(claims.roles)
}
