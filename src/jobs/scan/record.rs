//! What a scan decides about one record. Stores nothing.

use chrono::{DateTime, Utc};

use crate::db::conversations::{ConversationSnapshot, Decided};
use crate::db::ledger::{EndedEpisode, ExistingReminder, NewReminder};
use crate::domain::channel::PerChannel;
use crate::domain::contact::{self, Address, Contact};
use crate::domain::conversation::Record;
use crate::domain::decide::Reason;
use crate::domain::ids::Channel;
use crate::domain::owed::{ScanDecision, Scanned, scan_decision};
use crate::domain::read_state::{
    ReadReason, ReadState, ReadStatus, last_consumer_activity, read_state,
};
use crate::domain::rule::{self, Rule};
use crate::hashing::{self, Hasher};
use crate::jobs::context::Account;

/// A reminder that is owed, and to whom as things are.
pub struct OwedReminder {
    pub reminder: NewReminder,
    pub(super) to: Option<Address>,
}

/// What one record means for the database.
pub struct ReadRecord {
    pub snapshot: ConversationSnapshot,
    /// Where the consumer can be reached.
    pub(super) reached_at: PerChannel<Option<Address>>,
    pub(super) ended: EndedEpisode,
    /// The reminders it owes, at most one per channel.
    pub owed: Vec<OwedReminder>,
    pub(super) active_at: Option<DateTime<Utc>>,
}

impl ReadRecord {
    /// What is stored. Whoever could be reached on a channel without any rule is to be found by address too: the reason is kept.
    pub(super) fn snapshot(&self, hasher: &Hasher) -> ConversationSnapshot {
        let decided = |channel, to: &Option<Address>| {
            let to = to.as_ref().map(|address| hasher.known_as(address));
            let reason = self.snapshot.decided[channel].reason;
            Decided {
                reason: reason.or(to.map(|_| Reason::NoRule)),
                to,
            }
        };
        ConversationSnapshot {
            decided: self.reached_at.map(decided),
            ..self.snapshot.clone()
        }
    }
}

/// What a scan decides about one record. Stores nothing.
pub fn read(
    account: &Account,
    rules: &[Rule],
    record: &Record,
    existing: &[ExistingReminder],
    now: DateTime<Utc>,
) -> ReadRecord {
    let state = read_state(record, account.count_bots);
    let contact = |channel| contact::choose(&record.contact, channel, &account.contact_policy);
    let mut owed = Vec::new();
    let mut decide = |channel: Channel, contact: Option<&Contact>| -> Option<Reason> {
        let rule = rule::pick(rules, record.skill, channel);
        if rule.is_none() && !rules.iter().any(|r| r.channel == channel) {
            return None;
        }
        let episode = match &state {
            ReadState::Unread(episode) => Some(episode.first_message.as_str()),
            _ => None,
        };
        let of_episode = || {
            existing
                .iter()
                .filter(|e| e.channel == channel && Some(e.episode.as_str()) == episode)
        };
        if of_episode().any(|e| e.pending) {
            return Some(Reason::Scheduled);
        }
        let done: Vec<i16> = of_episode().map(|e| e.step).collect();
        let scanned = Scanned {
            record,
            state: &state,
            rule,
            contact,
            done: &done,
            time_zone: account.time_zone,
            now,
        };
        match scan_decision(&scanned) {
            ScanDecision::None(reason) => Some(reason),
            ScanDecision::Schedule {
                episode,
                due,
                local,
            } => {
                let reminder = NewReminder {
                    conversation: record.id.clone(),
                    episode: episode.first_message.clone(),
                    episode_since: episode.since,
                    skill: record.skill,
                    channel,
                    step: due.step,
                    due_at: due.at,
                    deadline: due.deadline,
                    latest_at: rule.map_or(due.deadline, |rule| rule.latest_at(due.at)),
                    local,
                    token: hashing::token(),
                    recipient: None,
                };
                let to = contact.map(|contact| contact.address.clone());
                owed.push(OwedReminder { reminder, to });
                Some(Reason::Scheduled)
            }
        }
    };
    let contacts = PerChannel::of(contact);
    let decided = contacts.map(|channel, contact| Decided {
        reason: decide(channel, contact.as_ref()),
        to: None,
    });
    let (word, episode) = match &state {
        ReadState::Read(_) => (ReadStatus::Read, None),
        ReadState::Unread(episode) => (ReadStatus::Unread, Some(episode)),
        ReadState::Undecided => (ReadStatus::Undecided, None),
    };
    let snapshot = ConversationSnapshot {
        id: record.id.clone(),
        skill: record.skill,
        started_at: record.started_at,
        closed_at: record.ended_at,
        open: record.open && state != ReadState::Read(ReadReason::Closed),
        read_state: word,
        episode: episode.map(|e| e.first_message.clone()),
        unread_since: episode.map(|e| e.since),
        unread_count: episode.map_or(0, |e| e.count),
        time_zone: record.time_zone.map(|zone| zone.to_string()),
        language: record.language.clone(),
        consumer_ids: record.consumer_ids.clone(),
        customer_id: record.customer_id.clone(),
        decided,
    };
    let ended = EndedEpisode {
        conversation: record.id.clone(),
        present: snapshot.episode.clone(),
        reason: end_of_episode(&state),
    };
    ReadRecord {
        snapshot,
        reached_at: contacts.map(|_, contact| contact.as_ref().map(|c| c.address.clone())),
        ended,
        owed,
        active_at: last_consumer_activity(record),
    }
}

/// Why reminders of a conversation's earlier episodes are void.
fn end_of_episode(state: &ReadState) -> Reason {
    match state {
        ReadState::Read(reason) => (*reason).into(),
        ReadState::Unread(_) => Reason::NewEpisode,
        ReadState::Undecided => Reason::Undecided,
    }
}
