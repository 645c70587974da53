//! A reminder of a batch with what was found out about it.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::DeliveryBatch;
use super::check::LivePersonCheck;
use crate::db::ledger::{DueReminder, RecheckedReminder};
use crate::db::suppressions::AddressHash;
use crate::domain::channel::PerChannel;
use crate::domain::contact::{self, Contact};
use crate::domain::conversation::Record;
use crate::domain::decide::{Decision, Reason};
use crate::domain::ids::SkillId;
use crate::domain::local_time::LocalTime;
use crate::domain::read_state::{Episode, ReadState, read_state};
use crate::domain::rule::Rule;
use crate::domain::schedule;
use crate::domain::zone::Zone;
use crate::jobs::deliver::sender::{self, Sender};

/// A reminder with what was found out about it.
pub(super) struct Candidate<'a> {
    pub(super) owed: DueReminder,
    pub(super) turn: Option<Arc<Sender>>,
    pub(super) record: Option<&'a Record>,
    pub(super) contact: Option<Contact>,
    pub(super) hash: Option<AddressHash>,
    /// Of the consumer's addresses on all channels, this one's among them.
    pub(super) hashes: Vec<AddressHash>,
    pub(super) holdout_bucket: u8,
    pub(super) count_bots: bool,
    /// By whose clock the rule's hours are read.
    pub(super) local: LocalTime,
}

impl Candidate<'_> {
    /// Where the conversation is now, as far as that is known.
    pub(super) fn skill(&self) -> SkillId {
        self.record.map_or(self.owed.skill, |r| r.skill)
    }

    /// Finds the consumer's clock anew, and with it the deadline, from the record at hand. Without one, what is stored stands.
    pub(super) fn read_hours(&mut self, rule: Option<&Rule>, of_account: Zone, now: DateTime<Utc>) {
        let (Some(rule), Some(record)) = (rule, self.record) else {
            return;
        };
        let (settings, channel, due) = (&rule.settings, self.owed.channel, self.owed.due_at);
        let Some(place) = settings.place_of(self.owed.step, channel) else {
            return;
        };
        let address = self.contact.as_ref().map(|contact| &contact.address);
        self.local = LocalTime::new(
            record.time_zone,
            address,
            (settings, channel),
            of_account,
            now,
        );
        if let Some(episode) = self.episode(rule) {
            let deadline = if self.owed.restarted {
                self.local.deadline(settings, channel, due)
            } else {
                schedule::deadline(settings, place, &self.local, &episode, due)
            };
            self.owed.deadline = deadline.max(due);
        }
    }

    /// What is left unread of the episode that the reminder is about.
    fn episode(&self, rule: &Rule) -> Option<Episode> {
        match read_state(self.record?, self.count_bots) {
            ReadState::Unread(episode) if episode.first_message == self.owed.episode => {
                rule.concerns(self.owed.channel, &episode)
            }
            _ => None,
        }
    }

    /// The ids under which LivePerson knows the consumer.
    pub(super) fn consumers(&self) -> impl Iterator<Item = &str> {
        let ids = self.record.map_or(&[][..], |record| &record.consumer_ids);
        ids.iter().map(String::as_str)
    }

    /// What the ledger must be told of them; `None`: it knows, or it does not matter.
    pub(super) fn changed_hours(
        &self,
        stored: DateTime<Utc>,
        rule: Option<&Rule>,
        decision: &Decision,
    ) -> Option<RecheckedReminder> {
        let waits = matches!(decision, Decision::Postpone(_, Reason::QuietHours));
        let rule = rule.filter(|_| waits || stored != self.owed.deadline)?;
        Some(RecheckedReminder {
            reminder: self.owed.id,
            deadline: self.owed.deadline,
            latest_at: rule.latest_at(self.owed.channel, self.owed.due_at),
            local: self.local.clone(),
        })
    }

    pub(super) fn has_turn_of(&self, sender: &str) -> bool {
        let key = sender::key(self.owed.channel, sender);
        self.turn.as_ref().is_some_and(|of| of.key == key)
    }
}

impl DeliveryBatch<'_> {
    pub(super) fn candidate<'c>(
        &self,
        owed: DueReminder,
        turn: Option<Arc<Sender>>,
        checked: &'c LivePersonCheck,
    ) -> Candidate<'c> {
        let record = match checked {
            LivePersonCheck::Fresh { records, .. } => records.get(&owed.conversation),
            LivePersonCheck::Unchecked { .. } => None,
        };
        let mut contacts = PerChannel::of(|channel| {
            record.and_then(|r| contact::choose(&r.contact, channel, &self.account.contact_policy))
        });
        let hash = |contact: &Contact| self.ctx.hasher.address(&contact.address);
        let hashes = contacts
            .iter()
            .filter_map(|(_, contact)| contact.as_ref().map(hash))
            .collect();
        let contact = contacts[owed.channel].take();
        Candidate {
            record,
            hash: contact.as_ref().map(hash),
            contact,
            hashes,
            count_bots: self.account.count_bots,
            holdout_bucket: self.ctx.hasher.holdout_bucket(&owed.conversation),
            local: LocalTime::of_account(self.account.time_zone),
            turn,
            owed,
        }
    }
}
