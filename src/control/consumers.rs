//! Single people: what is known of them, no more reminders for them, forgetting them.
//!
//! A consumer is named by what the caller has at hand: LivePerson's consumer id or the brand's own, a conversation, an address, or a
//! reminder they got. Addresses are hashed at once and are neither stored nor logged.

mod look_up;

use serde::Serialize;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;

use super::accounts::{Accounts, Allowed};
use super::{ControlError, Fault};
use crate::clock::Clock;
use crate::db;
use crate::db::audit;
use crate::db::suppressions::{AddressHash, Source};
use crate::domain::contact::{Address, Suppression};
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::hashing::Hasher;
use crate::suppressions_file;

pub use look_up::{ConsumerView, ConversationView, Explanation, look_up};

/// Whether what somebody is asked for by is an address, or an id that may be one: some brands have their customers' addresses as
/// customer ids, numbers without a plus among them. Then an answer would confirm an address that somebody has guessed, which takes the
/// right to see addresses. To be asked before anything is looked up; `region` as in [`ConsumerSelector::guess`].
pub fn reads_as_address(id: &str, region: Option<&str>) -> bool {
    let id = id.trim();
    id.contains(['@', '＠'])
        || id.starts_with(['+', '＋'])
        || guessed_address(id, region).is_some()
        || (!id.contains(char::is_alphabetic)
            && suppressions_file::address(&format!("+{id}"), None).is_some())
}

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerSelector {
    /// LivePerson's consumer id or the brand's own.
    Consumer(String),
    Conversation(String),
    Address(Channel, AddressHash),
}

impl ConsumerSelector {
    /// Reads an address as a person writes it; `region` is the country of numbers without a country code. What is kept of it under an
    /// older key is moved to the present one.
    pub async fn address(
        pool: &PgPool,
        clock: &Clock,
        hasher: &Hasher,
        (raw, region): (&str, Option<&str>),
    ) -> Result<Self, ControlError> {
        let Some(address) = suppressions_file::address(raw, region) else {
            return Err(ControlError::Invalid(vec![Fault {
                field: "/address".to_owned(),
                detail: "is not an e-mail address or a phone number; write a number with its country code, such as +1 202 555 0143"
                    .to_owned(),
            }]));
        };
        met(pool, clock, hasher, &address).await?;
        Ok(Self::Address(address.channel(), hasher.address(&address)))
    }

    /// What a search box holds: an address if it reads as one, else an id.
    pub async fn guess(
        pool: &PgPool,
        clock: &Clock,
        hasher: &Hasher,
        (raw, region): (&str, Option<&str>),
    ) -> Result<Self, ControlError> {
        let Some(address) = guessed_address(raw, region) else {
            return Ok(Self::Consumer(raw.trim().to_owned()));
        };
        met(pool, clock, hasher, &address).await?;
        Ok(Self::Address(address.channel(), hasher.address(&address)))
    }

    /// How the audit trail calls them: never by what identifies them.
    fn kind(&self) -> &'static str {
        match self {
            Self::Consumer(_) => "a consumer id",
            Self::Conversation(_) => "a conversation",
            Self::Address(channel, _) => channel.names().an_address,
        }
    }
}

/// The address that a search box holds, if it holds one.
pub fn guessed_address(raw: &str, region: Option<&str>) -> Option<Address> {
    let raw = raw.trim();
    // LivePerson's ids are long and have letters; a number has a plus or none.
    let like_an_address = raw.contains(['@', '+', '＋']) || !raw.contains(char::is_alphabetic);
    suppressions_file::address(raw, region).filter(|_| like_an_address)
}

/// An address turned up: what is kept of it under an older key is moved to the present one.
pub(super) async fn met(
    pool: &PgPool,
    clock: &Clock,
    hasher: &Hasher,
    address: &Address,
) -> Result<(), ControlError> {
    let moves = hasher.moves(address);
    if moves.is_empty() {
        return Ok(());
    }
    let mut tx = pool.begin().await?;
    db::rekey::ledger(&mut tx, &moves, clock.now()).await?;
    db::rekey::test_messages(&mut tx, &moves).await?;
    tx.commit().await?;
    Ok(())
}

async fn conversations_of(
    conn: &mut PgConnection,
    account: &AccountId,
    who: &ConsumerSelector,
) -> sqlx::Result<Vec<String>> {
    match who {
        ConsumerSelector::Consumer(id) => {
            db::erase::conversations_of_consumer(conn, account, id).await
        }
        ConsumerSelector::Conversation(id) => Ok(vec![id.clone()]),
        ConsumerSelector::Address(_, hash) => {
            db::erase::conversations_of_address(conn, account, hash).await
        }
    }
}

async fn recipients(
    conn: &mut PgConnection,
    account: &AccountId,
    who: &ConsumerSelector,
    conversations: &[String],
) -> sqlx::Result<Vec<(Channel, AddressHash)>> {
    match who {
        ConsumerSelector::Address(channel, hash) => Ok(vec![(*channel, *hash)]),
        _ => db::consumers::recipients(conn, account, conversations).await,
    }
}

/// Stops all reminders to the addresses that are known of somebody. Returns how many addresses that are.
pub async fn opt_out(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    account: &Allowed<AccountId>,
    who: &ConsumerSelector,
) -> Result<usize, ControlError> {
    let mut tx = pool.begin().await?;
    let ids = conversations_of(&mut tx, account, who).await?;
    let recipients = recipients(&mut tx, account, who, &ids).await?;
    if recipients.is_empty() {
        return Err(ControlError::Conflict(
            "no address of this customer is known yet: give the address itself".to_owned(),
        ));
    }
    stop(&mut tx, clock, by, account, &recipients, who.kind()).await?;
    tx.commit().await?;
    Ok(recipients.len())
}

/// Takes back what [`opt_out`] did: lifts the opt-outs that somebody of the team made for the addresses known of somebody. What the
/// customer said stays. Returns how many were lifted.
pub async fn allow(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    account: &Allowed<AccountId>,
    who: &ConsumerSelector,
) -> Result<u64, ControlError> {
    let mut tx = pool.begin().await?;
    let ids = conversations_of(&mut tx, account, who).await?;
    let recipients = recipients(&mut tx, account, who, &ids).await?;
    let own = std::slice::from_ref(&**account);
    let mut lifted = 0;
    for (channel, hash) in &recipients {
        let ours = [Source::Operator];
        lifted += db::suppressions::lift(&mut tx, own, *channel, hash, &ours).await?;
    }
    if lifted == 0 {
        return Err(ControlError::Conflict(
            "your team has not opted this customer out: a customer's own opt-out and imported lists stay".to_owned(),
        ));
    }
    let entry = audit::NewAuditEntry {
        by,
        action: "consumer.allow",
        account: Some(&**account),
        subject: who.kind(),
        detail: json!({ "addresses": lifted }),
    };
    audit::record(&mut tx, &entry, clock.now()).await?;
    tx.commit().await?;
    Ok(lifted)
}

/// Stops all reminders to the address that a reminder went to.
pub async fn opt_out_recipient_of(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    accounts: &Accounts,
    id: ReminderId,
) -> Result<(), ControlError> {
    let none = || ControlError::NotFound(format!("reminder {id}"));
    let reminder = db::reminders::one(pool, id).await?.ok_or_else(none)?;
    let account = accounts
        .named(reminder.account.as_str())
        .map_err(|_| none())?;
    let hash = db::reminders::recipient(pool, id).await?;
    let Some(hash) = hash else {
        return Err(ControlError::Conflict(format!(
            "reminder {id} has not been tried, or its recipient is no longer kept: give the address itself"
        )));
    };
    let mut tx = pool.begin().await?;
    let whose = format!("the recipient of reminder {id}");
    stop(
        &mut tx,
        clock,
        by,
        &account,
        &[(reminder.channel, hash)],
        &whose,
    )
    .await?;
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
) -> Result<(), ControlError> {
    let now = clock.now();
    for (channel, hash) in recipients {
        let why = (Suppression::OptedOut, Source::Operator);
        let own = std::slice::from_ref(account);
        db::suppressions::add(&mut *tx, own, *channel, hash, why, now).await?;
    }
    let entry = audit::NewAuditEntry {
        by,
        action: "consumer.opt_out",
        account: Some(account),
        subject: whose,
        detail: json!({ "addresses": recipients.len() }),
    };
    audit::record(tx, &entry, now).await?;
    Ok(())
}

/// What an erasure touched.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Erased)]
pub struct ErasureView {
    pub conversations: u64,
    /// Reminders that no longer point to the consumer.
    pub reminders: u64,
    /// Of these, cancelled because they were still to be sent.
    pub cancelled: u64,
    /// Recorded decisions that were deleted.
    pub decisions: u64,
    /// Reminders with a provider at this moment: they cannot be called back.
    pub in_flight: i64,
    /// Conversations open at LivePerson, which are not read again here.
    pub still_open: i64,
}

impl From<db::erase::ErasureCounts> for ErasureView {
    fn from(erased: db::erase::ErasureCounts) -> Self {
        Self {
            conversations: erased.conversations,
            reminders: erased.reminders,
            cancelled: erased.cancelled,
            decisions: erased.decisions,
            in_flight: erased.in_flight,
            still_open: erased.still_open,
        }
    }
}

/// Erases a consumer from one account, in one transaction. What stays: counts without a person, and suppressions, which are
/// keyed hashes; without them a person who said no would be written to again. Websites that show the consumer's badge are told.
pub async fn erase(
    pool: &PgPool,
    (clock, hasher): (&Clock, &Hasher),
    by: &str,
    account: &Allowed<AccountId>,
    who: &ConsumerSelector,
) -> Result<ErasureView, ControlError> {
    let now = clock.now();
    let mut tx = pool.begin().await?;
    let conversations = conversations_of(&mut tx, account, who).await?;
    let erased: ErasureView = db::erase::conversations(&mut tx, account, &conversations, now)
        .await?
        .into();
    let names: Vec<[u8; 16]> = conversations.iter().map(|id| hasher.erased(id)).collect();
    db::journal::erased(&mut tx, account, &names).await?;
    if let ConsumerSelector::Address(_, hash) = who {
        db::test_messages::erase(&mut tx, hash).await?;
    }
    let entry = audit::NewAuditEntry {
        by,
        action: "consumer.erase",
        account: Some(&**account),
        subject: who.kind(),
        detail: json!(erased),
    };
    audit::record(&mut tx, &entry, now).await?;
    tx.commit().await?;
    tracing::info!(%account, conversations = erased.conversations, reminders = erased.reminders, "A consumer was erased");
    Ok(erased)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_however_it_is_written_and_an_id_is_none() {
        for (id, region, is_one) in [
            ("ann@example.net", None, true),
            ("ann@", None, true),
            (" ANN＠example.net", None, true),
            ("+12025550143", None, true),
            (" ＋1 202 555 0143", None, true),
            ("12025550143", None, true),
            ("2025550143", Some("US"), true),
            ("1 (202) 555-0143", None, true),
            ("CUST-1", Some("US"), false),
            ("100234", Some("US"), false),
            ("f3b1c7d2-90aa-4f0e-8a54-1d3a2c9be811", Some("US"), false),
            ("", None, false),
        ] {
            assert_eq!(reads_as_address(id, region), is_one, "{id} {region:?}");
            // Whatever a search box takes for an address is one here.
            if guessed_address(id, region).is_some() {
                assert!(is_one, "{id}");
            }
        }
    }
}
