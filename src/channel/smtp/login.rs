//! Logging in (RFC 4954): with a password by PLAIN, or LOGIN where that is all there is; with a token by XOAUTH2.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::classify::StepFault;
use super::connection::of_class;
use super::reply::{Offers, ReplyLines};
use super::wire::SmtpWire;
use crate::secret::Secret;

/// Logs in by the first way that the server offers and does not turn down as such.
pub(super) async fn log_in(
    wire: &mut SmtpWire,
    offers: Offers,
    user: &str,
    password: &Secret,
) -> Result<(), StepFault> {
    let mut refused = StepFault::NotOffered;
    if offers.plain {
        match plain(wire, user, password).await {
            // 504: the mechanism is not there after all.
            Err(StepFault::Reply(reply)) if reply.code == 504 => refused = StepFault::Reply(reply),
            ended => return ended,
        }
    }
    if offers.login {
        return login(wire, user, password).await;
    }
    Err(refused)
}

async fn plain(wire: &mut SmtpWire, user: &str, password: &Secret) -> Result<(), StepFault> {
    let response = BASE64_STANDARD.encode(format!("\0{user}\0{}", password.expose()));
    let mut answer = wire.ask(&format!("AUTH PLAIN {response}\r\n")).await?;
    // A server that ignores what came with the command asks for it.
    if answer.code == 334 {
        answer = wire.ask(&format!("{response}\r\n")).await?;
    }
    of_class(2, answer).map(drop)
}

/// Two questions: the user's name, then the password. Their wording is not fixed; the password goes out in answer to the second
/// question, or to one that names it.
async fn login(wire: &mut SmtpWire, user: &str, password: &Secret) -> Result<(), StepFault> {
    let mut answer = wire.ask("AUTH LOGIN\r\n").await?;
    for nth in 0..2 {
        if answer.code != 334 {
            break;
        }
        let response = if nth == 1 || asks_for_password(&answer) {
            password.expose()
        } else {
            user
        };
        let response = BASE64_STANDARD.encode(response);
        answer = wire.ask(&format!("{response}\r\n")).await?;
    }
    of_class(2, answer).map(drop)
}

/// Challenges of one log-in with a token: the response asked for, and why it is refused.
const CHALLENGES: usize = 2;

/// Logs in with a token. A server that refuses it says why in a challenge, which is answered by an empty line, and only then refuses.
pub(super) async fn with_token(
    wire: &mut SmtpWire,
    offers: Offers,
    user: &str,
    token: &Secret,
) -> Result<(), StepFault> {
    if !offers.xoauth2 {
        return Err(StepFault::NotOffered);
    }
    let response = format!("user={user}\x01auth=Bearer {}\x01\x01", token.expose());
    let response = BASE64_STANDARD.encode(response);
    let mut answer = wire.ask(&format!("AUTH XOAUTH2 {response}\r\n")).await?;
    let mut may_be_asked = true;
    for _ in 0..CHALLENGES {
        if answer.code != 334 {
            break;
        }
        // Empty: the server ignores what came with the command, and asks for it.
        let asks = answer.lines.concat().trim().is_empty() && may_be_asked;
        may_be_asked = false;
        let line = if asks { response.as_str() } else { "" };
        answer = wire.ask(&format!("{line}\r\n")).await?;
    }
    of_class(2, answer).map(drop)
}

fn asks_for_password(challenge: &ReplyLines) -> bool {
    let text = challenge.lines.concat();
    let question = BASE64_STANDARD.decode(text.trim()).unwrap_or_default();
    String::from_utf8_lossy(&question)
        .to_ascii_lowercase()
        .contains("pass")
}
