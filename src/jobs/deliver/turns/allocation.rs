//! The turns of one sender, given to those who want them.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgConnection;

use super::{Admitted, TurnRound};
use crate::db;
use crate::db::ledger::DueReminder;
use crate::db::limits::{QueueAhead, WaitingLine};
use crate::domain::ids::Channel;
use crate::jobs::deliver::sender::Sender;
use crate::jobs::names::{self, DueDelivery};
use crate::jobs::queue::When;

/// Turns are given so far ahead. Within it fit the question to LivePerson and the commit; with what the mail server takes after it, an
/// answer is not yet old.
const HORIZON: Duration = Duration::from_secs(1);

/// So many may be on their way to a mail server as it takes in this time: they wait in their workers' slots for a connection. Behind them
/// the ledger is the better place to wait.
const ON_THEIR_WAY: Duration = Duration::from_secs(10);

/// What is wanted from one sender.
#[derive(Default)]
pub(super) struct SenderDemand {
    pub(super) waiting: Vec<DueReminder>,
    pub(super) given_back: usize,
}

impl TurnRound<'_> {
    /// Gives turns to those of one sender: to those who waited before, then, if nobody else is lined up, to the others, oldest first.
    pub(super) async fn give(
        &self,
        tx: &mut PgConnection,
        channel: Channel,
        name: &str,
        SenderDemand {
            mut waiting,
            given_back,
        }: SenderDemand,
    ) -> anyhow::Result<Vec<Admitted>> {
        let sender = self.senders.of(self.ctx, (&self.account.id, channel), name);
        waiting.sort_by_key(|o| (!o.lined_up, o.due_at, o.id));
        let limit = (sender.pause_key.as_str(), &*sender.key);
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
        let TurnRound { ctx, account, .. } = self.round;
        let adapter = ctx.channels.of(&account.id, self.sender.channel);
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
