//! The words in which the cases are written.

use super::{Outcome, PersonAction, RULES, Scene};
use crate::world::{Action, CUSTOMER_CARE, ORDERS, Person, WEB};

impl Scene {
    /// Somebody opens a conversation and asks; a script follows.
    pub(super) fn new(case: &'static str, skill: i64, opens: f64, person: Person) -> Self {
        let scene = Self {
            case,
            skill,
            source: WEB,
            person,
            opens,
            script: Vec::new(),
            outcomes: Vec::new(),
        };
        scene.asks(opens, "Hello, may I ask something?")
    }

    pub(super) fn does(mut self, minute: f64, action: Action) -> Self {
        self.script
            .push((minute, PersonAction::Act(Box::new(action))));
        self
    }

    pub(super) fn asks(self, minute: f64, text: &str) -> Self {
        self.does(minute, Action::ConsumerSays { text: text.into() })
    }

    pub(super) fn agent(self, minute: f64, text: &str) -> Self {
        self.does(minute, Action::AgentSays { text: text.into() })
    }

    pub(super) fn reads(self, minute: f64) -> Self {
        self.does(minute, Action::ConsumerReads)
    }

    pub(super) fn outcome(
        mut self,
        verdict: &'static str,
        reason: Option<&'static str>,
        step: u32,
        by_minute: f64,
    ) -> Self {
        let rule = RULES.iter().find(|rule| rule.skill == self.skill);
        let known = rule.and_then(|rule| rule.steps.iter().find(|known| known.id == step));
        let channel = known.expect("a step of the rule that is presumed").channel;
        self.outcomes.push(Outcome {
            channel,
            step,
            verdict,
            reason,
            by_minute,
        });
        self
    }

    /// There is never a reminder; the decision log says why.
    pub(super) fn none(self, reason: &'static str) -> Self {
        self.outcome("none", Some(reason), 1, 3.0)
    }

    pub(super) fn sent(self, by_minute: f64) -> Self {
        self.outcome("sent", None, 1, by_minute)
    }

    pub(super) fn cancelled(self, reason: &'static str, by_minute: f64) -> Self {
        self.outcome("cancelled", Some(reason), 1, by_minute)
    }
}

pub(super) struct Cast {
    pub(super) day: &'static str,
    pub(super) night: &'static str,
}

impl Cast {
    pub(super) fn person(&self, first: &str, last: &str) -> Person {
        Person {
            first_name: Some(first.into()),
            last_name: Some(last.into()),
            customer_id: Some(format!("CUST-{}", first.to_lowercase())),
            time_zone: Some(self.day.into()),
            language: Some("en-US".into()),
            ..Person::default()
        }
    }

    /// Somebody with an e-mail address, in customer care.
    pub(super) fn mail(&self, case: &'static str, opens: f64, first: &str, last: &str) -> Scene {
        let email = format!("{first}.{last}@example.com").to_lowercase();
        let person = Person {
            email: Some(email),
            ..self.person(first, last)
        };
        Scene::new(case, CUSTOMER_CARE, opens, person)
    }

    /// Somebody with an e-mail address of this domain and a phone, in customer care.
    pub(super) fn both(
        &self,
        case: &'static str,
        (first, last): (&str, &str),
        domain: &str,
        number: &str,
    ) -> Scene {
        let email = format!("{first}.{last}@{domain}").to_lowercase();
        let person = Person {
            email: Some(email),
            phone: Some(number.into()),
            ..self.person(first, last)
        };
        Scene::new(case, CUSTOMER_CARE, -20.0, person)
    }

    /// Somebody with a phone, asking about an order.
    pub(super) fn phone(
        &self,
        case: &'static str,
        opens: f64,
        first: &str,
        last: &str,
        number: &str,
    ) -> Scene {
        let person = Person {
            phone: Some(number.into()),
            ..self.person(first, last)
        };
        Scene::new(case, ORDERS, opens, person)
    }
}
