//! Turns under the providers' limits: who may go to its provider within the next moment, and who comes back later.
//!
//! Before anything is asked about a reminder: what is known about the consumer shall be fresh when the message leaves, so the waiting
//! comes first. A turn is given for the next second only. Who gets none waits in the ledger, not in a worker's slot: it is
//! lined up for about the moment at which there will be a turn, and called up earlier when others turn out not to need theirs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::BatchFailed;
use super::sender::{Sender, SenderRegistry};
use crate::db;
use crate::db::decisions::NewDecision;
use crate::db::ledger::{DueReminder, Transition};
use crate::db::limits::{QueueAhead, WaitingLine};
use crate::domain::decide::{Decision, Reason, Stage, Verdict};
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::reminder::ReminderState;
use crate::domain::rule;
use crate::jobs::context::{Account, Context};
use crate::jobs::names::{self, DueDelivery};
use crate::jobs::queue::When;

/// Turns are given so far ahead. Within it fit the question to LivePerson and the commit; with what the mail server takes after it, an
/// answer is not yet old.
const HORIZON: Duration = Duration::from_secs(1);

/// So many may be on their way to a mail server as it takes in this time: they wait in their workers' slots for a connection. Behind them
/// the ledger is the better place to wait.
const ON_THEIR_WAY: Duration = Duration::from_secs(10);

/// Who is lined up comes back so long before the estimated moment, at marks of [`MARK`]: those of one mark share their turns' statement
/// and their question to LivePerson.
const EARLY: TimeDelta = TimeDelta::milliseconds(300);
const MARK: TimeDelta = TimeDelta::milliseconds(500);

/// Nobody comes back sooner: whoever is lined up has met somebody else's turn.
const SOONEST: TimeDelta = TimeDelta::milliseconds(100);

/// A question to the line.
#[derive(Debug)]
pub enum TurnRequest {
    /// A turn for this reminder. `sender` is who it comes from, if somebody has looked already.
    Turn {
        reminder: ReminderId,
        sender: Option<String>,
    },
    /// Call up who is lined up: a turn has been used, or (`given_back`) somebody who was let in does not need one.
    CallUp {
        channel: Channel,
        sender: String,
        given_back: bool,
    },
}

/// A reminder that may be looked at now.
#[derive(Debug)]
pub struct Admitted {
    pub owed: DueReminder,
    /// Who it would come from.
    pub sender: String,
    /// It has a turn under that sender's limit. If not: as far as is known it is not to be sent, which the re-check will confirm.
    pub turn: Option<Arc<Sender>>,
}

pub type TurnAdmission = Result<Option<Box<Admitted>>, BatchFailed>;

/// Gives turns to a batch of one account. `None` for reminders that need nothing now: settled meanwhile, or lined up.
pub async fn admit(
    ctx: Arc<Context>,
    senders: Arc<SenderRegistry>,
    account: AccountId,
    asks: Vec<TurnRequest>,
) -> Vec<TurnAdmission> {
    let result = match ctx.accounts.get(&account) {
        Some(account) => {
            TurnRound {
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
                TurnRequest::Turn { reminder, .. } => Ok(admitted.remove(reminder).map(Box::new)),
                TurnRequest::CallUp { .. } => Ok(None),
            })
            .collect(),
        Err(error) => {
            let error = BatchFailed::from(error);
            asks.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

struct TurnRound<'a> {
    ctx: &'a Context,
    senders: &'a SenderRegistry,
    account: &'a Account,
    now: DateTime<Utc>,
}

/// What is wanted from one sender.
#[derive(Default)]
struct SenderDemand {
    waiting: Vec<DueReminder>,
    given_back: usize,
}

type BySender = BTreeMap<(Channel, String), SenderDemand>;

impl TurnRound<'_> {
    async fn run(&self, asks: &[TurnRequest]) -> anyhow::Result<HashMap<ReminderId, Admitted>> {
        let mut known: HashMap<ReminderId, Option<&String>> = HashMap::new();
        let mut wanting = BySender::new();
        for ask in asks {
            match ask {
                TurnRequest::Turn { reminder, sender } => {
                    known.insert(*reminder, sender.as_ref());
                }
                TurnRequest::CallUp {
                    channel,
                    sender,
                    given_back,
                } => {
                    let wanted = wanting.entry((*channel, sender.clone())).or_default();
                    wanted.given_back += usize::from(*given_back);
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
                wanting.entry(key).or_default().waiting.push(owed);
            } else {
                let (turn, id) = (None, owed.id);
                admitted.insert(id, Admitted { owed, sender, turn });
            }
        }
        for ((channel, sender), wanted) in wanting {
            let given = self.give(&mut tx, channel, &sender, wanted).await?;
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
        owed: Vec<DueReminder>,
        known: &HashMap<ReminderId, Option<&String>>,
    ) -> anyhow::Result<Vec<(DueReminder, String, bool)>> {
        let (early, owed): (Vec<DueReminder>, Vec<DueReminder>) =
            owed.into_iter().partition(|o| o.early);
        let back = early.iter().map(|o| (o.channel, o.id, o.next_at));
        self.schedule(tx, back.collect()).await?;
        if owed.is_empty() {
            return Ok(Vec::new());
        }
        let mut skills: Vec<SkillId> = owed.iter().map(|o| o.skill).collect();
        skills.sort_unstable();
        skills.dedup();
        let rules = self.ctx.rules_for(tx, self.account, &skills).await?;
        let pauses = db::pauses::all(&mut *tx).await?;
        let seen = self.ctx.heartbeat_status.mark();
        let gate = db::holds::gate(&mut *tx, &seen.process).await?;
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
                let provider = owed.channel.provider();
                let open = |c: &db::circuits::Circuit| c.provider == provider && c.sender == sender;
                let wants = !silent
                    && self.now < owed.deadline
                    && !gate.holds(owed.due_at, seen.counter)
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
        SenderDemand {
            mut waiting,
            given_back,
        }: SenderDemand,
    ) -> anyhow::Result<Vec<Admitted>> {
        let sender = self.senders.of(self.ctx, channel, name);
        waiting.sort_by_key(|o| (!o.lined_up, o.due_at, o.id));
        let limit = (sender.provider().as_str(), &*sender.key);
        let ahead = db::limits::ahead(&mut *tx, limit, &self.account.id).await?;
        let admit = |owed: DueReminder| Admitted {
            turn: Some(sender.clone()),
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
            return Ok(waiting.into_iter().map(admit).collect());
        };
        let mut giving = TurnAllocation {
            round: self,
            sender: &sender,
            per_second,
            ahead,
            next: ahead.held.max(ahead.reserved),
        };
        if given_back > 0 {
            db::limits::give_back(tx, &sender.admission(), given_back, per_second).await?;
        }
        let returning = waiting.iter().filter(|o| o.lined_up).count();
        let mut given = giving.take(tx, returning).await?;
        if given == returning {
            let urgent = given_back > 0;
            let free = giving
                .call_up(tx, waiting.len() - returning, urgent)
                .await?;
            given += giving.take(tx, free).await?;
        }
        let rest = waiting.split_off(given);
        giving.line_up(tx, &rest).await?;
        sender.set_line(!rest.is_empty() || !ahead.line.is_zero());
        Ok(waiting.into_iter().map(admit).collect())
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
        let (mut answers, mut log, mut schedule) = (Vec::new(), Vec::new(), Vec::new());
        for owed in owed {
            let turn = self.moment(again[&owed.id]);
            let back = marked((turn - EARLY).max(self.now + SOONEST), self.now);
            // Those before it may not want their turns: it is too late at the deadline, not before.
            let until = back.min(owed.deadline);
            let reason = Reason::RateLimit;
            if !owed.lined_up {
                let decision = Decision::Postpone(until, reason);
                self.ctx.metrics.decided_on(owed.channel, &decision);
                log.push(NewDecision {
                    reminder: owed.id,
                    verdict: Verdict::Postpone,
                    reason,
                    until: Some(turn.min(owed.deadline)),
                });
            }
            schedule.push((owed.channel, owed.id, until));
            answers.push(Transition {
                reminder: owed.id,
                state: ReminderState::Scheduled,
                reason,
                next_at: Some(until),
            });
        }
        db::ledger::apply(tx, &answers, self.now).await?;
        db::decisions::log(tx, Stage::Deliver, &log, self.now).await?;
        self.schedule(tx, schedule).await
    }

    fn moment(&self, wait: Duration) -> DateTime<Utc> {
        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        let far = DateTime::<Utc>::MAX_UTC;
        self.now.checked_add_signed(wait).unwrap_or(far)
    }

    async fn schedule(
        &self,
        tx: &mut PgConnection,
        reminders: Vec<(Channel, ReminderId, DateTime<Utc>)>,
    ) -> anyhow::Result<()> {
        let deliveries = reminders
            .into_iter()
            .map(|(channel, reminder, at)| DueDelivery {
                channel,
                account: &self.account.id,
                reminder,
                at,
            });
        names::schedule_deliveries(tx, &self.ctx.clock, When::At, deliveries).await?;
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
struct TurnAllocation<'a> {
    round: &'a TurnRound<'a>,
    sender: &'a Sender,
    per_second: f64,
    ahead: QueueAhead,
    /// When there is a turn for whoever comes next.
    next: Duration,
}

impl TurnAllocation<'_> {
    /// How many more may be on their way.
    fn room(&self) -> usize {
        let adapter = self.round.ctx.channels.get(self.sender.channel);
        adapter.map_or(usize::MAX, |adapter| adapter.room(ON_THEIR_WAY))
    }

    /// Lets so many in, or as many as there are turns for. Returns how many.
    async fn take(&mut self, tx: &mut PgConnection, wanted: usize) -> anyhow::Result<usize> {
        let wanted = wanted.min(self.room());
        if wanted == 0 {
            return Ok(0);
        }
        // Those who were let in and are held up come first.
        let from = self.ahead.held.max(self.ahead.reserved);
        let within = (from, HORIZON);
        let key = self.sender.admission();
        let taken = db::limits::take(tx, &key, wanted, self.per_second, within).await?;
        self.next = taken.next;
        Ok(taken.waits.len())
    }

    /// Calls up those who are lined up, when half of the horizon is free, so that several share their question to LivePerson, or at once if it is
    /// urgent. Returns for how many of `newcomers` there may be a turn all the same.
    async fn call_up(
        &mut self,
        tx: &mut PgConnection,
        newcomers: usize,
        urgent: bool,
    ) -> anyhow::Result<usize> {
        if self.ahead.line.is_zero() {
            return Ok(newcomers);
        }
        let from = self.ahead.held.max(self.ahead.reserved);
        let key = self.sender.admission();
        let taken = db::limits::take(tx, &key, 0, self.per_second, (from, HORIZON)).await?;
        self.next = taken.next;
        let open = HORIZON.saturating_sub(self.next);
        if open.is_zero() || self.ahead.held > Duration::ZERO || (open < HORIZON / 2 && !urgent) {
            return Ok(0);
        }
        let free = whole((open.as_secs_f64() * self.per_second).ceil()).min(self.room());
        if free == 0 {
            return Ok(0);
        }
        let round = self.round;
        let until = round.moment(self.ahead.line + HORIZON);
        let channel = self.sender.channel;
        let account = &round.account.id;
        let whose = (account, channel);
        let called = db::ledger::call_up(tx, whose, (round.now, until), free).await?;
        let found = called.len();
        let deliveries = called.iter().map(|reminder| DueDelivery {
            channel,
            account,
            reminder: *reminder,
            at: round.now,
        });
        names::schedule_deliveries(tx, &round.ctx.clock, When::At, deliveries).await?;
        if found < free {
            db::limits::disperse(tx, &self.sender.key, account).await?;
        }
        Ok((free - found).min(newcomers))
    }

    /// Lines up those for whom there was no turn.
    async fn line_up(&self, tx: &mut PgConnection, rest: &[DueReminder]) -> anyhow::Result<()> {
        let (again, new): (Vec<&DueReminder>, Vec<&DueReminder>) =
            rest.iter().partition(|o| o.lined_up);
        let mut waits = HashMap::new();
        let mut from = self.next.max(HORIZON);
        for (line, waiting) in [(WaitingLine::Again, again), (WaitingLine::New, new)] {
            if waiting.is_empty() {
                continue;
            }
            let place = (&*self.sender.key, &self.round.account.id, line);
            let first =
                db::limits::line_up(tx, place, waiting.len(), self.per_second, from).await?;
            let interval = Duration::try_from_secs_f64(1.0 / self.per_second);
            for (nth, owed) in (0u32..).zip(&waiting) {
                let behind = interval
                    .clone()
                    .unwrap_or(Duration::MAX)
                    .saturating_mul(nth);
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
