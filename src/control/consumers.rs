//! Single people: what is known of them, no more reminders for them, forgetting them.
//!
//! A person is named by what the caller has at hand: LivePerson's consumer id or the brand's own, a conversation, an address, or a
//! reminder they got. Addresses are hashed at once and are neither stored nor logged.

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::{Error, Fault};
use crate::clock::Clock;
use crate::db;
use crate::db::audit;
use crate::db::consumers::Conversation;
use crate::db::erase::Erased;
use crate::db::pages::Reminder;
use crate::db::reminders::{Filter, Whose};
use crate::db::suppressions::{AddressHash, Row, Source};
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::hashing::Hasher;
use crate::suppressions_file;

/// Some brands have their customers' addresses as customer ids.
pub fn reads_as_address(id: &str) -> bool {
    id.contains('@') || id.trim_start().starts_with('+')
}

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// LivePerson's consumer id or the brand's own.
    Consumer(String),
    Conversation(String),
    Address(Channel, AddressHash),
}

impl Who {
    /// Reads an address as a person writes it; `region` is the country of numbers without a country code.
    pub fn address(hasher: &Hasher, raw: &str, region: Option<&str>) -> Result<Self, Error> {
        let Some(address) = suppressions_file::address(raw, region) else {
            return Err(Error::Invalid(vec![Fault {
                field: "/address".to_owned(),
                detail: "is no e-mail address and no phone number; write a number with its country code, like +1 202 555 0143"
                    .to_owned(),
            }]));
        };
        Ok(Self::Address(address.channel(), hasher.address(&address)))
    }

    /// What a search box holds: an address if it reads as one, else an id.
    pub fn guess(hasher: &Hasher, raw: &str, region: Option<&str>) -> Self {
        let raw = raw.trim();
        // LivePerson's ids are long and have letters; a number has a plus or none.
        let like_an_address = raw.contains(['@', '+', '＋']) || !raw.contains(char::is_alphabetic);
        match suppressions_file::address(raw, region).filter(|_| like_an_address) {
            Some(address) => Self::Address(address.channel(), hasher.address(&address)),
            None => Self::Consumer(raw.to_owned()),
        }
    }

    /// Whether an answer would confirm an address that somebody has guessed: that takes the right to see addresses.
    pub fn confirms_an_address(&self) -> bool {
        match self {
            Self::Address(..) => true,
            Self::Consumer(id) => reads_as_address(id),
            Self::Conversation(_) => false,
        }
    }

    /// How the audit trail calls them: never by what identifies them.
    fn kind(&self) -> &'static str {
        match self {
            Self::Consumer(_) => "a consumer id",
            Self::Conversation(_) => "a conversation",
            Self::Address(Channel::Email, _) => "an e-mail address",
            Self::Address(Channel::Sms, _) => "a phone number",
        }
    }
}

/// What is known of a person.
#[derive(Clone, Debug)]
pub struct Person {
    pub conversations: Vec<Conversation>,
    /// Newest first.
    pub reminders: Vec<Reminder>,
    /// Where they were written to: how many addresses of each channel are known, as hashes.
    pub recipients: Vec<(Channel, AddressHash)>,
    /// What forbids to write to these.
    pub suppressions: Vec<Row>,
}

impl Person {
    pub fn is_unknown(&self) -> bool {
        self.conversations.is_empty() && self.reminders.is_empty() && self.suppressions.is_empty()
    }
}

/// Reminders told of at once.
const MOST_REMINDERS: i64 = 50;

/// Looks somebody up.
pub async fn look_up(pool: &PgPool, account: &AccountId, who: &Who) -> Result<Person, Error> {
    let mut conn = pool.acquire().await?;
    let ids = conversations_of(&mut conn, account, who).await?;
    let conversations = db::consumers::conversations(&mut *conn, account, &ids).await?;
    let recipients = recipients(&mut conn, account, who, &ids).await?;
    let hashes: Vec<AddressHash> = recipients.iter().map(|(_, hash)| *hash).collect();
    let suppressions = db::suppressions::of(&mut *conn, account, &hashes).await?;
    drop(conn);
    let filter = Filter {
        accounts: vec![account.clone()],
        whose: Some(match who {
            Who::Consumer(id) => Whose::Consumer(id.clone()),
            Who::Conversation(id) => Whose::Conversation(id.clone()),
            Who::Address(_, hash) => Whose::Recipient(*hash),
        }),
        ..Filter::default()
    };
    let reminders = db::reminders::search(pool, &filter, None, MOST_REMINDERS)
        .await?
        .reminders;
    Ok(Person {
        conversations,
        reminders,
        recipients,
        suppressions,
    })
}

async fn conversations_of(
    conn: &mut PgConnection,
    account: &AccountId,
    who: &Who,
) -> sqlx::Result<Vec<String>> {
    match who {
        Who::Consumer(id) => db::erase::conversations_of_consumer(conn, account, id).await,
        Who::Conversation(id) => Ok(vec![id.clone()]),
        Who::Address(_, hash) => db::erase::conversations_of_address(conn, account, hash).await,
    }
}

async fn recipients(
    conn: &mut PgConnection,
    account: &AccountId,
    who: &Who,
    conversations: &[String],
) -> sqlx::Result<Vec<(Channel, AddressHash)>> {
    match who {
        Who::Address(channel, hash) => Ok(vec![(*channel, *hash)]),
        _ => db::consumers::recipients(conn, account, conversations).await,
    }
}

/// Stops all reminders to the addresses that are known of somebody. Returns how many addresses that are.
pub async fn opt_out(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    account: &AccountId,
    who: &Who,
) -> Result<usize, Error> {
    let mut tx = pool.begin().await?;
    let ids = conversations_of(&mut tx, account, who).await?;
    let recipients = recipients(&mut tx, account, who, &ids).await?;
    if recipients.is_empty() {
        return Err(Error::Conflict(
            "no address of this person is known yet: name the address itself".to_owned(),
        ));
    }
    stop(&mut tx, clock, by, account, &recipients, who.kind()).await?;
    tx.commit().await?;
    Ok(recipients.len())
}

/// Stops all reminders to the address that a reminder went to.
pub async fn opt_out_recipient_of(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    accounts: &[AccountId],
    id: ReminderId,
) -> Result<(), Error> {
    let none = || Error::NotFound(format!("reminder {id}"));
    let reminder = db::reminders::one(pool, id).await?.ok_or_else(none)?;
    let account = accounts
        .iter()
        .find(|own| own.as_str() == reminder.account)
        .ok_or_else(none)?;
    let hash = db::reminders::recipient(pool, id).await?;
    let (Some(hash), Ok(channel)) = (hash, reminder.channel.parse()) else {
        return Err(Error::Conflict(format!(
            "reminder {id} has not been tried, or its recipient is forgotten by now: name the address itself"
        )));
    };
    let mut tx = pool.begin().await?;
    let whose = format!("the recipient of reminder {id}");
    stop(&mut tx, clock, by, account, &[(channel, hash)], &whose).await?;
    tx.commit().await?;
    Ok(())
}

async fn stop(
    tx: &mut PgConnection,
    clock: &Clock,
    by: &str,
    account: &AccountId,
    recipients: &[(Channel, AddressHash)],
    whose: &str,
) -> Result<(), Error> {
    let now = clock.now();
    for (channel, hash) in recipients {
        let why = (Suppression::OptedOut, Source::Operator);
        let own = std::slice::from_ref(account);
        db::suppressions::add(&mut *tx, own, *channel, hash, why, now).await?;
    }
    let entry = audit::Entry {
        by,
        action: "consumer.opt_out",
        account: Some(account.as_str()),
        subject: whose,
        detail: json!({ "addresses": recipients.len() }),
    };
    audit::record(tx, &entry, now).await?;
    Ok(())
}

/// Erases a consumer from one account, in one transaction. What stays: counts without a person, and suppressions, which are
/// keyed hashes; without them a person who said no would be written to again. Websites that show the consumer's badge are told.
pub async fn erase(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    account: &AccountId,
    who: &Who,
) -> Result<Erased, Error> {
    let now = clock.now();
    let mut tx = pool.begin().await?;
    let conversations = conversations_of(&mut tx, account, who).await?;
    let erased = db::erase::conversations(&mut tx, account, &conversations, now).await?;
    if let Who::Address(_, hash) = who {
        db::test_messages::erase(&mut tx, hash).await?;
    }
    let entry = audit::Entry {
        by,
        action: "consumer.erase",
        account: Some(account.as_str()),
        subject: who.kind(),
        detail: json!({
            "conversations": erased.conversations, "reminders": erased.reminders, "cancelled": erased.cancelled,
            "decisions": erased.decisions, "still_open": erased.still_open, "in_flight": erased.in_flight,
        }),
    };
    audit::record(&mut tx, &entry, now).await?;
    tx.commit().await?;
    tracing::info!(%account, conversations = erased.conversations, reminders = erased.reminders, "A consumer was erased");
    Ok(erased)
}
