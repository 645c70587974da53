//! What a scan decides about one conversation and one channel: is a reminder owed, and from when?
//!
//! A scan only schedules. Whether the reminder is sent is asked again, of a fresh record, by [`decide`](super::decide::decide):
//! suppressions, caps and quiet hours may change until then and are not asked here.

use chrono::{DateTime, Utc};

use super::contact::Contact;
use super::conversation::{Queue, Record};
use super::decide::Reason;
use super::local_time::LocalTime;
use super::read_state::{Episode, ReadState};
use super::rule::Rule;
use super::schedule::{DueStep, NextStep, next_step};
use super::zone::Zone;

/// What the decision depends on. The caller has already derived `state` and `contact` from the record: it stores them too.
#[derive(Clone, Copy, Debug)]
pub struct Scanned<'a> {
    pub record: &'a Record,
    /// [`read_state`](super::read_state::read_state) of the record.
    pub state: &'a ReadState,
    /// The rule that [`pick`](super::rule::pick) gives for the conversation's skill on this channel.
    pub rule: Option<&'a Rule>,
    pub contact: Option<&'a Contact>,
    /// The steps of this episode and rule whose reminder has reached a final state.
    pub done: &'a [i16],
    /// The account's time zone.
    pub time_zone: Zone,
    pub now: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanDecision {
    /// With the clocks by which its hours are read, as they are known now.
    Schedule {
        episode: Box<Episode>,
        due: DueStep,
        local: LocalTime,
    },
    None(Reason),
}

/// Asks in the order of [`decide`](super::decide::decide), so that both give the same reason for the same facts.
pub fn scan_decision(scanned: &Scanned<'_>) -> ScanDecision {
    use ScanDecision::{None, Schedule};
    let Some(rule) = scanned.rule else {
        return None(Reason::NoRule);
    };
    if !rule.enabled {
        return None(Reason::RuleOff);
    }
    let episode = match scanned.state {
        ReadState::Read(reason) => return None((*reason).into()),
        ReadState::Undecided => return None(Reason::Undecided),
        ReadState::Unread(episode) => episode,
    };
    let Some(episode) = rule.concerns(episode) else {
        return None(Reason::BeforeLive);
    };
    if rule.settings.newer.holds() {
        return None(Reason::NewerRule);
    }
    if scanned.record.queue == Queue::Waiting && !rule.settings.remind_in_queue {
        return None(Reason::InQueue);
    }
    let Some(contact) = scanned.contact else {
        return None(Reason::NoAddress);
    };
    let local = LocalTime::new(
        scanned.record.time_zone,
        Some(&contact.address),
        &rule.settings,
        scanned.time_zone,
        scanned.now,
    );
    match next_step(rule, &local, &episode, scanned.done, scanned.now) {
        // Last: what is said of an account before it goes live is what would happen.
        NextStep::Due(_) if rule.live.is_none() => None(Reason::NotLive),
        NextStep::Due(due) => Schedule {
            episode: Box::new(episode),
            due,
            local,
        },
        NextStep::AllDone => None(Reason::AllStepsDone),
        NextStep::TooLate => None(Reason::TooLate),
    }
}

#[cfg(test)]
mod tests {
    use super::super::contact::Address;
    use super::super::ids::Channel;
    use super::super::local_time::ZoneSource;
    use super::super::read_state::read_state;
    use super::super::rule::RuleSettings;
    use super::super::sample::minute;
    use super::*;

    /// A human's message at minute 0, an address, and a rule of steps after 10 minutes and 24 hours.
    struct Case {
        record: Record,
        rule: Option<Rule>,
        contact: Option<Contact>,
        done: Vec<i16>,
        now: i64,
    }

    fn usual() -> Case {
        Case {
            record: Record::sample().agent(1, 0),
            rule: Some(Rule::sample(RuleSettings::default_for(Channel::Sms))),
            contact: Some(Contact {
                address: Address::phone("+12025550143", None).unwrap(),
                first_name: None,
            }),
            done: vec![],
            now: 1,
        }
    }

    fn answer(change: impl Fn(&mut Case)) -> ScanDecision {
        let mut case = usual();
        change(&mut case);
        scan_decision(&Scanned {
            record: &case.record,
            state: &read_state(&case.record, false),
            rule: case.rule.as_ref(),
            contact: case.contact.as_ref(),
            done: &case.done,
            time_zone: Zone::UTC,
            now: minute(case.now),
        })
    }

    #[test]
    fn an_unread_message_is_scheduled_for_its_due_moment() {
        let ScanDecision::Schedule {
            episode,
            due,
            local,
        } = answer(|_| {})
        else {
            panic!("scheduled");
        };
        assert_eq!(episode.since, minute(0));
        // 04:10 in Washington, where the number is: an hour after 09:00.
        assert_eq!(local.source, ZoneSource::Number);
        assert_eq!(
            (due.step, due.at, due.deadline),
            (1, minute(10), minute(5 * 60 + 60))
        );
    }

    #[test]
    fn every_reason_not_to_schedule_is_told_in_the_order_of_the_design() {
        // Each obstacle is tried alone, and together with all that come after it: the first in the list must win.
        type Change = fn(&mut Case);
        #[rustfmt::skip]
        let obstacles: [(Reason, Change); 12] = [
            (Reason::NoRule, |c| c.rule = None),
            (Reason::RuleOff, |c| c.rule.as_mut().unwrap().enabled = false),
            (Reason::Closed, |c| c.record.open = false),
            (Reason::Undecided, |c| c.record.partial = true),
            (Reason::NoAgentMessage, |c| c.record.messages.clear()),
            (Reason::Answered, |c| c.record = c.record.clone().consumer(2, 1)),
            (Reason::Read, |c| c.record = c.record.clone().read(1)),
            (Reason::NewerRule, |c| c.rule.as_mut().unwrap().settings.newer.unreadable.push("steps".to_owned())),
            (Reason::InQueue, |c| c.record.queue = Queue::Waiting),
            (Reason::NoAddress, |c| c.contact = None),
            (Reason::AllStepsDone, |c| c.done = vec![1, 2]),
            (Reason::TooLate, |c| c.now = 5000),
        ];
        for (i, (reason, alone)) in obstacles.iter().enumerate() {
            assert_eq!(answer(alone), ScanDecision::None(*reason));
            let with_later_ones =
                |c: &mut Case| obstacles[i..].iter().rev().for_each(|(_, o)| o(c));
            assert_eq!(answer(with_later_ones), ScanDecision::None(*reason));
        }
    }

    #[test]
    fn a_rule_may_remind_in_the_queue() {
        let decision = answer(|c| {
            c.record.queue = Queue::Waiting;
            c.rule.as_mut().unwrap().settings.remind_in_queue = true;
        });
        assert!(matches!(decision, ScanDecision::Schedule { .. }));
    }
}
