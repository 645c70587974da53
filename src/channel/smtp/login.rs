//! Logging in with a password (RFC 4954): PLAIN, or LOGIN where that is all there is.

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

fn asks_for_password(challenge: &ReplyLines) -> bool {
    let text = challenge.lines.concat();
    let question = BASE64_STANDARD.decode(text.trim()).unwrap_or_default();
    String::from_utf8_lossy(&question)
        .to_ascii_lowercase()
        .contains("pass")
}
