//! What the decisions of a batch share, kept current from one to the next.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::candidate::Candidate;
use crate::db;
use crate::db::ledger::{DueReminder, OtherReminder};
use crate::db::pauses::Pause;
use crate::db::suppressions::{ActiveSuppression, AddressHash};
use crate::domain::decide::{AskedBy, Decision, Earlier, Facts, History, decide};
use crate::domain::hold::HoldGate;
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::reached::{DoneStep, StepReminder};
use crate::domain::reminder::ReminderState;
use crate::domain::rule::Rule;
use crate::hashing::Move;
use crate::jobs::context::{Account, Context};

/// What a batch shares: suppressions, what was sent before, open circuits, pauses and holds. Kept current while the batch decides, so that two
/// reminders of one batch see each other.
pub(super) struct BatchState {
    suppressed: HashMap<(AddressHash, Channel, AccountId), ActiveSuppression>,
    others: Vec<Known>,
    circuits: Vec<db::circuits::Circuit>,
    pauses: Vec<Pause>,
    gate: HoldGate,
    /// The counter in the line of this process, as it remembers it.
    seen: i64,
    /// By conversation and episode.
    clicks: HashMap<(String, String), DateTime<Utc>>,
}

/// Another reminder, and by what else it is known to be of somebody.
struct Known {
    reminder: OtherReminder,
    recipient: Option<AddressHash>,
    consumers: Vec<String>,
}

impl Known {
    /// Whether it was to the consumer of a candidate.
    fn is_to(&self, candidate: &Candidate) -> bool {
        let owed = &candidate.owed;
        self.reminder.account == owed.account
            && (self.reminder.conversation == owed.conversation
                || candidate
                    .consumers()
                    .any(|id| self.consumers.iter().any(|known| known == id))
                || self
                    .recipient
                    .is_some_and(|hash| candidate.hashes.contains(&hash)))
    }
}

impl BatchState {
    pub(super) async fn open(
        tx: &mut PgConnection,
        ctx: &Context,
        account: &Account,
        candidates: &[Candidate<'_>],
        rules: &[Rule],
    ) -> anyhow::Result<Self> {
        let mut hashes: Vec<AddressHash> = candidates
            .iter()
            .flat_map(|c| c.hashes.iter().copied())
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        let conversations: Vec<&str> = candidates
            .iter()
            .map(|c| c.owed.conversation.as_str())
            .collect();
        let mut consumers: Vec<&str> = candidates.iter().flat_map(Candidate::consumers).collect();
        consumers.sort_unstable();
        consumers.dedup();
        let now = ctx.clock.now();
        let addresses = candidates.iter().filter_map(|c| c.contact.as_ref());
        let moves: Vec<Move> = addresses
            .flat_map(|contact| ctx.hasher.moves(&contact.address))
            .collect();
        // Before the locks: it waits for nobody who waits for those.
        db::rekey::ledger(tx, &moves, now).await?;
        let nameless = candidates.iter().filter(|c| c.consumers().next().is_none());
        let nameless: Vec<&str> = nameless.map(|c| c.owed.conversation.as_str()).collect();
        let keys = lock_keys(&account.id, &hashes, &nameless, &consumers);
        db::ledger::lock_keys(tx, keys).await?;
        // Under ids that no scan has met yet, after a step-up, the next delivery must find what this one sends.
        let several = candidates.iter().filter(|c| c.consumers().nth(1).is_some());
        let named: Vec<(&str, &str)> = several
            .flat_map(|c| c.consumers().map(|id| (c.owed.conversation.as_str(), id)))
            .collect();
        db::consumers::note(tx, &account.id, &named).await?;
        let gap = rules
            .iter()
            .map(|r| r.settings.caps.gap)
            .max()
            .unwrap_or_default();
        let since = now - gap.max(TimeDelta::hours(24));
        let others = db::ledger::others(
            &mut *tx,
            &account.id,
            &conversations,
            &hashes,
            &consumers,
            since,
        )
        .await?;
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
            others: known(others),
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
        (ctx, account): (&Context, &Account),
        now: DateTime<Utc>,
    ) -> Decision {
        let owed = &candidate.owed;
        let others = || {
            self.others
                .iter()
                .filter(|other| other.reminder.id != owed.id)
        };
        let steps = others().filter(|other| is_of_episode(&other.reminder, owed));
        let steps: Vec<DoneStep> = steps
            .map(|other| {
                other
                    .reminder
                    .of_step
                    .done(&ctx.installation_of(&owed.account).waits, now)
            })
            .collect();
        let mut consumer: Vec<Earlier> = others()
            .filter(|other| other.is_to(candidate))
            .filter_map(|other| {
                Some(Earlier {
                    at: other.reminder.counted_at?,
                    same_conversation: other.reminder.conversation == owed.conversation,
                    came_back: other.reminder.came_back(),
                })
            })
            .collect();
        consumer.sort_unstable();
        let is_to_address = |other: &&Known| {
            other.reminder.of_step.channel == owed.channel
                && other.recipient.is_some()
                && other.recipient == candidate.hash
        };
        let mut address: Vec<DateTime<Utc>> = others()
            .filter(is_to_address)
            .filter_map(|other| other.reminder.counted_at)
            .collect();
        address.sort_unstable();
        let active = |hash: AddressHash, channel| {
            self.suppressed.get(&(hash, channel, owed.account.clone()))
        };
        let suppression = candidate.hash.and_then(|hash| active(hash, owed.channel));
        let pairs = candidate
            .hashes
            .iter()
            .flat_map(|hash| Channel::ALL.map(|channel| (*hash, channel)));
        let mut noes = pairs.filter_map(|(hash, channel)| active(hash, channel));
        let said_no = noes.find(|no| no.is_a_no_since(owed.episode_since));
        decide(&Facts {
            episode: &owed.episode,
            step: owed.step,
            channel: owed.channel,
            other_steps: &steps,
            asked_by: if owed.restarted {
                AskedBy::Person
            } else {
                AskedBy::Rule
            },
            deadline: owed.deadline,
            local: &candidate.local,
            rule,
            record: candidate.record,
            count_bots: account.count_bots,
            contact: candidate.contact.clone(),
            suppression: suppression.map(|active| active.reason),
            said_no: said_no.map(|no| no.reason),
            paused: rule.is_some_and(|rule| {
                let key = rule.key();
                self.pauses
                    .iter()
                    .any(|pause| pause.scope.holds(&key, owed.channel))
            }),
            held: self.gate.holds(owed.due_at, self.seen),
            history: &History { consumer, address },
            clicked_at: self
                .clicks
                .get(&(owed.conversation.clone(), owed.episode.clone()))
                .copied(),
            holdout_bucket: candidate.holdout_bucket,
            now,
        })
    }

    /// Whether nothing of the candidate's episode was, or may have been, sent before.
    pub(super) fn is_first(&self, candidate: &Candidate) -> bool {
        let owed = &candidate.owed;
        !self.others.iter().any(|other| {
            other.reminder.id != owed.id
                && other.reminder.counted_at.is_some()
                && is_of_episode(&other.reminder, owed)
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
        let owed = &candidate.owed;
        self.others.retain(|other| other.reminder.id != owed.id);
        self.others.push(Known {
            recipient: candidate.hash,
            consumers: candidate.consumers().map(str::to_owned).collect(),
            reminder: OtherReminder {
                id: owed.id,
                account: owed.account.clone(),
                conversation: owed.conversation.clone(),
                episode: owed.episode.clone(),
                of_step: StepReminder {
                    step: owed.step,
                    channel: owed.channel,
                    state: ReminderState::Sending,
                    reason: None,
                    tried: true,
                    sent_at: None,
                    final_at: None,
                    clicked: false,
                    said_no: None,
                },
                recipient_hash: None,
                counted_at: Some(now),
                consumer: None,
            },
        });
    }
}

fn is_of_episode(other: &OtherReminder, owed: &DueReminder) -> bool {
    other.account == owed.account
        && other.conversation == owed.conversation
        && other.episode == owed.episode
}

/// Each once, with all the ids under which it was found.
fn known(found: Vec<OtherReminder>) -> Vec<Known> {
    let mut by_id: HashMap<ReminderId, Known> = HashMap::with_capacity(found.len());
    for mut reminder in found {
        let consumer = reminder.consumer.take();
        let known = by_id.entry(reminder.id).or_insert_with(|| Known {
            recipient: reminder
                .recipient_hash
                .take()
                .and_then(|hash| hash.try_into().ok()),
            reminder,
            consumers: Vec::new(),
        });
        known.consumers.extend(consumer);
    }
    by_id.into_values().collect()
}

/// Advisory lock keys of recipients and consumers, so that two that go to one consumer are decided about one after the other. A conversation
/// whose record names nobody has one of its own.
fn lock_keys(
    account: &AccountId,
    hashes: &[AddressHash],
    conversations: &[&str],
    consumers: &[&str],
) -> Vec<i64> {
    let named = |kind: u8| {
        move |name: &&str| {
            let mut digest = Sha256::new();
            digest.update(account.as_str());
            digest.update([kind]);
            digest.update(name);
            key(&digest.finalize())
        }
    };
    let of_conversation = conversations.iter().map(named(0));
    let of_consumer = consumers.iter().map(named(1));
    let of_recipient = hashes.iter().map(|hash| key(hash));
    of_conversation
        .chain(of_consumer)
        .chain(of_recipient)
        .collect()
}

/// The first eight bytes of a hash.
fn key(hash: &[u8]) -> i64 {
    hash.iter()
        .take(8)
        .fold(0, |key, byte| key << 8 | i64::from(*byte))
}
