//! Which fault strikes: an ordered list of rules that tests change while the server runs.
//!
//! The first rule that applies wins, so a rule for one recipient goes before a general one. Chance is seeded: the same seed
//! and the same order of events give the same faults.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// When a rule applies. All conditions given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// Only for an address or number that matches; `*` stands for any text, letter case does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only for the next so many events; counted down as it strikes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Only for this share of events, 0.0 to 1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
}

impl When {
    pub fn always() -> Self {
        Self::default()
    }

    pub fn to(pattern: impl Into<String>) -> Self {
        Self {
            to: Some(pattern.into()),
            ..Self::default()
        }
    }

    pub fn next(count: u64) -> Self {
        Self {
            next: Some(count),
            ..Self::default()
        }
    }

    pub fn chance(share: f64) -> Self {
        Self {
            chance: Some(share),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn and_next(self, count: u64) -> Self {
        Self {
            next: Some(count),
            ..self
        }
    }
}

/// A rule of a [`Rules`].
pub trait Rule: Clone + Send + 'static {
    fn when(&self) -> &When;
    fn when_mut(&mut self) -> &mut When;
}

/// The rules in force. Clones share them.
#[derive(Clone)]
pub struct Rules<R> {
    state: Arc<Mutex<RulesState<R>>>,
}

struct RulesState<R> {
    rules: Vec<R>,
    dice: StdRng,
    struck: u64,
}

impl<R: Rule> Rules<R> {
    pub fn new(seed: u64) -> Self {
        let state = RulesState {
            rules: Vec::new(),
            dice: StdRng::seed_from_u64(seed),
            struck: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Adds a rule after the others.
    pub fn add(&self, rule: R) {
        self.lock().rules.push(rule);
    }

    /// Replaces all rules.
    pub fn set(&self, rules: Vec<R>) {
        self.lock().rules = rules;
    }

    pub fn clear(&self) {
        self.set(Vec::new());
    }

    /// The rules still in force, with what is left of their counts.
    pub fn rules(&self) -> Vec<R> {
        self.lock().rules.clone()
    }

    /// How often a rule has struck.
    pub fn struck(&self) -> u64 {
        self.lock().struck
    }

    /// The first rule that `fits` the event and whose conditions hold for one of the `addresses` concerned.
    pub fn strike(&self, addresses: &[&str], fits: impl Fn(&R) -> bool) -> Option<R> {
        let state = &mut *self.lock();
        for index in 0..state.rules.len() {
            let rule = &mut state.rules[index];
            let applies = fits(rule) && {
                let When { to, next, chance } = rule.when();
                *next != Some(0)
                    && to.as_ref().is_none_or(|pattern| {
                        addresses.iter().any(|address| matches(pattern, address))
                    })
                    && chance.is_none_or(|share| state.dice.random_bool(share.clamp(0.0, 1.0)))
            };
            if applies {
                let struck = rule.clone();
                state.struck += 1;
                if let Some(left) = &mut rule.when_mut().next {
                    *left -= 1;
                    if *left == 0 {
                        state.rules.remove(index);
                    }
                }
                return Some(struck);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, RulesState<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Named(&'static str, When);

    impl Rule for Named {
        fn when(&self) -> &When {
            &self.1
        }
        fn when_mut(&mut self) -> &mut When {
            &mut self.1
        }
    }

    #[test]
    fn patterns_match_whole_addresses_without_case() {
        let cases = [
            ("a@b.example", "A@B.example", true),
            ("a@b.example", "a@b.example.org", false),
            ("*@b.example", "x@b.example", true),
            ("*@b.example", "x@c.example", false),
            ("+1415*", "+14155550123", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
            ("ab*ba", "aba", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn the_first_rule_that_applies_wins_and_counts_run_out() {
        let faults = Rules::new(1);
        faults.add(Named("one", When::to("a*").and_next(2)));
        faults.add(Named("all", When::always()));
        let strike = |to: &str| faults.strike(&[to], |_| true).map(|rule| rule.0);
        assert_eq!(strike("b"), Some("all"));
        assert_eq!(strike("a1"), Some("one"));
        assert_eq!(strike("a2"), Some("one"));
        assert_eq!(strike("a3"), Some("all"));
        assert_eq!(faults.rules().len(), 1);
        assert_eq!(faults.struck(), 4);
    }

    #[test]
    fn chance_is_repeatable_and_near_its_share() {
        let run = || {
            let faults = Rules::new(7);
            faults.add(Named("rarely", When::chance(0.05)));
            (0..10_000)
                .map(|_| faults.strike(&[], |_| true).is_some())
                .collect::<Vec<_>>()
        };
        let first = run();
        assert_eq!(first, run());
        let struck = first.iter().filter(|struck| **struck).count();
        assert!((400..600).contains(&struck), "{struck}");
    }
}
