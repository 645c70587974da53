//! Begins the attempts of those that are to be sent, and makes up what their providers need.

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use sqlx::PgConnection;

use super::candidate::Candidate;
use super::{BatchProgress, DeliveryBatch, Dispatch, Prepared};
use crate::channel::render;
use crate::clock::Moment;
use crate::db;
use crate::db::ledger::NewAttempt;
use crate::db::suppressions::AddressHash;
use crate::domain::channel::UnknownPolicy;
use crate::domain::contact::Contact;
use crate::domain::conversation::Record;
use crate::domain::decide::Decision;
use crate::domain::ids::ReminderId;
use crate::domain::read_state::Episode;
use crate::domain::rule::Rule;
use crate::jobs::context::Context;

impl DeliveryBatch<'_> {
    /// Begins the attempts of those that are to be sent, and notes the other answers. Returns those that were not allowed to begin: an
    /// opt-out or a pause came between.
    pub(super) async fn begin<'c>(
        &self,
        tx: &mut PgConnection,
        decided: Vec<DecidedReminder<'c>>,
        asked: Moment,
        found: &mut BatchProgress,
    ) -> anyhow::Result<Vec<Candidate<'c>>> {
        let asked_for: Vec<NewAttempt> =
            decided.iter().filter_map(DecidedReminder::begin).collect();
        let cleared = Moment::now();
        let attempts: HashMap<ReminderId, i64> =
            db::ledger::begin(tx, &asked_for, &self.ctx.heartbeat_status.mark(), found.now)
                .await
                .context("beginning attempts")?
                .into_iter()
                .collect();
        let asked_for: HashSet<ReminderId> = asked_for.into_iter().map(|b| b.reminder).collect();
        let mut refused = Vec::new();
        for decided in decided {
            let owed = &decided.candidate.owed;
            let attempt = attempts.get(&owed.id).copied();
            if attempt.is_none() && asked_for.contains(&owed.id) {
                refused.push(decided.candidate);
                continue;
            }
            let (account, channel) = (&owed.account, owed.channel);
            match (attempt, &decided.decision) {
                (None, Decision::Send(_)) => {
                    let sender = decided.sender;
                    let without = Prepared::WithoutTurn { sender };
                    found.prepared.insert(owed.id, without);
                }
                (None, decision) => {
                    self.ctx.metrics.decided_on(account, channel, decision);
                    found.answers.other(owed, decision);
                }
                (Some(attempt), decision) => {
                    self.ctx.metrics.decided_on(account, channel, decision);
                    let (id, known) = (owed.id, (asked, cleared));
                    if let Some(dispatch) = Self::dispatch(decided, attempt, known, found) {
                        let prepared = Prepared::Begun(Box::new(dispatch));
                        found.prepared.insert(id, prepared);
                    }
                }
            }
        }
        Ok(refused)
    }

    /// What the provider needs for a reminder whose attempt has begun.
    fn dispatch(
        decided: DecidedReminder<'_>,
        attempt: i64,
        (asked, cleared): (Moment, Moment),
        found: &BatchProgress,
    ) -> Option<Dispatch> {
        let now = found.now;
        let AttemptParts {
            contact,
            rule,
            record,
            recipient,
            episode,
        } = decided.parts()?;
        let channel = decided.candidate.owed.channel;
        let hours = decided
            .candidate
            .local
            .hours(&rule.settings.channels[channel]);
        let not_after = hours.allowed_until(now, decided.candidate.owed.deadline);
        Some(Dispatch {
            attempt,
            contact: contact.clone(),
            recipient,
            others: decided.others(),
            episode: episode.clone(),
            rule: rule.clone(),
            language: record.language.clone(),
            skill_name: record.skill_name.clone(),
            not_after,
            began: found.began,
            asked,
            cleared,
            sender: decided.sender,
            owed: decided.candidate.owed,
        })
    }
}

/// A reminder with the answer.
pub(super) struct DecidedReminder<'a> {
    pub(super) candidate: Candidate<'a>,
    pub(super) rule: Option<&'a Rule>,
    pub(super) sender: String,
    pub(super) decision: Decision,
    /// What it is about, if it is to be sent.
    pub(super) episode: Option<Episode>,
    /// Nothing of its episode was, or may have been, sent before.
    pub(super) first: bool,
}

/// What an attempt is made of.
struct AttemptParts<'a> {
    contact: &'a Contact,
    rule: &'a Rule,
    record: &'a Record,
    recipient: AddressHash,
    episode: &'a Episode,
}

impl DecidedReminder<'_> {
    fn parts(&self) -> Option<AttemptParts<'_>> {
        let Decision::Send(contact) = &self.decision else {
            return None;
        };
        Some(AttemptParts {
            contact,
            rule: self.rule?,
            record: self.candidate.record?,
            recipient: self.candidate.hash?,
            episode: self.episode.as_ref()?,
        })
    }

    /// Of the consumer's addresses on other channels.
    fn others(&self) -> Vec<AddressHash> {
        let own = self.candidate.hash;
        let others = self.candidate.hashes.iter().copied();
        others.filter(|hash| Some(*hash) != own).collect()
    }

    /// The attempt, if it is to be sent and has a turn.
    fn begin(&self) -> Option<NewAttempt> {
        let AttemptParts {
            contact,
            rule,
            recipient,
            record,
            ..
        } = self.parts()?;
        let owed = &self.candidate.owed;
        let own = &rule.settings.channels[owed.channel];
        if !self.candidate.has_turn_of(&self.sender) {
            return None;
        }
        Some(NewAttempt {
            reminder: owed.id,
            rule_skill: rule.key().skill,
            sender: self.sender.clone(),
            // What is unknown is settled by asking the provider what went to this address, where it can be asked.
            address: (owed.channel.profile().unknown == UnknownPolicy::Settled)
                .then(|| contact.address.expose().to_owned()),
            recipient,
            others: self.others(),
            first: self.first,
            language: render::language_for(own, record.language.as_deref()).to_owned(),
            lease: Context::lease(owed.channel),
        })
    }
}
