//! From LivePerson's record to ours.
//!
//! A record without an id, a status or a start is refused. One whose lists are missing or damaged is marked partial, so that
//! nothing is decided from it: an agent's message that we cannot read, or a receipt that we cannot place, must not turn into a
//! reminder of something already read.

use chrono::{DateTime, Utc};

use super::tolerant::{Int, Text};
use super::wire;
use crate::domain::conversation::{
    Agent, AgentKind, Dialog, Message, Party, Queue, Receipt, Record,
};
use crate::domain::ids::SkillId;
use crate::domain::zone::Zone;

/// The sound range of a time in milliseconds: after 2000, before 2100. Everything else, -1 and 0 included, is no time.
const TIMES: std::ops::Range<i64> = 946_684_800_000..4_102_444_800_000;
/// The longest language tag that RFC 5646 asks implementations to handle.
const MAX_LANGUAGE: usize = 35;

/// Our record, or the name of the field that makes it unusable.
pub fn convert(record: wire::WireRecord) -> Result<Record, &'static str> {
    let info = record.info.0.ok_or("info is missing")?;
    let id = info.conversation_id.0.ok_or("conversationId is missing")?;
    let started_at = time(info.start_time_l, &info.start_time).ok_or("startTime is missing")?;
    if info.status.is_none() {
        return Err("status is missing");
    }

    // Two words for the same thing: something is left out of this answer, and it may be the receipt that decides.
    let mut partial = info.is_partial.0.unwrap_or(false)
        || info.is_truncated.0.unwrap_or(false)
        || record.message_records.damaged
        || record.message_records.items.is_none()
        || record.message_statuses.damaged
        || record.dialogs.damaged;
    let consumer_ids = consumer_ids(record.consumer_participants.items.as_deref());
    let messages = all(
        record.message_records.items.unwrap_or_default(),
        message,
        &mut partial,
    );
    let receipts = record.message_statuses.items.map(|statuses| {
        let receipt = |status| receipt(status, &consumer_ids);
        all(statuses, receipt, &mut partial)
    });
    let dialogs = record
        .dialogs
        .items
        .map(|dialogs| all(dialogs, dialog, &mut partial));
    let sdes = record.sdes.0.and_then(|sdes| sdes.events.items);
    let un_auth_sdes = record.un_auth_sdes.0.and_then(|sdes| sdes.events.items);
    let known = super::contact::gather(
        sdes.unwrap_or_default(),
        un_auth_sdes.unwrap_or_default(),
        record.consumer_participants.items.unwrap_or_default(),
    );

    Ok(Record {
        id,
        open: info.status.is("OPEN"),
        partial,
        skill: info.latest_skill_id.0.map_or(SkillId::UNASSIGNED, SkillId),
        skill_name: info.latest_skill_name.0,
        started_at,
        ended_at: time(info.conversation_end_time_l, &info.conversation_end_time)
            .or_else(|| time(info.end_time_l, &info.end_time)),
        queue: queue(&info.latest_queue_state),
        time_zone: info
            .time_zone
            .as_deref()
            .and_then(|name| Zone::parse(name).ok()),
        language: info.language.as_deref().and_then(language),
        consumer_ids,
        customer_id: known.customer_id,
        messages,
        receipts,
        agents: agents(record.agent_participants.items.unwrap_or_default()),
        dialogs,
        contact: known.contact,
    })
}

/// Converts a list, and notes if one of its items cannot be.
fn all<W, D>(items: Vec<W>, convert: impl Fn(W) -> Option<D>, partial: &mut bool) -> Vec<D> {
    let before = items.len();
    let converted: Vec<D> = items.into_iter().filter_map(convert).collect();
    *partial |= converted.len() < before;
    converted
}

fn message(message: wire::WireMessage) -> Option<Message> {
    Some(Message {
        id: message.message_id.0?,
        seq: message.seq.0?,
        dialog: message.dialog_id.0,
        at: time(message.time_l, &message.time)?,
        sent_by: party(&message.sent_by),
        participant: message.participant_id.0.unwrap_or_default(),
        // Old records have no audience. One that we do not know may be a note, too.
        public: message.audience.is_none() || message.audience.is("ALL"),
    })
}

/// A receipt, unless it tells that the consumer has read something but not what.
fn receipt(status: wire::WireStatus, consumer_ids: &[String]) -> Option<Receipt> {
    let reporter = status.participant_id.0;
    let by = match party(&status.participant_type) {
        Party::Other if reporter.is_some_and(|id| consumer_ids.contains(&id)) => Party::Consumer,
        party => party,
    };
    let read = status.message_delivery_status.is("READ");
    let placeless = status.message_id.is_none() && status.seq.0.is_none();
    if placeless && read && by == Party::Consumer {
        return None;
    }
    Some(Receipt {
        message: status.message_id.0,
        seq: status.seq.0,
        dialog: status.dialog_id.0,
        at: time(status.time_l, &status.time),
        by,
        read,
    })
}

fn dialog(dialog: wire::WireDialog) -> Option<Dialog> {
    Some(Dialog {
        id: dialog.dialog_id.0?,
        main: dialog.dialog_type.is("MAIN"),
        open: dialog.status.is("OPEN"),
    })
}

fn party(word: &Text) -> Party {
    if word.is("Agent") {
        Party::Agent
    } else if word.is("Consumer") {
        Party::Consumer
    } else {
        Party::Other
    }
}

fn queue(word: &Text) -> Queue {
    if word.is("IN_QUEUE") {
        Queue::Waiting
    } else if word.is("ACTIVE") {
        Queue::Active
    } else {
        Queue::Unknown
    }
}

/// One entry per agent: LivePerson lists an agent once for each time they joined.
fn agents(participants: Vec<wire::WireAgent>) -> Vec<Agent> {
    let mut agents: Vec<Agent> = Vec::new();
    for participant in participants {
        let kind = agent_kind(&participant);
        let Some(id) = participant.agent_id.0 else {
            continue;
        };
        match agents.iter_mut().find(|agent| agent.id == id) {
            Some(agent) => {
                agent.nickname = agent.nickname.take().or(participant.agent_nickname.0);
                if agent.kind == AgentKind::Unknown {
                    agent.kind = kind;
                }
            }
            None => agents.push(Agent {
                id,
                kind,
                nickname: participant.agent_nickname.0,
            }),
        }
    }
    agents
}

fn agent_kind(agent: &wire::WireAgent) -> AgentKind {
    let name = &agent.user_type_name;
    match agent.user_type.0 {
        Some(0) => AgentKind::System,
        Some(1) => AgentKind::Human,
        Some(2) => AgentKind::Bot,
        _ if name.is("System") => AgentKind::System,
        _ if name.is("Human") => AgentKind::Human,
        _ if name.is("Bot") => AgentKind::Bot,
        _ => AgentKind::Unknown,
    }
}

/// Every id of the consumer once, latest joined last.
fn consumer_ids(participants: Option<&[wire::Consumer]>) -> Vec<String> {
    let mut joined: Vec<&wire::Consumer> = participants.unwrap_or_default().iter().collect();
    joined.sort_by_key(|consumer| consumer.joined_at());
    let mut ids: Vec<String> = Vec::new();
    for id in joined
        .into_iter()
        .rev()
        .filter_map(|consumer| consumer.participant_id.as_ref())
    {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    ids.reverse();
    ids
}

impl wire::Consumer {
    pub fn joined_at(&self) -> Option<DateTime<Utc>> {
        time(self.join_time_l, &self.join_time).or_else(|| time(self.time_l, &self.time))
    }
}

/// A BCP 47 tag by its looks; `en_US` is seen for `en-US`.
fn language(raw: &str) -> Option<String> {
    let fits = raw.len() <= MAX_LANGUAGE
        && raw
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    fits.then(|| raw.replace('_', "-"))
}

/// A time out of its two forms.
fn time(millis: Int, text: &Text) -> Option<DateTime<Utc>> {
    let millis = millis.0.or_else(|| {
        let raw = text.as_deref()?;
        let time = DateTime::parse_from_str(raw, "%Y-%m-%d %H:%M:%S%.f%z").ok()?;
        Some(time.timestamp_millis())
    })?;
    let sound = TIMES.contains(&millis);
    sound.then(|| DateTime::from_timestamp_millis(millis))?
}
