//! From "somebody should look at these reminders" to attempts that are committed, or to an answer why not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::{BatchFailed, record};
use crate::clock::Clock;
use crate::db;
use crate::db::decisions::Entry;
use crate::db::ledger::{Answer, Begin, Counted, Looked, Owed};
use crate::db::pauses::Pause;
use crate::db::suppressions::AddressHash;
use crate::domain::contact::{self, Contact, Suppression};
use crate::domain::conversation::Record;
use crate::domain::decide::{Decision, Facts, History, Reason, decide};
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};

use crate::domain::read_state::{Episode, ReadState, read_state};
use crate::domain::reminder::ReminderState;
use crate::domain::rule::{self, Rule};
use crate::domain::zone::{LocalTime, Zone};
use crate::jobs::context::{Account, Context};
use crate::jobs::names;
use crate::jobs::queue::{self, When};

/// How soon a reminder is looked at again when LivePerson could not be asked.
const UNCHECKED_PAUSE: TimeDelta = TimeDelta::seconds(30);

/// A turn under a provider's limit that comes later than this is not waited for with the attempt begun: waiting eats into the
/// attempt's lease, and past the lease somebody else would take it for lost.
const TURN_HORIZON: Duration = Duration::from_secs(10);

/// Everything a provider needs, committed as an attempt.
#[derive(Debug)]
pub struct Dispatch {
    pub owed: Owed,
    pub attempt: i64,
    pub contact: Contact,
    pub recipient: AddressHash,
    pub episode: Episode,
    pub rule: Rule,
    pub sender: String,
    pub language: Option<String>,
    pub skill_name: Option<String>,
    /// Its turn under the provider's limit.
    pub not_before: tokio::time::Instant,
    /// The deadline, or the beginning of the recipient's quiet hours if they come first.
    pub not_after: DateTime<Utc>,
    /// Not after the attempt's lease began: what the lease allows is counted from here.
    pub began: Moment,
}

/// A moment by two clocks of the machine: one stands still while the machine is suspended, the other may be set.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub steady: tokio::time::Instant,
    pub wall: DateTime<Utc>,
}

impl Moment {
    pub fn now() -> Self {
        Self {
            steady: tokio::time::Instant::now(),
            wall: Clock::System.now(),
        }
    }

    /// How long ago it was, by the clock that says more.
    pub fn age(self) -> Duration {
        let by_wall = Clock::System.now() - self.wall;
        self.steady
            .elapsed()
            .max(by_wall.to_std().unwrap_or_default())
    }
}

/// What LivePerson said about the conversations of a batch.
enum Checked {
    /// By conversation; one that is not there is not known to LivePerson.
    Fresh {
        records: HashMap<String, Record>,
        unreadable: HashSet<String>,
        incomplete: bool,
    },
    Unchecked {
        pause: TimeDelta,
    },
}

/// Prepares a batch of one account. `None` for reminders that need nothing now: settled meanwhile, postponed or cancelled.
pub async fn prepare(
    ctx: Arc<Context>,
    account: AccountId,
    ids: Vec<ReminderId>,
) -> Vec<Result<Option<Box<Dispatch>>, BatchFailed>> {
    let result = match ctx.accounts.get(&account) {
        Some(account) => Batch { ctx: &ctx, account }.run(&ids).await,
        None => Ok(HashMap::new()),
    };
    match result {
        Ok(mut dispatches) => ids
            .iter()
            .map(|id| Ok(dispatches.remove(id).map(Box::new)))
            .collect(),
        Err(error) => {
            let error = BatchFailed::from(error);
            ids.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

struct Batch<'a> {
    ctx: &'a Arc<Context>,
    account: &'a Account,
}

/// A reminder with what was found out about it.
struct Candidate<'a> {
    owed: Owed,
    record: Option<&'a Record>,
    contact: Option<Contact>,
    hash: Option<AddressHash>,
    lot: u8,
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
    ) -> Option<Looked> {
        let waits = matches!(decision, Decision::Postpone(_, Reason::QuietHours));
        let rule = rule.filter(|_| waits || stored != self.owed.deadline)?;
        Some(Looked {
            reminder: self.owed.id,
            deadline: self.owed.deadline,
            latest_at: rule.latest_at(self.owed.due_at),
            local: self.local.clone(),
        })
    }
}

impl Batch<'_> {
    async fn run(&self, ids: &[ReminderId]) -> anyhow::Result<HashMap<ReminderId, Dispatch>> {
        let waiting = db::ledger::owed(&self.ctx.pool, ids)
            .await
            .context("reading reminders")?;
        // A wake-up that came early (a moved due time, a clock that was set back) is put back.
        if waiting.is_empty() {
            return Ok(HashMap::new());
        }
        let checked = self.check(&waiting).await;
        self.decide_all(ids, &checked).await
    }

    /// Asks LivePerson about the conversations; nothing is decided from an older state.
    async fn check(&self, waiting: &[Owed]) -> Checked {
        if let Some(pause) = self.account.paused() {
            return Checked::Unchecked { pause };
        }
        let mut ids: Vec<String> = waiting.iter().map(|o| o.conversation.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        match self.account.by_ids(&ids).await {
            Ok(answer) => Checked::Fresh {
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
                tracing::warn!(account = %self.account.id, reminders = waiting.len(), "Cannot re-check: {error}");
                self.account.pause();
                Checked::Unchecked { pause }
            }
        }
    }

    /// Decides about every reminder of the batch and commits the answers, attempts included, in one transaction.
    async fn decide_all(
        &self,
        ids: &[ReminderId],
        checked: &Checked,
    ) -> anyhow::Result<HashMap<ReminderId, Dispatch>> {
        let ctx = self.ctx;
        let began = Moment::now();
        let mut tx = ctx
            .pool
            .begin()
            .await
            .context("opening a transaction for a batch")?;
        let owed = db::ledger::lock_owed(&mut *tx, ids)
            .await
            .context("locking reminders")?;
        let mut candidates: Vec<Candidate> = owed
            .into_iter()
            .map(|o| self.candidate(o, checked))
            .collect();
        candidates.sort_by_key(|c| (c.owed.due_at, c.owed.id));
        let skills: BTreeSet<SkillId> = candidates.iter().map(Candidate::skill).collect();
        let skills: Vec<SkillId> = skills.into_iter().collect();
        let rules = ctx.rules_for(&mut tx, self.account, &skills).await?;
        let mut room = Room::open(&mut tx, ctx, self.account, &candidates, &rules).await?;

        let now = ctx.clock.now();
        let mut decided = Vec::with_capacity(candidates.len());
        let mut looked = Vec::new();
        for mut candidate in candidates {
            let rule = rule::pick(&rules, candidate.skill(), candidate.owed.channel);
            let stored = candidate.owed.deadline;
            candidate.read_hours(rule, self.account.time_zone, now);
            let owed = &candidate.owed;
            let decision = match checked {
                _ if owed.next_at > now => Decision::Postpone(owed.next_at, Reason::Scheduled),
                Checked::Unchecked { pause } => {
                    postpone(now + *pause, owed.deadline, Reason::Unchecked)
                }
                Checked::Fresh {
                    unreadable,
                    incomplete,
                    ..
                } if candidate.record.is_none()
                    && (*incomplete || unreadable.contains(&owed.conversation)) =>
                {
                    postpone(now + UNCHECKED_PAUSE, owed.deadline, Reason::Undecided)
                }
                Checked::Fresh { .. } => room.decide(&candidate, rule, self.account, now),
            };
            let sender = rule.map(|rule| ctx.sender(rule)).unwrap_or_default();
            let decision = match decision {
                Decision::Send(contact) => match room.circuit(&mut tx, owed, &sender, now).await? {
                    None => Decision::Send(contact),
                    Some(probe_at) => postpone(probe_at, owed.deadline, Reason::CircuitOpen),
                },
                other => other,
            };
            if matches!(decision, Decision::Send(_)) {
                room.count(&candidate, now);
            }
            looked.extend(candidate.changed_hours(stored, rule, &decision));
            decided.push(Decided {
                candidate,
                rule,
                sender,
                decision,
                not_before: tokio::time::Instant::now(),
            });
        }
        if !looked.is_empty() {
            let noted = db::ledger::note_hours(&mut tx, &looked).await;
            noted.context("noting hours")?;
        }
        take_turns(&mut tx, ctx, &mut decided, now).await?;

        let mut answers = Answers::default();
        let mut dispatches = HashMap::new();
        for decided in decided {
            ctx.metrics
                .decided_on(decided.candidate.owed.channel, &decided.decision);
            match self.dispatch(decided, began, now) {
                Ok(dispatch) => {
                    answers.send(&dispatch);
                    dispatches.insert(dispatch.owed.id, dispatch);
                }
                Err(not_now) => answers.other(&not_now.0, &not_now.1),
            }
        }
        for (reminder, attempt) in answers.write(&mut tx, ctx, self.account, now).await? {
            if let Some(dispatch) = dispatches.get_mut(&reminder) {
                dispatch.attempt = attempt;
            }
        }
        dispatches.retain(|_, dispatch| dispatch.attempt != 0);
        if let Err(error) = tx.commit().await {
            // Perhaps only the answer was lost. Then these attempts are begun, and nobody makes them.
            let unmade = dispatches.into_values().collect();
            tokio::spawn(record::take_back(self.ctx.clone(), unmade, now));
            return Err(error).context("committing a batch");
        }
        Ok(dispatches)
    }

    /// What the provider needs for a reminder that is to be sent; else the reminder and the answer why not.
    fn dispatch(
        &self,
        decided: Decided<'_>,
        began: Moment,
        now: DateTime<Utc>,
    ) -> Result<Dispatch, Box<(Owed, Decision)>> {
        let Decided {
            candidate,
            rule,
            sender,
            decision,
            not_before,
        } = decided;
        let (Decision::Send(contact), Some(rule), Some(record), Some(recipient)) =
            (&decision, rule, candidate.record, candidate.hash)
        else {
            return Err(Box::new((candidate.owed, decision)));
        };
        let ReadState::Unread(episode) = read_state(record, self.account.count_bots) else {
            return Err(Box::new((candidate.owed, Decision::Cancel(Reason::Read))));
        };
        let hours = candidate.local.hours(&rule.settings);
        let not_after = hours.allowed_until(now, candidate.owed.deadline);
        Ok(Dispatch {
            attempt: 0,
            contact: contact.clone(),
            recipient,
            episode,
            rule: rule.clone(),
            sender,
            language: record.language.clone(),
            skill_name: record.skill_name.clone(),
            not_before,
            not_after,
            began,
            owed: candidate.owed,
        })
    }

    fn candidate<'c>(&self, owed: Owed, checked: &'c Checked) -> Candidate<'c> {
        let record = match checked {
            Checked::Fresh { records, .. } => records.get(&owed.conversation),
            Checked::Unchecked { .. } => None,
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
            lot: self.ctx.hasher.lot(&owed.conversation),
            local: LocalTime::of_account(self.account.time_zone),
            owed,
        }
    }
}

/// A reminder with the answer.
struct Decided<'a> {
    candidate: Candidate<'a>,
    rule: Option<&'a Rule>,
    sender: String,
    decision: Decision,
    not_before: tokio::time::Instant,
}

/// Gives turns under the providers' limits to what is to be sent, oldest first; what gets none within the horizon is postponed
/// to about its turn, at no cost.
async fn take_turns(
    tx: &mut PgConnection,
    ctx: &Context,
    decided: &mut [Decided<'_>],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let mut senders: BTreeMap<(Channel, String), Vec<usize>> = BTreeMap::new();
    for (at, one) in decided.iter().enumerate() {
        if matches!(one.decision, Decision::Send(_)) {
            let key = (one.candidate.owed.channel, one.sender.clone());
            senders.entry(key).or_default().push(at);
        }
    }
    for ((channel, sender), places) in senders {
        let provider = Context::provider(channel);
        let key = format!("{provider}:{sender}");
        let rate = ctx.rate(channel);
        let turns =
            db::limits::take(tx, (provider, &key), places.len(), rate, TURN_HORIZON).await?;
        for (nth, (place, wait)) in places.into_iter().zip(turns.waits).enumerate() {
            let one = &mut decided[place];
            if nth < turns.granted {
                one.not_before += wait;
            } else {
                let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
                let at = now
                    .checked_add_signed(wait)
                    .unwrap_or(one.candidate.owed.deadline);
                one.decision = postpone(at, one.candidate.owed.deadline, Reason::RateLimit);
            }
        }
    }
    Ok(())
}

/// Postpones within the deadline; what cannot wait so long has expired.
fn postpone(at: DateTime<Utc>, deadline: DateTime<Utc>, reason: Reason) -> Decision {
    if at < deadline {
        Decision::Postpone(at, reason)
    } else {
        Decision::Expire(reason)
    }
}

/// What a batch shares: suppressions, what was sent before, open circuits, pauses. Kept current while the batch decides, so that two
/// reminders of one batch see each other.
struct Room {
    suppressed: HashMap<(AddressHash, Channel, String), Suppression>,
    counted: Vec<Counted>,
    circuits: Vec<db::circuits::Circuit>,
    pauses: Vec<Pause>,
    /// By conversation and episode.
    clicks: HashMap<(String, String), DateTime<Utc>>,
}

impl Room {
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
        db::ledger::lock_keys(tx, lock_keys(&hashes, &conversations)).await?;
        let now = ctx.clock.now();
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
        let times = |matches: &dyn Fn(&Counted) -> bool| {
            let mut times: Vec<_> = on_channel().filter(|c| matches(c)).map(|c| c.at).collect();
            times.sort_unstable();
            times
        };
        let history = History {
            conversation: times(&|c| {
                c.account == owed.account.as_str() && c.conversation == owed.conversation
            }),
            recipient: times(&|c| c.recipient.is_some() && c.recipient == candidate.hash),
        };
        let suppression = candidate.hash.and_then(|hash| {
            self.suppressed
                .get(&(hash, owed.channel, owed.account.to_string()))
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
            history: &history,
            clicked_at: self
                .clicks
                .get(&(owed.conversation.clone(), owed.episode.clone()))
                .copied(),
            lot: candidate.lot,
            now,
        })
    }

    /// When to ask again if the sender's circuit is open; `None` if it is closed or this reminder is its probe.
    async fn circuit(
        &self,
        tx: &mut PgConnection,
        owed: &Owed,
        sender: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<DateTime<Utc>>> {
        let provider = Context::provider(owed.channel);
        let Some(open) = self
            .circuits
            .iter()
            .find(|c| c.provider == provider && c.sender == sender)
        else {
            return Ok(None);
        };
        let probe = (owed.channel, owed.id);
        if open.probe_at <= now
            && db::circuits::take_probe(tx, (provider, sender), probe, now).await?
        {
            return Ok(None);
        }
        Ok(Some(
            open.probe_at
                .max(now + Context::spread(TimeDelta::seconds(60))),
        ))
    }

    fn count(&mut self, candidate: &Candidate, now: DateTime<Utc>) {
        self.counted.push(Counted {
            reminder: candidate.owed.id,
            account: candidate.owed.account.to_string(),
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

/// What a batch writes.
#[derive(Default)]
struct Answers {
    begin: Vec<Begin>,
    others: Vec<Answer>,
    log: Vec<Entry>,
    wake: Vec<(Channel, ReminderId, DateTime<Utc>)>,
}

impl Answers {
    fn send(&mut self, dispatch: &Dispatch) {
        let owed = &dispatch.owed;
        // An unknown SMS is settled by searching the provider's list for the number; an unknown e-mail cannot be looked up.
        let address =
            (owed.channel == Channel::Sms).then(|| dispatch.contact.address.expose().to_owned());
        let lease = Context::lease(owed.channel);
        self.begin.push(Begin {
            reminder: owed.id,
            sender: dispatch.sender.clone(),
            address,
            recipient: dispatch.recipient,
            lease,
        });
    }

    fn other(&mut self, owed: &Owed, decision: &Decision) {
        let (state, verdict, reason, until) = match decision {
            Decision::Send(_) => return,
            Decision::Cancel(reason) => (ReminderState::Cancelled, "cancel", *reason, None),
            Decision::Expire(reason) => (ReminderState::Expired, "expire", *reason, None),
            Decision::Postpone(at, reason) => {
                (ReminderState::Scheduled, "postpone", *reason, Some(*at))
            }
        };
        if let Some(at) = until {
            self.wake.push((owed.channel, owed.id, at));
            if reason == Reason::Scheduled {
                return;
            }
        }
        self.log.push(Entry {
            reminder: owed.id,
            verdict,
            reason,
            until,
        });
        self.others.push(Answer {
            reminder: owed.id,
            state,
            reason: reason.as_str(),
            next_at: until,
        });
    }

    async fn write(
        self,
        tx: &mut PgConnection,
        ctx: &Context,
        account: &Account,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<(ReminderId, i64)>> {
        db::ledger::apply(tx, &self.others, now)
            .await
            .context("applying answers")?;
        let attempts = db::ledger::begin(tx, &self.begin, now)
            .await
            .context("beginning attempts")?;
        db::decisions::log(tx, "deliver", &self.log, now)
            .await
            .context("logging decisions")?;
        for channel in Channel::ALL {
            let of_channel = self.wake.iter().filter(|(c, _, _)| *c == channel);
            let wakeups = of_channel.map(|(_, id, at)| names::deliver(&account.id, *id, *at));
            queue::wake(
                tx,
                &ctx.clock,
                names::deliver_queue(channel),
                When::At,
                wakeups,
            )
            .await?;
        }
        Ok(attempts)
    }
}
