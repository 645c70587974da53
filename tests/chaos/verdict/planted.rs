//! The judge is tried first: what was planted for it, it must find, and nothing else.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use unread::domain::ids::Channel;
use unread::sandbox::outbox::BounceKind;
use unread::sandbox::outbox::{Returned, StatusChange, Text};
use unread::sandbox::{ACCOUNT, Options as SandboxOptions, Sandbox};

use super::super::Options;
use super::super::people::{People, Person};
use super::super::skills::{BOTH, LADDER, SkillRule};
use super::{Accepted, Attempt, Evidence, Promise, Reminder, Report, accepted};

/// A message of a step, so many seconds after the beginning; it comes back after so many more.
type Message = (i16, i64, Option<i64>);

struct Case {
    what: &'static str,
    rule: &'static SkillRule,
    /// By conversation. The second is of the same customer, known by their consumer id alone.
    messages: [&'static [Message]; 2],
    /// Broken so often: within the gap, and although reached.
    broken: [usize; 2],
}

#[rustfmt::skip]
const CASES: [Case; 11] = [
    Case { what: "one message", rule: &BOTH, messages: [&[(1, 0, None)], &[]], broken: [0, 0] },
    Case { what: "two channels at once", rule: &BOTH, messages: [&[(1, 0, None), (2, 0, None)], &[]], broken: [1, 1] },
    Case { what: "two channels within the gap", rule: &BOTH, messages: [&[(1, 0, None), (2, 7_000, None)], &[]], broken: [1, 1] },
    Case { what: "after the gap, but reached", rule: &BOTH, messages: [&[(1, 0, None), (2, 7_201, None)], &[]], broken: [0, 1] },
    Case { what: "a text when the e-mail has come back", rule: &BOTH, messages: [&[(1, 0, Some(5)), (2, 6, None)], &[]], broken: [0, 0] },
    Case { what: "a text before it has", rule: &BOTH, messages: [&[(1, 0, Some(5)), (2, 4, None)], &[]], broken: [1, 1] },
    Case { what: "two conversations", rule: &BOTH, messages: [&[(1, 0, None)], &[(2, 60, None)]], broken: [1, 0] },
    Case { what: "what came back is followed by the step for that", rule: &BOTH, messages: [&[(1, 0, Some(5))], &[(2, 60, None)]], broken: [0, 0] },
    Case { what: "and by no other", rule: &BOTH, messages: [&[(1, 0, Some(5))], &[(1, 60, None)]], broken: [1, 0] },
    Case { what: "two rungs", rule: &LADDER, messages: [&[(1, 0, Some(5)), (2, 6, Some(2)), (3, 67, Some(3)), (4, 71, None)], &[]], broken: [0, 0] },
    Case { what: "two rungs too near to each other", rule: &LADDER, messages: [&[(1, 0, None), (3, 59, None)], &[]], broken: [1, 0] },
];

/// Plants mistakes and tries whether each is found.
pub async fn judge_is_tried() -> Result<()> {
    for case in &CASES {
        let report = case.judged().await?;
        let found = [
            report.count(Promise::WithinGap),
            report.count(Promise::Reached),
        ];
        ensure!(
            found == case.broken,
            "{}: found {found:?}, planted {:?}\n{report}",
            case.what,
            case.broken
        );
        let others = report.violations.len() - found.iter().sum::<usize>();
        ensure!(
            others == 0,
            "{}: more than was planted\n{report}",
            case.what
        );
    }
    Ok(())
}

impl Case {
    async fn judged(&self) -> Result<Report> {
        let sandbox = Sandbox::start(SandboxOptions::default()).await?;
        let begin = sandbox.world().clock().now();
        let mut people = Vec::new();
        let (mut reminders, mut attempts) = (Vec::new(), HashMap::new());
        for (n, messages) in self.messages.iter().enumerate() {
            let mut person = Person::planted(self.rule, n);
            let opening = sandbox.world().conversation(ACCOUNT, self.rule.skill);
            person.conversation = opening.person(person.consumer()).start();
            for (step, after, came_back) in *messages {
                let id = i64::try_from(reminders.len())? + 1;
                let at = begin + TimeDelta::seconds(*after);
                let channel = person.accept(&sandbox, (id, *step), at, *came_back);
                reminders.push(reminder(&person, (id, *step), channel, at));
                attempts.insert(id, vec![attempt(id, at)]);
            }
            people.push(person);
        }
        let messages: Vec<Accepted> = accepted(&sandbox, &reminders);
        let mut report = Report::default();
        let (people, options) = (People(people), options());
        let evidence = Evidence {
            sandbox: &sandbox,
            people: &people,
            options: &options,
            reminders,
            attempts,
            messages,
            quiet: begin,
        };
        evidence.nothing_twice(&mut report);
        evidence.nothing_within_the_gap(&mut report);
        evidence.nothing_to_who_was_reached(&mut report);
        sandbox.stop().await;
        Ok(report)
    }
}

impl Person {
    /// A provider takes the message of a step. Returns its channel.
    fn accept(
        &self,
        sandbox: &Sandbox,
        (id, step): (i64, i16),
        at: DateTime<Utc>,
        came_back: Option<i64>,
    ) -> Channel {
        let step = self.rule.steps.iter().find(|known| known.id == step);
        let channel = step.map_or(Channel::Email, |step| step.channel);
        let to = self.address(channel).unwrap_or_default().to_owned();
        let back_at = came_back.map(|after| at + TimeDelta::seconds(after));
        let outbox = sandbox.outbox();
        if channel == Channel::Sms {
            let sid = format!("SM{id}");
            outbox.accept_text(Text {
                at,
                sid: sid.clone(),
                to,
                body: format!("Read it: https://unread.example/r/{}", token(id)),
                ..Text::default()
            });
            if let Some(at) = back_at {
                let change = StatusChange {
                    at,
                    status: "undelivered".to_owned(),
                    error_code: Some(30003),
                };
                outbox.change_text(&sid, None, change);
            }
        } else {
            let raw = format!(
                "Message-ID: <rem.{id}.{}@unread.example>\r\n\r\nRead it.\r\n",
                token(id)
            );
            let mail = outbox.accept_mail(
                at,
                "hello@shop.example".to_owned(),
                vec![to],
                raw.into_bytes(),
            );
            if let Some(at) = back_at {
                let returned = Returned {
                    at,
                    kind: BounceKind::Hard,
                    told_at: None,
                };
                outbox.return_mail(mail, returned);
            }
        }
        channel
    }
}

fn token(id: i64) -> String {
    format!("planted{id}")
}

fn reminder(
    person: &Person,
    (id, step): (i64, i16),
    channel: Channel,
    at: DateTime<Utc>,
) -> Reminder {
    Reminder {
        id,
        conversation: person.conversation.clone(),
        episode: "m1".to_owned(),
        step,
        channel: channel.as_str().to_owned(),
        state: "sent".to_owned(),
        reason: None,
        created_at: at,
        due_at: at,
        deadline: at + TimeDelta::hours(1),
        token: token(id),
        open: false,
        final_at: Some(at),
    }
}

fn attempt(reminder: i64, at: DateTime<Utc>) -> Attempt {
    Attempt {
        id: reminder,
        reminder,
        started_at: at,
        lease_until: at + TimeDelta::minutes(1),
        outcome: Some("accepted".to_owned()),
        code: None,
    }
}

fn options() -> Options {
    Options {
        program: String::new().into(),
        seed: 1,
        people: 2,
        kills: 0,
        restarts: 0,
        spread: Duration::ZERO,
        longest_freeze: Duration::ZERO,
        strikes: 0,
        zombies: 0,
        longest_trance: Duration::ZERO,
        fault_share: 0.0,
        missed_updates: 0.0,
        wait_out_leases: false,
    }
}
