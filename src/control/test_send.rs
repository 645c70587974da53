//! Sends one test message to an address that somebody gives, the way a reminder would go, and says how it went.
//!
//! The words are those of the rule as it stands on the page, with sample data; but whoever has not shown that the address is theirs
//! gets a fixed text with a code instead, so that nobody writes what they like to strangers in the brand's name. It is no reminder:
//! nothing is owed. What is kept: that a test was made, the address's domain (or country), and its keyed hash.

mod code;
mod message;
mod result;

use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::accounts::Allowed;
use super::consumers::met;
use super::rules::ChangeAuthor;
use super::senders::AllowedSenders;
use super::{ControlError, Fault};
use crate::db;
use crate::db::audit::NewAuditEntry;
use crate::db::test_messages::{Between, TestLimit};
use crate::domain::contact::Address;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::rule::RuleSettings;
use crate::domain::test_message::{self, A_DAY, CODE_LASTS, CODES_A_DAY};
use crate::jobs::context::{Account, Context};

use self::code::code_text;
use self::message::{hand_over, render};
use self::result::sent_message;

pub use code::{EnteredCode, verify};

/// A test that is wished for.
#[derive(Clone, Debug)]
pub struct TestRequest<'a> {
    pub account: &'a Allowed<AccountId>,
    /// Which of the rule's channels.
    pub channel: Channel,
    /// The rule as it is written at the moment, published or not.
    pub settings: &'a RuleSettings,
    /// Whom it may come from.
    pub senders: &'a AllowedSenders,
    pub language: Option<&'a str>,
    /// An e-mail address or a phone number.
    pub to: &'a str,
    /// Where the link in it leads.
    pub link: &'a str,
    /// Whether the caller may see by an address what became of it.
    pub may_know_why: bool,
}

/// How a test went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Sent {
    /// The provider accepted it. Whether it arrives shows in the mailbox or on the phone.
    pub accepted: bool,
    /// It brings a code instead of the rule's words: enter it, and the next test brings the words.
    pub needs_code: bool,
    /// In plain words.
    pub said: String,
    /// The provider's own words, for whoever looks after the connection.
    pub code: Option<String>,
}

/// Sends a test message.
pub async fn send(
    ctx: &Context,
    wish: &TestRequest<'_>,
    by: ChangeAuthor<'_>,
) -> Result<Sent, ControlError> {
    let account = account(ctx, wish.account)?;
    wish.senders.allow(wish.settings)?;
    let to = recipient(account, wish.channel, wish.to)?;
    met(&ctx.pool, &ctx.clock, &ctx.hasher, &to).await?;
    let hash = ctx.hasher.address(&to);
    let between = Between {
        person: by.name,
        account: wish.account,
        channel: wish.channel,
        recipient: &hash,
    };
    let known = ctx.test_recipients.iter().any(|own| own.covers(&to))
        || db::test_messages::is_verified(&ctx.pool, between).await?;
    let suppressed = db::suppressions::active(&ctx.pool, &[hash], by.now).await?;
    if suppressed.contains_key(&(hash, wish.channel, AccountId::clone(wish.account))) {
        return Err(hold_back(ctx, wish, between, (&to, known), by).await?);
    }
    let rendered = if known {
        let rendered = render(ctx, wish, &account.brand).await?;
        begin(ctx, between, None, by).await?;
        rendered
    } else {
        let code = test_message::code(rand::random_range(0..1_000_000));
        begin(ctx, between, Some(&code), by).await?;
        code_text(wish.channel, &account.brand, &code)
    };
    let outcome = hand_over(ctx, wish, &to, rendered, by).await?;
    let mut sent = sent_message(wish.channel, &outcome);
    sent.needs_code = sent.accepted && !known;
    if sent.needs_code {
        let minutes = CODE_LASTS.num_minutes();
        sent.said = format!(
            "Sent, with a six-digit code instead of your text. Enter the code within {minutes} minutes; the next test will then contain \
             your text."
        );
    }
    let mut conn = ctx.pool.acquire().await?;
    let said = json!({ "accepted": sent.accepted, "code": sent.code, "to": to.traits(), "verifies": !known });
    record(&mut conn, "test.send", between, said, by).await?;
    Ok(sent)
}

/// Nothing goes to an address that has said no. Counted and left on record like a message before anything is told of it, so that nobody
/// asks for address after address; why, learns only who may see suppressions of people by their address.
async fn hold_back(
    ctx: &Context,
    wish: &TestRequest<'_>,
    between: Between<'_>,
    (to, known): (&Address, bool),
    by: ChangeAuthor<'_>,
) -> Result<ControlError, ControlError> {
    let mut tx = ctx.pool.begin().await?;
    let counted = db::test_messages::count(&mut tx, between, !known, by.now).await?;
    counted.map_err(|(limit, after)| too_many(limit, after))?;
    let said =
        json!({ "accepted": false, "suppressed": true, "to": to.traits(), "verifies": !known });
    record(&mut tx, "test.send", between, said, by).await?;
    tx.commit().await?;
    let told = if wish.may_know_why {
        "That address cannot get messages: it has opted out or does not work. Use another, or allow it again on the page Opt-outs."
    } else {
        "Test messages cannot go to that address. Use another address of your own."
    };
    Ok(ControlError::Conflict(told.to_owned()))
}

fn account<'c>(ctx: &'c Context, id: &AccountId) -> Result<&'c Account, ControlError> {
    let account = ctx.accounts.get(id);
    account.ok_or_else(|| ControlError::NotFound(format!("account {id}")))
}

fn fault(field: &str, detail: impl Into<String>) -> ControlError {
    ControlError::Invalid(vec![Fault {
        field: field.to_owned(),
        detail: detail.into(),
    }])
}

fn recipient(account: &Account, channel: Channel, to: &str) -> Result<Address, ControlError> {
    let region = account.contact_policy.default_region.as_deref();
    let address = Address::of(channel, to, region);
    address.ok_or_else(|| fault("/to", channel.names().no_address))
}

/// Counts the message, and remembers its code, before it leaves.
async fn begin(
    ctx: &Context,
    between: Between<'_>,
    code: Option<&str>,
    by: ChangeAuthor<'_>,
) -> Result<(), ControlError> {
    let mut tx = ctx.pool.begin().await?;
    let counted = db::test_messages::count(&mut tx, between, code.is_some(), by.now).await?;
    counted.map_err(|(limit, after)| too_many(limit, after))?;
    if let Some(code) = code {
        let hash = ctx.hasher.code(by.name, between.recipient, code);
        let expires_at = by.now + CODE_LASTS;
        db::test_messages::keep_code(&mut tx, between, &hash, expires_at, by.now).await?;
    }
    tx.commit().await?;
    Ok(())
}

fn too_many(limit: TestLimit, after: TimeDelta) -> ControlError {
    let what = match limit {
        TestLimit::Person => format!("You have sent {A_DAY} test messages within a day"),
        TestLimit::PersonsCodes => format!("You have asked for {CODES_A_DAY} codes within a day"),
        TestLimit::RecipientsCodes => {
            format!("{CODES_A_DAY} codes have been sent to that address within a day")
        }
    };
    let minutes = after.num_minutes() + 1;
    let wait = match minutes {
        ..=90 => format!("{minutes} minutes"),
        _ => format!("{} hours", (minutes + 59) / 60),
    };
    let said = format!("{what}; you can send the next one in {wait}");
    ControlError::Busy(said, after.to_std().unwrap_or_default())
}

async fn record(
    conn: &mut PgConnection,
    action: &str,
    between: Between<'_>,
    detail: serde_json::Value,
    by: ChangeAuthor<'_>,
) -> Result<(), ControlError> {
    let entry = NewAuditEntry {
        by: by.name,
        action,
        account: Some(between.account),
        subject: between.channel.as_str(),
        detail,
    };
    db::audit::record(conn, &entry, by.now).await?;
    Ok(())
}
