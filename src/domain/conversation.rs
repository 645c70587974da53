//! A conversation as LivePerson showed it at one moment: who, which skill, which messages, who read what.
//!
//! Never the text of a message: nothing here can be quoted by mistake.

use chrono::{DateTime, Utc};

use super::contact::ContactSources;
use super::ids::SkillId;
use super::zone::Zone;

/// One conversation record, parsed. Lists keep LivePerson's order, which means nothing: sort by (`at`, `seq`).
///
/// Times are plausible: the parser refuses those that lie centuries away, so that adding a rule's durations cannot overflow.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: String,
    /// `info.status` is OPEN.
    pub open: bool,
    /// The record was cut short by LivePerson, or lacks what was asked for: decide nothing from it.
    pub partial: bool,
    pub skill: SkillId,
    pub skill_name: Option<String>,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub queue: Queue,
    /// The visitor's zone as told by the browser.
    pub time_zone: Option<Zone>,
    /// BCP 47 as told by the browser, e.g. `en-US`.
    pub language: Option<String>,
    /// Every LivePerson id of the consumer in this conversation; several after a step-up. Newest last.
    pub consumer_ids: Vec<String>,
    /// The brand's own customer id, if authenticated data carried one.
    pub customer_id: Option<String>,
    pub messages: Vec<Message>,
    /// Absent although asked for: `None`.
    pub receipts: Option<Vec<Receipt>>,
    pub agents: Vec<Agent>,
    /// `None` when LivePerson did not send the list.
    pub dialogs: Option<Vec<Dialog>>,
    pub contact: ContactSources,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// The brand owes the answer: no agent has the conversation.
    Waiting,
    Active,
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    /// Restarts at 0 in each dialog and has gaps.
    pub seq: i64,
    /// `None` for old records, which have only the main dialog.
    pub dialog: Option<String>,
    pub at: DateTime<Utc>,
    pub sent_by: Party,
    /// LivePerson's id of the sender.
    pub participant: String,
    /// False for private notes between agents and managers.
    pub public: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Agent,
    Consumer,
    /// A value LivePerson has not documented; never counted as an agent.
    Other,
}

/// One entry of `messageStatuses`: who reported what about which message.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub message: Option<String>,
    pub seq: Option<i64>,
    pub dialog: Option<String>,
    pub at: Option<DateTime<Utc>>,
    pub by: Party,
    /// READ; everything else (SENT, ACCEPT, unknown) is not reading.
    pub read: bool,
}

#[derive(Clone, Debug)]
pub struct Agent {
    pub id: String,
    pub kind: AgentKind,
    /// What the consumer sees as the agent's name.
    pub nickname: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentKind {
    System,
    Human,
    Bot,
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Dialog {
    pub id: String,
    pub main: bool,
    pub open: bool,
}
