//! What a conversation looked like at a moment.

use super::{Detail, Dialog, Key, Message, Party, value_at};
use crate::world::account::UNASSIGNED;

impl Detail {
    pub fn key_at(&self, as_of: i64) -> Key {
        let open = |dialog: &Dialog| {
            dialog.opened <= as_of && dialog.closed.is_none_or(|(at, _)| at > as_of)
        };
        let messages = self.messages.iter().map(|message| message.at);
        let ends = self
            .dialogs
            .iter()
            .filter_map(|dialog| dialog.closed.map(|(at, _)| at));
        let moves = self
            .skills
            .iter()
            .map(|(at, _)| *at)
            .chain(self.queue.iter().map(|(at, _)| *at));
        Key {
            skill: value_at(&self.skills, as_of).unwrap_or(UNASSIGNED),
            open: self
                .dialogs
                .iter()
                .any(|dialog| !dialog.survey && open(dialog)),
            any_open: self.dialogs.iter().any(open),
            in_queue: value_at(&self.queue, as_of).unwrap_or(false),
            updated: messages
                .chain(ends)
                .chain(moves)
                .filter(|at| *at <= as_of)
                .max()
                .unwrap_or(0),
        }
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
