//! What the decisions of a batch share, kept current from one to the next.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::candidate::Candidate;
use crate::db;
use crate::db::ledger::{DueReminder, SentRecord};
use crate::db::pauses::Pause;
use crate::db::suppressions::AddressHash;
use crate::domain::contact::Suppression;
use crate::domain::decide::{Decision, Facts, History, decide};
use crate::domain::hold::HoldGate;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::rule::Rule;
use crate::hashing::Move;
use crate::jobs::context::{Account, Context};

/// What a batch shares: suppressions, what was sent before, open circuits, pauses and holds. Kept current while the batch decides, so that two
/// reminders of one batch see each other.
pub(super) struct BatchState {
    suppressed: HashMap<(AddressHash, Channel, AccountId), Suppression>,
    counted: Vec<SentRecord>,
    circuits: Vec<db::circuits::Circuit>,
    pauses: Vec<Pause>,
    gate: HoldGate,
    /// The counter in the line of this process, as it remembers it.
    seen: i64,
    /// By conversation and episode.
    clicks: HashMap<(String, String), DateTime<Utc>>,
}

impl BatchState {
    pub(super) async fn open(
        tx: &mut PgConnection,
        ctx: &Context,
        account: &Account,
        candidates: &[Candidate<'_>],
        rules: &[Rule],
    ) -> anyhow::Result<Self> {
        let hashes: Vec<AddressHash> = candidates.iter().filter_map(|c| c.hash).collect();
        let conversations: Vec<(&AccountId, &str)> = candidates
            .iter()
            .map(|c| (&c.owed.account, c.owed.conversation.as_str()))
            .collect();
        let now = ctx.clock.now();
        let addresses = candidates.iter().filter_map(|c| c.contact.as_ref());
        let moves: Vec<Move> = addresses
            .flat_map(|contact| ctx.hasher.moves(&contact.address))
            .collect();
        // Before the locks: it waits for nobody who waits for those.
        db::rekey::ledger(tx, &moves, now).await?;
        db::ledger::lock_keys(tx, lock_keys(&hashes, &conversations)).await?;
        let gap = rules
            .iter()
            .map(|r| r.settings.caps.gap)
            .max()
            .unwrap_or_default();
        let since = now - gap.max(TimeDelta::hours(24));
        let counted = db::ledger::counted(&mut *tx, &conversations, &hashes, since).await?;
        let suppressed = db::suppressions::active(&mut *tx, &hashes, now).await?;
        let circuits = db::circuits::open_ones(&mut *tx).await?;
        // Read with the attempts' own commit ahead: a pause holds from the moment it is written, in every worker.
        let pauses = db::pauses::all(&mut *tx).await?;
        let seen = ctx.heartbeat_status.mark();
        let gate = db::holds::gate(&mut *tx, &seen.process).await?;
        let episodes: Vec<(&str, &str)> = candidates
            .iter()
            .map(|c| (c.owed.conversation.as_str(), c.owed.episode.as_str()))
            .collect();
        let clicks = db::links::newest_clicks(&mut *tx, &account.id, &episodes).await?;
        tracing::trace!(account = %account.id, reminders = candidates.len(), "Deciding");
        Ok(Self {
            suppressed,
            counted,
            circuits,
            pauses,
            gate,
            seen: seen.counter,
            clicks,
        })
    }

    pub(super) fn decide(
        &self,
        candidate: &Candidate,
        rule: Option<&Rule>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Decision {
        let owed = &candidate.owed;
        let on_channel = || {
            self.counted
                .iter()
                .filter(|c| c.channel == owed.channel && c.reminder != owed.id)
        };
        let times = |matches: &dyn Fn(&SentRecord) -> bool| {
            let mut times: Vec<_> = on_channel().filter(|c| matches(c)).map(|c| c.at).collect();
            times.sort_unstable();
            times
        };
        let history = History {
            conversation: times(&|c| {
                c.account == owed.account && c.conversation == owed.conversation
            }),
            recipient: times(&|c| c.recipient.is_some() && c.recipient == candidate.hash),
        };
        let suppression = candidate.hash.and_then(|hash| {
            self.suppressed
                .get(&(hash, owed.channel, owed.account.clone()))
                .copied()
        });
        decide(&Facts {
            episode: &owed.episode,
            deadline: owed.deadline,
            local: &candidate.local,
            rule,
            record: candidate.record,
            count_bots: account.count_bots,
            contact: candidate.contact.clone(),
            suppression,
            paused: rule
                .is_some_and(|rule| self.pauses.iter().any(|pause| pause.scope.holds(rule))),
            held: self.gate.holds(owed.due_at, self.seen),
            history: &history,
            clicked_at: self
                .clicks
                .get(&(owed.conversation.clone(), owed.episode.clone()))
                .copied(),
            holdout_bucket: candidate.holdout_bucket,
            now,
        })
    }

    /// When to ask again if the sender's circuit is open; `None` if it is closed or this reminder is its probe.
    pub(super) async fn circuit(
        &self,
        tx: &mut PgConnection,
        owed: &DueReminder,
        sender: &str,
        now: DateTime<Utc>,
        has_turn: bool,
    ) -> anyhow::Result<Option<DateTime<Utc>>> {
        let provider = owed.channel.provider();
        let Some(open) = self
            .circuits
            .iter()
            .find(|c| c.provider == provider && c.sender == sender)
        else {
            return Ok(None);
        };
        // Who has no turn yet comes back with one, and must find the probe untaken.
        let probe = (owed.channel, owed.id);
        let probes = open.probe_at <= now
            && (!has_turn || db::circuits::take_probe(tx, (provider, sender), probe, now).await?);
        if probes {
            return Ok(None);
        }
        Ok(Some(
            open.probe_at
                .max(now + Context::spread(TimeDelta::seconds(60))),
        ))
    }

    pub(super) fn count(&mut self, candidate: &Candidate, now: DateTime<Utc>) {
        self.counted.push(SentRecord {
            reminder: candidate.owed.id,
            account: candidate.owed.account.clone(),
            conversation: candidate.owed.conversation.clone(),
            channel: candidate.owed.channel,
            recipient: candidate.hash,
            at: now,
        });
    }
}

/// Advisory lock keys of recipients and conversations: the same in every version that may run beside this one.
fn lock_keys(hashes: &[AddressHash], conversations: &[(&AccountId, &str)]) -> Vec<i64> {
    let of_conversation = conversations.iter().map(|(account, conversation)| {
        let mut digest = Sha256::new();
        digest.update(account.as_str());
        digest.update([0]);
        digest.update(conversation);
        key(&digest.finalize())
    });
    let of_recipient = hashes.iter().map(|hash| key(hash));
    of_conversation.chain(of_recipient).collect()
}

/// The first eight bytes of a hash.
fn key(hash: &[u8]) -> i64 {
    hash.iter()
        .take(8)
        .fold(0, |key, byte| key << 8 | i64::from(*byte))
}
