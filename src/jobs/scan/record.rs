//! What a scan decides about one record. Stores nothing.

use chrono::{DateTime, Utc};

use crate::db::conversations::{ConversationSnapshot, Decided};
use crate::db::ledger::{EndedEpisode, ExistingReminder, NewReminder, Replaced};
use crate::domain::channel::PerChannel;
use crate::domain::contact::{self, Address};
use crate::domain::conversation::{Party, Record};
use crate::domain::decide::Reason;
use crate::domain::local_time::LocalTime;
use crate::domain::owed::{Installation, ScanAnswer, Scanned, scan_decision};
use crate::domain::read_state::{
    Episode, ReadReason, ReadState, ReadStatus, last_consumer_activity, read_state,
};
use crate::domain::rule::{self, Rule};
use crate::domain::schedule::DueStep;
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
    /// The reminder it owes next, if it is not written down yet.
    pub owed: Option<OwedReminder>,
    pub(super) active_at: Option<DateTime<Utc>>,
}

impl ReadRecord {
    /// What is stored. Whoever could be reached in an account without any rule is to be found by address too: the reason is kept.
    pub(super) fn snapshot(&self, hasher: &Hasher) -> ConversationSnapshot {
        let addresses = self
            .reached_at
            .map(|_, to| to.as_ref().map(|address| hasher.known_as(address)));
        let is_reachable = addresses.iter().any(|(_, known)| known.is_some());
        let mut snapshot = ConversationSnapshot {
            addresses,
            ..self.snapshot.clone()
        };
        let decided = &mut snapshot.decided;
        decided.reason = decided.reason.or(is_reachable.then_some(Reason::NoRule));
        snapshot
    }
}

/// What a scan decides about one record. Stores nothing.
pub fn read(
    account: &Account,
    installation: &Installation,
    rules: &[Rule],
    record: &Record,
    existing: &[ExistingReminder],
    now: DateTime<Utc>,
) -> ReadRecord {
    let state = read_state(record, account.count_bots);
    let contacts = PerChannel::of(|channel| {
        contact::choose(&record.contact, channel, &account.contact_policy)
    });
    let (word, episode) = match &state {
        ReadState::Read(_) => (ReadStatus::Read, None),
        ReadState::Unread(episode) => (ReadStatus::Unread, Some(episode)),
        ReadState::Undecided => (ReadStatus::Undecided, None),
    };
    let is_present =
        |e: &&ExistingReminder| episode.is_some_and(|episode| episode.first_message == e.episode);
    let of_episode: Vec<&ExistingReminder> = existing.iter().filter(is_present).collect();
    let done = of_episode
        .iter()
        .map(|e| e.of_step.done(&installation.waits, now));
    let rule = rule::pick(rules, record.skill);
    let decision = scan_decision(&Scanned {
        record,
        state: &state,
        rule,
        contacts: &contacts,
        configured: &installation.channels,
        done: &done.collect::<Vec<_>>(),
        time_zone: account.time_zone,
        now,
    });
    let mut owed = None;
    let (reason, step) = match decision.answer {
        ScanAnswer::Nothing(Reason::NoRule, _) if rules.is_empty() => (None, None),
        ScanAnswer::Nothing(reason, step) => (Some(reason), step),
        ScanAnswer::Trying(step, channel) => (Some(Reason::Scheduled), Some((step, channel))),
        ScanAnswer::Schedule {
            episode,
            due,
            local,
        } => {
            let to = contacts[due.channel]
                .as_ref()
                .map(|contact| contact.address.clone());
            let reminder = owe(record, rule, &of_episode, (&episode, due), local);
            owed = reminder.map(|reminder| OwedReminder { reminder, to });
            (Some(Reason::Scheduled), Some((due.step, due.channel)))
        }
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
        agent_wrote_at: record
            .messages
            .iter()
            .filter(|message| message.public && message.sent_by == Party::Agent)
            .map(|message| message.at)
            .max(),
        decided: Decided {
            reason,
            step,
            passed_over: decision.passed_over,
        },
        addresses: PerChannel::default(),
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

/// The reminder of a step that is due, unless it is written down as it is. `existing` are those of its episode.
fn owe(
    record: &Record,
    rule: Option<&Rule>,
    existing: &[&ExistingReminder],
    (episode, due): (&Episode, DueStep),
    local: LocalTime,
) -> Option<NewReminder> {
    let pending = existing.iter().find(|e| e.is_pending());
    if pending.is_some_and(|pending| !gives_way(pending, &due)) {
        return None;
    }
    // The step's own reminder, if it has one that is over.
    let before = existing
        .iter()
        .find(|e| e.of_step.step == due.step && !e.is_pending());
    if before.is_some_and(|before| before.of_step.channel != due.channel || !before.may_come_back())
    {
        return None;
    }
    Some(NewReminder {
        conversation: record.id.clone(),
        episode: episode.first_message.clone(),
        episode_since: episode.since,
        skill: record.skill,
        channel: due.channel,
        step: due.step,
        due_at: due.at,
        deadline: due.deadline,
        latest_at: rule.map_or(due.deadline, |rule| rule.latest_at(due.channel, due.at)),
        local,
        token: hashing::token(),
        recipient: None,
        instead_of: pending.map(|pending| Replaced {
            id: pending.id,
            step: pending.of_step.step,
            comes_back: before.is_some(),
        }),
    })
}

/// Whether a scheduled reminder that nobody has tried is to become the one that is due: of another step, or at another moment because the
/// rule was edited. That the agent goes on writing does not move it: who delivers it sees that.
fn gives_way(pending: &ExistingReminder, due: &DueStep) -> bool {
    let is_other = pending.of_step.step != due.step || pending.of_step.channel != due.channel;
    is_other || due.at < pending.due_at || pending.due_at < due.not_before
}

/// Why reminders of a conversation's earlier episodes are void.
fn end_of_episode(state: &ReadState) -> Reason {
    match state {
        ReadState::Read(reason) => (*reason).into(),
        ReadState::Unread(_) => Reason::NewEpisode,
        ReadState::Undecided => Reason::Undecided,
    }
}
