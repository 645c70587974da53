//! What a conversation looked like at a moment.

use super::{Detail, Dialog, Key, Message, Party, value_at};
use crate::world::account::UNASSIGNED;

impl Detail {
    pub fn key_at(&self, as_of: i64) -> Key {
        let open = |dialog: &Dialog| {
            dialog.opened <= as_of && dialog.closed.is_none_or(|(at, _)| at > as_of)
        };
        Key {
            skill: value_at(&self.skills, as_of).unwrap_or(UNASSIGNED),
            open: self
                .dialogs
                .iter()
                .any(|dialog| !dialog.survey && open(dialog)),
            any_open: self.dialogs.iter().any(open),
            in_queue: value_at(&self.queue, as_of).unwrap_or(false),
            updated: self.updated_at(as_of, false, |_| false),
        }
    }

    /// The newest update of that time. Whether receipts are updates, and which agent messages are not, is the caller's.
    pub fn updated_at(&self, as_of: i64, receipts: bool, is_missed: impl Fn(usize) -> bool) -> i64 {
        let messages = self.messages.iter().enumerate();
        let messages = messages
            .filter(|(place, message)| message.by_consumer() || !is_missed(*place))
            .map(|(_, message)| message.at);
        let ends = self.dialogs.iter();
        let ends = ends.filter_map(|dialog| dialog.closed.map(|(at, _)| at));
        let moves = self.skills.iter().map(|(at, _)| *at);
        let moves = moves.chain(self.queue.iter().map(|(at, _)| *at));
        let reads = self.receipts.iter().filter(|_| receipts).map(|r| r.at);
        let updates = messages.chain(ends).chain(moves).chain(reads);
        updates.filter(|at| *at <= as_of).max().unwrap_or(0)
    }

    /// The newest message of a human agent that the consumer can see.
    fn last_agent_message(&self, as_of: i64) -> Option<(usize, &Message)> {
        let messages = self.messages.iter().enumerate();
        messages
            .filter(|(_, m)| m.at <= as_of && m.dialog == 0 && !m.private && m.by_human())
            .max_by_key(|(_, m)| (m.at, m.seq))
    }

    /// When the consumer read or answered the newest human agent's message of that time.
    pub fn seen_at(&self, as_of: i64) -> Option<i64> {
        let (place, last) = self.last_agent_message(as_of)?;
        let read = self.receipts.iter().filter(|receipt| {
            matches!(receipt.by, Party::Consumer(_))
                && receipt.status == "READ"
                && receipt.message == place
        });
        let answered = self
            .messages
            .iter()
            .filter(|m| m.by_consumer() && m.dialog == 0 && (m.at, m.seq) > (last.at, last.seq));
        let seen = read.map(|receipt| receipt.at).chain(answered.map(|m| m.at));
        seen.filter(|at| *at <= as_of).min()
    }

    pub fn unread_at(&self, as_of: i64) -> bool {
        self.key_at(as_of).open
            && self.last_agent_message(as_of).is_some()
            && self.seen_at(as_of).is_none()
    }

    pub fn closed_at(&self) -> Option<i64> {
        self.dialogs
            .iter()
            .filter(|dialog| !dialog.survey)
            .find_map(|d| d.closed.map(|(at, _)| at))
    }
}
