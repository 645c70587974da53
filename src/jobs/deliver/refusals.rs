//! Looks at refusals that name their recipients together, over all workers, before they are recorded: whose fault they are.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::record::FinishedAttempt;
use crate::channel;
use crate::db;
use crate::db::decisions::NewDecision;
use crate::db::refusals::NewRefusal;
use crate::domain::decide::{Reason, Stage, Verdict};
use crate::domain::ids::{Channel, Provider, ReminderId};
use crate::domain::outcome::{Outcome, Refusal, Retryable};
use crate::domain::refusals::{LONGEST, RUN, RecordedRefusal, RefusalKind, is_run, shared_policy};
use crate::jobs::context::Context;
use crate::jobs::names::{self, DueDelivery};
use crate::jobs::queue::When;

/// How long a sender pauses whose refusals are about us.
const PAUSE: TimeDelta = TimeDelta::minutes(1);

/// What comes of looking at them together.
#[derive(Default)]
pub struct RefusalReview {
    /// Those of the batch (by their place) that are ours although they name the recipient.
    pub ours: BTreeSet<usize>,
    /// Senders to be paused, why, and until when.
    pub paused: Vec<(Channel, String, String, DateTime<Utc>)>,
}

impl RefusalReview {
    /// The outcome to be recorded for the batch's attempt at `place`.
    pub fn outcome(&self, place: usize, said: &Outcome) -> Outcome {
        if self.ours.contains(&place) {
            Outcome::NotAccepted {
                class: Retryable::Config,
                code: RUN.to_owned(),
                retry_after: None,
            }
        } else {
            said.clone()
        }
    }
}

/// Reviews a batch. Costs nothing where nobody was refused.
pub async fn review(
    tx: &mut PgConnection,
    ctx: &Context,
    done: &[FinishedAttempt],
    now: DateTime<Utc>,
) -> anyhow::Result<RefusalReview> {
    let mut senders: BTreeMap<(Channel, &str), Vec<usize>> = BTreeMap::new();
    for (place, one) in done.iter().enumerate() {
        let channel = one.dispatch.owed.channel;
        if channel::profile(channel.provider()).blames_recipients {
            let sender = (channel, one.dispatch.sender.as_str());
            senders.entry(sender).or_default().push(place);
        }
    }
    let mut reviewed = RefusalReview::default();
    for ((channel, sender), places) in senders {
        let accepted = |place: &&usize| matches!(done[**place].outcome, Outcome::Accepted { .. });
        let last_accepted = places.iter().filter(accepted).max().copied();
        let refused: Vec<(usize, RefusalKind)> = places
            .into_iter()
            .filter(|place| Some(*place) > last_accepted)
            .filter_map(|place| Some((place, kind(&done[place].outcome)?)))
            .collect();
        if !refused.is_empty() {
            let of_sender = OfSender {
                ctx,
                channel,
                sender,
                done,
                refused,
                now,
            };
            of_sender
                .review(tx, last_accepted.is_some(), &mut reviewed)
                .await?;
        }
    }
    Ok(reviewed)
}

fn kind(outcome: &Outcome) -> Option<RefusalKind> {
    match outcome {
        Outcome::Refused {
            class: Refusal::BadRecipient,
            ..
        } => Some(RefusalKind::BadAddress),
        Outcome::NotAccepted {
            class: Retryable::RecipientPolicy,
            ..
        } => Some(RefusalKind::Policy),
        _ => None,
    }
}

/// Refusals of a batch through one sender.
struct OfSender<'a> {
    ctx: &'a Context,
    channel: Channel,
    sender: &'a str,
    done: &'a [FinishedAttempt],
    /// Those refused since the batch's last acceptance, by their place.
    refused: Vec<(usize, RefusalKind)>,
    now: DateTime<Utc>,
}

impl OfSender<'_> {
    fn key(&self) -> (Provider, &str) {
        (self.channel.provider(), self.sender)
    }

    async fn review(
        &self,
        tx: &mut PgConnection,
        after_accepted: bool,
        reviewed: &mut RefusalReview,
    ) -> anyhow::Result<()> {
        db::refusals::lock(tx, self.key()).await?;
        if after_accepted {
            db::refusals::accepted(tx, self.key(), self.now).await?;
        }
        let new: Vec<NewRefusal<'_>> = self.refused.iter().map(|new| self.row(*new)).collect();
        db::refusals::add(tx, self.key(), &new, self.now).await?;
        let rows = db::refusals::unsettled(tx, self.key(), self.now - LONGEST).await?;
        let met: Vec<RecordedRefusal> = rows.iter().map(|row| row.refused.clone()).collect();
        let of_kind = |kind| {
            let of_kind = rows.iter().filter(move |row| row.refused.kind == kind);
            of_kind.map(|row| row.reminder).collect::<Vec<_>>()
        };
        let is_run = is_run(&met, self.now)
            // It goes on while nobody gets through.
            || db::circuits::code(&mut *tx, self.key()).await?.as_deref() == Some(RUN);
        if is_run {
            self.take_over(tx, of_kind(RefusalKind::BadAddress), reviewed)
                .await?;
        }
        if let Some(code) = shared_policy(&met, self.now) {
            db::refusals::settle(tx, &of_kind(RefusalKind::Policy)).await?;
            let (sender, code) = (self.sender.to_owned(), code.to_owned());
            let paused = (self.channel, sender, code, self.now + PAUSE);
            reviewed.paused.push(paused);
        }
        Ok(())
    }

    fn row(&self, (place, kind): (usize, RefusalKind)) -> NewRefusal<'_> {
        let FinishedAttempt { dispatch, outcome } = &self.done[place];
        NewRefusal {
            reminder: dispatch.owed.id,
            kind,
            domain: self.ctx.hasher.mail_domain(&dispatch.contact.address),
            code: outcome.code(),
        }
    }

    /// Makes a run of bad addresses ours: those of the batch are not recorded as bad, those before it are taken back.
    async fn take_over(
        &self,
        tx: &mut PgConnection,
        run: Vec<ReminderId>,
        reviewed: &mut RefusalReview,
    ) -> anyhow::Result<()> {
        let bad = |(_, kind): &&(usize, RefusalKind)| *kind == RefusalKind::BadAddress;
        let places = self.refused.iter().filter(bad).map(|(place, _)| *place);
        let places: BTreeSet<usize> = places.collect();
        let here = places
            .iter()
            .map(|place| self.done[*place].dispatch.owed.id);
        let here: Vec<ReminderId> = here.collect();
        let (mut settled, before): (Vec<_>, Vec<_>) =
            run.into_iter().partition(|id| here.contains(id));
        self.take_back(tx, &before, self.now + PAUSE).await?;
        settled.extend(before);
        settled.extend(here);
        db::refusals::settle(tx, &settled).await?;
        reviewed.ours.extend(places);
        Ok(())
    }

    /// Undoes what earlier refusals of a run have done: their addresses may be written to again, and their reminders wait for the sender.
    async fn take_back(
        &self,
        tx: &mut PgConnection,
        reminders: &[ReminderId],
        until: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        if reminders.is_empty() {
            return Ok(());
        }
        let freed = db::refusals::free(tx, reminders).await?;
        // What would have come in their place comes after them.
        db::ledger::lock_conversations(tx, reminders).await?;
        let beside = db::ledger::pending_beside(&mut *tx, reminders).await?;
        db::ledger::supersede(tx, &beside, self.now).await?;
        let again = db::refusals::reschedule(tx, reminders, until).await?;
        tracing::warn!(
            freed,
            rescheduled = again.len(),
            "Addresses were called bad one after the other: they are free again"
        );
        let entries: Vec<NewDecision> = again
            .iter()
            .map(|(id, _)| NewDecision {
                reminder: *id,
                verdict: Verdict::Postpone,
                reason: Reason::CircuitOpen,
                until: Some(until),
            })
            .collect();
        db::decisions::log(tx, Stage::Deliver, &entries, self.now).await?;
        let deliveries = again.iter().map(|(reminder, account)| DueDelivery {
            channel: self.channel,
            account,
            reminder: *reminder,
            at: until,
        });
        names::schedule_deliveries(tx, &self.ctx.clock, When::At, deliveries).await?;
        Ok(())
    }
}
