//! Ids for the steps of a rule that somebody has written.
//!
//! The ledger knows a step by its id, so that a rule can be edited while episodes are under way: what was sent for a step is not sent again
//! because it moved, and a step that is added is one more. An id belongs to one channel for ever.

use super::{RuleSettings, Step, StepId};
use crate::domain::ids::Channel;

/// The steps that a rule has, and those that it has ever had.
#[derive(Clone, Debug, Default)]
pub struct KnownSteps {
    pub present: Vec<Step>,
    pub ever: Vec<(StepId, Channel)>,
}

impl KnownSteps {
    fn had(&self, id: StepId) -> impl Iterator<Item = Channel> {
        let present = self.present.iter().map(|step| (step.id, step.channel));
        let all = present.chain(self.ever.iter().copied());
        all.filter_map(move |(had, channel)| (had == id).then_some(channel))
    }

    fn highest(&self) -> StepId {
        let present = self.present.iter().map(|step| step.id);
        let all = present.chain(self.ever.iter().map(|(id, _)| *id));
        all.max().unwrap_or_default()
    }
}

impl RuleSettings {
    /// Gives every step an id. One that names an id keeps it, unless the rule has had it on another channel: then it is a new step. One
    /// that names none is the rule's present step on that channel which nobody else names, as in a file that somebody writes by hand; else
    /// it is new. A new step gets an id that the rule has never had.
    pub fn number_steps(&mut self, known: &KnownSteps) {
        for step in &mut self.steps {
            if known.had(step.id).any(|channel| channel != step.channel) {
                step.id = 0;
            }
        }
        for alike in [true, false] {
            for at in 0..self.steps.len() {
                let Step {
                    id, channel, when, ..
                } = self.steps[at];
                let taken = |id| self.steps.iter().any(|step| step.id == id);
                let mut free = known.present.iter().filter(|step| !taken(step.id));
                let same =
                    free.find(|step| step.channel == channel && (!alike || step.when == when));
                if let Some(same) = same.filter(|_| id == 0) {
                    self.steps[at].id = same.id;
                }
            }
        }
        let named = self.steps.iter().map(|step| step.id).max();
        let mut highest = known.highest().max(named.unwrap_or_default());
        for step in self.steps.iter_mut().filter(|step| step.id == 0) {
            highest = highest.saturating_add(1);
            step.id = highest;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::super::When::{self, Always, IfNotReached};
    use super::*;
    use Channel::{Email, Sms};

    fn step(id: StepId, channel: Channel, when: When) -> Step {
        Step {
            id,
            channel,
            after: TimeDelta::minutes(10),
            when,
        }
    }

    fn numbered(present: &[Step], ever: &[(StepId, Channel)], written: &[Step]) -> Vec<StepId> {
        let mut settings = RuleSettings::default_for(&Channel::ALL);
        settings.steps = written.to_vec();
        settings.number_steps(&KnownSteps {
            present: present.to_vec(),
            ever: ever.to_vec(),
        });
        settings.steps.iter().map(|step| step.id).collect()
    }

    #[test]
    fn a_step_keeps_its_id_and_a_new_one_gets_one_that_was_never_used() {
        let usual = [
            step(1, Email, Always),
            step(2, Sms, IfNotReached),
            step(3, Email, Always),
        ];
        let ever = [(1, Email), (2, Sms), (3, Email), (4, Sms), (7, Email)];
        let new = |channel, when| step(0, channel, when);
        #[rustfmt::skip]
        let cases = [
            ("nothing is known", &[][..], vec![new(Email, Always), new(Sms, Always)], vec![1, 2]),
            ("as it is", &usual, usual.to_vec(), vec![1, 2, 3]),
            ("in another order", &usual, vec![usual[2], usual[0], usual[1]], vec![3, 1, 2]),
            ("one removed", &usual, vec![usual[0], usual[2]], vec![1, 3]),
            ("one put in between", &usual, vec![usual[0], new(Sms, Always), usual[1], usual[2]], vec![1, 8, 2, 3]),
            ("a file without ids", &usual, vec![new(Email, Always), new(Sms, IfNotReached), new(Email, Always)], vec![1, 2, 3]),
            ("a file without ids, one step more", &usual, vec![new(Email, Always), new(Email, Always), new(Email, Always)], vec![1, 3, 8]),
            ("another condition: still that step", &usual, vec![new(Email, Always), new(Sms, Always)], vec![1, 2]),
            ("the same condition goes before", &usual, vec![new(Email, IfNotReached), new(Email, Always), new(Email, Always)], vec![8, 1, 3]),
            ("another channel: another step", &usual, vec![usual[0], step(2, Email, IfNotReached), usual[2]], vec![1, 8, 3]),
            ("one that the rule had before", &usual, vec![usual[0], step(4, Sms, Always)], vec![1, 4]),
            ("one that it had on another channel", &usual, vec![usual[0], step(7, Sms, Always)], vec![1, 2]),
            ("one of another installation", &usual, vec![usual[0], step(20, Sms, Always), new(Email, Always)], vec![1, 20, 3]),
        ];
        for (what, present, written, expected) in cases {
            let ever = if present.is_empty() { &[][..] } else { &ever };
            assert_eq!(numbered(present, ever, &written), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn ids_are_unique_of_one_channel_and_stay(
            present in prop::collection::vec((1..9_i16, any::<bool>(), any::<bool>()), 0..8),
            written in prop::collection::vec((0..9_i16, any::<bool>(), any::<bool>()), 1..9),
        ) {
            let steps = |of: Vec<(StepId, bool, bool)>| -> Vec<Step> {
                let mut steps: Vec<Step> = Vec::new();
                for (id, sms, always) in of {
                    // As `check` has it: an id is named once.
                    if id == 0 || !steps.iter().any(|step| step.id == id) {
                        let (channel, when) = (if sms { Sms } else { Email }, if always { Always } else { IfNotReached });
                        steps.push(step(id, channel, when));
                    }
                }
                steps
            };
            let (present, written) = (steps(present), steps(written));
            let ids = numbered(&present, &[], &written);
            let mut unique = ids.clone();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), written.len());
            for (id, step) in ids.iter().zip(&written) {
                let before = present.iter().find(|p| p.id == *id);
                prop_assert!(*id > 0 && before.is_none_or(|before| before.channel == step.channel));
                let kept = present.iter().any(|p| p.id == step.id && p.channel == step.channel);
                prop_assert!(!kept || *id == step.id);
            }
        }
    }
}
