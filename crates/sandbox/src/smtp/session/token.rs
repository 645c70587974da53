//! AUTH XOAUTH2, as Google and Microsoft document it: a refusal is a challenge first, which the client answers by an empty line.

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::faults::Phase;
use super::{Answered, Session};
use crate::oauth::OAuth;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    pub(super) async fn auth_by_token(
        &mut self,
        oauth: &OAuth,
        initial: Option<&str>,
    ) -> io::Result<Answered> {
        let Some(response) = self.challenge("", initial).await? else {
            return Ok(None);
        };
        let (user, token) = taken_apart(&response).unwrap_or_default();
        let refusal = oauth.refusal(user, token);
        if refusal.is_some() {
            let why = r#"{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}"#;
            self.say(&format!("334 {}", BASE64_STANDARD.encode(why)))
                .await?;
            match self.line().await? {
                None => return Ok(None),
                Some(line) if line.is_empty() => {}
                Some(_) => return self.say("501 5.5.4 Cannot decode response").await,
            }
        }
        let reply = refusal.unwrap_or("235 2.7.0 Authentication successful");
        let answered = self.answer(Phase::Auth, &[user], reply).await?;
        self.note_sign_in(answered);
        Ok(answered)
    }
}

/// User and token of a response.
fn taken_apart(response: &str) -> Option<(&str, &str)> {
    let rest = response.strip_prefix("user=")?;
    let (user, rest) = rest.split_once('\u{1}')?;
    let token = rest.strip_prefix("auth=Bearer ")?;
    Some((user, token.strip_suffix("\u{1}\u{1}")?))
}
