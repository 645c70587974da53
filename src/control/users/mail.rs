//! Links to choose a password, by e-mail, to people whose login name is their address.

use std::time::Duration;

use super::Link;
use super::links::address_of;
use crate::channel::render::Rendered;
use crate::control::ControlError;
use crate::domain::contact::Address;
use crate::hashing;
use crate::jobs::context::Context;
use crate::jobs::tell;

/// Whoever has asked for the link waits no longer: it is on their page in any case.
const PATIENCE: Duration = Duration::from_secs(15);

/// Mails a link to the person it is for. False: their name is no address, there is no mail server, or it did not take the mail.
pub async fn mail_link(ctx: &Context, name: &str, link: &Link) -> Result<bool, ControlError> {
    let Some(to) = Address::email(name) else {
        return Ok(false);
    };
    let Some(adapter) = tell::mail_adapter(ctx).await? else {
        return Ok(false);
    };
    let words = Rendered {
        subject: Some("Your login to unread".to_owned()),
        text: text(ctx, link)?,
        html: None,
        preheader: None,
    };
    let batch = hashing::token();
    let sending = tell::send(adapter, &to, &words, &batch, ctx.clock.now());
    let sent = tokio::time::timeout(PATIENCE, sending).await;
    let (sent, why) = match sent {
        Ok(Ok(())) => (true, String::new()),
        Ok(Err(error)) => (false, error.to_string()),
        Err(_) => (false, "it took too long".to_owned()),
    };
    if !sent {
        tracing::warn!("A link to choose a password could not be mailed: {why}");
    }
    Ok(sent)
}

fn text(ctx: &Context, link: &Link) -> Result<String, ControlError> {
    let url = address_of(&ctx.dashboard_url, link)?;
    let until = link.expires_at.format("%Y-%m-%d %H:%M UTC");
    Ok(format!(
        "Your login to unread is ready, or your password is to be changed. Choose a password here:\n\n{url}\n\nThe link works once, until \
         {until}. Anyone who has it can use it: do not pass it on. If you did not expect this mail, do nothing.\n"
    ))
}
