//! Ids for the steps of a rule that somebody has written.
//!
//! The ledger knows a step by its id, so that a rule can be edited while episodes are under way: what was sent for a step is not sent again
//! because it moved, and a step that is added is one more. An id belongs to one channel for ever.

use super::settings::HIGHEST_STEP_ID;
use super::{RuleSettings, Step, StepId};
use crate::domain::ids::Channel;

/// The steps that a rule and the other rules of its account have, or have had. A conversation that is transferred falls under another rule:
/// what was sent for a step there must count here for a step on the same channel, and for no other.
#[derive(Clone, Debug, Default)]
pub struct KnownSteps {
    pub present: Vec<Step>,
    /// That the rule has ever had.
    pub ever: Vec<(StepId, Channel)>,
    /// That other rules of the account have ever had.
    pub elsewhere: Vec<(StepId, Channel)>,
}

impl KnownSteps {
    fn own(&self) -> impl Iterator<Item = (StepId, Channel)> {
        let present = self.present.iter().map(|step| (step.id, step.channel));
        present.chain(self.ever.iter().copied())
    }

    fn had(&self, id: StepId) -> impl Iterator<Item = Channel> {
        let all = self.own().chain(self.elsewhere.iter().copied());
        all.filter_map(move |(had, channel)| (had == id).then_some(channel))
    }

    /// The first step on this channel of another rule that this one has never had and does not name.
    fn alike_elsewhere(
        &self,
        channel: Channel,
        is_taken: impl Fn(StepId) -> bool,
    ) -> Option<StepId> {
        let is_own = |id: StepId| self.own().any(|(own, _)| own == id);
        let alike = self
            .elsewhere
            .iter()
            .filter(|(_, on)| *on == channel)
            .map(|(id, _)| *id);
        alike.filter(|id| !is_own(*id) && !is_taken(*id)).min()
    }
}

impl RuleSettings {
    /// Gives every step an id. One that names an id keeps it, unless the account has had it on another channel: then it is a new step. One
    /// that names none is the rule's present step on that channel which nobody else names, as in a file that somebody writes by hand; else
    /// it is new. A new step gets the id of the next step on its channel of other rules, which this one has never had; else one that no rule
    /// of the account has ever had.
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
        for at in 0..self.steps.len() {
            if self.steps[at].id == 0 {
                let is_taken = |id| self.steps.iter().any(|step| step.id == id);
                let alike = known.alike_elsewhere(self.steps[at].channel, is_taken);
                self.steps[at].id = alike.unwrap_or_else(|| self.unused(known));
            }
        }
    }

    /// The id after the highest that was ever used; where there is none any more, the lowest that never was.
    fn unused(&self, known: &KnownSteps) -> StepId {
        let is_used = |id: StepId| {
            known.had(id).next().is_some() || self.steps.iter().any(|step| step.id == id)
        };
        let highest = (1..=HIGHEST_STEP_ID)
            .rev()
            .find(|id| is_used(*id))
            .unwrap_or_default();
        let behind = (highest < HIGHEST_STEP_ID).then_some(highest + 1);
        behind
            .or_else(|| (1..=HIGHEST_STEP_ID).find(|id| !is_used(*id)))
            .unwrap_or(HIGHEST_STEP_ID)
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
            elsewhere: Vec::new(),
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
            ("behind the highest there may be", &usual, vec![usual[0], step(9_999, Sms, Always), new(Sms, Always)], vec![1, 9_999, 2]),
            ("and none of the present is free", &usual, vec![usual[0], usual[1], step(9_999, Sms, Always), new(Sms, Always)], vec![1, 2, 9_999, 5]),
        ];
        for (what, present, written, expected) in cases {
            let ever = if present.is_empty() { &[][..] } else { &ever };
            assert_eq!(numbered(present, ever, &written), expected, "{what}");
        }
    }

    /// A conversation that moves between two rules goes on where it was.
    #[test]
    fn a_step_is_called_as_the_step_on_its_channel_of_other_rules() {
        let (email, sms) = (step(0, Email, Always), step(0, Sms, Always));
        let default = vec![(1, Email), (2, Sms), (3, Email), (4, Sms)];
        for (ever, written, expected) in [
            (vec![], vec![email, sms, email], vec![1, 2, 3]),
            (vec![], vec![sms, sms], vec![2, 4]),
            (vec![], vec![sms, sms, sms], vec![2, 4, 5]),
            (vec![], vec![step(1, Sms, Always), email], vec![2, 1]),
            // It had step 2 once, and removed it.
            (vec![(2, Sms)], vec![sms], vec![4]),
        ] {
            let mut settings = RuleSettings::default_for(&Channel::ALL);
            settings.steps = written;
            settings.number_steps(&KnownSteps {
                present: Vec::new(),
                ever,
                elsewhere: default.clone(),
            });
            let ids: Vec<StepId> = settings.steps.iter().map(|step| step.id).collect();
            assert_eq!(ids, expected);
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
