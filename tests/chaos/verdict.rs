//! Holds the sandbox's memory against the ledger.
//!
//! Reading, and answering, is judged exactly: every attempt must have asked LivePerson about its conversation since the attempt
//! before it began, and have been shown an unread message. What the consumer does after that answer is the race that no system
//! can win. An opt-out and a deadline are judged by the moment at which the attempt began, with the time a process may have
//! been frozen between looking and beginning.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgPool};
use unread::sandbox::Sandbox;

use super::Options;
use super::people::{Deed, People, Person};
use super::report::{Promise, Report};

mod gap;
mod lost;
pub mod planted;

/// Between two clocks of one machine, and between an act and its becoming visible.
const SKEW: i64 = 20;

/// From the beginning of an attempt to the provider's acceptance, freezes aside: the turn under the rate, the connection, a wait
/// for the database while it restarts.
const HANDOVER: Duration = Duration::from_secs(20);

/// What began longer ago is not sent any more, however long its process stood still.
const STALE: Duration = Duration::from_secs(20);

/// The same for the content of an e-mail.
const STALE_CONTENT: Duration = Duration::from_mins(1);

/// Codes of attempts that were begun and not made.
const UNMADE: [&str; 10] = [
    "stalled",
    "stopped",
    "deadline",
    "quiet hours",
    "suppressed",
    "paused",
    "no longer unread",
    "no free connection",
    "provider's pause",
    "no turn in time",
];

/// From the last look at opt-outs to the provider's acceptance, freezes aside: half a second that a look holds for, and the way of the
/// content through a busy machine.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

#[derive(FromRow)]
struct Reminder {
    id: i64,
    conversation: String,
    episode: String,
    step: i16,
    channel: String,
    state: String,
    reason: Option<String>,
    created_at: DateTime<Utc>,
    due_at: DateTime<Utc>,
    deadline: DateTime<Utc>,
    token: String,
    open: bool,
    final_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct Attempt {
    id: i64,
    reminder: i64,
    started_at: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    outcome: Option<String>,
    code: Option<String>,
}

/// A message that a provider really accepted.
struct Accepted {
    at: DateTime<Utc>,
    to: String,
    reminder: Option<i64>,
    /// When it came back, or was found not to be deliverable.
    came_back: Option<DateTime<Utc>>,
    /// The service was told so, and has said that it understood.
    told: bool,
}

struct Evidence<'a> {
    sandbox: &'a Sandbox,
    people: &'a People,
    options: &'a Options,
    reminders: Vec<Reminder>,
    /// By reminder, in order.
    attempts: HashMap<i64, Vec<Attempt>>,
    messages: Vec<Accepted>,
    /// When quiet hours began for those who sleep.
    quiet: DateTime<Utc>,
}

pub async fn judge(
    pool: &PgPool,
    sandbox: &Sandbox,
    people: &People,
    options: &Options,
    quiet: DateTime<Utc>,
) -> Result<Report> {
    let reminders: Vec<Reminder> = sqlx::query_as(
        "select id, conversation, episode, step, channel, state, reason, created_at, due_at, deadline, token,
                next_at is not null as open, final_at
         from reminders order by id",
    )
    .fetch_all(pool)
    .await?;
    let mut attempts: HashMap<i64, Vec<Attempt>> = HashMap::new();
    let all: Vec<Attempt> = sqlx::query_as(
        "select id, reminder, started_at, lease_until, outcome, code from attempts order by reminder, number",
    )
    .fetch_all(pool)
    .await?;
    for attempt in all {
        attempts.entry(attempt.reminder).or_default().push(attempt);
    }
    let evidence = Evidence {
        sandbox,
        people,
        options,
        messages: accepted(sandbox, &reminders),
        reminders,
        attempts,
        quiet,
    };
    let mut report = Report::default();
    evidence.figures(&mut report);
    evidence.nothing_twice(&mut report);
    evidence.nothing_lost(&mut report);
    evidence.nothing_within_the_gap(&mut report);
    evidence.nothing_to_who_was_reached(&mut report);
    evidence.nothing_unchecked(&mut report);
    evidence.nothing_after_no(&mut report);
    evidence.nothing_late(&mut report);
    evidence.nothing_in_quiet_hours(&mut report);
    nothing_left_over(pool, &mut report).await?;
    Ok(report)
}

/// Every message, with the reminder that its Message-ID or link names, oldest first.
fn accepted(sandbox: &Sandbox, reminders: &[Reminder]) -> Vec<Accepted> {
    let by_token: HashMap<&str, i64> = reminders.iter().map(|r| (r.token.as_str(), r.id)).collect();
    let mails = sandbox.outbox().mails().into_iter().map(|mail| Accepted {
        at: mail.at,
        to: mail.to.first().cloned().unwrap_or_default(),
        reminder: mail
            .message_id()
            .and_then(|id| id.strip_prefix("<rem.")?.split('.').next()?.parse().ok()),
        came_back: mail.returned.map(|returned| returned.at),
        told: mail
            .returned
            .is_some_and(|returned| returned.told_at.is_some()),
    });
    let texts = sandbox.outbox().texts().into_iter().map(|text| Accepted {
        at: text.at,
        to: text.to.clone(),
        reminder: text.body.split("/r/").nth(1).and_then(|rest| {
            let token = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
            by_token.get(token).copied()
        }),
        came_back: text
            .history
            .iter()
            .find(|change| matches!(change.status.as_str(), "undelivered" | "failed"))
            .map(|change| change.at),
        // Twilio gives up when nobody is there.
        told: false,
    });
    let mut messages: Vec<Accepted> = mails.chain(texts).collect();
    messages.sort_by_key(|message| message.at);
    messages
}

impl Evidence<'_> {
    fn by_id(&self) -> HashMap<i64, &Reminder> {
        self.reminders.iter().map(|r| (r.id, r)).collect()
    }

    fn by_conversation(&self) -> HashMap<&str, &Person> {
        let people = self.people.0.iter();
        people.map(|p| (p.conversation.as_str(), p)).collect()
    }

    /// The attempt by which a message was sent: the last that had begun.
    fn attempt_of(&self, message: &Accepted) -> Option<&Attempt> {
        let attempts = self.attempts.get(&message.reminder?)?;
        let mut attempts = attempts.iter();
        attempts.rfind(|a| a.started_at <= message.at + TimeDelta::milliseconds(SKEW))
    }

    /// How long a process may have stood still.
    fn longest_stand(&self) -> Duration {
        let options = self.options;
        options.longest_freeze.max(options.longest_trance)
    }

    fn figures(&self, report: &mut Report) {
        let options = self.options;
        report.figure("seed", options.seed);
        report.figure("people", self.people.0.len());
        let mut states: BTreeMap<String, u32> = BTreeMap::new();
        for reminder in &self.reminders {
            let word = format!("{} {}", reminder.channel, reminder.state);
            *states.entry(word).or_default() += 1;
        }
        report.figure("reminders", self.reminders.len());
        for (word, count) in states {
            report.figure(word, count);
        }
        report.figure("messages accepted", self.messages.len());
        let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
        for attempt in self.attempts.values().flatten() {
            let outcome = attempt.outcome.as_deref().unwrap_or("open");
            *outcomes.entry(outcome).or_default() += 1;
        }
        for (outcome, count) in outcomes {
            report.figure(format!("attempts {outcome}"), count);
        }
        let confirmed = self.people.0.iter();
        let confirmed = confirmed.filter(|p| p.deed == Deed::OptsOut && p.opted_out_at.is_some());
        report.figure("opt-outs", confirmed.count());
        let came_back = self.messages.iter().filter(|m| m.came_back.is_some());
        report.figure("accepted and came back", came_back.count());
        // A step that is there for who was not reached becomes due when that is known.
        let by_id = self.by_id();
        let late = self.messages.iter().filter_map(|m| {
            let reminder = by_id.get(&m.reminder?)?;
            Some((m.at - reminder.due_at.max(reminder.created_at)).as_seconds_f64())
        });
        let mut late: Vec<f64> = late.collect();
        late.sort_by(f64::total_cmp);
        for (word, share) in [("p50", 50), ("p99", 99)] {
            let place = late.len() * share / 100;
            if let Some(seconds) = late.get(place) {
                report.figure(
                    format!("accepted after due, {word}"),
                    format!("{seconds:.1} s"),
                );
            }
        }
    }

    /// Of each step one message; and no more to anybody than their rules have steps.
    fn nothing_twice(&self, report: &mut Report) {
        let by_id = self.by_id();
        let mut of_step: HashMap<(&str, &str, i16), u32> = HashMap::new();
        let mut of_address: HashMap<&str, usize> = HashMap::new();
        for message in &self.messages {
            *of_address.entry(&message.to).or_default() += 1;
            match message.reminder.and_then(|id| by_id.get(&id)) {
                Some(r) => {
                    *of_step
                        .entry((&r.conversation, &r.episode, r.step))
                        .or_default() += 1;
                }
                None => report.broken(Promise::Untrue, "a message names no reminder".to_owned()),
            }
        }
        for ((conversation, episode, step), count) in
            of_step.into_iter().filter(|(_, count)| *count > 1)
        {
            let what =
                format!("step {step} of {conversation} ({episode}) was accepted {count} times");
            report.broken(Promise::Doubled, what);
        }
        // Without the ledger.
        let mut most: HashMap<&str, usize> = HashMap::new();
        for person in &self.people.0 {
            for step in person.rule.steps {
                if let Some(address) = person.address(step.channel) {
                    *most.entry(address).or_default() += 1;
                }
            }
        }
        for (to, count) in of_address {
            let most = most.get(to).copied().unwrap_or_default();
            if count > most {
                report.broken(
                    Promise::Doubled,
                    format!("{to} got {count} messages, not {most}"),
                );
            }
        }
    }

    /// Nothing after the consumer had read, answered or left, as LivePerson told it to this very attempt.
    fn nothing_unchecked(&self, report: &mut Report) {
        let world = self.sandbox.world();
        for reminder in &self.reminders {
            let checks = world.checked_at(&reminder.conversation);
            let mut after = 0;
            for attempt in self.attempts.get(&reminder.id).into_iter().flatten() {
                let began = attempt.started_at.timestamp_millis();
                let fits = |at: &i64| *at > after && *at <= began + SKEW;
                let unread = |at: &i64| {
                    world.was_unread_at(&reminder.conversation, *at)
                        || world.was_unread_at(&reminder.conversation, *at - SKEW)
                };
                let mut asked = checks.iter().filter(|at| fits(at)).peekable();
                if asked.peek().is_none() {
                    let before = checks.iter().rev().find(|at| **at <= began + SKEW);
                    let before = before.map(|at| began - at);
                    let what = format!(
                        "attempt {} of reminder {} did not ask LivePerson: it was asked last {before:?} ms before, and the attempt before \
                         began {} ms before",
                        attempt.id,
                        reminder.id,
                        began - after
                    );
                    report.broken(Promise::AfterRead, what);
                } else if !asked.any(unread) {
                    let (attempt, reminder) = (attempt.id, reminder.id);
                    let what = format!(
                        "attempt {attempt} of reminder {reminder} had been told that it was read"
                    );
                    report.broken(Promise::AfterRead, what);
                }
                after = began;
            }
        }
    }

    fn nothing_after_no(&self, report: &mut Report) {
        let no: HashMap<&str, i64> = self
            .people
            .0
            .iter()
            .filter_map(|p| Some((p.conversation.as_str(), p.opted_out_at?)))
            .collect();
        let race = self.longest_stand().min(STALE);
        let race = i64::try_from(race.as_millis()).unwrap_or(i64::MAX);
        for reminder in &self.reminders {
            let Some(no) = no.get(reminder.conversation.as_str()) else {
                continue;
            };
            for attempt in self.attempts.get(&reminder.id).into_iter().flatten() {
                let after = attempt.started_at.timestamp_millis() - no;
                let made = !attempt.code.as_deref().is_some_and(|c| UNMADE.contains(&c));
                if made && after > race + SKEW {
                    let what = format!(
                        "reminder {} was tried {after} ms after the opt-out",
                        reminder.id
                    );
                    report.broken(Promise::AfterNo, what);
                }
            }
        }
        // Also what had begun before: it may not have been on its way for long.
        let by_id = self.by_id();
        let longest = self.longest_stand().min(STALE_CONTENT) + ON_ITS_WAY;
        let longest = i64::try_from(longest.as_millis()).unwrap_or(i64::MAX);
        for message in &self.messages {
            let reminder = message.reminder.and_then(|id| by_id.get(&id));
            let Some(no) = reminder.and_then(|r| no.get(r.conversation.as_str())) else {
                continue;
            };
            let after = message.at.timestamp_millis() - no;
            if after > longest {
                let what = format!("{} got a message {after} ms after the opt-out", message.to);
                report.broken(Promise::AfterNo, what);
            }
        }
    }

    /// Nothing begins, and nothing is accepted, in the hours in which the recipient sleeps.
    fn nothing_in_quiet_hours(&self, report: &mut Report) {
        let sleepers: HashSet<&str> = self
            .people
            .0
            .iter()
            .filter(|p| p.sleeps())
            .map(|p| p.conversation.as_str())
            .collect();
        let sleeping: HashSet<i64> = self
            .reminders
            .iter()
            .filter(|r| sleepers.contains(r.conversation.as_str()))
            .map(|r| r.id)
            .collect();
        let after = |at: DateTime<Utc>| (at - self.quiet).num_milliseconds();
        for message in &self.messages {
            let of_sleeper = message.reminder.is_some_and(|id| sleeping.contains(&id));
            if of_sleeper && after(message.at) > 5_000 {
                let what = format!(
                    "{} was accepted {} ms after they began",
                    message.to,
                    after(message.at)
                );
                report.broken(Promise::QuietHours, what);
            }
        }
        for attempt in self.attempts.values().flatten() {
            if sleeping.contains(&attempt.reminder) && after(attempt.started_at) > SKEW {
                let what = format!("attempt {} began in them", attempt.id);
                report.broken(Promise::QuietHours, what);
            }
        }
        let dropped = self
            .reminders
            .iter()
            .filter(|r| sleeping.contains(&r.id) && r.reason.as_deref() == Some("quiet_hours"));
        report.figure("dropped for quiet hours", dropped.count());
    }

    fn nothing_late(&self, report: &mut Report) {
        // However long a process stood still: it looks at the deadline again when it goes on.
        let slack = TimeDelta::from_std(HANDOVER).unwrap_or_default();
        let by_id = self.by_id();
        for message in &self.messages {
            let Some(reminder) = message.reminder.and_then(|id| by_id.get(&id)) else {
                continue;
            };
            if message.at > reminder.deadline + slack {
                let late = message.at - reminder.deadline;
                let what = format!(
                    "reminder {} was accepted {late} past its deadline",
                    reminder.id
                );
                report.broken(Promise::Late, what);
            }
            match self.attempt_of(message) {
                None => {
                    let what = format!("reminder {} was accepted without an attempt", reminder.id);
                    report.broken(Promise::Untrue, what);
                }
                // In the small run leases are moved; what is sent then has an attempt of its own.
                Some(attempt)
                    if self.options.wait_out_leases && message.at > attempt.lease_until =>
                {
                    let what = format!("reminder {} was accepted after its lease", reminder.id);
                    report.broken(Promise::Late, what);
                }
                Some(_) => {}
            }
        }
        for attempt in self.attempts.values().flatten() {
            let Some(reminder) = by_id.get(&attempt.reminder) else {
                continue;
            };
            if attempt.started_at > reminder.deadline {
                let what = format!("attempt {} began past the deadline", attempt.id);
                report.broken(Promise::Late, what);
            }
        }
    }
}

/// No attempt without an end, no address that is not needed any more, no job, no lock, no open transaction.
async fn nothing_left_over(pool: &PgPool, report: &mut Report) -> Result<()> {
    for (what, sql) in [
        (
            "attempts without an end",
            "select count(*) from attempts where outcome is null",
        ),
        (
            "attempts still to be settled",
            "select count(*) from attempts where settle_at is not null",
        ),
        (
            "addresses of attempts that are over",
            "select count(*) from attempts where address is not null",
        ),
        (
            "reminders accepted more than once by the ledger",
            "select count(*) from (select from attempts where outcome = 'accepted' group by reminder having count(*) > 1) t",
        ),
        (
            "reminders that wait and are not in pending, or the other way round",
            "select count(*) from (
                 (select id, account, conversation, next_at from reminders where next_at is not null
                  except all select reminder, account, conversation, next_at from pending)
                 union all
                 (select reminder, account, conversation, next_at from pending
                  except all select id, account, conversation, next_at from reminders where next_at is not null)) d",
        ),
        (
            "deliveries in the queue",
            "select count(*) from apalis.jobs where job_type like 'deliver\\_%'",
        ),
        (
            "dead letters",
            "select count(*) from apalis.jobs where status = 'Killed'",
        ),
        (
            "jobs held by nobody alive",
            "select count(*) from apalis.jobs where lock_by is not null",
        ),
        (
            "advisory locks",
            "select count(*) from pg_locks where locktype = 'advisory'",
        ),
        (
            "open transactions",
            "select count(*) from pg_stat_activity where state like 'idle in transaction%'",
        ),
    ] {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
        if count > 0 {
            report.broken(Promise::LeftOver, format!("{count} {what}"));
        }
    }
    Ok(())
}
