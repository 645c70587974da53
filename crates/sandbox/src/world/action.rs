//! What can happen in a conversation, as data: tests call it by verbs, scripts list it, the admin API takes it as JSON.

use serde::{Deserialize, Serialize};

/// Something that somebody does in one conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    ConsumerSays {
        text: String,
    },
    AgentSays {
        text: String,
    },
    AgentSendsFile {
        caption: String,
    },
    BotSays {
        text: String,
    },
    BotSendsRichContent {
        text: String,
    },
    SystemSays {
        text: String,
    },
    /// Seen by agents and their supervisors only.
    PrivateNote {
        text: String,
    },
    /// The window received everything, nobody looked.
    ConsumerAccepts,
    ConsumerReads,
    /// A supervisor reads along; says nothing about the consumer.
    ManagerReads,
    /// The anonymous consumer logs in and goes on under a second id.
    StepUp {
        person: Person,
    },
    /// New engagement attributes, for instance an address given late.
    Tells {
        person: Person,
    },
    /// Goes to another skill and waits in its queue.
    Transfer {
        skill: i64,
    },
    Queue,
    Unqueue,
    Close {
        by: Closer,
    },
    /// The post-conversation survey opens; the MAIN dialog closes if it has not.
    OpenSurvey,
    CloseSurvey,
    Partial {
        partial: Partial,
    },
    /// From now on the record cannot be parsed.
    Garble,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closer {
    Agent,
    Consumer,
    System,
}

/// Where LivePerson cuts the record short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partial {
    #[default]
    Never,
    /// Whole when fetched by id.
    InSearch,
    Always,
    /// `isTruncated`, with the receipts missing, and whole when fetched by id.
    TruncatedInSearch,
    TruncatedAlways,
}

/// Who the consumer is, as far as LivePerson is told. What is `None` is absent, or a placeholder where LivePerson sends one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Person {
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    /// The brand's own id of the customer.
    pub customer_id: Option<String>,
    /// Authenticated attributes (`sdes`).
    pub email: Option<String>,
    pub phone: Option<String>,
    /// What the participant entry says (`consumerParticipants`).
    pub participant_email: Option<String>,
    pub participant_phone: Option<String>,
    /// Attributes that the page supplied, unverified (`unAuthSdes`).
    pub unverified_email: Option<String>,
    pub unverified_phone: Option<String>,
    pub time_zone: Option<String>,
    pub language: Option<String>,
    /// LivePerson's id of the consumer; made up when absent.
    pub consumer_id: Option<String>,
    /// One more attribute of `customerInfo`, of any length.
    pub remark: Option<String>,
}
