//! Which reminder is owed next, and when.
//!
//! Steps keep their order. `after` ascends, and the debounce raises all steps alike, so a later step never falls due before an
//! earlier one. A long debounce can raise two steps to the same moment; the rule's minimum gap then keeps them apart, because the
//! second is scheduled only when the first is done.

use chrono::{DateTime, Utc};

use super::local_time::LocalTime;
use super::read_state::Episode;
use super::rule::Rule;

/// The next reminder of an episode under a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueStep {
    /// Position in the rule's sequence, from 1.
    pub step: i16,
    pub at: DateTime<Utc>,
    /// Past this moment it is not sent any more.
    pub deadline: DateTime<Utc>,
}

/// The answer to "what is owed next?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    Due(DueStep),
    /// Every step has had its reminder.
    AllDone,
    /// Steps are left, but the deadline of each has passed.
    TooLate,
}

/// The first step after those in `done` that can still be sent in time.
///
/// `done` are the steps of this episode and rule whose reminder has reached a final state. A step that is scheduled is not done
/// and is answered again, with the due moment that follows from the newest message: the ledger's key makes that harmless.
///
/// The deadline is as the consumer's clocks are known now.
///
/// Steps that fell due in a time that the database has lost, and are not in the ledger, are passed over: an episode of that time begins
/// with the first step after it.
///
/// Steps whose deadline has passed make room for later ones: a service installed today finds conversations of last week.
pub fn next_step(
    rule: &Rule,
    local: &LocalTime,
    episode: &Episode,
    done: &[i16],
    now: DateTime<Utc>,
) -> NextStep {
    let settings = &rule.settings;
    let last_done = done.iter().copied().max().unwrap_or(0);
    let quiet_agent = episode.last_at + settings.debounce;
    let mut left = (1_i16..)
        .zip(&settings.steps)
        .filter(|(step, _)| *step > last_done)
        .map(|(step, s)| {
            let at = (episode.since + s.after).max(quiet_agent);
            let deadline = local.deadline(rule, at);
            DueStep { step, at, deadline }
        })
        .peekable();
    if left.peek().is_none() {
        return NextStep::AllDone;
    }
    // What fell due in a time that the database has lost may have been sent.
    let known = |due: &DueStep| rule.lost_until.is_none_or(|lost| lost < due.at);
    left.find(|due| now < due.deadline && known(due))
        .map_or(NextStep::TooLate, NextStep::Due)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::super::ids::Channel;
    use super::super::quiet::QuietHours;
    use super::super::rule::{RuleSettings, Step};
    use super::super::sample::minute;
    use super::super::zone::Zone;
    use super::*;

    /// At any hour.
    fn rule(after: &[i64], debounce: i64, max_age: i64) -> Rule {
        let step = |m: &i64| Step {
            after: TimeDelta::minutes(*m),
        };
        Rule::sample(RuleSettings {
            steps: after.iter().map(step).collect(),
            debounce: TimeDelta::minutes(debounce),
            max_age: TimeDelta::minutes(max_age),
            quiet_hours: QuietHours::default(),
            ..RuleSettings::default_for(Channel::Sms)
        })
    }

    fn next(rule: &Rule, episode: &Episode, done: &[i16], now: i64) -> NextStep {
        let now = minute(now);
        let local = LocalTime::new(Some(Zone::UTC), None, &rule.settings, Zone::UTC, now);
        next_step(rule, &local, episode, done, now)
    }

    fn episode(since: i64, last_at: i64) -> Episode {
        Episode {
            first_message: "first".to_owned(),
            since: minute(since),
            last_message: "last".to_owned(),
            last_at: minute(last_at),
            count: 2,
            agent: None,
            times: vec![minute(since), minute(last_at)],
        }
    }

    fn due(step: i16, at: i64, deadline: i64) -> NextStep {
        NextStep::Due(DueStep {
            step,
            at: minute(at),
            deadline: minute(deadline),
        })
    }

    #[test]
    fn the_next_step_is_the_first_that_is_left_and_in_time() {
        let usual = rule(&[10, 1440], 2, 60);
        let slow = rule(&[10, 20], 30, 60);
        // From minute 60 to 720, 09:00 to 20:00.
        let mut day = rule(&[10, 1440], 2, 60);
        day.settings.quiet_hours.allowed = QuietHours::sms_default().allowed;
        let done = NextStep::AllDone;
        // What, settings, episode since and last, steps done, now, expected.
        #[rustfmt::skip]
        let cases = [
            ("fresh", &usual, (0, 0), vec![], 1, due(1, 10, 70)),
            ("already due", &usual, (0, 0), vec![], 30, due(1, 10, 70)),
            ("the agent still writes", &usual, (0, 9), vec![], 9, due(1, 11, 71)),
            ("one done", &usual, (0, 0), vec![1], 11, due(2, 1440, 1500)),
            ("all done", &usual, (0, 0), vec![2, 1], 11, done),
            ("the second done without the first", &usual, (0, 0), vec![2], 11, done),
            ("more done than the rule has steps", &usual, (0, 0), vec![1, 2, 3], 11, done),
            ("an old conversation", &usual, (0, 0), vec![], 70, due(2, 1440, 1500)),
            ("a very old one", &usual, (0, 0), vec![], 1500, NextStep::TooLate),
            ("the last step, too late", &usual, (0, 0), vec![1], 1500, NextStep::TooLate),
            ("old, but the agent wrote again", &usual, (0, 2000), vec![], 2000, due(1, 2002, 2062)),
            ("a long debounce", &slow, (0, 0), vec![], 1, due(1, 30, 90)),
            ("raises both alike", &slow, (0, 0), vec![1], 31, due(2, 30, 90)),
            ("due in the night: until an hour after it", &day, (0, 0), vec![], 1, due(1, 10, 120)),
            ("still in the night", &day, (710, 710), vec![], 1000, due(1, 720, 1560)),
            ("after it", &day, (710, 710), vec![], 1560, due(2, 2150, 2990)),
        ];
        for (what, rule, (since, last), done, now, expected) in cases {
            let next = next(rule, &episode(since, last), &done, now);
            assert_eq!(next, expected, "{what}");
        }
    }

    #[test]
    fn what_fell_due_in_a_lost_time_is_not_owed_again() {
        let mut rule = rule(&[10, 60, 1440], 2, 600);
        for (lost, expected) in [
            (None, due(1, 10, 610)),
            (Some(9), due(1, 10, 610)),
            (Some(10), due(2, 60, 660)),
            (Some(70), due(3, 1440, 2040)),
            (Some(1440), NextStep::TooLate),
        ] {
            rule.lost_until = lost.map(minute);
            assert_eq!(next(&rule, &episode(0, 0), &[], 30), expected, "{lost:?}");
        }
    }

    proptest! {
        #[test]
        fn steps_come_in_order_and_in_time(
            mut after in prop::collection::vec(1..3000_i64, 1..8),
            debounce in 0..200_i64, max_age in 1..500_i64, last in 0..3000_i64, now in 0..4000_i64,
            done in prop::collection::vec(1..9_i16, 0..4), nights: bool,
        ) {
            after.sort_unstable();
            after.dedup();
            let mut rule = rule(&after, debounce, max_age);
            if nights {
                rule.settings.quiet_hours = QuietHours::sms_default();
            }
            let episode = episode(0, last);
            if let NextStep::Due(due) = next(&rule, &episode, &done, now) {
                prop_assert!(done.iter().all(|d| *d < due.step));
                prop_assert!(minute(now) < due.deadline);
                prop_assert!(due.deadline - due.at <= rule.settings.latest(Channel::Sms));
                prop_assert!(nights || due.deadline - due.at == rule.settings.max_age);
                prop_assert!(due.at >= episode.last_at + rule.settings.debounce);
                let mut with_it = done.clone();
                with_it.push(due.step);
                match next(&rule, &episode, &with_it, now) {
                    NextStep::Due(after_it) => prop_assert!(after_it.step > due.step && after_it.at >= due.at),
                    NextStep::AllDone => prop_assert_eq!(usize::from(due.step.unsigned_abs()), after.len()),
                    NextStep::TooLate => prop_assert!(false, "later steps have later deadlines"),
                }
            }
        }
    }
}
