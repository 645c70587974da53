//! Holds the sandbox's memory against the ledger.
//!
//! Reading, and answering, is judged exactly: every attempt must have asked LivePerson about its conversation since the attempt
//! before it began, and have been shown an unread message. What the consumer does after that answer is the race that no system
//! can win. An opt-out and a deadline are judged by the moment at which the attempt began, with the time a process may have
//! been frozen between looking and beginning.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgPool};
use unread::sandbox::Sandbox;
use unread::sandbox::faults::Traffic;

use super::Options;
use super::people::{Deed, People};
use super::processes::Processes;
use super::trouble::{Plan, Stop};

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

/// What a run found.
#[derive(Default)]
pub struct Report {
    pub violations: Vec<String>,
    figures: Vec<(String, String)>,
}

impl Report {
    pub fn figure(&mut self, name: impl Into<String>, value: impl fmt::Display) {
        self.figures.push((name.into(), value.to_string()));
    }

    fn broken(&mut self, what: String) {
        self.violations.push(what);
    }

    pub fn add_run(
        &mut self,
        processes: &Processes,
        stops: &[Stop],
        plan: &Plan,
        sandbox: &Sandbox,
    ) {
        let all: u32 = processes.figures().iter().map(|(_, kills, _)| kills).sum();
        let struck = processes.strikes();
        self.figure(
            "kill -9 made",
            format!("{all}; {struck} strikes upon all workers at an acceptance"),
        );
        for (role, kills, freezes) in processes.figures() {
            self.figure(
                format!("{role}s"),
                format!("{kills} killed -9, {freezes} frozen"),
            );
        }
        let of = |how| stops.iter().filter(|stop| **stop == how).count();
        let (clean, immediate, kill) = (of(Stop::Clean), of(Stop::Immediate), of(Stop::Kill));
        self.figure(
            "PostgreSQL",
            format!("{kill} killed -9, {immediate} immediate, {clean} clean restarts"),
        );
        let cut: i64 = plan.cuts.iter().map(|(_, most)| most).sum();
        self.figure("connections cut", format!("up to {cut}"));
        let traffic = sandbox.faults().all_traffic();
        let sum = |of: fn(&Traffic) -> u64| traffic.values().map(of).sum::<u64>();
        self.figure(
            "LivePerson",
            format!(
                "{} calls, {} faults",
                sum(|t| t.requests),
                sum(|t| t.faults)
            ),
        );
        let (smtp, twilio) = (sandbox.smtp(), sandbox.twilio());
        self.figure("mail server", format!("{} faults", smtp.faults().struck()));
        self.figure("Twilio", format!("{} faults", twilio.faults().struck()));
        self.figure("logs", processes.logs());
    }

    pub fn add_times(&mut self, trouble: Duration, all: Duration) {
        self.figure("trouble lasted", format!("{:.0} s", trouble.as_secs_f64()));
        self.figure("the whole run", format!("{:.0} s", all.as_secs_f64()));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.figures {
            writeln!(f, "{name:>24}  {value}")?;
        }
        writeln!(f, "{:>24}  {}", "violations", self.violations.len())?;
        for violation in self.violations.iter().take(50) {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}

#[derive(FromRow)]
struct Reminder {
    id: i64,
    conversation: String,
    channel: String,
    state: String,
    reason: Option<String>,
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
        "select id, conversation, channel, state, reason, due_at, deadline, token, next_at is not null as open, final_at
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
    evidence.nothing_unchecked(&mut report);
    evidence.nothing_after_no(&mut report);
    evidence.nothing_late(&mut report);
    evidence.nothing_in_quiet_hours(&mut report);
    nothing_left_over(pool, &mut report).await?;
    Ok(report)
}

/// Every message, with the reminder that its Message-ID or link names.
fn accepted(sandbox: &Sandbox, reminders: &[Reminder]) -> Vec<Accepted> {
    let by_token: HashMap<&str, i64> = reminders.iter().map(|r| (r.token.as_str(), r.id)).collect();
    let mails = sandbox.outbox().mails().into_iter().map(|mail| Accepted {
        at: mail.at,
        to: mail.to.first().cloned().unwrap_or_default(),
        reminder: mail
            .message_id()
            .and_then(|id| id.strip_prefix("<rem.")?.split('.').next()?.parse().ok()),
    });
    let texts = sandbox.outbox().texts().into_iter().map(|text| Accepted {
        at: text.at,
        to: text.to.clone(),
        reminder: text.body.split("/r/").nth(1).and_then(|rest| {
            let token = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
            by_token.get(token).copied()
        }),
    });
    mails.chain(texts).collect()
}

impl Evidence<'_> {
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
        let due: HashMap<i64, DateTime<Utc>> =
            self.reminders.iter().map(|r| (r.id, r.due_at)).collect();
        let late = self.messages.iter().filter_map(|m| {
            let due = due.get(&m.reminder?)?;
            Some((m.at - *due).as_seconds_f64())
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

    fn nothing_twice(&self, report: &mut Report) {
        let mut of_reminder: HashMap<i64, u32> = HashMap::new();
        let mut of_address: HashMap<&str, u32> = HashMap::new();
        for message in &self.messages {
            *of_address.entry(&message.to).or_default() += 1;
            match message.reminder {
                Some(id) => *of_reminder.entry(id).or_default() += 1,
                None => report.broken("a message names no reminder".to_owned()),
            }
        }
        for (id, count) in of_reminder.into_iter().filter(|(_, count)| *count > 1) {
            report.broken(format!("twice: reminder {id} was accepted {count} times"));
        }
        // Without the ledger: nobody gets more messages than they have conversations.
        let mut conversations: HashMap<&str, u32> = HashMap::new();
        for person in &self.people.0 {
            *conversations.entry(&person.address).or_default() += 1;
        }
        for (to, count) in of_address {
            let most = conversations.get(to).copied().unwrap_or_default();
            if count > most {
                report.broken(format!("twice: {to} got {count} messages, not {most}"));
            }
        }
    }

    fn nothing_lost(&self, report: &mut Report) {
        let mut by_conversation: HashMap<&str, Vec<&Reminder>> = HashMap::new();
        for reminder in &self.reminders {
            let of = by_conversation.entry(&reminder.conversation).or_default();
            of.push(reminder);
        }
        for person in &self.people.0 {
            let id = person.conversation.as_str();
            let found = by_conversation.get(id).map_or(0, Vec::len);
            if found > 1 || (found == 0 && person.is_owed_for_certain()) {
                report.broken(format!(
                    "lost: {id} ({:?}) has {found} reminders",
                    person.deed
                ));
            }
        }
        let got: HashSet<i64> = self.messages.iter().filter_map(|m| m.reminder).collect();
        for r in &self.reminders {
            let received = got.contains(&r.id);
            let reason = r.reason.as_deref().unwrap_or("no reason");
            let told = format!("reminder {}, {} ({reason})", r.id, r.state);
            if r.open || r.final_at.is_none() {
                report.broken(format!("lost: {told} is not final"));
            }
            match r.state.as_str() {
                "sent" | "delivered" | "undelivered" if !received => {
                    report.broken(format!("lost: {told} never reached its provider"));
                }
                "cancelled" | "expired" | "failed" if received => {
                    report.broken(format!("untrue: {told} was accepted all the same"));
                }
                "cancelled" | "expired" | "failed" if r.reason.is_none() => {
                    report.broken(format!("lost: {told} has no reason"));
                }
                _ => {}
            }
            let world = self.sandbox.world();
            let acted = world
                .was_read_at(&r.conversation)
                .or(world.closed_at(&r.conversation));
            if r.state == "cancelled"
                && matches!(reason, "read" | "answered" | "closed" | "gone")
                && acted.is_none()
            {
                report.broken(format!("lost: {told}, but nobody ever read it"));
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
                    report.broken(format!(
                        "unchecked: attempt {} of reminder {} did not ask LivePerson",
                        attempt.id, reminder.id
                    ));
                } else if !asked.any(unread) {
                    report.broken(format!(
                        "after read: attempt {} of reminder {} had been told that it was read",
                        attempt.id, reminder.id
                    ));
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
                    report.broken(format!(
                        "after no: reminder {} was tried {after} ms after the opt-out",
                        reminder.id
                    ));
                }
            }
        }
        // Also what had begun before: it may not have been on its way for long.
        let by_id: HashMap<i64, &Reminder> = self.reminders.iter().map(|r| (r.id, r)).collect();
        let longest = self.longest_stand().min(STALE_CONTENT) + ON_ITS_WAY;
        let longest = i64::try_from(longest.as_millis()).unwrap_or(i64::MAX);
        for message in &self.messages {
            let reminder = message.reminder.and_then(|id| by_id.get(&id));
            let Some(no) = reminder.and_then(|r| no.get(r.conversation.as_str())) else {
                continue;
            };
            let after = message.at.timestamp_millis() - no;
            if after > longest {
                report.broken(format!(
                    "after no: {} got a message {after} ms after the opt-out",
                    message.to
                ));
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
                report.broken(format!(
                    "quiet hours: {} was accepted {} ms after they began",
                    message.to,
                    after(message.at)
                ));
            }
        }
        for attempt in self.attempts.values().flatten() {
            if sleeping.contains(&attempt.reminder) && after(attempt.started_at) > SKEW {
                report.broken(format!("quiet hours: attempt {} began in them", attempt.id));
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
        let by_id: HashMap<i64, &Reminder> = self.reminders.iter().map(|r| (r.id, r)).collect();
        for message in &self.messages {
            let Some(reminder) = message.reminder.and_then(|id| by_id.get(&id)) else {
                continue;
            };
            if message.at > reminder.deadline + slack {
                let late = message.at - reminder.deadline;
                report.broken(format!(
                    "late: reminder {} was accepted {late} past its deadline",
                    reminder.id
                ));
            }
            let attempts = self.attempts.get(&reminder.id);
            let began = attempts
                .into_iter()
                .flatten()
                .rfind(|a| a.started_at <= message.at + TimeDelta::milliseconds(SKEW));
            match began {
                None => report.broken(format!(
                    "reminder {} was accepted without an attempt",
                    reminder.id
                )),
                // In the small run leases are moved; what is sent then has an attempt of its own.
                Some(attempt)
                    if self.options.wait_out_leases && message.at > attempt.lease_until =>
                {
                    report.broken(format!(
                        "reminder {} was accepted after its lease",
                        reminder.id
                    ));
                }
                Some(_) => {}
            }
        }
        for attempt in self.attempts.values().flatten() {
            let Some(reminder) = by_id.get(&attempt.reminder) else {
                continue;
            };
            if attempt.started_at > reminder.deadline {
                report.broken(format!(
                    "late: attempt {} began past the deadline",
                    attempt.id
                ));
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
            report.broken(format!("left over: {count} {what}"));
        }
    }
    Ok(())
}
