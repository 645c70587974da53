//! Senders: which of them a caller may let messages come from; those that are paused because something is wrong with them (open
//! circuits), in words; try one now, or open it again.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::accounts::Accounts;
use super::{ControlError, Fault};
use crate::channel::codes;
use crate::clock::Clock;
use crate::db;
use crate::db::audit;
use crate::db::circuits::Circuit;
use crate::domain::ids::{AccountId, Channel, Provider};
use crate::domain::rule::settings::CHANNELS;
use crate::domain::rule::{Rule, RuleSettings};
use crate::jobs::context::Context;
use crate::jobs::names::{self, DueDelivery};
use crate::jobs::queue::When;

/// Whom a caller may let messages come from. Whoever is limited to some accounts must not write in another brand's name, nor get at the
/// pause of its sender: they have the senders of the settings, and those that rules of their accounts come from already.
#[derive(Clone, Debug)]
pub struct AllowedSenders(Option<Vec<(Channel, String)>>);

impl AllowedSenders {
    /// For who is limited to nothing.
    pub const ANY: Self = Self(None);

    pub async fn of(ctx: &Context, accounts: &Accounts) -> Result<Self, ControlError> {
        if !accounts.is_limited() {
            return Ok(Self::ANY);
        }
        let rules = db::rules::of_accounts(&ctx.pool, accounts.ids()).await?;
        let own = rules.iter().flat_map(|rule| own_senders(&rule.settings));
        let own = own.map(|(channel, sender)| (channel, sender.to_owned()));
        let usual = accounts.ids().iter().flat_map(|account| {
            let usual = move |channel| Some((channel, ctx.usual_sender(account, channel)?));
            Channel::ALL.into_iter().filter_map(usual)
        });
        Ok(Self(Some(own.chain(usual).collect())))
    }

    /// What is wrong with the senders of settings, if anything is. That of a channel which no step uses counts: it would be the rule's
    /// own from then on.
    pub fn faults(&self, settings: &RuleSettings) -> Vec<Fault> {
        let Some(may) = &self.0 else {
            return Vec::new();
        };
        let is_theirs = |(channel, wanted): &(Channel, &str)| {
            may.iter().any(|(of, own)| of == channel && own == wanted)
        };
        let others = own_senders(settings).filter(|wanted| !is_theirs(wanted));
        let faults = others.map(|(channel, _)| Fault {
            field: format!("/settings/{CHANNELS}/{channel}/sender"),
            detail: "is not a sender of your accounts: use one that another of their rules uses, or leave it out for the usual one; a \
                     user with access to all accounts can set a different one"
                .to_owned(),
        });
        faults.collect()
    }

    /// That nothing is wrong with them.
    pub fn allow(&self, settings: &RuleSettings) -> Result<(), ControlError> {
        match self.faults(settings) {
            faults if faults.is_empty() => Ok(()),
            faults => Err(ControlError::Invalid(faults)),
        }
    }
}

/// The senders that settings name, by channel.
fn own_senders(settings: &RuleSettings) -> impl Iterator<Item = (Channel, &str)> {
    let all = settings.channels.iter();
    all.filter_map(|(channel, own)| Some((channel, own.sender.as_deref()?)))
}

/// A sender that is paused because something is wrong with it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Circuit)]
pub struct CircuitView {
    /// smtp or twilio.
    #[schema(value_type = String)]
    pub provider: Provider,
    pub channel: Channel,
    pub sender: String,
    pub since: DateTime<Utc>,
    /// When one reminder is let through to see whether the trouble is over.
    pub probe_at: DateTime<Utc>,
    pub code: String,
    pub what: &'static str,
    pub fix: &'static str,
    /// Whether the caller may try it or open it again, if they may do so at all: nobody else's rules use it.
    #[serde(skip)]
    pub is_theirs: bool,
}

/// The circuits that are open. A sender is nobody's account's, but who is limited to some accounts sees those that their rules use.
pub(super) async fn open(ctx: &Context, accounts: &Accounts) -> sqlx::Result<Vec<Circuit>> {
    let mut open = db::circuits::open_ones(&ctx.pool).await?;
    if accounts.is_limited() && !open.is_empty() {
        let rules = db::rules::of_accounts(&ctx.pool, accounts.ids()).await?;
        open.retain(|circuit| {
            rules
                .iter()
                .any(|rule| comes_from(ctx, rule, key_of(circuit)))
        });
    }
    Ok(open)
}

/// A circuit by its names: what it is about.
pub type CircuitKey<'a> = (Provider, &'a str);

/// The key that these words name.
pub fn key<'a>(provider: &str, sender: &'a str) -> Result<CircuitKey<'a>, ControlError> {
    let provider = Provider::parse(provider).ok_or_else(|| not_paused(sender))?;
    Ok((provider, sender))
}

fn key_of(circuit: &Circuit) -> CircuitKey<'_> {
    (circuit.provider, &circuit.sender)
}

/// Whether reminders of a rule come from this sender, on any of its channels.
fn comes_from(ctx: &Context, rule: &Rule, (provider, sender): CircuitKey<'_>) -> bool {
    let mut channels = rule.settings.used();
    channels.any(|channel| channel.provider() == provider && ctx.sender(rule, channel) == sender)
}

/// Whether rules of accounts that the caller may not see come from a sender as well. Then it is not the caller's to try, nor to open
/// again: that would be done to the other accounts too.
fn is_shared(ctx: &Context, accounts: &Accounts, rules: &[Rule], key: CircuitKey<'_>) -> bool {
    let mut others = rules.iter().filter(|rule| !accounts.sees(&rule.account));
    others.any(|rule| comes_from(ctx, rule, key))
}

/// The accounts whose rules come from a sender, if the caller may try it and open it again.
async fn users(
    ctx: &Context,
    accounts: &Accounts,
    key: CircuitKey<'_>,
) -> Result<Vec<AccountId>, ControlError> {
    let open = open(ctx, accounts).await?;
    if !open.iter().any(|circuit| key_of(circuit) == key) {
        return Err(not_paused(key.1));
    }
    let rules = db::rules::all(&ctx.pool).await?;
    if is_shared(ctx, accounts, &rules, key) {
        return Err(ControlError::Forbidden(
            "other accounts use this sender too: only a user with access to all accounts can test it or resume it"
                .to_owned(),
        ));
    }
    let using = rules.iter().filter(|rule| comes_from(ctx, rule, key));
    let mut users: Vec<AccountId> = using.map(|rule| rule.account.clone()).collect();
    users.dedup();
    Ok(users)
}

/// The senders that are paused, longest first.
pub async fn paused(ctx: &Context, accounts: &Accounts) -> Result<Vec<CircuitView>, ControlError> {
    let open = open(ctx, accounts).await?;
    let rules = match &*open {
        [] => Vec::new(),
        _ => db::rules::all(&ctx.pool).await?,
    };
    let view = |circuit: Circuit| {
        let explained = codes::explain(circuit.provider, &circuit.code);
        CircuitView {
            is_theirs: !is_shared(ctx, accounts, &rules, key_of(&circuit)),
            provider: circuit.provider,
            channel: circuit.provider.channel(),
            sender: circuit.sender,
            since: circuit.opened_at,
            probe_at: circuit.probe_at,
            code: circuit.code,
            what: explained.paused,
            fix: explained.remedy,
        }
    };
    Ok(open.into_iter().map(view).collect())
}

/// Reminders that are scheduled at once; the rest follows when its own moment comes.
const MOST_WOKEN: i64 = 500;

/// Lets one reminder of the sender through now: if it goes, others follow.
pub async fn probe(
    ctx: &Context,
    accounts: &Accounts,
    by: &str,
    key: CircuitKey<'_>,
) -> Result<(), ControlError> {
    let users = users(ctx, accounts, key).await?;
    let clock = &ctx.clock;
    let mut tx = ctx.pool.begin().await?;
    if !db::circuits::probe_now(&mut tx, key, clock.now()).await? {
        return Err(not_paused(key.1));
    }
    // Any of them may be another sender's; it is then put off again, at no cost.
    schedule_held(&mut tx, clock, key.0.channel(), 1 + MOST_WOKEN / 10).await?;
    note(&mut tx, by, "circuit.probe", (key, &users), clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// Sends from the sender again as if nothing had been; if the trouble is still there, the next message pauses it anew.
pub async fn close(
    ctx: &Context,
    accounts: &Accounts,
    by: &str,
    key: CircuitKey<'_>,
) -> Result<(), ControlError> {
    let users = users(ctx, accounts, key).await?;
    let clock = &ctx.clock;
    let mut tx = ctx.pool.begin().await?;
    if !db::circuits::close(&mut tx, key).await? {
        return Err(not_paused(key.1));
    }
    schedule_held(&mut tx, clock, key.0.channel(), MOST_WOKEN).await?;
    note(&mut tx, by, "circuit.close", (key, &users), clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

async fn schedule_held(
    tx: &mut PgConnection,
    clock: &Clock,
    channel: Channel,
    most: i64,
) -> Result<(), ControlError> {
    let now = clock.now();
    let held = db::circuits::held(tx, channel, now, most).await?;
    let deliveries = held.iter().map(|(reminder, account)| DueDelivery {
        channel,
        account,
        reminder: *reminder,
        at: now,
    });
    names::schedule_deliveries(tx, clock, When::NoLaterThan, deliveries).await?;
    Ok(())
}

fn not_paused(sender: &str) -> ControlError {
    ControlError::NotFound(format!("pause of {sender}: it may have ended by itself"))
}

/// `users`: the accounts whose messages it holds up; if it is one, the entry is in its trail.
async fn note(
    conn: &mut PgConnection,
    by: &str,
    action: &str,
    ((provider, sender), users): (CircuitKey<'_>, &[AccountId]),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let entry = audit::NewAuditEntry {
        by,
        action,
        account: match users {
            [only] => Some(only),
            _ => None,
        },
        subject: sender,
        detail: json!({ "provider": provider, "accounts": users }),
    };
    audit::record(conn, &entry, now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_limited_writes_in_nobody_else_s_name_on_any_channel() {
        let own = |channel, sender: &str| (channel, sender.to_owned());
        let limited = AllowedSenders(Some(vec![
            own(Channel::Email, "help@example.com"),
            own(Channel::Sms, "+12025550143"),
        ]));
        let (email, sms) = (
            "/settings/channels/email/sender",
            "/settings/channels/sms/sender",
        );
        #[rustfmt::skip]
        let cases: [(Option<&str>, Option<&str>, &[&str]); 5] = [
            (None, None, &[]),
            (Some("help@example.com"), Some("+12025550143"), &[]),
            (Some("else@example.com"), Some("+12025550143"), &[email]),
            (Some("else@example.com"), Some("+12025550199"), &[email, sms]),
            // No step uses SMS, but the next draft may.
            (None, Some("+12025550199"), &[sms]),
        ];
        for (of_email, of_sms, faults) in cases {
            let mut settings = RuleSettings::default_for(&[Channel::Email]);
            settings.channels[Channel::Email].sender = of_email.map(str::to_owned);
            settings.channels[Channel::Sms].sender = of_sms.map(str::to_owned);
            let found = limited.faults(&settings);
            let fields: Vec<&str> = found.iter().map(|fault| fault.field.as_str()).collect();
            assert_eq!(fields, faults);
            assert_eq!(limited.allow(&settings).is_ok(), faults.is_empty());
            assert!(AllowedSenders::ANY.faults(&settings).is_empty());
        }
    }
}
