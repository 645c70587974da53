//! Conversations for the tests of this folder, written as a short story: `Record::sample().consumer(0, 0).agent(2, 5).read(2)`.
//!
//! Minutes count from [`START`]. Four people may write: the agent `dana` (human), `bot`, `system`, and the manager `max`, who
//! writes private notes.

use chrono::{DateTime, Utc};

use super::channel::PerChannel;
use super::contact::ContactSources;
use super::conversation::{Agent, AgentKind, Dialog, Message, Party, Queue, Receipt, Record};
use super::ids::SkillId;
use super::rule::{Rule, RuleSettings};

/// Tuesday, 10 March 2026, 08:00 UTC.
pub const START: DateTime<Utc> = minute(0);

pub const fn minute(n: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_773_129_600 + n * 60, 0).unwrap()
}

pub fn message_id(seq: i64) -> String {
    format!("ms::dialog:c1::msg:{seq}")
}

impl Record {
    pub fn sample() -> Self {
        let agent = |id: &str, kind| Agent {
            id: id.to_owned(),
            kind,
            nickname: Some(id.to_uppercase()),
        };
        Self {
            id: "c1".to_owned(),
            open: true,
            partial: false,
            skill: SkillId(7),
            skill_name: None,
            started_at: START,
            ended_at: None,
            queue: Queue::Active,
            time_zone: None,
            language: None,
            consumer_ids: vec!["consumer".to_owned()],
            customer_id: None,
            messages: vec![],
            receipts: Some(vec![]),
            agents: vec![
                agent("dana", AgentKind::Human),
                agent("max", AgentKind::Human),
                agent("bot", AgentKind::Bot),
                agent("system", AgentKind::System),
            ],
            dialogs: Some(vec![Dialog {
                id: "c1".to_owned(),
                main: true,
                open: true,
            }]),
            contact: ContactSources::default(),
        }
    }

    pub(super) fn consumer(self, seq: i64, at: i64) -> Self {
        self.message(seq, at, Party::Consumer, "consumer", true)
    }

    pub(super) fn agent(self, seq: i64, at: i64) -> Self {
        self.message(seq, at, Party::Agent, "dana", true)
    }

    pub(super) fn bot(self, seq: i64, at: i64) -> Self {
        self.message(seq, at, Party::Agent, "bot", true)
    }

    pub(super) fn system(self, seq: i64, at: i64) -> Self {
        self.message(seq, at, Party::Agent, "system", true)
    }

    pub(super) fn note(self, seq: i64, at: i64) -> Self {
        self.message(seq, at, Party::Agent, "max", false)
    }

    pub(super) fn message(mut self, seq: i64, at: i64, by: Party, who: &str, public: bool) -> Self {
        self.messages.push(Message {
            id: message_id(seq),
            seq,
            dialog: Some("c1".to_owned()),
            at: minute(at),
            sent_by: by,
            participant: who.to_owned(),
            public,
        });
        self
    }

    /// The consumer's READ of the message.
    pub(super) fn read(self, seq: i64) -> Self {
        self.receipt(seq, Party::Consumer, true)
    }

    /// The consumer's ACCEPT of the message.
    pub(super) fn accepted(self, seq: i64) -> Self {
        self.receipt(seq, Party::Consumer, false)
    }

    pub(super) fn read_by_agent(self, seq: i64) -> Self {
        self.receipt(seq, Party::Agent, true)
    }

    pub(super) fn receipt(mut self, seq: i64, by: Party, read: bool) -> Self {
        self.receipts.get_or_insert_default().push(Receipt {
            message: Some(message_id(seq)),
            seq: Some(seq),
            dialog: Some("c1".to_owned()),
            at: None,
            by,
            read,
        });
        self
    }
}

impl Rule {
    /// The rule of the sample's skill.
    pub fn sample(settings: RuleSettings) -> Self {
        Self {
            id: 1,
            account: "12345678".parse().unwrap(),
            skill: Some(SkillId(7)),
            enabled: true,
            version: 1,
            settings,
            live: PerChannel::of(|_| Rule::ALWAYS),
            lost_until: None,
        }
    }
}
