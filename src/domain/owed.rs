//! What a scan decides about one conversation: which reminder is owed next, and from when?
//!
//! A scan only schedules. Whether the reminder is sent is asked again, of a fresh record, by [`decide`](super::decide::decide):
//! suppressions, caps and quiet hours may change until then and are not asked here.

use chrono::{DateTime, Utc};

use super::channel::{PerChannel, Reports};
use super::contact::Contact;
use super::conversation::{Queue, Record};
use super::decide::Reason;
use super::ids::Channel;
use super::local_time::LocalTime;
use super::reached::{DoneStep, ReportWaits};
use super::read_state::{Episode, ReadState};
use super::rule::{Rule, StepId};
use super::schedule::{DueStep, Next, Reach, Sequence, next_step};
use super::zone::Zone;

/// What the installation has.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The channels that are configured.
    pub channels: Vec<Channel>,
    pub waits: ReportWaits,
}

impl Installation {
    /// With these channels; `hears_of_bounces` where a source of reports of what came back is configured.
    pub fn new(channels: Vec<Channel>, hears_of_bounces: bool) -> Self {
        let waits = ReportWaits::of(|channel| match channel.profile().reports {
            Reports::Always(wait) => Some(wait),
            Reports::WhereConfigured(wait) => hears_of_bounces.then_some(wait),
        });
        Self { channels, waits }
    }
}

/// What the decision depends on. The caller has already derived `state` and `contacts` from the record: it stores them too.
#[derive(Clone, Copy, Debug)]
pub struct Scanned<'a> {
    pub record: &'a Record,
    /// [`read_state`](super::read_state::read_state) of the record.
    pub state: &'a ReadState,
    /// The rule that [`pick`](super::rule::pick) gives for the conversation's skill.
    pub rule: Option<&'a Rule>,
    pub contacts: &'a PerChannel<Option<Contact>>,
    /// The channels that the installation has.
    pub configured: &'a [Channel],
    /// The steps of this episode that have, or had, a reminder.
    pub done: &'a [DoneStep],
    /// The account's time zone.
    pub time_zone: Zone,
    pub now: DateTime<Utc>,
}

/// What is decided, and which channels' steps are passed over for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanDecision {
    pub answer: ScanAnswer,
    pub passed_over: Vec<(Channel, Reason)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanAnswer {
    /// With the clocks by which its hours are read, as they are known now.
    Schedule {
        episode: Box<Episode>,
        due: DueStep,
        local: LocalTime,
    },
    /// A step that has been tried is to be tried again.
    Trying(StepId, Channel),
    /// With the step that would be next, where only going live is missing.
    Nothing(Reason, Option<(StepId, Channel)>),
}

/// Asks in the order of [`decide`](super::decide::decide), so that both give the same reason for the same facts.
pub fn scan_decision(scanned: &Scanned<'_>) -> ScanDecision {
    let nothing = |reason| ScanDecision {
        answer: ScanAnswer::Nothing(reason, None),
        passed_over: Vec::new(),
    };
    let Some(rule) = scanned.rule else {
        return nothing(Reason::NoRule);
    };
    if !rule.enabled {
        return nothing(Reason::RuleOff);
    }
    let episode = match scanned.state {
        ReadState::Read(reason) => return nothing((*reason).into()),
        ReadState::Undecided => return nothing(Reason::Undecided),
        ReadState::Unread(episode) => episode,
    };
    let is_before = |channel| rule.concerns(channel, episode).is_none();
    if rule.settings.used().all(is_before) {
        return nothing(Reason::BeforeLive);
    }
    if rule.settings.newer.holds() {
        return nothing(Reason::NewerRule);
    }
    if scanned.record.queue == Queue::Waiting && !rule.settings.remind_in_queue {
        return nothing(Reason::InQueue);
    }
    let reach = PerChannel::of(|channel| scanned.reach(rule, channel));
    let next = next_step(&Sequence {
        rule,
        episode,
        reach: &reach,
        done: scanned.done,
        now: scanned.now,
    });
    let answer = match next.next {
        Next::Nothing(reason) => ScanAnswer::Nothing(reason, None),
        Next::Trying(step, channel) => ScanAnswer::Trying(step, channel),
        // Last: what is said of an account before it goes live is what would happen.
        Next::Due(due) if !rule.is_live() => {
            ScanAnswer::Nothing(Reason::NotLive, Some((due.step, due.channel)))
        }
        Next::Due(due) => match (&reach[due.channel], rule.concerns(due.channel, episode)) {
            (Reach::By(local), Some(episode)) => ScanAnswer::Schedule {
                episode: Box::new(episode),
                due,
                local: local.clone(),
            },
            _ => ScanAnswer::Nothing(Reason::NoAddress, None),
        },
    };
    ScanDecision {
        answer,
        passed_over: next.passed_over,
    }
}

impl Scanned<'_> {
    fn reach(&self, rule: &Rule, channel: Channel) -> Reach {
        if !self.configured.contains(&channel) {
            return Reach::NotConfigured;
        }
        let Some(contact) = &self.contacts[channel] else {
            return Reach::NoAddress;
        };
        Reach::By(LocalTime::new(
            self.record.time_zone,
            Some(&contact.address),
            (&rule.settings, channel),
            self.time_zone,
            self.now,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::contact::Address;
    use super::super::local_time::ZoneSource;
    use super::super::reached::Standing;
    use super::super::read_state::read_state;
    use super::super::rule::RuleSettings;
    use super::super::sample::minute;
    use super::*;

    /// A human's message at minute 0, a number, and a rule of text messages after 10 minutes and 24 hours.
    struct Case {
        record: Record,
        rule: Option<Rule>,
        contact: Option<Contact>,
        done: Vec<StepId>,
        now: i64,
    }

    fn usual() -> Case {
        Case {
            record: Record::sample().agent(1, 0),
            rule: Some(Rule::sample(RuleSettings::default_for(&[Channel::Sms]))),
            contact: Some(Contact {
                address: Address::phone("+12025550143", None).unwrap(),
                first_name: None,
            }),
            done: vec![],
            now: 1,
        }
    }

    fn decided(change: impl Fn(&mut Case)) -> ScanDecision {
        let mut case = usual();
        change(&mut case);
        let contacts =
            PerChannel::of(|channel| case.contact.clone().filter(|_| channel == Channel::Sms));
        let done = case.done.iter().map(|step| DoneStep {
            step: *step,
            channel: Channel::Sms,
            standing: Standing::Reached,
            sent: Some(minute(1)),
        });
        scan_decision(&Scanned {
            record: &case.record,
            state: &read_state(&case.record, false),
            rule: case.rule.as_ref(),
            contacts: &contacts,
            configured: &Channel::ALL,
            done: &done.collect::<Vec<_>>(),
            time_zone: Zone::UTC,
            now: minute(case.now),
        })
    }

    fn answer(change: impl Fn(&mut Case)) -> ScanAnswer {
        decided(change).answer
    }

    #[test]
    fn an_unread_message_is_scheduled_for_its_due_moment() {
        let ScanAnswer::Schedule {
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
            (Reason::AllStepsDone, |c| c.done = vec![1, 2]),
            (Reason::NoAddress, |c| c.contact = None),
            (Reason::TooLate, |c| c.now = 5000),
        ];
        for (i, (reason, alone)) in obstacles.iter().enumerate() {
            assert_eq!(answer(alone), ScanAnswer::Nothing(*reason, None));
            let with_later_ones =
                |c: &mut Case| obstacles[i..].iter().rev().for_each(|(_, o)| o(c));
            assert_eq!(answer(with_later_ones), ScanAnswer::Nothing(*reason, None));
        }
    }

    #[test]
    fn a_rule_may_remind_in_the_queue() {
        let decision = answer(|c| {
            c.record.queue = Queue::Waiting;
            c.rule.as_mut().unwrap().settings.remind_in_queue = true;
        });
        assert!(matches!(decision, ScanAnswer::Schedule { .. }));
    }

    #[test]
    fn before_it_goes_live_it_is_told_what_would_be_next_and_a_channel_that_is_not_live_is_passed_over()
     {
        let not_live = |c: &mut Case| c.rule.as_mut().unwrap().live = PerChannel::default();
        let would = Some((1, Channel::Sms));
        assert_eq!(
            answer(not_live),
            ScanAnswer::Nothing(Reason::NotLive, would)
        );
        let both = decided(|c| {
            let mut rule = Rule::sample(RuleSettings::default_for(&[Channel::Email, Channel::Sms]));
            rule.live[Channel::Sms] = None;
            c.rule = Some(rule);
        });
        let passed = vec![
            (Channel::Email, Reason::NoAddress),
            (Channel::Sms, Reason::NotLive),
        ];
        assert_eq!(both.passed_over, passed);
        assert_eq!(both.answer, ScanAnswer::Nothing(Reason::NoAddress, None));
    }
}
