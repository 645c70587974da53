//! From "somebody should look at these reminders" to attempts that are committed, or to an answer why not.

mod batch_state;
mod begin;
mod candidate;
mod check;
mod decide;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};

use super::answers::BatchWrites;
use super::sender::Sender;
use super::turns::Admitted;
use super::{BatchFailed, record};
use crate::clock::Moment;
use crate::db;
use crate::db::ledger::DueReminder;
use crate::db::suppressions::AddressHash;
use crate::domain::contact::Contact;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, ReminderId, SkillId};
use crate::domain::read_state::Episode;
use crate::domain::rule::Rule;
use crate::jobs::context::{Account, Context};

use self::candidate::Candidate;
use self::check::LivePersonCheck;
use self::decide::postpone;

/// How soon a reminder is looked at again when LivePerson could not be asked.
const UNCHECKED_PAUSE: TimeDelta = TimeDelta::seconds(30);

/// How often a batch decides anew about those for whom something came between the decision and the beginning of the attempt.
const ROUNDS: usize = 3;

/// Everything a provider needs, committed as an attempt.
#[derive(Debug)]
pub struct Dispatch {
    pub owed: DueReminder,
    pub attempt: i64,
    pub contact: Contact,
    pub recipient: AddressHash,
    /// Of the consumer's addresses on other channels.
    pub others: Vec<AddressHash>,
    pub episode: Episode,
    pub rule: Rule,
    pub sender: String,
    pub language: Option<String>,
    pub skill_name: Option<String>,
    /// The deadline, or the beginning of the recipient's quiet hours if they come first.
    pub not_after: DateTime<Utc>,
    /// Not after the attempt's lease began: what the lease allows is counted from here.
    pub began: Moment,
    /// When LivePerson was asked about the conversation.
    pub asked: Moment,
    /// When it was looked last whether the recipient may be written to.
    pub cleared: Moment,
}

/// What became of a reminder that was looked at.
#[derive(Debug)]
pub enum Prepared {
    /// An attempt has begun.
    Begun(Box<Dispatch>),
    /// It is to be sent, by this sender, for whom it has no turn.
    WithoutTurn { sender: String },
    /// It is settled, or it waits.
    Nothing,
}

/// Prepares a batch of one account.
pub async fn prepare(
    ctx: Arc<Context>,
    account: AccountId,
    admitted: Vec<Admitted>,
) -> Vec<Result<Prepared, BatchFailed>> {
    let ids: Vec<ReminderId> = admitted.iter().map(|one| one.owed.id).collect();
    let result = match ctx.accounts.get(&account) {
        Some(account) => DeliveryBatch { ctx: &ctx, account }.run(admitted).await,
        None => Ok(HashMap::new()),
    };
    match result {
        Ok(mut prepared) => ids
            .iter()
            .map(|id| Ok(prepared.remove(id).unwrap_or(Prepared::Nothing)))
            .collect(),
        Err(error) => {
            let error = BatchFailed::from(error);
            ids.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

struct DeliveryBatch<'a> {
    ctx: &'a Arc<Context>,
    account: &'a Account,
}

impl DeliveryBatch<'_> {
    async fn run(&self, admitted: Vec<Admitted>) -> anyhow::Result<HashMap<ReminderId, Prepared>> {
        let mut conversations = Vec::with_capacity(admitted.len());
        let mut turns = HashMap::with_capacity(admitted.len());
        for one in admitted {
            conversations.push(one.owed.conversation);
            turns.insert(one.owed.id, (one.owed.next_at, one.turn));
        }
        let checked = self.check(conversations).await;
        self.decide_all(turns, &checked).await
    }

    /// Decides about every reminder of the batch and commits the answers, attempts included, in one transaction.
    ///
    /// One whose `next_at` has changed since it was admitted is left alone: another worker has had it in hand meanwhile, and has said when
    /// it is due again. LivePerson was asked before that, and may have told the other one something newer.
    async fn decide_all(
        &self,
        mut turns: HashMap<ReminderId, (DateTime<Utc>, Option<Arc<Sender>>)>,
        checked: &LivePersonCheck,
    ) -> anyhow::Result<HashMap<ReminderId, Prepared>> {
        let ctx = self.ctx;
        let began = Moment::now();
        let pool = &ctx.pool;
        let mut tx = pool
            .begin()
            .await
            .context("opening a transaction for a batch")?;
        let ids: Vec<ReminderId> = turns.keys().copied().collect();
        let owed = db::ledger::lock_owed(&mut *tx, &ids, ctx.clock.instead_of_database())
            .await
            .context("locking reminders")?;
        let mut candidates: Vec<Candidate> = owed
            .into_iter()
            .filter_map(|o| {
                let (next_at, turn) = turns.remove(&o.id)?;
                (o.next_at == next_at).then(|| self.candidate(o, turn, checked))
            })
            .collect();
        candidates.sort_by_key(|c| (c.owed.due_at, c.owed.id));
        let skills: BTreeSet<SkillId> = candidates.iter().map(Candidate::skill).collect();
        let skills: Vec<SkillId> = skills.into_iter().collect();
        let rules = ctx.rules_for(&mut tx, self.account, &skills).await?;
        let mut found = BatchProgress {
            began,
            now: ctx.clock.now(),
            answers: BatchWrites::default(),
            prepared: HashMap::new(),
        };
        for _ in 0..ROUNDS {
            if candidates.is_empty() {
                break;
            }
            let decided = self
                .decide(&mut tx, candidates, &rules, checked, found.now)
                .await?;
            let asked = checked.asked().unwrap_or(began);
            candidates = self.begin(&mut tx, decided, asked, &mut found).await?;
        }
        for candidate in candidates {
            let owed = candidate.owed;
            let later = postpone(
                found.now + UNCHECKED_PAUSE,
                owed.deadline,
                Reason::Unchecked,
            );
            found.answers.other(&owed, &later);
        }
        let BatchProgress {
            answers,
            prepared,
            now,
            ..
        } = found;
        answers.write(&mut tx, ctx, self.account, now).await?;
        if let Err(error) = tx.commit().await {
            // Perhaps only the answer was lost. Then these attempts are begun, and nobody makes them.
            let unmade = prepared.into_values().filter_map(|one| match one {
                Prepared::Begun(dispatch) => Some(*dispatch),
                Prepared::WithoutTurn { .. } | Prepared::Nothing => None,
            });
            tokio::spawn(record::take_back(self.ctx.clone(), unmade.collect(), now));
            return Err(error).context("committing a batch");
        }
        Ok(prepared)
    }
}

/// What a batch has come to so far.
struct BatchProgress {
    /// Not after the leases of its attempts begin.
    began: Moment,
    now: DateTime<Utc>,
    answers: BatchWrites,
    prepared: HashMap<ReminderId, Prepared>,
}
