//! What consumers say about further reminders, however they say it, and the doubtful answers that a person looks at.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;

use super::{ControlError, accounts, labels, suppressions};
use crate::channel::optout::Meaning;
use crate::clock::Clock;
use crate::db;
use crate::db::audit;
use crate::db::opt_outs::Doubtful;
use crate::db::suppressions::{AddressHash, SAID_BY_TEXT, Source};
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::opt_out::{Doubt, No, OptOutAccounts, Reach};
use crate::hashing::Move;

/// What an installation does with a no.
#[derive(Clone, Debug)]
pub struct Policy {
    pub reach: Reach,
    /// All accounts of the installation, each with where its SMS come from whose rule names no sender, if the settings say so.
    pub usual_senders: BTreeMap<AccountId, Option<String>>,
}

/// A text message that somebody sent to one of our numbers.
#[derive(Clone, Debug)]
pub struct InboundText {
    /// Twilio's id of the message.
    pub sid: String,
    pub from: AddressHash,
    /// What the number was called under older keys.
    pub moves: Vec<Move>,
    /// The number of ours that it came to.
    pub to: String,
    pub messaging_service: Option<String>,
    /// Those that send with the Twilio account that it came to.
    pub accounts: Vec<AccountId>,
    pub meaning: Meaning,
    /// The language that it seems to be written in.
    pub language: Option<&'static str>,
}

/// What an answer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextEffect {
    Stopped,
    Lifted,
    /// It was acted on before: a second delivery, or a request that somebody plays again.
    Repeated,
    /// It is about something else.
    Other,
}

/// Acts on an answer, once.
pub async fn receive_text(
    pool: &PgPool,
    policy: &Policy,
    answer: &InboundText,
    now: DateTime<Utc>,
) -> sqlx::Result<TextEffect> {
    let lifts = match answer.meaning {
        Meaning::Help | Meaning::None => return Ok(TextEffect::Other),
        Meaning::Start | Meaning::Yes => true,
        Meaning::Stop | Meaning::FreeTextRevocation | Meaning::PerhapsRevocation(_) => false,
    };
    let mut tx = pool.begin().await?;
    if !db::opt_outs::first_time(&mut tx, &answer.sid, lifts, now).await? {
        return Ok(TextEffect::Repeated);
    }
    db::rekey::ledger(&mut tx, &answer.moves, now).await?;
    let accounts = policy.accounts_of(&mut tx, answer).await?;
    let number = (Channel::Sms, answer.from);
    let addresses = policy.addresses(&mut tx, number).await?;
    for address in &addresses {
        match answer.meaning {
            Meaning::Start => lift(&mut tx, &accounts, address, &SAID_BY_TEXT).await?,
            // "Yes" lifts only what a keyword did: it is mostly the answer to something else.
            Meaning::Yes => {
                let keyword = [Source::SmsKeyword, Source::Provider];
                lift(&mut tx, &accounts, address, &keyword).await?;
            }
            Meaning::Stop => stop(&mut tx, &accounts, address, Source::SmsKeyword, now).await?,
            Meaning::FreeTextRevocation => {
                stop(&mut tx, &accounts, address, Source::SmsText, now).await?;
            }
            Meaning::PerhapsRevocation(doubt) => {
                let seen = (doubt, answer.language);
                db::opt_outs::doubt(&mut tx, &accounts, &[*address], seen, now).await?;
            }
            Meaning::Help | Meaning::None => {}
        }
    }
    tx.commit().await?;
    Ok(if lifts {
        TextEffect::Lifted
    } else {
        TextEffect::Stopped
    })
}

async fn stop(
    tx: &mut PgConnection,
    accounts: &[AccountId],
    (channel, hash): &(Channel, AddressHash),
    source: Source,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let why = (Suppression::OptedOut, source);
    db::suppressions::add(tx, accounts, *channel, hash, why, now).await?;
    Ok(())
}

async fn lift(
    tx: &mut PgConnection,
    accounts: &[AccountId],
    (channel, hash): &(Channel, AddressHash),
    sources: &[Source],
) -> sqlx::Result<()> {
    // A mail provider's answer is nobody's text message.
    let sources: Vec<Source> = sources
        .iter()
        .copied()
        .filter(|source| *channel == Channel::Sms || *source != Source::Provider)
        .collect();
    db::suppressions::lift(tx, accounts, *channel, hash, &sources).await?;
    Ok(())
}

/// A no by a link or a complaint: it holds for the address it is about, and as far as the setting says.
pub async fn refuse(
    conn: &mut PgConnection,
    policy: &Policy,
    no: No,
    (account, channel, hash): (&AccountId, Channel, AddressHash),
    (reason, source): (Suppression, Source),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let accounts = policy.accounts_by_link(no, account);
    db::suppressions::add(conn, &accounts, channel, &hash, (reason, source), now).await?;
    for (channel, other) in policy.addresses(conn, (channel, hash)).await? {
        if other != hash {
            let why = (Suppression::OptedOut, source);
            db::suppressions::add(conn, &accounts, channel, &other, why, now).await?;
        }
    }
    Ok(())
}

/// Takes back a no that was said by the link, as far as it reached. Whether the address may be written to again: what was said in
/// another way stays.
pub async fn take_back(
    conn: &mut PgConnection,
    policy: &Policy,
    (account, channel, hash): (&AccountId, Channel, AddressHash),
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let accounts = policy.accounts_by_link(No::Unsubscribe, account);
    for (channel, hash) in policy.addresses(conn, (channel, hash)).await? {
        let by_link = [Source::UnsubscribeLink];
        db::suppressions::lift(conn, &accounts, channel, &hash, &by_link).await?;
    }
    let left = db::suppressions::active(conn, &[hash], now).await?;
    Ok(!left.contains_key(&(hash, channel, account.clone())))
}

impl Policy {
    /// The accounts that a no by a link or a complaint is about.
    fn accounts_by_link(&self, no: No, account: &AccountId) -> Vec<AccountId> {
        match self.reach.accounts(no) {
            OptOutAccounts::All => self.all(),
            OptOutAccounts::Own | OptOutAccounts::SharingSender => vec![account.clone()],
        }
    }

    /// The accounts that an answer by text message is about.
    async fn accounts_of(
        &self,
        conn: &mut PgConnection,
        answer: &InboundText,
    ) -> sqlx::Result<Vec<AccountId>> {
        if self.reach.accounts(No::Stop) != OptOutAccounts::SharingSender {
            return Ok(self.all());
        }
        let mut senders = vec![answer.to.as_str()];
        senders.extend(answer.messaging_service.as_deref());
        // Where Twilio chooses the number, nobody knows here which it is.
        let is_usual = |account: &&AccountId| {
            let usual = self.usual_senders.get(*account).and_then(Option::as_deref);
            usual.is_none_or(|usual| senders.contains(&usual))
        };
        let usual: Vec<AccountId> = answer.accounts.iter().filter(is_usual).cloned().collect();
        let of = (answer.accounts.as_slice(), usual.as_slice());
        let sharing = db::opt_outs::sharing_sender(conn, of, &senders, &answer.from).await?;
        // A number that no account is known to use: better all of the Twilio account than none.
        Ok(match (sharing.is_empty(), answer.accounts.is_empty()) {
            (false, _) => sharing,
            (true, false) => answer.accounts.clone(),
            (true, true) => self.all(),
        })
    }

    fn all(&self) -> Vec<AccountId> {
        self.usual_senders.keys().cloned().collect()
    }

    /// The address, and the consumer's others if the setting says so.
    async fn addresses(
        &self,
        conn: &mut PgConnection,
        address: (Channel, AddressHash),
    ) -> sqlx::Result<Vec<(Channel, AddressHash)>> {
        let mut addresses = vec![address];
        if self.reach.covers_other_addresses() {
            addresses.extend(db::opt_outs::other_addresses(conn, &self.all(), &address.1).await?);
            // Two who suppress the same addresses at once do so in one order.
            addresses.sort_unstable_by_key(|(_, hash)| *hash);
        }
        Ok(addresses)
    }
}

/// An opt-out that somebody wrote in words that may have meant something else. It holds until it is undone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DoubtfulOptOut {
    /// Where it holds.
    pub accounts: Vec<AccountId>,
    pub channel: Channel,
    /// The address's keyed hash.
    #[serde(serialize_with = "suppressions::hex")]
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    pub hash: AddressHash,
    /// Which rule recognised it: `stop_word`, `misspelling`, `ambiguous_word`, `not_interested`, `wrong_person`, `dismissal`,
    /// `complaint` or `about_messages`.
    #[schema(value_type = String)]
    pub doubt: Doubt,
    /// The same in a sentence.
    pub why: &'static str,
    /// The language that it seems to be written in: a guess, `null` where there is none.
    pub language: Option<String>,
    /// The newest reminder to this address, as far as it is still known.
    #[schema(value_type = Option<i64>)]
    pub reminder: Option<ReminderId>,
    pub since: DateTime<Utc>,
}

impl From<Doubtful> for DoubtfulOptOut {
    fn from(row: Doubtful) -> Self {
        Self {
            accounts: row.accounts,
            channel: row.channel,
            hash: row.hash,
            doubt: row.doubt,
            why: labels::doubt(row.doubt),
            language: row.language,
            reminder: row.reminder,
            since: row.since,
        }
    }
}

/// The doubtful opt-outs that nobody has looked at, the oldest first.
pub async fn to_review(
    pool: &PgPool,
    accounts: &accounts::Accounts,
    most: i64,
) -> Result<Vec<DoubtfulOptOut>, ControlError> {
    let rows = db::opt_outs::to_review(pool, accounts.ids(), most).await?;
    Ok(rows.into_iter().map(DoubtfulOptOut::from).collect())
}

/// What a person makes of a doubtful opt-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Verdict)]
pub enum OptOutReview {
    /// It was one: it stays.
    Keep,
    /// It was none: reminders go to the address again.
    Undo,
}

/// Settles a doubtful opt-out, in all these accounts. Returns in how many it was one.
pub async fn review(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    accounts: &accounts::Accounts,
    (channel, hash): (Channel, &AddressHash),
    verdict: OptOutReview,
) -> Result<u64, ControlError> {
    let mut tx = pool.begin().await?;
    let keep = verdict == OptOutReview::Keep;
    let settled = db::opt_outs::settle(&mut tx, accounts.ids(), (channel, hash), keep).await?;
    if settled.is_empty() {
        let what = "doubtful opt-out for this address: someone may have reviewed it already";
        return Err(ControlError::NotFound(what.to_owned()));
    }
    let entry = audit::NewAuditEntry {
        by,
        action: if keep {
            "suppression.keep"
        } else {
            "suppression.undo"
        },
        account: only(&settled),
        subject: channel.as_str(),
        detail: json!({ "accounts": settled.len() }),
    };
    audit::record(&mut tx, &entry, clock.now()).await?;
    tx.commit().await?;
    Ok(settled.len() as u64)
}

/// The account of an entry in the audit trail that is about one alone: who is limited to it sees the entry.
fn only(accounts: &[AccountId]) -> Option<&AccountId> {
    match accounts {
        [only] => Some(only),
        _ => None,
    }
}
