//! Turns under the providers' limits: who may go to its provider within the next moment, and who comes back later.
//!
//! Before anything is asked about a reminder: what is known about the consumer shall be fresh when the message leaves, so the waiting
//! comes first. A turn is given for the next second only. Who gets none waits in the ledger, not in a worker's slot: it is
//! lined up for about the moment at which there will be a turn, and called up earlier when others turn out not to need theirs.

mod allocation;
mod later;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::BatchFailed;
use super::sender::{Sender, SenderRegistry};
use crate::db;
use crate::db::ledger::DueReminder;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::rule;
use crate::jobs::context::{Account, Context};

use self::allocation::SenderDemand;

/// A question to the line.
#[derive(Debug)]
pub enum TurnRequest {
    /// A turn for this reminder. `sender` is who it comes from, if somebody has looked already.
    Turn {
        reminder: ReminderId,
        sender: Option<String>,
    },
    /// Call up who is lined up: a turn has been used, or (`given_back`) somebody who was let in does not need one.
    CallUp {
        channel: Channel,
        sender: String,
        given_back: bool,
    },
}

/// A reminder that may be looked at now.
#[derive(Debug)]
pub struct Admitted {
    pub owed: DueReminder,
    /// Who it would come from.
    pub sender: String,
    /// It has a turn under that sender's limit. If not: as far as is known it is not to be sent, which the re-check will confirm.
    pub turn: Option<Arc<Sender>>,
}

pub type TurnAdmission = Result<Option<Box<Admitted>>, BatchFailed>;

/// Gives turns to a batch of one account. `None` for reminders that need nothing now: settled meanwhile, or lined up.
pub async fn admit(
    ctx: Arc<Context>,
    senders: Arc<SenderRegistry>,
    account: AccountId,
    asks: Vec<TurnRequest>,
) -> Vec<TurnAdmission> {
    let result = match ctx.accounts.get(&account) {
        Some(account) => {
            TurnRound {
                ctx: &ctx,
                senders: &senders,
                account,
                now: ctx.clock.now(),
            }
            .run(&asks)
            .await
        }
        None => Ok(HashMap::new()),
    };
    match result {
        Ok(mut admitted) => asks
            .iter()
            .map(|ask| match ask {
                TurnRequest::Turn { reminder, .. } => Ok(admitted.remove(reminder).map(Box::new)),
                TurnRequest::CallUp { .. } => Ok(None),
            })
            .collect(),
        Err(error) => {
            let error = BatchFailed::from(error);
            asks.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

struct TurnRound<'a> {
    ctx: &'a Context,
    senders: &'a SenderRegistry,
    account: &'a Account,
    now: DateTime<Utc>,
}

type BySender = BTreeMap<(Channel, String), SenderDemand>;

impl TurnRound<'_> {
    async fn run(&self, asks: &[TurnRequest]) -> anyhow::Result<HashMap<ReminderId, Admitted>> {
        let mut known: HashMap<ReminderId, Option<&String>> = HashMap::new();
        let mut wanting = BySender::new();
        for ask in asks {
            match ask {
                TurnRequest::Turn { reminder, sender } => {
                    known.insert(*reminder, sender.as_ref());
                }
                TurnRequest::CallUp {
                    channel,
                    sender,
                    given_back,
                } => {
                    let wanted = wanting.entry((*channel, sender.clone())).or_default();
                    wanted.given_back += usize::from(*given_back);
                }
            }
        }
        let ids: Vec<ReminderId> = known.keys().copied().collect();
        let at = self.ctx.clock.instead_of_database();
        let owed = db::ledger::owed(&self.ctx.pool, &ids, at)
            .await
            .context("reading reminders")?;
        let mut admitted = HashMap::new();
        if owed.is_empty() && wanting.is_empty() {
            return Ok(admitted);
        }
        let mut tx = self
            .ctx
            .pool
            .begin()
            .await
            .context("opening a transaction for turns")?;
        db::without_waiting_for_the_disk(&mut tx).await?;
        for (owed, sender, wants) in self.foresee(&mut tx, owed, &known).await? {
            if wants {
                let key = (owed.channel, sender);
                wanting.entry(key).or_default().waiting.push(owed);
            } else {
                let (turn, id) = (None, owed.id);
                admitted.insert(id, Admitted { owed, sender, turn });
            }
        }
        for ((channel, sender), wanted) in wanting {
            let given = self.give(&mut tx, channel, &sender, wanted).await?;
            admitted.extend(given.into_iter().map(|one| (one.owed.id, one)));
        }
        // If only the answer is lost, some turns are granted that nobody uses.
        tx.commit().await.context("committing turns")?;
        Ok(admitted)
    }

    /// Who each would come from, and whether it is to be sent as far as is known without asking LivePerson. What came too early (a due
    /// moment was moved, a clock set) is put back.
    async fn foresee(
        &self,
        tx: &mut PgConnection,
        owed: Vec<DueReminder>,
        known: &HashMap<ReminderId, Option<&String>>,
    ) -> anyhow::Result<Vec<(DueReminder, String, bool)>> {
        let (early, owed): (Vec<DueReminder>, Vec<DueReminder>) =
            owed.into_iter().partition(|o| o.early);
        let back = early.iter().map(|o| (o.channel, o.id, o.next_at));
        self.schedule(tx, back.collect()).await?;
        if owed.is_empty() {
            return Ok(Vec::new());
        }
        let mut skills: Vec<SkillId> = owed.iter().map(|o| o.skill).collect();
        skills.sort_unstable();
        skills.dedup();
        let rules = self.ctx.rules_for(tx, self.account, &skills).await?;
        let pauses = db::pauses::all(&mut *tx).await?;
        let seen = self.ctx.heartbeat_status.mark();
        let gate = db::holds::gate(&mut *tx, &seen.process).await?;
        let circuits = db::circuits::open_ones(&mut *tx).await?;
        let silent = self.account.paused().is_some();
        Ok(owed
            .into_iter()
            .map(|owed| {
                if let Some(Some(sender)) = known.get(&owed.id) {
                    return (owed, (*sender).clone(), true);
                }
                let rule = rule::pick(&rules, owed.skill).filter(|r| r.enabled);
                let Some(rule) = rule else {
                    return (owed, String::new(), false);
                };
                let sender = self.ctx.sender(rule, owed.channel);
                let provider = owed.channel.provider();
                let open = |c: &db::circuits::Circuit| c.provider == provider && c.sender == sender;
                let wants = !silent
                    && self.now < owed.deadline
                    && !gate.holds(owed.due_at, seen.counter)
                    && !pauses
                        .iter()
                        .any(|pause| pause.scope.holds(&rule.key(), owed.channel))
                    && !circuits.iter().any(open);
                (owed, sender, wants)
            })
            .collect())
    }
}
