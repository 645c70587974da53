//! Switches for everything that goes wrong at LivePerson, and a count of what was asked.
//!
//! A fault is a rule: where, what, and when. Rules are tried in the order in which they were set; delays add up, the first other
//! fault that fires is the answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::world::spread;

/// The places where LivePerson can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// The domain service (CSDS).
    Domains,
    /// Sentinel's access tokens.
    Token,
    Skills,
    /// `conversations/search`
    Search,
    /// `conversations/conversation/search`
    ById,
    /// `conversations/consumer/search`
    ByConsumer,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    BadRequest,
    Unauthorized,
    Forbidden,
    /// 429, with `Retry-After` if given.
    Throttled {
        retry_after_s: Option<u64>,
    },
    /// 500 with internal code 0007.
    ElasticSearch,
    /// 500 with internal code 0008.
    Runtime,
    /// 503 with a proxy's HTML.
    Unavailable,
    /// 204 without a body.
    NoContent,
    /// A true answer whose body breaks off, and the connection with it.
    Truncated,
    /// 200 with something that is not JSON.
    Garbage,
    /// The connection closes without an answer.
    Dropped,
    /// The true answer, `partialResult` set, the second half of the records missing.
    PartialResult,
    /// The true answer, later (real milliseconds).
    Delay {
        ms: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultSpan {
    /// The next so many matching requests.
    Next(u32),
    /// Each matching request with this probability.
    Probability(f64),
    UntilCleared,
}

/// One switch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// `None`: everywhere.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
    /// `None`: in every account.
    #[serde(default)]
    pub account: Option<String>,
    /// Only searches that ask for this skill.
    #[serde(default)]
    pub skill: Option<i64>,
    pub fault: Fault,
    pub when: FaultSpan,
}

/// What was asked of one endpoint.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Traffic {
    pub requests: u64,
    pub in_flight: u64,
    pub most_in_flight: u64,
    /// How many of them were answered with a fault.
    pub faults: u64,
}

/// What a request is to suffer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub delay: Duration,
    pub fault: Option<Fault>,
}

#[derive(Default)]
struct FaultState {
    rules: Vec<(u64, FaultRule)>,
    numbered: u64,
    drawn: u64,
    seed: u64,
    traffic: BTreeMap<Endpoint, Traffic>,
}

/// The switches and the counters. Clones share them.
#[derive(Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<FaultState>>,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(FaultState {
                seed,
                ..FaultState::default()
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, FaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a switch; the number clears it again.
    pub fn add(&self, rule: FaultRule) -> u64 {
        let mut state = self.lock();
        state.numbered += 1;
        let number = state.numbered;
        state.rules.push((number, rule));
        number
    }

    /// The usual case: a fault at one endpoint of every account.
    pub fn set(&self, endpoint: Endpoint, fault: Fault, when: FaultSpan) -> u64 {
        self.add(FaultRule {
            endpoint: Some(endpoint),
            account: None,
            skill: None,
            fault,
            when,
        })
    }

    pub fn clear(&self, number: u64) -> bool {
        let mut state = self.lock();
        let before = state.rules.len();
        state.rules.retain(|(n, _)| *n != number);
        state.rules.len() < before
    }

    pub fn clear_all(&self) {
        self.lock().rules.clear();
    }

    /// The switches that are set, with their numbers.
    pub fn list(&self) -> Vec<(u64, FaultRule)> {
        self.lock().rules.clone()
    }

    /// How many requests an endpoint has had.
    pub fn requests(&self, endpoint: Endpoint) -> u64 {
        self.traffic(endpoint).requests
    }

    pub fn traffic(&self, endpoint: Endpoint) -> Traffic {
        self.lock()
            .traffic
            .get(&endpoint)
            .copied()
            .unwrap_or_default()
    }

    pub fn all_traffic(&self) -> BTreeMap<Endpoint, Traffic> {
        self.lock().traffic.clone()
    }

    /// Begins to count anew; what is in flight stays in flight.
    pub fn reset_traffic(&self) {
        for traffic in self.lock().traffic.values_mut() {
            let in_flight = traffic.in_flight;
            *traffic = Traffic {
                in_flight,
                most_in_flight: in_flight,
                ..Traffic::default()
            };
        }
    }

    /// Counts a request in, until the guard is dropped.
    pub(crate) fn enter(&self, endpoint: Endpoint) -> InFlight {
        let mut state = self.lock();
        let traffic = state.traffic.entry(endpoint).or_default();
        traffic.requests += 1;
        traffic.in_flight += 1;
        traffic.most_in_flight = traffic.most_in_flight.max(traffic.in_flight);
        InFlight {
            faults: self.clone(),
            endpoint,
        }
    }

    /// Decides what happens to one request, using up its switches.
    pub(crate) fn judge(&self, endpoint: Endpoint, account: &str, skills: &[i64]) -> Verdict {
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut verdict = Verdict::default();
        for (_, rule) in &mut state.rules {
            let here = rule.endpoint.is_none_or(|at| at == endpoint)
                && rule.account.as_deref().is_none_or(|of| of == account)
                && rule.skill.is_none_or(|skill| skills.contains(&skill));
            let is_delay = matches!(rule.fault, Fault::Delay { .. });
            if !here || (verdict.fault.is_some() && !is_delay) {
                continue;
            }
            let fires = match &mut rule.when {
                FaultSpan::Next(left) => {
                    let fires = *left > 0;
                    *left = left.saturating_sub(1);
                    fires
                }
                FaultSpan::Probability(p) => {
                    state.drawn += 1;
                    fraction(spread(state.seed, state.drawn)) < *p
                }
                FaultSpan::UntilCleared => true,
            };
            match rule.fault {
                _ if !fires => {}
                Fault::Delay { ms } => verdict.delay += Duration::from_millis(ms),
                fault => verdict.fault = Some(fault),
            }
        }
        state
            .rules
            .retain(|(_, rule)| rule.when != FaultSpan::Next(0));
        if verdict.fault.is_some() {
            state.traffic.entry(endpoint).or_default().faults += 1;
        }
        verdict
    }
}

/// A well-spread number as one between 0 and 1.
fn fraction(n: u64) -> f64 {
    f64::from(u32::try_from(n >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

/// A request that is being answered.
pub(crate) struct InFlight {
    faults: Faults,
    endpoint: Endpoint,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(traffic) = self.faults.lock().traffic.get_mut(&self.endpoint) {
            traffic.in_flight -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_for_the_next_two_requests_is_gone_after_two() {
        let faults = Faults::new(1);
        faults.set(Endpoint::Search, Fault::Runtime, FaultSpan::Next(2));
        let judge = || faults.judge(Endpoint::Search, "1", &[]).fault;
        assert_eq!(
            [judge(), judge(), judge()],
            [Some(Fault::Runtime), Some(Fault::Runtime), None]
        );
        assert!(faults.list().is_empty());
        assert_eq!(faults.traffic(Endpoint::Search).faults, 2);
    }

    #[test]
    fn a_fault_of_one_skill_leaves_the_others_alone() {
        let faults = Faults::new(1);
        faults.add(FaultRule {
            endpoint: Some(Endpoint::Search),
            account: None,
            skill: Some(7),
            fault: Fault::Forbidden,
            when: FaultSpan::UntilCleared,
        });
        assert_eq!(faults.judge(Endpoint::Search, "1", &[8]).fault, None);
        assert_eq!(
            faults.judge(Endpoint::Search, "1", &[8, 7]).fault,
            Some(Fault::Forbidden)
        );
    }

    #[test]
    fn delays_add_to_whatever_else_goes_wrong() {
        let faults = Faults::new(1);
        faults.set(Endpoint::Token, Fault::Unavailable, FaultSpan::UntilCleared);
        faults.set(
            Endpoint::Token,
            Fault::Delay { ms: 5 },
            FaultSpan::UntilCleared,
        );
        let verdict = faults.judge(Endpoint::Token, "1", &[]);
        assert_eq!(verdict.fault, Some(Fault::Unavailable));
        assert_eq!(verdict.delay, Duration::from_millis(5));
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_about_as_often_as_said() {
        let run = |seed| {
            let faults = Faults::new(seed);
            faults.set(Endpoint::ById, Fault::Dropped, FaultSpan::Probability(0.2));
            (0..1000)
                .map(|_| faults.judge(Endpoint::ById, "1", &[]).fault.is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        let hits = run(3).into_iter().filter(|hit| *hit).count();
        assert!((150..250).contains(&hits), "{hits}");
    }

    #[test]
    fn the_most_requests_in_flight_are_remembered() {
        let faults = Faults::new(1);
        let (one, two) = (
            faults.enter(Endpoint::Search),
            faults.enter(Endpoint::Search),
        );
        drop((one, two));
        let traffic = faults.traffic(Endpoint::Search);
        assert_eq!(
            (traffic.requests, traffic.in_flight, traffic.most_in_flight),
            (2, 0, 2)
        );
    }
}
