//! Whether a step of an episode has reached the consumer, as far as its reminder tells.
//!
//! A step has reached who had the message delivered, followed its link, or was sent it over a channel that reports nothing. It has not if it
//! could not be sent, or came back. Until a report that may still come, it is open; where none comes in time, it has.

use chrono::{DateTime, TimeDelta, Utc};

use super::channel::PerChannel;
use super::contact::Suppression;
use super::decide::{Cause, Reason};
use super::ids::Channel;
use super::read_state::Episode;
use super::reminder::ReminderState;
use super::rule::{RuleSettings, StepId, When};

/// How long after it was sent it may turn out that a message did not arrive; `None`: nobody says.
pub type ReportWaits = PerChannel<Option<TimeDelta>>;

/// A step's reminder, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReminder {
    pub step: StepId,
    pub channel: Channel,
    pub state: ReminderState,
    pub reason: Option<Cause>,
    /// An attempt has begun.
    pub tried: bool,
    pub sent_at: Option<DateTime<Utc>>,
    pub final_at: Option<DateTime<Utc>>,
    pub clicked: bool,
    /// The consumer has said no to this channel since the episode began.
    pub said_no: Option<Suppression>,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Scheduled, and not tried yet: may still give way to another step.
    Scheduled,
    /// Being sent, or to be tried again.
    Trying,
    /// Sent; until then it may turn out that it did not arrive.
    Open {
        until: DateTime<Utc>,
    },
    Reached,
    /// Known since then; `None`: since a report whose time is not kept.
    NotReached {
        since: Option<DateTime<Utc>>,
    },
    /// It was to go and was not tried, because something was not there that may come back: an address, the step in its rule, its channel's
    /// being live; or because another step went first.
    PassedOver,
    /// Over for another reason. What follows it does not wait.
    Over,
    /// Nothing follows in this episode.
    Ends(Reason),
}

/// A step that has, or had, a reminder in this episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoneStep {
    pub step: StepId,
    pub channel: Channel,
    pub standing: Standing,
    /// When it was, or may have been, sent.
    pub sent: Option<DateTime<Utc>>,
}

impl StepReminder {
    /// What it means that a reminder ends like this without having been tried.
    pub fn untried(state: ReminderState, reason: Reason) -> Standing {
        let reminder = Self {
            step: 0,
            channel: Channel::ALL[0],
            state,
            reason: Some(reason.into()),
            tried: false,
            sent_at: None,
            final_at: None,
            clicked: false,
            said_no: None,
        };
        reminder.standing(&ReportWaits::default(), DateTime::UNIX_EPOCH)
    }

    pub fn done(&self, waits: &ReportWaits, now: DateTime<Utc>) -> DoneStep {
        DoneStep {
            step: self.step,
            channel: self.channel,
            standing: self.standing(waits, now),
            sent: self.sent_at.or(self
                .final_at
                .filter(|_| self.state == ReminderState::Unknown)),
        }
    }

    fn standing(&self, waits: &ReportWaits, now: DateTime<Utc>) -> Standing {
        if let Some(suppression) = self.said_no {
            return Standing::Ends(suppression.into());
        }
        let since = self.final_at;
        match self.state {
            ReminderState::Scheduled if !self.tried => Standing::Scheduled,
            ReminderState::Scheduled | ReminderState::Sending => Standing::Trying,
            _ if self.clicked => Standing::Reached,
            ReminderState::Sent => {
                let until = self.sent_at.zip(waits[self.channel]);
                match until.map(|(sent, wait)| sent + wait) {
                    Some(until) if now < until => Standing::Open { until },
                    _ => Standing::Reached,
                }
            }
            ReminderState::Delivered | ReminderState::Unknown => Standing::Reached,
            ReminderState::Undelivered => Standing::NotReached { since: None },
            ReminderState::Failed | ReminderState::Expired => Standing::NotReached {
                since: since.filter(|_| self.sent_at.is_none()),
            },
            ReminderState::Cancelled => match self.reason.as_ref().and_then(Cause::reason) {
                Some(reason) if !self.tried && comes_back(reason) => Standing::PassedOver,
                Some(Reason::HeldOut) => Standing::Ends(Reason::HeldOut),
                Some(
                    Reason::NoAddress
                    | Reason::OptedOut
                    | Reason::BadAddress
                    | Reason::Complaint
                    | Reason::Blocked
                    | Reason::QuietHours,
                ) => Standing::NotReached { since },
                _ => Standing::Over,
            },
        }
    }
}

/// Whether a reminder that was cancelled for this reason, and was not tried, is scheduled anew when the reason is gone.
pub fn comes_back(reason: Reason) -> bool {
    COMES_BACK.contains(&reason)
}

/// Those reasons.
pub const COMES_BACK: [Reason; 5] = [
    Reason::NoAddress,
    Reason::Superseded,
    Reason::StepRemoved,
    Reason::NotLive,
    Reason::BeforeLive,
];

/// The steps of a step's rung that come before it: from the last `always` step on.
pub fn earlier_of_rung(settings: &RuleSettings, place: usize) -> std::ops::Range<usize> {
    let is_first = |at: &usize| settings.steps[*at].when == When::Always;
    if is_first(&place) {
        return place..place;
    }
    let first = (0..place).rev().find(is_first).unwrap_or(0);
    first..place
}

/// What keeps back a step that is only for those who were not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Nothing; it is due at this moment at the earliest, where that is known.
    Free { since: Option<DateTime<Utc>> },
    /// It comes back to it by a report, or when nothing more is to be expected.
    Open { until: Option<DateTime<Utc>> },
    /// An earlier step has reached the consumer.
    Reached,
}

/// Whether the earlier steps of its rung leave room for a step. One that was never sent is passed over: it has not reached anybody.
pub fn rung_of(
    settings: &RuleSettings,
    place: usize,
    done: &[DoneStep],
    now: DateTime<Utc>,
) -> Rung {
    let mut free = None;
    let mut open = None;
    for at in earlier_of_rung(settings, place) {
        let step = &settings.steps[at];
        let known = done
            .iter()
            .find(|d| d.step == step.id && d.channel == step.channel);
        match known.map(|done| done.standing) {
            Some(Standing::Reached | Standing::Over | Standing::Ends(_)) => return Rung::Reached,
            Some(Standing::Open { until }) => open = Some(Some(until)),
            Some(Standing::Trying) => open = Some(open.flatten()),
            Some(Standing::NotReached { since }) => free = free.max(Some(since.unwrap_or(now))),
            Some(Standing::Scheduled | Standing::PassedOver) | None => {}
        }
    }
    match open {
        Some(until) => Rung::Open { until },
        None => Rung::Free { since: free },
    }
}

/// Whether a later step was sent when the step at `place` had been due: it is not gone back to. One that was moved before a step that had
/// been sent was not due then, and still comes.
pub fn is_past(
    settings: &RuleSettings,
    place: usize,
    episode: &Episode,
    done: &[DoneStep],
) -> bool {
    let due = episode.since + settings.steps[place].after;
    done.iter().any(|done| {
        let later = settings
            .place_of(done.step, done.channel)
            .is_some_and(|other| other > place);
        later && done.sent.is_some_and(|sent| due <= sent)
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::minute;
    use super::*;
    use ReminderState::{
        Cancelled, Delivered, Expired, Failed, Scheduled, Sending, Sent, Undelivered, Unknown,
    };

    type Change = fn(&mut StepReminder);

    fn sent(reminder: &mut StepReminder) {
        reminder.tried = true;
        reminder.sent_at = Some(minute(10));
    }

    #[test]
    fn what_a_reminder_tells_of_its_step() {
        use Standing::{Ends, NotReached, Open, Over, PassedOver, Reached, Trying};
        let (email, sms) = (Channel::Email, Channel::Sms);
        let known = NotReached {
            since: Some(minute(12)),
        };
        let reported = NotReached { since: None };
        let open = |until| Open {
            until: minute(until),
        };
        let as_it_is: Change = |_| ();
        // The ledger's row (sent at minute 10 where it says so), minutes later, what it means for e-mail without and with a source of
        // bounces, and for SMS.
        #[expect(clippy::type_complexity, reason = "the columns of a table")]
        #[rustfmt::skip]
        let cases: [(ReminderState, Option<Reason>, Change, i64, [Standing; 3]); 27] = [
            (Scheduled, None, as_it_is, 0, [Standing::Scheduled; 3]),
            (Scheduled, Some(Reason::QuietHours), as_it_is, 0, [Standing::Scheduled; 3]),
            (Scheduled, Some(Reason::Retry), |r| r.tried = true, 0, [Trying; 3]),
            (Sending, None, |r| r.tried = true, 0, [Trying; 3]),
            (Sent, None, sent, 1, [Reached, open(25), open(130)]),
            (Sent, None, sent, 14, [Reached, open(25), open(130)]),
            (Sent, None, sent, 15, [Reached, Reached, open(130)]),
            (Sent, None, sent, 120, [Reached; 3]),
            (Sent, None, |r| { sent(r); r.clicked = true; }, 1, [Reached; 3]),
            (Delivered, None, sent, 1, [Reached; 3]),
            (Undelivered, None, sent, 1, [reported; 3]),
            (Undelivered, None, |r| { sent(r); r.clicked = true; }, 1, [Reached; 3]),
            (Unknown, None, |r| r.tried = true, 1, [Reached; 3]),
            (Failed, None, |r| r.tried = true, 1, [known; 3]),
            (Failed, None, sent, 1, [reported; 3]),
            (Expired, Some(Reason::TooLate), as_it_is, 1, [known; 3]),
            (Cancelled, Some(Reason::NoAddress), as_it_is, 1, [PassedOver; 3]),
            (Cancelled, Some(Reason::NoAddress), |r| r.tried = true, 1, [known; 3]),
            (Cancelled, Some(Reason::Superseded), as_it_is, 1, [PassedOver; 3]),
            (Cancelled, Some(Reason::OptedOut), as_it_is, 1, [known; 3]),
            (Cancelled, Some(Reason::OptedOut), |r| r.tried = true, 1, [known; 3]),
            (Cancelled, Some(Reason::Blocked), as_it_is, 1, [known; 3]),
            (Cancelled, Some(Reason::QuietHours), as_it_is, 1, [known; 3]),
            (Cancelled, Some(Reason::ByOperator), as_it_is, 1, [Over; 3]),
            (Cancelled, Some(Reason::Read), as_it_is, 1, [Over; 3]),
            (Cancelled, Some(Reason::HeldOut), as_it_is, 1, [Ends(Reason::HeldOut); 3]),
            (Delivered, None, |r| { sent(r); r.said_no = Some(Suppression::OptedOut); }, 1, [Ends(Reason::OptedOut); 3]),
        ];
        let waits = |bounces: bool| {
            ReportWaits::of(|channel| match channel {
                Channel::Email => bounces.then_some(TimeDelta::minutes(15)),
                _ => Some(TimeDelta::hours(2)),
            })
        };
        for (state, reason, change, later, expected) in cases {
            for ((channel, bounces), expected) in [(email, false), (email, true), (sms, true)]
                .into_iter()
                .zip(expected)
            {
                let mut reminder = StepReminder {
                    step: 1,
                    channel,
                    state,
                    reason: reason.map(Cause::Ours),
                    tried: false,
                    sent_at: None,
                    final_at: Some(minute(12)),
                    clicked: false,
                    said_no: None,
                };
                change(&mut reminder);
                let done = reminder.done(&waits(bounces), minute(10 + later));
                assert_eq!(done.standing, expected, "{reminder:?} {bounces} {later}");
            }
        }
    }
}
