//! Has the consumer seen what the agent wrote? (The rules of LivePerson's read receipts, applied to one record.)
//!
//! Two decisions a reader may question. A sender who is not among the record's agents counts as human: LivePerson does not say how
//! it labels automatic messages, and a reminder too many is a smaller wrong than an answer nobody hears of. And counting bots
//! changes who can *begin* an episode, never what ends one.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::contact::clean_name;
use super::conversation::{AgentKind, Message, Party, Receipt, Record};

/// What one record says about the consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadState {
    Read(ReadReason),
    Unread(Episode),
    /// The record is partial: fetch it by id, and decide nothing from this one.
    Undecided,
}

/// The same without its particulars, as a table keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadStatus {
    Read,
    Unread,
    Undecided,
}

impl ReadStatus {
    pub const ALL: [Self; 3] = [Self::Read, Self::Unread, Self::Undecided];

    /// The word in SQL and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Unread => "unread",
            Self::Undecided => "undecided",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// Why nothing is unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadReason {
    /// The conversation, or its main dialog, is closed.
    Closed,
    /// No agent has written to the consumer yet.
    NoAgentMessage,
    /// The consumer wrote after the agent's last message.
    Answered,
    /// A read receipt of the consumer covers the agent's last message.
    Receipt,
}

/// The agent messages that the consumer has neither read nor answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// The id of its first message; it identifies the episode.
    pub first_message: String,
    pub since: DateTime<Utc>,
    pub last_message: String,
    pub last_at: DateTime<Utc>,
    pub count: u32,
    /// The display name of who wrote last, if LivePerson told it.
    pub agent: Option<String>,
    /// When each of its messages was written, the first one first.
    pub times: Vec<DateTime<Utc>>,
}

impl Episode {
    /// What is left of it when messages from before `cut` count as read; nothing if all of them are. It stays the same episode: what was sent
    /// for it is not sent again when the cut moves.
    pub fn since(&self, cut: DateTime<Utc>) -> Option<Self> {
        let left = self.times.iter().filter(|at| **at >= cut);
        let times: Vec<_> = left.copied().collect();
        Some(Self {
            since: *times.first()?,
            count: u32::try_from(times.len()).unwrap_or(u32::MAX),
            times,
            ..self.clone()
        })
    }
}

/// When the consumer last wrote or read, as far as the record tells.
pub fn last_consumer_activity(record: &Record) -> Option<DateTime<Utc>> {
    let wrote = record
        .messages
        .iter()
        .filter(|m| m.sent_by == Party::Consumer)
        .map(|m| m.at);
    let receipts = record.receipts.iter().flatten();
    let read = receipts
        .filter(|r| r.by == Party::Consumer && r.read)
        .filter_map(|r| r.at);
    wrote.chain(read).max()
}

/// What the consumer has left unread. `count_bots`: messages of bots count like those of people.
pub fn read_state(record: &Record, count_bots: bool) -> ReadState {
    let main = MainDialog::of(record);
    if !record.open || !main.open {
        return ReadState::Read(ReadReason::Closed);
    }
    if record.partial {
        return ReadState::Undecided;
    }

    let automatic: HashSet<&str> = record
        .agents
        .iter()
        .filter(|a| a.kind == AgentKind::System || (a.kind == AgentKind::Bot && !count_bots))
        .map(|a| a.id.as_str())
        .collect();
    let by_agent =
        |m: &&Message| m.sent_by == Party::Agent && !automatic.contains(m.participant.as_str());

    let visible = main.visible_messages();
    let Some(last) = visible.iter().rposition(by_agent) else {
        return ReadState::Read(ReadReason::NoAgentMessage);
    };
    let answer = visible.iter().rposition(|m| m.sent_by == Party::Consumer);
    if answer > Some(last) {
        return ReadState::Read(ReadReason::Answered);
    }
    let read_up_to = main.read_up_to();
    if read_up_to >= Some(visible[last].seq) {
        return ReadState::Read(ReadReason::Receipt);
    }

    let unread: Vec<&Message> = visible[answer.map_or(0, |a| a + 1)..=last]
        .iter()
        .copied()
        .filter(|m| by_agent(m) && Some(m.seq) > read_up_to)
        .collect();
    // Never empty: the last one has just been found to be neither answered nor read.
    let (first, last) = (unread[0], visible[last]);
    ReadState::Unread(Episode {
        first_message: first.id.clone(),
        since: first.at,
        last_message: last.id.clone(),
        last_at: last.at,
        count: u32::try_from(unread.len()).unwrap_or(u32::MAX),
        agent: display_name(record, &last.participant),
        times: unread.iter().map(|m| m.at).collect(),
    })
}

/// The part of a record that the consumer sees as *the* conversation. Surveys and the like are dialogs of their own.
struct MainDialog<'a> {
    record: &'a Record,
    /// Empty if the record does not name its main dialog: then it has the conversation's own id.
    ids: HashSet<&'a str>,
    open: bool,
}

impl<'a> MainDialog<'a> {
    fn of(record: &'a Record) -> Self {
        let listed = || record.dialogs.iter().flatten().filter(|d| d.main);
        let ids: HashSet<_> = listed().map(|d| d.id.as_str()).collect();
        let open = ids.is_empty() || listed().any(|d| d.open);
        Self { record, ids, open }
    }

    /// Old records know only the main dialog and do not name it.
    fn has(&self, dialog: Option<&str>) -> bool {
        match dialog {
            None => true,
            Some(id) if self.ids.is_empty() => id == self.record.id,
            Some(id) => self.ids.contains(id),
        }
    }

    fn messages(&self) -> impl Iterator<Item = &'a Message> {
        self.record
            .messages
            .iter()
            .filter(|m| self.has(m.dialog.as_deref()))
    }

    /// What the consumer can see, oldest first. The id makes the order total, so that LivePerson's own order never matters.
    fn visible_messages(&self) -> Vec<&'a Message> {
        let mut visible: Vec<_> = self.messages().filter(|m| m.public).collect();
        visible.sort_by_key(|m| (m.at, m.seq, m.id.as_str()));
        visible
    }

    /// The highest `seq` that the consumer has reported as read: reading a message implies having read those before it.
    /// A receipt names its message by id; only if the record lacks that message do the receipt's own dialog and `seq` count.
    fn read_up_to(&self) -> Option<i64> {
        let receipts = self.record.receipts.iter().flatten();
        let reads: Vec<&Receipt> = receipts
            .filter(|r| r.read && r.by == Party::Consumer)
            .collect();
        let read: HashSet<&str> = reads.iter().filter_map(|r| r.message.as_deref()).collect();
        let known: HashSet<&str> = self.record.messages.iter().map(|m| m.id.as_str()).collect();

        let by_id = self.messages().filter(|m| read.contains(m.id.as_str()));
        let by_seq = reads
            .iter()
            .filter(|r| !r.message.as_deref().is_some_and(|id| known.contains(id)))
            .filter(|r| self.has(r.dialog.as_deref()));
        by_id
            .map(|m| m.seq)
            .chain(by_seq.filter_map(|r| r.seq))
            .max()
    }
}

fn display_name(record: &Record, agent: &str) -> Option<String> {
    record
        .agents
        .iter()
        .filter(|a| a.id == agent)
        .find_map(|a| clean_name(a.nickname.as_deref()?))
}

#[cfg(test)]
mod tests;
