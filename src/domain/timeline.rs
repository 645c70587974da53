//! What a customer would get, and when: a rule played through for somebody imagined who never reads.
//!
//! Nothing is decided here. What is next is asked of [`next_step`], whether it goes of [`decide`], at the moments at which something can
//! change; so the timeline that a person is shown beside a rule is what the rule does.

#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};

use super::channel::{PerChannel, Reports};
use super::contact::{Address, Contact, ContactSources};
use super::conversation::{Message, Party, Queue, Record};
use super::decide::{AskedBy, Decision, Earlier, Facts, History, Reason, decide};
use super::ids::{Channel, SkillId};
use super::local_time::LocalTime;
use super::owed::Installation;
use super::reached::{DoneStep, Rung, StepReminder, earlier_of_rung, rung_of};
use super::read_state::{Episode, ReadState, read_state};
use super::reminder::ReminderState;
use super::rule::{KnownSteps, Rule, RuleSettings, Step};
use super::schedule::{Next, Reach, Sequence, next_step, own_moment};
use super::zone::Zone;

/// A customer who leaves a message unread, as somebody imagines them.
#[derive(Clone, Debug)]
pub struct Customer {
    pub addresses: PerChannel<Option<Address>>,
    /// What is sent on these channels does not arrive.
    pub comes_back: Vec<Channel>,
    /// As LivePerson tells it.
    pub time_zone: Zone,
    /// When the agent wrote.
    pub written_at: DateTime<Utc>,
}

/// What becomes of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepOutcome {
    pub channel: Channel,
    /// When it would be due by what it says itself.
    pub due: DateTime<Utc>,
    pub became: Became,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    Sent {
        at: DateTime<Utc>,
        /// What held it back until then, if anything did.
        held_by: Option<Reason>,
        /// It is heard of that it did not arrive.
        came_back: bool,
    },
    /// A message on this channel, of an earlier step of its rung, had reached them.
    NotNeeded(Channel),
    NotSent(Reason),
}

/// The provider's word on a message is there after that.
const REPORT: TimeDelta = TimeDelta::minutes(1);
/// Each step is looked at a few times; a rule that asks for more is not played to its end.
const MOST_LOOKS: usize = 200;

/// What becomes of each step, in their order. The rule counts as live and on.
pub fn timeline(
    settings: &RuleSettings,
    installation: &Installation,
    customer: &Customer,
) -> Vec<StepOutcome> {
    let mut settings = settings.clone();
    // A step that is not stored yet has no id to be told from others by.
    settings.number_steps(&KnownSteps::default());
    let record = unread_since(customer.written_at);
    // Both always are.
    let (Ok(account), ReadState::Unread(episode)) =
        ("imagined".parse(), read_state(&record, false))
    else {
        return Vec::new();
    };
    let rule = Rule {
        id: 0,
        account,
        skill: None,
        enabled: true,
        version: 0,
        settings,
        live: PerChannel::of(|_| Rule::ALWAYS),
        lost_until: None,
    };
    let fates = vec![None; rule.settings.steps.len()];
    let mut play = Play {
        rule: &rule,
        installation,
        customer,
        record: &record,
        episode: &episode,
        fates,
        now: customer.written_at,
    };
    play.play();
    play.told()
}

/// A play as far as it has come.
struct Play<'a> {
    rule: &'a Rule,
    installation: &'a Installation,
    customer: &'a Customer,
    record: &'a Record,
    episode: &'a Episode,
    /// By the places of the steps.
    fates: Vec<Option<Fate>>,
    now: DateTime<Utc>,
}

#[derive(Clone, Copy)]
enum Fate {
    Held(Reason),
    Sent {
        at: DateTime<Utc>,
        held_by: Option<Reason>,
    },
    NotSent {
        since: DateTime<Utc>,
        state: ReminderState,
        reason: Reason,
    },
}

impl Play<'_> {
    fn steps(&self) -> impl Iterator<Item = (&Step, Option<Fate>)> {
        self.rule
            .settings
            .steps
            .iter()
            .zip(self.fates.iter().copied())
    }

    fn play(&mut self) {
        for _ in 0..MOST_LOOKS {
            let report = self.next_report();
            let then = match self.look() {
                Some(then) => report.map_or(then, |report| then.min(report)),
                None => match report {
                    Some(report) => report,
                    None => return,
                },
            };
            self.now = self.now.max(then);
        }
    }

    /// Asks what is next and does it if it is due. Returns when something may be different; `None`: when nothing is left.
    fn look(&mut self) -> Option<DateTime<Utc>> {
        let (reach, done) = (self.reach(), self.done());
        let sequence = Sequence {
            rule: self.rule,
            episode: self.episode,
            reach: &reach,
            done: &done,
            now: self.now,
        };
        let Next::Due(due) = next_step(&sequence).next else {
            return None;
        };
        if due.at > self.now {
            return Some(due.at);
        }
        let place = self.rule.settings.place_of(due.step, due.channel)?;
        let Reach::By(local) = &reach[due.channel] else {
            return None;
        };
        let history = self.history(due.channel);
        let contact = self.customer.addresses[due.channel].clone();
        let decision = decide(&Facts {
            episode: &self.episode.first_message,
            step: due.step,
            channel: due.channel,
            other_steps: &done,
            asked_by: AskedBy::Rule,
            deadline: due.deadline,
            local,
            rule: Some(self.rule),
            record: Some(self.record),
            count_bots: false,
            contact: contact.map(|address| Contact {
                address,
                first_name: None,
            }),
            suppression: None,
            said_no: None,
            paused: false,
            held: false,
            history: &history,
            clicked_at: None,
            // The last of all, which is never held out.
            holdout_bucket: 99,
            now: self.now,
        });
        let held_by = match self.fates[place] {
            Some(Fate::Held(reason)) => Some(reason),
            _ => None,
        };
        let not_sent = |state, reason| Fate::NotSent {
            since: self.now,
            state,
            reason,
        };
        let (fate, then) = match decision {
            Decision::Send(_) => (
                Fate::Sent {
                    at: self.now,
                    held_by,
                },
                self.now,
            ),
            Decision::Postpone(until, reason) => (Fate::Held(reason), until),
            Decision::Cancel(reason) => (not_sent(ReminderState::Cancelled, reason), self.now),
            Decision::Expire(reason) => (not_sent(ReminderState::Expired, reason), self.now),
        };
        self.fates[place] = Some(fate);
        Some(then)
    }

    fn reach(&self) -> PerChannel<Reach> {
        PerChannel::of(|channel| {
            if !self.installation.channels.contains(&channel) {
                return Reach::NotConfigured;
            }
            let Some(address) = &self.customer.addresses[channel] else {
                return Reach::NoAddress;
            };
            let settings = (&self.rule.settings, channel);
            let zone = self.customer.time_zone;
            Reach::By(LocalTime::new(
                Some(zone),
                Some(address),
                settings,
                zone,
                self.now,
            ))
        })
    }

    /// The ledger's rows, as they would be by now.
    fn done(&self) -> Vec<DoneStep> {
        let rows = self.steps().filter_map(|(step, fate)| {
            let (state, reason, sent_at, final_at) = match fate? {
                Fate::Held(reason) => (ReminderState::Scheduled, Some(reason), None, None),
                Fate::Sent { at, .. } => {
                    (self.state_of_sent(step.channel, at), None, Some(at), None)
                }
                Fate::NotSent {
                    since,
                    state,
                    reason,
                } => (state, Some(reason), None, Some(since)),
            };
            Some(StepReminder {
                step: step.id,
                channel: step.channel,
                state,
                reason: reason.map(Into::into),
                tried: sent_at.is_some(),
                sent_at,
                final_at,
                clicked: false,
                said_no: None,
            })
        });
        rows.map(|row| row.done(&self.installation.waits, self.now))
            .collect()
    }

    fn state_of_sent(&self, channel: Channel, at: DateTime<Utc>) -> ReminderState {
        let is_reported = self.installation.waits[channel].is_some() && self.now >= at + REPORT;
        if !is_reported {
            ReminderState::Sent
        } else if self.customer.comes_back.contains(&channel) {
            ReminderState::Undelivered
        } else if matches!(channel.profile().reports, Reports::Always(_)) {
            ReminderState::Delivered
        } else {
            ReminderState::Sent
        }
    }

    /// When more is known of a message that was sent.
    fn next_report(&self) -> Option<DateTime<Utc>> {
        let sent = self.steps().filter_map(|(step, fate)| match fate? {
            Fate::Sent { at, .. } => Some((at, self.installation.waits[step.channel]?)),
            _ => None,
        });
        let known = sent.flat_map(|(at, wait)| [at + REPORT, at + wait]);
        known.filter(|at| *at > self.now).min()
    }

    fn history(&self, channel: Channel) -> History {
        let mut history = History::default();
        for (step, fate) in self.steps() {
            let Some(Fate::Sent { at, .. }) = fate else {
                continue;
            };
            let came_back = self.state_of_sent(step.channel, at) == ReminderState::Undelivered;
            history.consumer.push(Earlier {
                at,
                same_conversation: true,
                came_back,
            });
            if step.channel == channel {
                history.address.push(at);
            }
        }
        history.consumer.sort_unstable();
        history
    }

    fn told(&self) -> Vec<StepOutcome> {
        let (reach, done) = (self.reach(), self.done());
        let settings = &self.rule.settings;
        let told = self.steps().enumerate().map(|(place, (step, fate))| {
            let became = match fate {
                Some(Fate::Sent { at, held_by }) => {
                    let came_back =
                        self.state_of_sent(step.channel, at) == ReminderState::Undelivered;
                    Became::Sent {
                        at,
                        held_by,
                        came_back,
                    }
                }
                Some(Fate::NotSent { reason, .. }) => Became::NotSent(reason),
                held => match (
                    rung_of(settings, place, &done, self.now),
                    &reach[step.channel],
                ) {
                    (Rung::Reached | Rung::Open { .. }, _) => self.reached_before(place),
                    (Rung::Free { .. }, Reach::NoAddress) => Became::NotSent(Reason::NoAddress),
                    (Rung::Free { .. }, Reach::NotConfigured) => {
                        Became::NotSent(Reason::NotConfigured)
                    }
                    (Rung::Free { .. }, Reach::By(_)) => Became::NotSent(match held {
                        Some(Fate::Held(reason)) => reason,
                        _ => Reason::TooLate,
                    }),
                },
            };
            StepOutcome {
                channel: step.channel,
                due: own_moment(settings, step, self.episode),
                became,
            }
        });
        told.collect()
    }

    /// By which channel an earlier step of the rung has reached them.
    fn reached_before(&self, place: usize) -> Became {
        let settings = &self.rule.settings;
        let mut earlier =
            earlier_of_rung(settings, place).map(|at| (settings.steps[at].channel, self.fates[at]));
        let sent = earlier.find(|(_, fate)| matches!(fate, Some(Fate::Sent { .. })));
        sent.map_or(Became::NotSent(Reason::Reached), |(channel, _)| {
            Became::NotNeeded(channel)
        })
    }
}

/// An open conversation with one message of an agent that is not read.
fn unread_since(at: DateTime<Utc>) -> Record {
    Record {
        id: "imagined".to_owned(),
        open: true,
        partial: false,
        skill: SkillId::UNASSIGNED,
        skill_name: None,
        started_at: at,
        ended_at: None,
        queue: Queue::Active,
        time_zone: None,
        language: None,
        consumer_ids: Vec::new(),
        customer_id: None,
        messages: vec![Message {
            id: "imagined-1".to_owned(),
            seq: 1,
            dialog: None,
            at,
            sent_by: Party::Agent,
            participant: "agent".to_owned(),
            public: true,
        }],
        receipts: Some(Vec::new()),
        agents: Vec::new(),
        dialogs: None,
        contact: ContactSources::default(),
    }
}
