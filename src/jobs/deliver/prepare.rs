//! From "somebody should look at these reminders" to attempts that are committed, or to an answer why not.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::answers::BatchWrites;
use super::sender::{self, Sender};
use super::turns::Admitted;
use super::{BatchFailed, record};
use crate::clock::Moment;
use crate::db;
use crate::db::ledger::{DueReminder, NewAttempt, RecheckedReminder, SentRecord};
use crate::db::pauses::Pause;
use crate::db::suppressions::AddressHash;
use crate::domain::channel::UnknownPolicy;
use crate::domain::contact::{self, Contact, Suppression};
use crate::domain::conversation::Record;
use crate::domain::decide::{Decision, Facts, History, Reason, decide};
use crate::domain::hold::HoldGate;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::local_time::LocalTime;
use crate::domain::read_state::{Episode, ReadState, read_state};
use crate::domain::rule::{self, Rule};
use crate::domain::zone::Zone;
use crate::hashing::Move;
use crate::jobs::context::{Account, Context};

/// How soon a reminder is looked at again when LivePerson could not be asked.
const UNCHECKED_PAUSE: TimeDelta = TimeDelta::seconds(30);

/// How often a batch decides anew about those for whom something came between the decision and the beginning of the attempt.
const ROUNDS: usize = 3;

/// Everything a provider needs, committed as an attempt.
#[derive(Debug)]
pub struct Dispatch {
    pub owed: DueReminder,
    pub attempt: i64,
    pub contact: Contact,
    pub recipient: AddressHash,
    pub episode: Episode,
    pub rule: Rule,
    pub sender: String,
    pub language: Option<String>,
    pub skill_name: Option<String>,
    /// The deadline, or the beginning of the recipient's quiet hours if they come first.
    pub not_after: DateTime<Utc>,
    /// Not after the attempt's lease began: what the lease allows is counted from here.
    pub began: Moment,
    /// When LivePerson was asked about the conversation.
    pub asked: Moment,
    /// When it was looked last whether the recipient may be written to.
    pub cleared: Moment,
}

/// What became of a reminder that was looked at.
#[derive(Debug)]
pub enum Prepared {
    /// An attempt has begun.
    Begun(Box<Dispatch>),
    /// It is to be sent, by this sender, for whom it has no turn.
    WithoutTurn { sender: String },
    /// It is settled, or it waits.
    Nothing,
}

/// What LivePerson said about the conversations of a batch.
enum LivePersonCheck {
    /// By conversation; one that is not there is not known to LivePerson.
    Fresh {
        asked: Moment,
        records: HashMap<String, Record>,
        unreadable: HashSet<String>,
        incomplete: bool,
    },
    Unchecked {
        pause: TimeDelta,
    },
}

/// Prepares a batch of one account.
pub async fn prepare(
    ctx: Arc<Context>,
    account: AccountId,
    admitted: Vec<Admitted>,
) -> Vec<Result<Prepared, BatchFailed>> {
    let ids: Vec<ReminderId> = admitted.iter().map(|one| one.owed.id).collect();
    let result = match ctx.accounts.get(&account) {
        Some(account) => DeliveryBatch { ctx: &ctx, account }.run(admitted).await,
        None => Ok(HashMap::new()),
    };
    match result {
        Ok(mut prepared) => ids
            .iter()
            .map(|id| Ok(prepared.remove(id).unwrap_or(Prepared::Nothing)))
            .collect(),
        Err(error) => {
            let error = BatchFailed::from(error);
            ids.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

impl LivePersonCheck {
    fn asked(&self) -> Option<Moment> {
        match self {
            Self::Fresh { asked, .. } => Some(*asked),
            Self::Unchecked { .. } => None,
        }
    }
}

struct DeliveryBatch<'a> {
    ctx: &'a Arc<Context>,
    account: &'a Account,
}

/// A reminder with what was found out about it.
struct Candidate<'a> {
    owed: DueReminder,
    turn: Option<Arc<Sender>>,
    record: Option<&'a Record>,
    contact: Option<Contact>,
    hash: Option<AddressHash>,
    holdout_bucket: u8,
    /// By whose clock the rule's hours are read.
    local: LocalTime,
}

impl Candidate<'_> {
    /// Where the conversation is now, as far as that is known.
    fn skill(&self) -> SkillId {
        self.record.map_or(self.owed.skill, |r| r.skill)
    }

    /// Finds the consumer's clock anew, and with it the deadline, from the record at hand. Without one, what is stored stands.
    fn read_hours(&mut self, rule: Option<&Rule>, of_account: Zone, now: DateTime<Utc>) {
        if let (Some(rule), Some(record)) = (rule, self.record) {
            let address = self.contact.as_ref().map(|contact| &contact.address);
            self.local = LocalTime::new(record.time_zone, address, &rule.settings, of_account, now);
            self.owed.deadline = self.local.deadline(rule, self.owed.due_at);
        }
    }

    /// What the ledger must be told of them; `None`: it knows, or it does not matter.
    fn changed_hours(
        &self,
        stored: DateTime<Utc>,
        rule: Option<&Rule>,
        decision: &Decision,
    ) -> Option<RecheckedReminder> {
        let waits = matches!(decision, Decision::Postpone(_, Reason::QuietHours));
        let rule = rule.filter(|_| waits || stored != self.owed.deadline)?;
        Some(RecheckedReminder {
            reminder: self.owed.id,
            deadline: self.owed.deadline,
            latest_at: rule.latest_at(self.owed.due_at),
            local: self.local.clone(),
        })
    }

    fn has_turn_of(&self, sender: &str) -> bool {
        let key = sender::key(self.owed.channel, sender);
        self.turn.as_ref().is_some_and(|of| of.key == key)
    }
}

impl DeliveryBatch<'_> {
    async fn run(&self, admitted: Vec<Admitted>) -> anyhow::Result<HashMap<ReminderId, Prepared>> {
        let mut conversations = Vec::with_capacity(admitted.len());
        let mut turns = HashMap::with_capacity(admitted.len());
        for one in admitted {
            conversations.push(one.owed.conversation);
            turns.insert(one.owed.id, one.turn);
        }
        let checked = self.check(conversations).await;
        self.decide_all(turns, &checked).await
    }

    /// Asks LivePerson about the conversations; nothing is decided from an older state.
    async fn check(&self, mut ids: Vec<String>) -> LivePersonCheck {
        if let Some(pause) = self.account.paused() {
            return LivePersonCheck::Unchecked { pause };
        }
        let before = Moment::now();
        ids.sort_unstable();
        ids.dedup();
        match self.account.by_ids(&ids).await {
            Ok(answer) => LivePersonCheck::Fresh {
                asked: answer.asked.unwrap_or(before),
                records: answer
                    .records
                    .into_iter()
                    .map(|r| (r.id.clone(), r))
                    .collect(),
                unreadable: answer.unreadable.into_iter().filter_map(|u| u.id).collect(),
                incomplete: answer.incomplete,
            },
            Err(error) => {
                let asked = error
                    .retry_after()
                    .and_then(|d| TimeDelta::from_std(d).ok());
                let pause = asked.map_or(UNCHECKED_PAUSE, |asked| asked.max(UNCHECKED_PAUSE));
                tracing::warn!(account = %self.account.id, conversations = ids.len(), "Cannot re-check: {error}");
                self.account.pause();
                LivePersonCheck::Unchecked { pause }
            }
        }
    }

    /// Decides about every reminder of the batch and commits the answers, attempts included, in one transaction.
    async fn decide_all(
        &self,
        mut turns: HashMap<ReminderId, Option<Arc<Sender>>>,
        checked: &LivePersonCheck,
    ) -> anyhow::Result<HashMap<ReminderId, Prepared>> {
        let ctx = self.ctx;
        let began = Moment::now();
        let pool = &ctx.pool;
        let mut tx = pool
            .begin()
            .await
            .context("opening a transaction for a batch")?;
        let ids: Vec<ReminderId> = turns.keys().copied().collect();
        let owed = db::ledger::lock_owed(&mut *tx, &ids, ctx.clock.instead_of_database())
            .await
            .context("locking reminders")?;
        let mut candidates: Vec<Candidate> = owed
            .into_iter()
            .map(|o| {
                let turn = turns.remove(&o.id).flatten();
                self.candidate(o, turn, checked)
            })
            .collect();
        candidates.sort_by_key(|c| (c.owed.due_at, c.owed.id));
        let skills: BTreeSet<SkillId> = candidates.iter().map(Candidate::skill).collect();
        let skills: Vec<SkillId> = skills.into_iter().collect();
        let rules = ctx.rules_for(&mut tx, self.account, &skills).await?;
        let mut found = BatchProgress {
            began,
            now: ctx.clock.now(),
            answers: BatchWrites::default(),
            prepared: HashMap::new(),
        };
        for _ in 0..ROUNDS {
            if candidates.is_empty() {
                break;
            }
            let decided = self
                .decide(&mut tx, candidates, &rules, checked, found.now)
                .await?;
            let asked = checked.asked().unwrap_or(began);
            candidates = self.begin(&mut tx, decided, asked, &mut found).await?;
        }
        for candidate in candidates {
            let owed = candidate.owed;
            let later = postpone(
                found.now + UNCHECKED_PAUSE,
                owed.deadline,
                Reason::Unchecked,
            );
            found.answers.other(&owed, &later);
        }
        let BatchProgress {
            answers,
            prepared,
            now,
            ..
        } = found;
        answers.write(&mut tx, ctx, self.account, now).await?;
        if let Err(error) = tx.commit().await {
            // Perhaps only the answer was lost. Then these attempts are begun, and nobody makes them.
            let unmade = prepared.into_values().filter_map(|one| match one {
                Prepared::Begun(dispatch) => Some(*dispatch),
                Prepared::WithoutTurn { .. } | Prepared::Nothing => None,
            });
            tokio::spawn(record::take_back(self.ctx.clone(), unmade.collect(), now));
            return Err(error).context("committing a batch");
        }
        Ok(prepared)
    }

    /// Decides about each, with what is known now about all of them.
    async fn decide<'c>(
        &self,
        tx: &mut PgConnection,
        candidates: Vec<Candidate<'c>>,
        rules: &'c [Rule],
        checked: &LivePersonCheck,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<DecidedReminder<'c>>> {
        let mut batch_state =
            BatchState::open(tx, self.ctx, self.account, &candidates, rules).await?;
        let mut decided = Vec::with_capacity(candidates.len());
        let mut looked = Vec::new();
        for mut candidate in candidates {
            let rule = rule::pick(rules, candidate.skill(), candidate.owed.channel);
            let stored = candidate.owed.deadline;
            candidate.read_hours(rule, self.account.time_zone, now);
            let owed = &candidate.owed;
            let decision = match checked {
                _ if owed.early => Decision::Postpone(owed.next_at, Reason::Scheduled),
                LivePersonCheck::Unchecked { pause } => {
                    postpone(now + *pause, owed.deadline, Reason::Unchecked)
                }
                LivePersonCheck::Fresh {
                    unreadable,
                    incomplete,
                    ..
                } if candidate.record.is_none()
                    && (*incomplete || unreadable.contains(&owed.conversation)) =>
                {
                    postpone(now + UNCHECKED_PAUSE, owed.deadline, Reason::Undecided)
                }
                LivePersonCheck::Fresh { .. } => {
                    batch_state.decide(&candidate, rule, self.account, now)
                }
            };
            let sender = rule.map(|rule| self.ctx.sender(rule)).unwrap_or_default();
            let has_turn = || candidate.has_turn_of(&sender);
            let decision = match decision {
                Decision::Send(contact) => {
                    match batch_state
                        .circuit(tx, owed, &sender, now, has_turn())
                        .await?
                    {
                        None => Decision::Send(contact),
                        Some(probe_at) => postpone(probe_at, owed.deadline, Reason::CircuitOpen),
                    }
                }
                other => other,
            };
            if matches!(decision, Decision::Send(_)) && has_turn() {
                batch_state.count(&candidate, now);
            }
            looked.extend(candidate.changed_hours(stored, rule, &decision));
            let episode = match (&decision, candidate.record) {
                (Decision::Send(_), Some(record)) => {
                    match read_state(record, self.account.count_bots) {
                        ReadState::Unread(episode) => Some(episode),
                        ReadState::Read(_) | ReadState::Undecided => None,
                    }
                }
                _ => None,
            };
            decided.push(DecidedReminder {
                candidate,
                rule,
                sender,
                decision,
                episode,
            });
        }
        if !looked.is_empty() {
            let noted = db::ledger::note_hours(tx, &looked).await;
            noted.context("noting hours")?;
        }
        Ok(decided)
    }

    /// Begins the attempts of those that are to be sent, and notes the other answers. Returns those that were not allowed to begin: an
    /// opt-out or a pause came between.
    async fn begin<'c>(
        &self,
        tx: &mut PgConnection,
        decided: Vec<DecidedReminder<'c>>,
        asked: Moment,
        found: &mut BatchProgress,
    ) -> anyhow::Result<Vec<Candidate<'c>>> {
        let asked_for: Vec<NewAttempt> =
            decided.iter().filter_map(DecidedReminder::begin).collect();
        let cleared = Moment::now();
        let attempts: HashMap<ReminderId, i64> =
            db::ledger::begin(tx, &asked_for, &self.ctx.heartbeat_status.mark(), found.now)
                .await
                .context("beginning attempts")?
                .into_iter()
                .collect();
        let asked_for: HashSet<ReminderId> = asked_for.into_iter().map(|b| b.reminder).collect();
        let mut refused = Vec::new();
        for decided in decided {
            let owed = &decided.candidate.owed;
            let attempt = attempts.get(&owed.id).copied();
            if attempt.is_none() && asked_for.contains(&owed.id) {
                refused.push(decided.candidate);
                continue;
            }
            let channel = owed.channel;
            match (attempt, &decided.decision) {
                (None, Decision::Send(_)) => {
                    let sender = decided.sender;
                    let without = Prepared::WithoutTurn { sender };
                    found.prepared.insert(owed.id, without);
                }
                (None, decision) => {
                    self.ctx.metrics.decided_on(channel, decision);
                    found.answers.other(owed, decision);
                }
                (Some(attempt), decision) => {
                    self.ctx.metrics.decided_on(channel, decision);
                    let (id, known) = (owed.id, (asked, cleared));
                    if let Some(dispatch) = Self::dispatch(decided, attempt, known, found) {
                        let prepared = Prepared::Begun(Box::new(dispatch));
                        found.prepared.insert(id, prepared);
                    }
                }
            }
        }
        Ok(refused)
    }

    /// What the provider needs for a reminder whose attempt has begun.
    fn dispatch(
        decided: DecidedReminder<'_>,
        attempt: i64,
        (asked, cleared): (Moment, Moment),
        found: &BatchProgress,
    ) -> Option<Dispatch> {
        let now = found.now;
        let AttemptParts {
            contact,
            rule,
            record,
            recipient,
            episode,
        } = decided.parts()?;
        let hours = decided.candidate.local.hours(&rule.settings);
        let not_after = hours.allowed_until(now, decided.candidate.owed.deadline);
        Some(Dispatch {
            attempt,
            contact: contact.clone(),
            recipient,
            episode: episode.clone(),
            rule: rule.clone(),
            language: record.language.clone(),
            skill_name: record.skill_name.clone(),
            not_after,
            began: found.began,
            asked,
            cleared,
            sender: decided.sender,
            owed: decided.candidate.owed,
        })
    }

    fn candidate<'c>(
        &self,
        owed: DueReminder,
        turn: Option<Arc<Sender>>,
        checked: &'c LivePersonCheck,
    ) -> Candidate<'c> {
        let record = match checked {
            LivePersonCheck::Fresh { records, .. } => records.get(&owed.conversation),
            LivePersonCheck::Unchecked { .. } => None,
        };
        let contact = record
            .and_then(|r| contact::choose(&r.contact, owed.channel, &self.account.contact_policy));
        let hash = contact
            .as_ref()
            .map(|c| self.ctx.hasher.address(&c.address));
        Candidate {
            record,
            contact,
            hash,
            holdout_bucket: self.ctx.hasher.holdout_bucket(&owed.conversation),
            local: LocalTime::of_account(self.account.time_zone),
            turn,
            owed,
        }
    }
}

/// A reminder with the answer.
struct DecidedReminder<'a> {
    candidate: Candidate<'a>,
    rule: Option<&'a Rule>,
    sender: String,
    decision: Decision,
    /// What it is about, if it is to be sent.
    episode: Option<Episode>,
}

/// What an attempt is made of.
struct AttemptParts<'a> {
    contact: &'a Contact,
    rule: &'a Rule,
    record: &'a Record,
    recipient: AddressHash,
    episode: &'a Episode,
}

impl DecidedReminder<'_> {
    fn parts(&self) -> Option<AttemptParts<'_>> {
        let Decision::Send(contact) = &self.decision else {
            return None;
        };
        Some(AttemptParts {
            contact,
            rule: self.rule?,
            record: self.candidate.record?,
            recipient: self.candidate.hash?,
            episode: self.episode.as_ref()?,
        })
    }

    /// The attempt, if it is to be sent and has a turn.
    fn begin(&self) -> Option<NewAttempt> {
        let AttemptParts {
            contact,
            rule,
            recipient,
            ..
        } = self.parts()?;
        let owed = &self.candidate.owed;
        if !self.candidate.has_turn_of(&self.sender) {
            return None;
        }
        Some(NewAttempt {
            reminder: owed.id,
            rule_skill: rule.key().skill,
            sender: self.sender.clone(),
            // What is unknown is settled by asking the provider what went to this address, where it can be asked.
            address: (owed.channel.profile().unknown == UnknownPolicy::Settled)
                .then(|| contact.address.expose().to_owned()),
            recipient,
            lease: Context::lease(owed.channel),
        })
    }
}

/// What a batch has come to so far.
struct BatchProgress {
    /// Not after the leases of its attempts begin.
    began: Moment,
    now: DateTime<Utc>,
    answers: BatchWrites,
    prepared: HashMap<ReminderId, Prepared>,
}

/// Postpones within the deadline; what cannot wait so long has expired.
fn postpone(at: DateTime<Utc>, deadline: DateTime<Utc>, reason: Reason) -> Decision {
    if at < deadline {
        Decision::Postpone(at, reason)
    } else {
        Decision::Expire(reason)
    }
}

/// What a batch shares: suppressions, what was sent before, open circuits, pauses and holds. Kept current while the batch decides, so that two
/// reminders of one batch see each other.
struct BatchState {
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
    async fn open(
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

    fn decide(
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
    async fn circuit(
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

    fn count(&mut self, candidate: &Candidate, now: DateTime<Utc>) {
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
