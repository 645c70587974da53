//! One set of skills, asked for in as few searches as LivePerson answers.

use std::collections::HashMap;

use crate::db::scans::Summary;
use crate::domain::ids::SkillId;
use crate::liveperson;

/// Refusals without a single answer after which it is not this skill or that one: the account is refused.
const HOPELESS: u32 = 10;

/// The same for calls that were not answered in time, of an account that did answer a moment ago: each of them takes long.
const HANGS: u32 = 3;

/// A set of skills on its way: what is to be asked for yet, in which parts, and what has become of the others.
///
/// A set that is refused is asked for in halves, down to single skills, until the ones that LivePerson chokes on are found. They are
/// left out of sets from then on, so that they cost a call each and not the search for them. So is a set that was not answered in time,
/// if the account answers at all.
pub struct SkillBatches {
    waiting: Vec<Vec<SkillId>>,
    found: Vec<(SkillId, Summary)>,
    calls: u32,
    answers: u32,
    refusals: u32,
    hopeless: bool,
    /// The account has answered something a moment ago.
    answers_lately: bool,
    /// What became of single skills.
    odd: Odd,
    /// Skills in the largest part that was answered, and in half of a set that was not answered in time.
    largest: usize,
    half: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Odd {
    None,
    /// One was refused.
    Refused,
    /// One was not answered in time, of an account that answers.
    Hangs,
}

impl SkillBatches {
    pub fn new(skills: Vec<SkillId>, answers_lately: bool) -> Self {
        Self {
            waiting: vec![skills],
            found: Vec::new(),
            calls: 0,
            answers: 0,
            refusals: 0,
            hopeless: false,
            answers_lately,
            odd: Odd::None,
            largest: 0,
            half: None,
        }
    }

    /// What to ask for next.
    pub fn next(&mut self) -> Option<Vec<SkillId>> {
        self.waiting.pop()
    }

    /// Whether asking for other skills of the account is of no use now.
    pub fn hopeless(&self) -> bool {
        self.hopeless
    }

    /// LivePerson answered for these skills, with so many calls.
    pub fn answered(
        &mut self,
        skills: &[SkillId],
        mut found: HashMap<SkillId, Summary>,
        calls: u32,
    ) {
        self.calls += calls;
        self.answers += 1;
        self.largest = self.largest.max(skills.len());
        let of = |skill: &SkillId| (*skill, found.remove(skill).unwrap_or_default());
        self.found.extend(skills.iter().map(of));
    }

    /// LivePerson did not answer for these skills.
    pub fn refused(
        &mut self,
        mut skills: Vec<SkillId>,
        error: &liveperson::LivePersonError,
        calls: u32,
    ) {
        self.calls += calls;
        self.refusals += 1;
        let hangs = error.timed_out();
        if hangs && skills.len() > 1 {
            self.half = Some(skills.len() / 2);
        }
        if !self.may_be_about_one(error) {
            self.hopeless = true;
            let rest = std::mem::take(&mut self.waiting);
            skills.extend(rest.into_iter().flatten());
            self.fail(&skills, error);
        } else if skills.len() == 1 {
            self.odd = self.odd.max(if hangs { Odd::Hangs } else { Odd::Refused });
            self.fail(&skills, error);
        } else {
            let right = skills.split_off(skills.len().div_ceil(2));
            // What hangs comes last: until the others have been asked for, nobody knows whether it is the skill or the account.
            let place = if hangs { 0 } else { self.waiting.len() };
            self.waiting.splice(place..place, [right, skills]);
        }
    }

    /// Whether to look for the skill, after what has been answered and refused so far.
    fn may_be_about_one(&self, error: &liveperson::LivePersonError) -> bool {
        if error.timed_out() {
            self.answers > 0 || (self.answers_lately && self.refusals < HANGS)
        } else {
            error.may_be_about_one() && (self.answers > 0 || self.refusals < HOPELESS)
        }
    }

    fn fail(&mut self, skills: &[SkillId], error: &liveperson::LivePersonError) {
        let summary = Summary {
            error: Some(error.to_string()),
            alone: !self.hopeless,
            ..Summary::default()
        };
        self.found
            .extend(skills.iter().map(|skill| (*skill, summary.clone())));
    }

    /// How many skills LivePerson takes at once, if it did not take those of a set: each of them alone would do, so it is their
    /// number.
    pub fn fits(&self) -> Option<usize> {
        let refused =
            self.refusals > 0 && self.answers > 0 && self.odd == Odd::None && !self.hopeless;
        let half = self.half.filter(|_| self.odd == Odd::None);
        half.or_else(|| refused.then_some(self.largest))
    }

    /// What became of each skill.
    pub fn end(mut self) -> Vec<(SkillId, Summary)> {
        let each =
            f64::from(self.calls) / f64::from(u32::try_from(self.found.len()).unwrap_or(1).max(1));
        for (_, summary) in &mut self.found {
            summary.calls = each;
            // Where nothing was answered, nobody knows whether it was this skill's fault; but that it hangs while others do not.
            summary.alone &= self.answers > 0 || (self.odd == Odd::Hangs && !self.hopeless);
        }
        self.found
    }
}

#[cfg(test)]
mod tests;
