//! Turns under the providers' limits: who may go to its provider within the next moment, and who comes back later.
//!
//! Before anything is asked about a reminder: what is known about the consumer shall be fresh when the message leaves, so the waiting
//! comes first. A turn is given for the next second only. Who gets none waits in the ledger, not in a worker's slot: it is
//! lined up for about the moment at which there will be a turn, and called up earlier when others turn out not to need theirs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::time::Instant;

use super::BatchFailed;
use super::pace::{Sender, Turn};
use crate::db;
use crate::db::decisions::Entry;
use crate::db::ledger::{Answer, Owed};
use crate::db::limits::{Ahead, Line};
use crate::domain::decide::{Decision, Reason};
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::reminder::ReminderState;
use crate::domain::rule;
use crate::jobs::context::{Account, Context};
use crate::jobs::names;
use crate::jobs::queue::{self, When};

/// Turns are given so far ahead. Within it fit the question to LivePerson and the commit; with what the mail server takes after it, an
/// answer is not yet old.
const HORIZON: Duration = Duration::from_secs(1);

/// Who is lined up comes back so long before the estimated moment, at marks of [`MARK`]: those of one mark share their turns' statement
/// and their question to LivePerson.
const EARLY: TimeDelta = TimeDelta::milliseconds(300);
const MARK: TimeDelta = TimeDelta::milliseconds(500);

/// Nobody comes back sooner: whoever is lined up has met somebody else's turn.
const SOONEST: TimeDelta = TimeDelta::milliseconds(100);

/// The senders that this process knows, by the keys of their limits.
#[derive(Default)]
pub struct Senders(Mutex<HashMap<String, Sender>>);

impl Senders {
    pub fn of(&self, ctx: &Context, channel: Channel, sender: &str) -> Sender {
        let key = key(channel, sender);
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = senders
            .entry(key)
            .or_insert_with_key(|key| Sender::new(key, ctx.rate(channel)));
        known.clone()
    }

    /// The provider asked to be left alone: by all senders.
    pub fn hold(&self, channel: Channel, pause: Duration) {
        let prefix = key(channel, "");
        let senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_channel = senders
            .iter()
            .filter(|(key, _)| key.starts_with(prefix.as_str()));
        of_channel.for_each(|(_, sender)| sender.hold(pause));
    }
}

/// The key of a sender's limit.
pub fn key(channel: Channel, sender: &str) -> String {
    format!("{}:{sender}", Context::provider(channel))
}

/// A question to the line.
#[derive(Debug)]
pub enum Ask {
    /// A turn for this reminder. `sender` is who it comes from, if somebody has looked already.
    Turn {
        reminder: ReminderId,
        sender: Option<String>,
    },
    /// Turns have become free: call up who is lined up.
    CallUp { channel: Channel, sender: String },
}

/// A reminder that may be looked at now.
#[derive(Debug)]
pub struct Admitted {
    pub owed: Owed,
    /// Nothing: as far as is known it is not to be sent, which the look will confirm.
    pub turn: Option<Turn>,
    /// Who it would come from.
    pub sender: String,
}

pub type Admission = Result<Option<Box<Admitted>>, BatchFailed>;

/// Gives turns to a batch of one account. `None` for reminders that need nothing now: settled meanwhile, or lined up.
pub async fn admit(
    ctx: Arc<Context>,
    senders: Arc<Senders>,
    account: AccountId,
    asks: Vec<Ask>,
) -> Vec<Admission> {
    let result = match ctx.accounts.get(&account) {
        Some(account) => {
            Round {
                ctx: &ctx,
                senders: &senders,
                account,
                now: ctx.clock.now(),
            }
            .run(&asks)
            .await
        }
        None => Ok(HashMap::new()),
    };
    match result {
        Ok(mut admitted) => asks
            .iter()
            .map(|ask| match ask {
                Ask::Turn { reminder, .. } => Ok(admitted.remove(reminder).map(Box::new)),
                Ask::CallUp { .. } => Ok(None),
            })
            .collect(),
        Err(error) => {
            let error = BatchFailed::from(error);
            asks.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

struct Round<'a> {
    ctx: &'a Context,
    senders: &'a Senders,
    account: &'a Account,
    now: DateTime<Utc>,
}

/// Those of one sender who want a turn.
type BySender = BTreeMap<(Channel, String), Vec<Owed>>;

impl Round<'_> {
    async fn run(&self, asks: &[Ask]) -> anyhow::Result<HashMap<ReminderId, Admitted>> {
        let mut known: HashMap<ReminderId, Option<&String>> = HashMap::new();
        let mut wanting = BySender::new();
        for ask in asks {
            match ask {
                Ask::Turn { reminder, sender } => {
                    known.insert(*reminder, sender.as_ref());
                }
                Ask::CallUp { channel, sender } => {
                    wanting.entry((*channel, sender.clone())).or_default();
                }
            }
        }
        let ids: Vec<ReminderId> = known.keys().copied().collect();
        let at = self.ctx.clock.instead_of_database();
        let owed = db::ledger::owed(&self.ctx.pool, &ids, at)
            .await
            .context("reading reminders")?;
        let mut admitted = HashMap::new();
        if owed.is_empty() && wanting.is_empty() {
            return Ok(admitted);
        }
        let mut tx = self
            .ctx
            .pool
            .begin()
            .await
            .context("opening a transaction for turns")?;
        db::without_waiting_for_the_disk(&mut tx).await?;
        for (owed, sender, wants) in self.foresee(&mut tx, owed, &known).await? {
            if wants {
                let key = (owed.channel, sender);
                wanting.entry(key).or_default().push(owed);
            } else {
                let (turn, id) = (None, owed.id);
                admitted.insert(id, Admitted { owed, turn, sender });
            }
        }
        for ((channel, sender), waiting) in wanting {
            let given = self.give(&mut tx, channel, &sender, waiting).await?;
            admitted.extend(given.into_iter().map(|one| (one.owed.id, one)));
        }
        // If only the answer is lost, some turns are granted that nobody uses.
        tx.commit().await.context("committing turns")?;
        Ok(admitted)
    }

    /// Who each would come from, and whether it is to be sent as far as is known without asking LivePerson. What came too early (a due
    /// moment was moved, a clock set) is put back.
    async fn foresee(
        &self,
        tx: &mut PgConnection,
        owed: Vec<Owed>,
        known: &HashMap<ReminderId, Option<&String>>,
    ) -> anyhow::Result<Vec<(Owed, String, bool)>> {
        let (early, owed): (Vec<Owed>, Vec<Owed>) = owed.into_iter().partition(|o| o.early);
        let back = early.iter().map(|o| (o.channel, o.id, o.next_at));
        self.wake(tx, back.collect()).await?;
        if owed.is_empty() {
            return Ok(Vec::new());
        }
        let mut skills: Vec<SkillId> = owed.iter().map(|o| o.skill).collect();
        skills.sort_unstable();
        skills.dedup();
        let rules = self.ctx.rules_for(tx, self.account, &skills).await?;
        let pauses = db::pauses::all(&mut *tx).await?;
        let circuits = db::circuits::open_ones(&mut *tx).await?;
        let silent = self.account.paused().is_some();
        Ok(owed
            .into_iter()
            .map(|owed| {
                if let Some(Some(sender)) = known.get(&owed.id) {
                    return (owed, (*sender).clone(), true);
                }
                let rule = rule::pick(&rules, owed.skill, owed.channel).filter(|r| r.enabled);
                let Some(rule) = rule else {
                    return (owed, String::new(), false);
                };
                let sender = self.ctx.sender(rule);
                let provider = Context::provider(owed.channel);
                let open = |c: &db::circuits::Circuit| c.provider == provider && c.sender == sender;
                let wants = !silent
                    && self.now < owed.deadline
                    && !pauses.iter().any(|pause| pause.scope.holds(rule))
                    && !circuits.iter().any(open);
                (owed, sender, wants)
            })
            .collect())
    }

    /// Gives turns to those of one sender: to those who waited before, then, if nobody else is lined up, to the others, oldest first.
    async fn give(
        &self,
        tx: &mut PgConnection,
        channel: Channel,
        name: &str,
        mut waiting: Vec<Owed>,
    ) -> anyhow::Result<Vec<Admitted>> {
        let sender = self.senders.of(self.ctx, channel, name);
        let provider = Context::provider(channel);
        waiting.sort_by_key(|o| (!o.lined_up, o.due_at, o.id));
        let ahead = db::limits::ahead(&mut *tx, (provider, &sender.key)).await?;
        let admit = |owed: Owed, sender: &Sender| Admitted {
            turn: Some(sender.admit()),
            sender: name.to_owned(),
            owed,
        };
        let Some(per_second) = sender.per_second else {
            if ahead.held > Duration::ZERO {
                // As fast as you like, but not now.
                let again = waiting.iter().map(|o| (o.id, ahead.held)).collect();
                self.postpone(tx, again).await?;
                return Ok(Vec::new());
            }
            return Ok(waiting.into_iter().map(|o| admit(o, &sender)).collect());
        };
        let mut turns = Giving {
            round: self,
            channel,
            sender: &sender,
            per_second,
            ahead,
            next: ahead.held,
        };
        let returning = waiting.iter().filter(|o| o.lined_up).count();
        let mut given = turns.take(tx, returning).await?;
        if given == returning {
            let free = turns.call_up(tx, waiting.len() - returning).await?;
            given += turns.take(tx, free).await?;
        }
        let rest = waiting.split_off(given);
        turns.line_up(tx, &rest).await?;
        sender.pace().lined_up = !rest.is_empty() || !ahead.line.is_zero();
        Ok(waiting.into_iter().map(|o| admit(o, &sender)).collect())
    }

    /// Puts reminders off to their estimated turns, in real time from now. Logged when it is news.
    async fn postpone(
        &self,
        tx: &mut PgConnection,
        again: HashMap<ReminderId, Duration>,
    ) -> anyhow::Result<()> {
        if again.is_empty() {
            return Ok(());
        }
        let ids: Vec<ReminderId> = again.keys().copied().collect();
        let owed = db::ledger::lock_owed(&mut *tx, &ids, None)
            .await
            .context("locking reminders")?;
        let (mut answers, mut log, mut wake) = (Vec::new(), Vec::new(), Vec::new());
        for owed in owed {
            let turn = self.moment(again[&owed.id]);
            let back = (turn - EARLY).max(self.now + SOONEST);
            let in_time = turn < owed.deadline;
            let (state, verdict, until) = if in_time {
                (
                    ReminderState::Scheduled,
                    "postpone",
                    Some(marked(back, self.now)),
                )
            } else {
                (ReminderState::Expired, "expire", None)
            };
            let reason = Reason::RateLimit;
            if !(in_time && owed.lined_up) {
                let decision = match until {
                    Some(until) => Decision::Postpone(until, reason),
                    None => Decision::Expire(reason),
                };
                self.ctx.metrics.decided_on(owed.channel, &decision);
                log.push(Entry {
                    reminder: owed.id,
                    verdict,
                    reason,
                    until: until.map(|_| turn),
                });
            }
            wake.extend(until.map(|at| (owed.channel, owed.id, at)));
            answers.push(Answer {
                reminder: owed.id,
                state,
                reason: reason.as_str(),
                next_at: until,
            });
        }
        db::ledger::apply(tx, &answers, self.now).await?;
        db::decisions::log(tx, "deliver", &log, self.now).await?;
        self.wake(tx, wake).await
    }

    fn moment(&self, wait: Duration) -> DateTime<Utc> {
        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        let far = DateTime::<Utc>::MAX_UTC;
        self.now.checked_add_signed(wait).unwrap_or(far)
    }

    async fn wake(
        &self,
        tx: &mut PgConnection,
        reminders: Vec<(Channel, ReminderId, DateTime<Utc>)>,
    ) -> anyhow::Result<()> {
        for channel in Channel::ALL {
            let of_channel = reminders.iter().filter(|(c, _, _)| *c == channel);
            let wakeups = of_channel.map(|(_, id, at)| names::deliver(&self.account.id, *id, *at));
            let queue = names::deliver_queue(channel);
            queue::wake(tx, &self.ctx.clock, queue, When::At, wakeups).await?;
        }
        Ok(())
    }
}

/// The mark before a moment, but not before or at `now`.
fn marked(at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let past = at
        .timestamp_micros()
        .rem_euclid(MARK.num_microseconds().unwrap_or(1));
    let mark = at - TimeDelta::microseconds(past);
    if mark > now { mark } else { at }
}

/// A count of turns without its fraction.
fn whole(turns: f64) -> usize {
    let whole = Duration::try_from_secs_f64(turns).map_or(u64::MAX, |turns| turns.as_secs());
    usize::try_from(whole).unwrap_or(usize::MAX)
}

/// The turns of one sender, being given.
struct Giving<'a> {
    round: &'a Round<'a>,
    channel: Channel,
    sender: &'a Sender,
    per_second: f64,
    ahead: Ahead,
    /// When there is a turn for whoever comes next.
    next: Duration,
}

impl Giving<'_> {
    /// How many may be on their way at most. Who is ready and waits for a connection counts: a mail server that is slower than its rate
    /// shall not have a crowd before it, of whom what was asked grows old.
    fn room(&self) -> usize {
        let most = (self.per_second * HORIZON.as_secs_f64()).ceil().max(1.0);
        let most = whole(most);
        let crowd = match (self.channel, &self.round.ctx.mail) {
            (Channel::Email, Some(mail)) => mail.waiting(),
            _ => 0,
        };
        most.saturating_sub(crowd)
    }

    /// Makes sure of turns for so many: those that nobody has claimed, then new ones. Returns how many there are.
    async fn take(&mut self, tx: &mut PgConnection, wanted: usize) -> anyhow::Result<usize> {
        let wanted = wanted.min(self.room());
        if wanted == 0 {
            return Ok(0);
        }
        let now = Instant::now();
        let (unclaimed, behind) = {
            let mut pace = self.sender.pace();
            let behind = pace.behind(now, self.sender.interval());
            (pace.unclaimed(now).min(wanted), behind)
        };
        let from = self.ahead.held.max(behind);
        let key = &self.sender.key;
        let rate = self.per_second;
        let taken = db::limits::take(tx, key, wanted - unclaimed, rate, (from, HORIZON)).await?;
        self.next = taken.next;
        let turns = unclaimed + taken.waits.len();
        let waits = taken.waits.into_iter();
        self.sender.pace().grant(waits.map(|wait| now + wait));
        Ok(turns)
    }

    /// Calls up those who are lined up: for turns that others gave up, and for new ones when half of the horizon is free, so that several share
    /// their question to LivePerson. Returns for how many of `newcomers` there may be a turn all the same.
    async fn call_up(&mut self, tx: &mut PgConnection, newcomers: usize) -> anyhow::Result<usize> {
        if self.ahead.line.is_zero() {
            return Ok(newcomers);
        }
        if self.ahead.held > Duration::ZERO {
            return Ok(0);
        }
        let taken = db::limits::take(
            tx,
            &self.sender.key,
            0,
            self.per_second,
            (Duration::ZERO, HORIZON),
        );
        self.next = taken.await?.next;
        let open = HORIZON.saturating_sub(self.next);
        let open = if open < HORIZON / 2 {
            0.0
        } else {
            (open.as_secs_f64() * self.per_second).ceil().max(1.0)
        };
        let unclaimed = self.sender.pace().unclaimed(Instant::now());
        let free = unclaimed.saturating_add(whole(open)).min(self.room());
        if free == 0 {
            return Ok(0);
        }
        let round = self.round;
        let until = round.moment(self.ahead.line + HORIZON);
        let called = db::ledger::call_up(tx, self.channel, (round.now, until), free).await?;
        let (found, queue) = (called.len(), names::deliver_queue(self.channel));
        let wakeups = called
            .iter()
            .map(|(id, account)| names::deliver(account, *id, round.now));
        queue::wake(tx, &round.ctx.clock, queue, When::At, wakeups).await?;
        if found < free {
            db::limits::disperse(tx, &self.sender.key).await?;
        }
        Ok((free - found).min(newcomers))
    }

    /// Lines up those for whom there was no turn.
    async fn line_up(&self, tx: &mut PgConnection, rest: &[Owed]) -> anyhow::Result<()> {
        let (again, new): (Vec<&Owed>, Vec<&Owed>) = rest.iter().partition(|o| o.lined_up);
        let mut waits = HashMap::new();
        let mut from = self.next.max(HORIZON);
        for (line, waiting) in [(Line::Again, again), (Line::New, new)] {
            if waiting.is_empty() {
                continue;
            }
            let place = (&*self.sender.key, line);
            let first =
                db::limits::line_up(tx, place, waiting.len(), self.per_second, from).await?;
            for (nth, owed) in (0u32..).zip(&waiting) {
                let behind = self.sender.interval().saturating_mul(nth);
                waits.insert(owed.id, first.saturating_add(behind));
            }
            from = first;
        }
        self.round.postpone(tx, waits).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_lined_up_come_back_together_at_marks_and_never_at_once() {
        let now: DateTime<Utc> = "2026-01-05T12:00:00.130Z".parse().unwrap();
        for (after, mark) in [
            (100, "12:00:00.230"),
            (380, "12:00:00.500"),
            (869, "12:00:00.500"),
            (870, "12:00:01.000"),
        ] {
            let at = now + TimeDelta::milliseconds(after);
            let marked = marked(at, now);
            assert_eq!(
                marked.format("%H:%M:%S%.3f").to_string(),
                mark,
                "{after} ms"
            );
            assert!(marked > now && marked <= at);
        }
    }
}
