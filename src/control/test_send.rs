//! Sends one test message to an address that somebody gives, the way a reminder would go, and says how it went.
//!
//! The words are those of the rule as it stands on the page, with sample data. It is no reminder: nothing is owed, and nothing is
//! stored but that a test was made, without the address.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::rules::By;
use super::texts::Reader;
use super::{Error, Fault};
use crate::channel::render::Rendered;
use crate::channel::{smtp, twilio};
use crate::db;
use crate::db::audit::Entry;
use crate::domain::contact::Address;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::outcome::{Obstacle, Outcome, Refusal};
use crate::domain::rule::Settings;
use crate::domain::trouble::Trouble;
use crate::hashing;
use crate::jobs::context::Context;

/// Tests at once, and then one more every [`EVERY`]: nobody's way to write to strangers.
const AT_ONCE: f64 = 10.0;
const EVERY: Duration = Duration::from_mins(1);

/// How long Twilio may try.
const VALIDITY: Duration = Duration::from_mins(5);

/// A test that is wished for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    pub account: &'a AccountId,
    pub channel: Channel,
    /// The rule as it is written at the moment, published or not.
    pub settings: &'a Settings,
    pub language: Option<&'a str>,
    /// An e-mail address or a phone number.
    pub to: &'a str,
    /// Where the link in it leads.
    pub link: &'a str,
}

/// How a test went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Sent {
    /// The provider took it. Whether it arrives shows in the mailbox or on the phone.
    pub accepted: bool,
    /// In plain words.
    pub said: String,
    /// The provider's own words, for whoever looks after the connection.
    pub code: Option<String>,
}

/// Sends a test message.
pub async fn send(ctx: &Context, wish: &Wish<'_>, by: By<'_>) -> Result<Sent, Error> {
    let account = ctx.accounts.get(wish.account);
    let account = account.ok_or_else(|| Error::NotFound(format!("account {}", wish.account)))?;
    let to = recipient(wish, account.contact_policy.default_region.as_deref())?;
    let hash = ctx.hasher.address(&to);
    let suppressed = db::suppressions::active(&ctx.pool, &[hash], by.now).await?;
    if suppressed.contains_key(&(hash, wish.channel, wish.account.to_string())) {
        return Err(Error::Conflict(
            "That address must not be written to: it has opted out, or does not work. Use another, or allow it on the page \
             Suppressions."
                .to_owned(),
        ));
    }
    pass(ctx, by).await?;
    let rendered = render(ctx, wish, &account.brand)?;
    let outcome = match wish.channel {
        Channel::Email => email(ctx, wish, &to, &rendered, by).await?,
        Channel::Sms => sms(ctx, wish, &to, &rendered).await?,
    };
    let sent = told(wish.channel, &outcome);
    let mut conn = ctx.pool.acquire().await?;
    let entry = Entry {
        by: by.name,
        action: "test.send",
        account: Some(wish.account.as_str()),
        subject: wish.channel.as_str(),
        detail: json!({ "accepted": sent.accepted, "code": sent.code }),
    };
    db::audit::record(&mut conn, &entry, by.now).await?;
    Ok(sent)
}

fn recipient(wish: &Wish<'_>, region: Option<&str>) -> Result<Address, Error> {
    let (address, detail) = match wish.channel {
        Channel::Email => (
            Address::email(wish.to),
            "is no e-mail address that can be written to, for example you@example.com",
        ),
        Channel::Sms => (
            Address::phone(wish.to, region),
            "is no phone number that can be texted; write it with its country, for example +12025550143",
        ),
    };
    address.ok_or_else(|| {
        Error::Invalid(vec![Fault {
            field: "/to".to_owned(),
            detail: detail.to_owned(),
        }])
    })
}

async fn pass(ctx: &Context, by: By<'_>) -> Result<(), Error> {
    let key = format!("test_send:{}", by.name);
    let per_second = EVERY.as_secs_f64().recip();
    let wait = db::limits::pass(&ctx.pool, &key, per_second, AT_ONCE).await?;
    if wait.is_zero() {
        return Ok(());
    }
    Err(Error::Conflict(
        "That were many tests in a short time: wait a minute.".to_owned(),
    ))
}

fn render(ctx: &Context, wish: &Wish<'_>, brand: &str) -> Result<Rendered, Error> {
    let reader = Reader {
        brand: Some(brand.to_owned()),
        link: Some(wish.link.to_owned()),
        unsubscribe_link: Some(ctx.link("u", "test")),
        ..Reader::default()
    };
    let (tag, template) = wish.settings.template_for(wish.language).unzip();
    let (language, vars) = (tag.or(wish.language), reader.vars(&ctx.texts));
    let rendered = ctx.texts.render(wish.channel, template, language, &vars);
    rendered.map_err(|error| {
        Error::Invalid(vec![Fault {
            field: format!("/settings/templates/{}", error.field.as_str()),
            detail: format!("{}; {}", error.what, error.mend),
        }])
    })
}

async fn email(
    ctx: &Context,
    wish: &Wish<'_>,
    to: &Address,
    rendered: &Rendered,
    by: By<'_>,
) -> Result<Outcome, Error> {
    let mail = ctx
        .mail
        .as_ref()
        .ok_or_else(|| not_configured("E-mail", "SMTP_USER"))?;
    let own = wish.settings.sender.as_deref();
    let from = mail.settings().from.for_brand(own, ctx.brand(wish.account));
    let from = from.map_err(|_| wrong_sender())?;
    let subject = format!("[Test] {}", rendered.subject.as_deref().unwrap_or_default());
    let word = hashing::token();
    Ok(mail
        .send(&smtp::Email {
            from: Some(&from),
            reply_to: None,
            to,
            to_name: None,
            subject: &subject,
            text: &rendered.text,
            html: rendered.html.as_deref(),
            message_id: &format!("test.{word}@{}", from.domain()),
            thread_ref: &format!("test.{word}.thread@{}", from.domain()),
            unsubscribe_url: None,
            unsubscribe_mailto: None,
            feedback_id: None,
            date: by.now,
        })
        .await)
}

async fn sms(
    ctx: &Context,
    wish: &Wish<'_>,
    to: &Address,
    rendered: &Rendered,
) -> Result<Outcome, Error> {
    let twilio = ctx
        .sms
        .as_ref()
        .ok_or_else(|| not_configured("SMS", "TWILIO_ACCOUNT_SID"))?;
    let own = wish.settings.sender.as_deref();
    let own = own.map(str::parse::<twilio::Sender>).transpose();
    let own = own.map_err(|_| wrong_sender())?;
    Ok(twilio
        .send(&twilio::Sms {
            to,
            body: &rendered.text,
            status_callback: None,
            validity: VALIDITY,
            sender: own.as_ref(),
        })
        .await)
}

fn not_configured(channel: &str, key: &str) -> Error {
    Error::Conflict(format!(
        "{channel} is not set up on this server: whoever runs it sets {key} and what belongs to it."
    ))
}

fn wrong_sender() -> Error {
    Error::Invalid(vec![Fault {
        field: "/settings/sender".to_owned(),
        detail: "is no sender for this channel".to_owned(),
    }])
}

fn told(channel: Channel, outcome: &Outcome) -> Sent {
    let provider = Context::provider(channel);
    let (accepted, said, code) = match outcome {
        Outcome::Accepted { .. } => (true, "It is on its way. Look whether it arrives.", None),
        Outcome::Refused { class, code } => {
            let said = match class {
                Refusal::BadRecipient => {
                    "The provider says that this address cannot receive messages."
                }
                Refusal::OptedOut => {
                    "This address has told the provider that it wants no messages from you."
                }
                Refusal::Policy => {
                    "The provider refused the message because of what it says or where it goes."
                }
                _ => "The provider refused the message.",
            };
            (false, said, Some(code))
        }
        Outcome::NotAccepted {
            class: Obstacle::Config | Obstacle::Quota,
            code,
            ..
        } => {
            let trouble = Trouble::of(provider, code);
            let said = trouble.to_string();
            return Sent {
                accepted: false,
                said,
                code: Some(code.clone()),
            };
        }
        Outcome::NotAccepted {
            class: Obstacle::RecipientPolicy,
            code,
            ..
        } => (
            false,
            "The recipient's side does not take it: a closed group, a restricted mailbox, or a policy against your sender.",
            Some(code),
        ),
        Outcome::NotAccepted { code, .. } => (
            false,
            "The provider did not take it at the moment. Try again in a minute.",
            Some(code),
        ),
        Outcome::Unknown { code } => (
            false,
            "The connection broke while the message was handed over: it may or may not arrive.",
            Some(code),
        ),
    };
    Sent {
        accepted,
        said: said.to_owned(),
        code: code.cloned(),
    }
}
