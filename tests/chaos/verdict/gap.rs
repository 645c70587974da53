//! One voice: no two messages to one customer within the gap of the rule by which the second is sent, on whichever channels; and none for
//! who was not reached to who was.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use unread::domain::rule::{Step, When};

use super::super::people::Person;
use super::{Accepted, Evidence, Promise, Reminder, Report, SKEW};

/// An accepted message, and whose it was.
struct Heard<'a> {
    message: &'a Accepted,
    reminder: &'a Reminder,
    person: &'a Person,
    /// LivePerson's ids of the customer.
    consumers: HashSet<String>,
    /// When the gap after it began: with its attempt, which is what the service knows.
    began: DateTime<Utc>,
}

impl Heard<'_> {
    fn place(&self) -> Option<usize> {
        let mut steps = self.person.rule.steps.iter();
        steps.position(|step| {
            step.id == self.reminder.step && step.channel.as_str() == self.reminder.channel
        })
    }

    fn step(&self) -> Option<&Step> {
        Some(&self.person.rule.steps[self.place()?])
    }

    fn told(&self) -> String {
        let Reminder {
            id,
            channel,
            step,
            conversation,
            ..
        } = self.reminder;
        format!("reminder {id} ({channel}, step {step} of {conversation})")
    }

    /// It had not arrived, as was known by then.
    fn had_come_back(&self, by: &Heard) -> bool {
        self.message.came_back.is_some_and(|at| at <= by.message.at)
    }

    /// To the same customer: under one of their ids, or at one of their addresses.
    fn is_to_whom(&self, later: &Heard) -> bool {
        !self.consumers.is_disjoint(&later.consumers)
            || later
                .person
                .addresses()
                .any(|address| address == self.message.to)
    }
}

impl Evidence<'_> {
    fn heard(&self) -> Vec<Heard<'_>> {
        let (reminders, people) = (self.by_id(), self.by_conversation());
        let heard = self.messages.iter().filter_map(|message| {
            let reminder = *reminders.get(&message.reminder?)?;
            let person = *people.get(reminder.conversation.as_str())?;
            let consumers = self.sandbox.world().consumer_ids(&reminder.conversation);
            Some(Heard {
                began: self
                    .attempt_of(message)
                    .map_or(message.at, |attempt| attempt.started_at),
                message,
                reminder,
                person,
                consumers: consumers.into_iter().collect(),
            })
        });
        heard.collect()
    }

    pub(super) fn nothing_within_the_gap(&self, report: &mut Report) {
        let heard = self.heard();
        for later in &heard {
            let gap = later.person.rule.gap;
            if gap.is_zero() {
                continue;
            }
            let may_follow = later
                .step()
                .is_some_and(|step| step.when == When::IfNotReached);
            let since = later.message.at - gap + TimeDelta::milliseconds(SKEW);
            for earlier in heard.iter().filter(|earlier| is_before(earlier, later)) {
                let is_near = earlier.began > since && earlier.is_to_whom(later);
                if is_near && !(may_follow && earlier.had_come_back(later)) {
                    let apart = (later.message.at - earlier.message.at).num_seconds();
                    let (first, second) = (earlier.told(), later.told());
                    report.broken(
                        Promise::WithinGap,
                        format!("{second} came {apart} s after {first}"),
                    );
                }
            }
        }
    }

    pub(super) fn nothing_to_who_was_reached(&self, report: &mut Report) {
        let heard = self.heard();
        for later in &heard {
            let Some(place) = later.place() else {
                let what = format!("{} is of no step of its rule", later.told());
                report.broken(Promise::Untrue, what);
                continue;
            };
            let rung = later.person.rule.earlier(place);
            let of_rung = |earlier: &&Heard| {
                earlier.reminder.conversation == later.reminder.conversation
                    && rung.iter().any(|step| step.id == earlier.reminder.step)
            };
            let reached =
                |earlier: &&Heard| is_before(earlier, later) && !earlier.had_come_back(later);
            if let Some(earlier) = heard.iter().filter(of_rung).find(reached) {
                let (first, second) = (earlier.told(), later.told());
                report.broken(
                    Promise::Reached,
                    format!("{second} was sent although {first} had not come back"),
                );
            }
        }
    }
}

fn is_before(earlier: &Heard, later: &Heard) -> bool {
    (earlier.message.at, earlier.reminder.id) < (later.message.at, later.reminder.id)
}
