//! The month before the demonstration, invented: so that charts, the effect and lists have something to show. Pages mark it as example
//! data. The same moment gives the same month.

#[cfg(test)]
mod tests;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::db::past::Past;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::{Channel, SkillId};
use crate::domain::reminder::ReminderState;
use crate::domain::rule::StepId;
use crate::sandbox::world::{CUSTOMER_CARE, ORDERS};

/// Decisions older than that are pruned, and a story without them is a torso.
const DAYS: i64 = 29;

/// Share of the conversations in customer care that get no reminder, in the past as now.
pub const HELD_OUT_PERCENT: u8 = 10;

/// Agent messages that stay unread, on a working day.
const A_DAY: u32 = 60;

/// How many of a hundred begin in each hour of a day (UTC): few at night, most before and after noon.
const HOURS: [u32; 24] = [
    1, 1, 0, 0, 0, 1, 2, 4, 6, 8, 9, 9, 8, 7, 8, 8, 7, 6, 5, 4, 3, 1, 1, 1,
];

const ZONES: [&str; 4] = [
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "Europe/Paris",
];

/// What becomes of those that are due: of a thousand.
struct OutcomeOdds {
    channel: Channel,
    skill: i64,
    /// The step that is sent first, and that of the second rung, as the demonstration's rules number them.
    step: StepId,
    second: Option<StepId>,
    sender: &'static str,
    held_out: u32,
    /// The consumer reads or answers in time.
    in_time: u32,
    expired: u32,
    failed: (u32, &'static str),
    /// Of those that were taken.
    undelivered: (u32, &'static str),
    /// Who comes back within a day, and how many of these within the hour.
    back: u32,
}

const EMAIL: OutcomeOdds = OutcomeOdds {
    channel: Channel::Email,
    skill: CUSTOMER_CARE,
    step: 1,
    second: Some(3),
    sender: "hello@shop.example",
    held_out: 100,
    in_time: 240,
    expired: 6,
    failed: (14, "550 5.1.1"),
    undelivered: (17, "hard bounce"),
    back: 470,
};

const SMS: OutcomeOdds = OutcomeOdds {
    channel: Channel::Sms,
    skill: ORDERS,
    step: 1,
    second: None,
    sender: "+15005550006",
    held_out: 0,
    in_time: 190,
    expired: 22,
    failed: (9, "21614"),
    undelivered: (38, "30005"),
    back: 560,
};

/// Who has a number and no e-mail address, in customer care.
const NUMBER_ONLY: OutcomeOdds = OutcomeOdds {
    skill: CUSTOMER_CARE,
    step: 2,
    second: Some(4),
    held_out: 100,
    ..SMS
};

/// Who has both, of those with an e-mail address.
const HAS_NUMBER: u32 = 600;

/// Who comes back without a reminder, and after a second one.
const BACK_HELD_OUT: u32 = 290;
const BACK_SECOND: u32 = 210;

/// The reminders of the days before `now`, all of them ended.
pub fn invent(now: DateTime<Utc>) -> Vec<Past> {
    let day = TimeDelta::days(1);
    let today = now.duration_trunc(day).unwrap_or(now);
    let mut dice = Dice(StdRng::seed_from_u64(today.timestamp().unsigned_abs()));
    let mut past = Vec::new();
    for ago in (1..=DAYS).rev() {
        let date = today - day * i32::try_from(ago).unwrap_or_default();
        // Every seventh and the day after it, whichever week-day that is; and business grows a little.
        let share = if ago % 7 < 2 { 55 } else { 100 };
        let grown = 100 - u32::try_from(ago).unwrap_or_default();
        for _ in 0..dice.about(A_DAY * share * grown / 10_000) {
            let since = date + dice.time_of_day();
            let odds = match dice.0.random_range(0..1000) {
                0..590 => &EMAIL,
                590..640 => &NUMBER_ONLY,
                _ => &SMS,
            };
            past.extend(dice.episode(odds, since, past.len()));
        }
    }
    // What would reach into the demonstration's own time has not happened.
    past.retain(|p: &Past| p.ended_at < now && p.returned_at.is_none_or(|at| at < now));
    past
}

struct Dice(StdRng);

impl Dice {
    /// True so many times of a thousand.
    fn holds(&mut self, of_thousand: u32) -> bool {
        self.0.random_range(0..1000) < of_thousand
    }

    fn about(&mut self, count: u32) -> u32 {
        self.0.random_range(count * 4 / 5..=count * 6 / 5)
    }

    fn minutes(&mut self, from: i64, to: i64) -> TimeDelta {
        TimeDelta::seconds(self.0.random_range(from * 60..to * 60))
    }

    fn time_of_day(&mut self) -> TimeDelta {
        let mut drawn = self.0.random_range(0..HOURS.iter().sum::<u32>());
        let mut hour = 0;
        for weight in HOURS {
            if drawn < weight {
                break;
            }
            drawn -= weight;
            hour += 1;
        }
        TimeDelta::hours(hour) + self.minutes(0, 60)
    }

    /// When somebody comes back who does: soon, or at some time of the day.
    fn comes_back(&mut self, at: DateTime<Utc>) -> DateTime<Utc> {
        if self.holds(620) {
            at + self.minutes(1, 60)
        } else {
            at + self.minutes(60, 23 * 60)
        }
    }

    /// What one unread message led to: a reminder, a text where it did not reach them, and the same once more where nobody came back.
    fn episode(&mut self, odds: &OutcomeOdds, since: DateTime<Utc>, number: usize) -> Vec<Past> {
        let has_number = odds.channel == Channel::Email && self.holds(HAS_NUMBER);
        let first = self.reminder(odds, since, number);
        let mut all = vec![first];
        all.extend(self.text_instead(&all[0], has_number));
        let was_written_to = all.iter().any(|p| p.sent_at.is_some() || is_bad_address(p));
        let is_back = all
            .iter()
            .any(|p| p.returned_at.is_some_and(|at| at < since + SECOND));
        if let Some(step) = odds.second.filter(|_| was_written_to && !is_back) {
            let second = self.second(odds, step, &all[0]);
            let text = self.text_instead(&second, has_number);
            all.push(second);
            all.extend(text);
        }
        if all.len() > 1 {
            come_back_once(&mut all);
        }
        all
    }

    /// The text to who has a number, when an e-mail did not arrive.
    fn text_instead(&mut self, email: &Past, has_number: bool) -> Option<Past> {
        if !has_number || !is_bad_address(email) {
            return None;
        }
        let mut text = Past {
            channel: Channel::Sms,
            step: email.step + 1,
            state: ReminderState::Sent,
            reason: None,
            sender: NUMBER_ONLY.sender,
            due_at: email.ended_at,
            sent_at: None,
            clicked_at: None,
            returned_at: None,
            ..email.clone()
        };
        self.sent(&NUMBER_ONLY, &mut text, NUMBER_ONLY.back);
        Some(text)
    }

    fn reminder(&mut self, odds: &OutcomeOdds, since: DateTime<Utc>, number: usize) -> Past {
        let due_at = since + TimeDelta::minutes(10);
        let zone = ZONES[number % ZONES.len()];
        let mut past = Past {
            conversation: format!("example-{number:05}-{}", since.timestamp()),
            skill: SkillId(odds.skill),
            channel: odds.channel,
            step: odds.step,
            state: ReminderState::Sent,
            reason: None,
            sender: odds.sender,
            time_zone: zone,
            since,
            due_at,
            sent_at: None,
            ended_at: due_at,
            clicked_at: None,
            returned_at: None,
        };
        if self.holds(odds.in_time) {
            let read = self.holds(700);
            (past.state, past.reason) = (
                ReminderState::Cancelled,
                Some(if read { Reason::Read } else { Reason::Answered }.into()),
            );
        } else if self.holds(odds.held_out) {
            (past.state, past.reason) = (ReminderState::Cancelled, Some(Reason::HeldOut.into()));
            if self.holds(BACK_HELD_OUT) {
                past.returned_at = Some(self.comes_back(due_at));
            }
        } else if self.holds(odds.expired) {
            (past.state, past.reason) = (ReminderState::Expired, Some(Reason::TooLate.into()));
            past.ended_at = due_at + TimeDelta::hours(1);
        } else if self.holds(odds.failed.0) {
            (past.state, past.reason) = (ReminderState::Failed, Some(Cause::parse(odds.failed.1)));
        } else {
            self.sent(odds, &mut past, odds.back);
        }
        past
    }

    /// A provider takes it.
    fn sent(&mut self, odds: &OutcomeOdds, past: &mut Past, back: u32) {
        let at = past.due_at + TimeDelta::milliseconds(self.0.random_range(150..1900));
        past.sent_at = Some(at);
        past.ended_at = at;
        if odds.channel == Channel::Sms {
            past.state = ReminderState::Delivered;
            past.ended_at = at + TimeDelta::seconds(self.0.random_range(2..30));
        }
        if self.holds(odds.undelivered.0) {
            (past.state, past.reason) = (
                ReminderState::Undelivered,
                Some(Cause::parse(odds.undelivered.1)),
            );
            if odds.channel == Channel::Email {
                past.ended_at = at + TimeDelta::seconds(self.0.random_range(20..90));
            }
        } else if self.holds(back) {
            let returned = self.comes_back(at);
            past.returned_at = Some(returned);
            let clicked = self.holds(740);
            past.clicked_at =
                clicked.then(|| returned - TimeDelta::seconds(self.0.random_range(4..50)));
        }
    }

    fn second(&mut self, odds: &OutcomeOdds, step: StepId, first: &Past) -> Past {
        let due_at = first.since + SECOND;
        let mut past = Past {
            step,
            state: ReminderState::Sent,
            reason: None,
            due_at,
            sent_at: None,
            ended_at: due_at,
            clicked_at: None,
            returned_at: None,
            ..first.clone()
        };
        if is_bad_address(first) {
            (past.state, past.reason) = (ReminderState::Cancelled, Some(Reason::BadAddress.into()));
        } else if self.holds(300) {
            (past.state, past.reason) = (ReminderState::Cancelled, Some(Reason::Read.into()));
        } else {
            self.sent(odds, &mut past, BACK_SECOND);
        }
        past
    }
}

/// The e-mail address turned out not to work.
fn is_bad_address(past: &Past) -> bool {
    let did_not_arrive = matches!(
        past.state,
        ReminderState::Failed | ReminderState::Undelivered
    );
    past.channel == Channel::Email
        && (did_not_arrive || past.reason == Some(Reason::BadAddress.into()))
}

/// Who comes back comes back after everything that was sent until then, and by one link.
fn come_back_once(all: &mut [Past]) {
    let back = all.iter().filter_map(|p| p.returned_at).min();
    for past in all {
        past.returned_at = back.filter(|back| past.sent_at.is_some_and(|at| at < *back));
        past.clicked_at = past
            .clicked_at
            .filter(|at| past.returned_at.is_some_and(|back| *at < back));
    }
}

/// When the second rung is due, after the message: as the demonstration's rule has it.
const SECOND: TimeDelta = TimeDelta::minutes(130);
