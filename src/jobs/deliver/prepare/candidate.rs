//! A reminder of a batch with what was found out about it.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::DeliveryBatch;
use super::check::LivePersonCheck;
use crate::db::ledger::{DueReminder, RecheckedReminder};
use crate::db::suppressions::AddressHash;
use crate::domain::contact::{self, Contact};
use crate::domain::conversation::Record;
use crate::domain::decide::{Decision, Reason};
use crate::domain::ids::SkillId;
use crate::domain::local_time::LocalTime;
use crate::domain::rule::Rule;
use crate::domain::zone::Zone;
use crate::jobs::deliver::sender::{self, Sender};

/// A reminder with what was found out about it.
pub(super) struct Candidate<'a> {
    pub(super) owed: DueReminder,
    pub(super) turn: Option<Arc<Sender>>,
    pub(super) record: Option<&'a Record>,
    pub(super) contact: Option<Contact>,
    pub(super) hash: Option<AddressHash>,
    pub(super) holdout_bucket: u8,
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
        if let (Some(rule), Some(record)) = (rule, self.record) {
            let address = self.contact.as_ref().map(|contact| &contact.address);
            self.local = LocalTime::new(record.time_zone, address, &rule.settings, of_account, now);
            self.owed.deadline = self.local.deadline(rule, self.owed.due_at);
        }
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
            latest_at: rule.latest_at(self.owed.due_at),
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
        let contact = record
            .and_then(|r| contact::choose(&r.contact, owed.channel, &self.account.contact_policy));
        let hash = contact
            .as_ref()
            .map(|c| self.ctx.hasher.address(&c.address));
        Candidate {
            record,
            contact,
            hash,
            holdout_bucket: self.ctx.hasher.holdout_bucket(&owed.conversation),
            local: LocalTime::of_account(self.account.time_zone),
            turn,
            owed,
        }
    }
}
