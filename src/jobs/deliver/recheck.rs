//! The re-check before a message leaves: whether what the attempt was decided by still holds.
//!
//! Between the decision and the first byte lie the rest of the turn and the provider's own slowness, and a process may stand still at any
//! moment. So right before the bytes leave, the ages of what is known are looked at, and what has grown old is asked about again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::BoxFuture;

use super::BatchFailed;
use super::prepare::Dispatch;
use super::record::UNMADE_PAUSE;
use crate::batch::Batcher;
use crate::channel;
use crate::clock::Moment;
use crate::db;
use crate::db::ledger::{BegunAttempt, Forbidden};
use crate::domain::ids::{AccountId, Channel};
use crate::domain::outcome::{Outcome, Refusal};
use crate::domain::read_state::{ReadState, read_state};
use crate::jobs::context::Context;
use crate::liveperson::MAX_IDS;
use crate::standstill;

/// LivePerson's answer is at most so old when the message leaves.
const FRESH: Duration = Duration::from_secs(2);

/// It is asked for again a little earlier: the answer to the mail server's next command is still to come.
const ASK_AGAIN: Duration = Duration::from_millis(1_500);

/// An opt-out that was committed longer ago than this is seen.
const CLEAR: Duration = Duration::from_millis(400);

/// How long LivePerson and the database may take to answer once more.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often is asked again: who is slower than what it says stays true cannot be waited for.
const ROUNDS: usize = 3;

/// An attempt that was begun so long ago is not made any more.
fn stale(channel: Channel) -> Duration {
    channel::profile(channel.provider()).stale
}

/// What LivePerson says about one conversation by now, and when it was asked.
#[derive(Clone, Debug)]
pub struct RecheckedConversation {
    asked: Moment,
    /// The conversation's unread episode by its first message, if it is unread; nothing if that cannot be said.
    #[expect(
        clippy::option_option,
        reason = "unsaid, not unread, and unread since are three answers"
    )]
    episode: Option<Option<String>>,
}

/// Asks about single conversations, many at a time.
pub type RecheckBatcher = Batcher<String, Result<RecheckedConversation, BatchFailed>>;

pub fn again(ctx: &Arc<Context>, account: &AccountId) -> RecheckBatcher {
    let (ctx, account) = (ctx.clone(), account.clone());
    let answer = move |conversations| see_again(ctx.clone(), account.clone(), conversations);
    Batcher::new(MAX_IDS, 2, answer, drop)
}

async fn see_again(
    ctx: Arc<Context>,
    account: AccountId,
    conversations: Vec<String>,
) -> Vec<Result<RecheckedConversation, BatchFailed>> {
    let before = Moment::now();
    let asked = async {
        let account = ctx.accounts.get(&account);
        let account = account.ok_or_else(|| anyhow::anyhow!("no such account is configured"))?;
        Ok::<_, anyhow::Error>((account, account.by_ids(&conversations).await?))
    };
    let (account, answer) = match asked.await {
        Ok(answer) => answer,
        Err(error) => {
            let error = BatchFailed::from(error);
            return conversations.iter().map(|_| Err(error.clone())).collect();
        }
    };
    let asked = answer.asked.unwrap_or(before);
    let of = |conversation: &String| {
        let record = answer.records.iter().find(|r| r.id == *conversation);
        let unknown = answer.incomplete
            || answer
                .unreadable
                .iter()
                .any(|u| u.id.as_ref() == Some(conversation));
        let episode = match record.map(|record| read_state(record, account.count_bots)) {
            Some(ReadState::Unread(episode)) => Some(Some(episode.first_message)),
            Some(ReadState::Undecided) => None,
            None if unknown => None,
            Some(ReadState::Read(_)) | None => Some(None),
        };
        Ok(RecheckedConversation { asked, episode })
    };
    conversations.iter().map(of).collect()
}

/// Looks whether attempts are forbidden by now, many at a time. The moment is not after the look.
pub type Clearance = Batcher<BegunAttempt, Result<(Moment, Option<Forbidden>), BatchFailed>>;

pub fn clearance(ctx: &Arc<Context>) -> Clearance {
    let ctx = ctx.clone();
    Batcher::new(MAX_IDS, 2, move |begun| clear(ctx.clone(), begun), drop)
}

async fn clear(
    ctx: Arc<Context>,
    begun: Vec<BegunAttempt>,
) -> Vec<Result<(Moment, Option<Forbidden>), BatchFailed>> {
    let looked = Moment::now();
    match db::ledger::forbidden(
        &ctx.pool,
        &begun,
        &ctx.heartbeat_status.mark(),
        ctx.clock.now(),
    )
    .await
    {
        Ok(found) => found.into_iter().map(|found| Ok((looked, found))).collect(),
        Err(error) => {
            let error = BatchFailed::from(anyhow::Error::from(error));
            begun.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

/// What is known about an attempt that was begun, and since when.
pub struct Recheck<'a> {
    ctx: &'a Context,
    dispatch: &'a Dispatch,
    again: &'a RecheckBatcher,
    clearance: &'a Clearance,
    standstill: &'a standstill::Watch,
    /// When its turn under the sender's limit was given.
    turn_at: Moment,
    known: Mutex<CheckedAt>,
}

#[derive(Clone, Copy)]
struct CheckedAt {
    asked: Moment,
    cleared: Moment,
}

/// What must be looked at before the message may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecheckStep {
    AskLivePerson,
    LookForNo,
    Go,
}

fn step(asked: Duration, cleared: Duration) -> RecheckStep {
    if asked > ASK_AGAIN {
        RecheckStep::AskLivePerson
    } else if cleared > CLEAR {
        RecheckStep::LookForNo
    } else {
        RecheckStep::Go
    }
}

impl<'a> Recheck<'a> {
    pub fn new(
        (ctx, dispatch): (&'a Context, &'a Dispatch),
        (again, clearance): (&'a RecheckBatcher, &'a Clearance),
        (standstill, turn_at): (&'a standstill::Watch, Moment),
    ) -> Self {
        let known = CheckedAt {
            asked: dispatch.asked,
            cleared: dispatch.cleared,
        };
        Self {
            ctx,
            dispatch,
            again,
            clearance,
            standstill,
            turn_at,
            known: Mutex::new(known),
        }
    }

    /// Why the attempt is not made after all.
    pub fn withdrawn(&self) -> BoxFuture<'_, Option<Outcome>> {
        Box::pin(async move { self.recheck().await.err() })
    }

    async fn recheck(&self) -> Result<(), Outcome> {
        for _ in 0..ROUNDS {
            self.in_time()?;
            let CheckedAt { asked, cleared } = self.known();
            match step(asked.age(), cleared.age()) {
                RecheckStep::Go => return Ok(()),
                RecheckStep::LookForNo => self.look_for_no().await?,
                RecheckStep::AskLivePerson => self.ask_liveperson().await?,
            }
        }
        self.in_time()?;
        let CheckedAt { asked, cleared } = self.known();
        if asked.age() < FRESH && cleared.age() < CLEAR {
            Ok(())
        } else {
            Err(stalled())
        }
    }

    /// Whether there is still time for it. A process that stood still goes on where it was, perhaps past the deadline, into quiet hours, or past
    /// a lease that has made the attempt somebody else's.
    fn in_time(&self) -> Result<(), Outcome> {
        let now = self.ctx.clock.now();
        let dispatch = self.dispatch;
        let late = too_late(
            dispatch.began.age(),
            stale(dispatch.owed.channel),
            dispatch.owed.deadline - now,
            dispatch.not_after - now,
        );
        if let Some(late) = late {
            return Err(late);
        }
        // Its turn was for then: others have had the turns of now.
        if self.standstill.since(self.turn_at) {
            return Err(stalled());
        }
        Ok(())
    }

    async fn ask_liveperson(&self) -> Result<(), Outcome> {
        let owed = &self.dispatch.owed;
        let question = self.again.ask(owed.conversation.clone());
        let answer = tokio::time::timeout(PATIENCE, question).await;
        let Ok(Ok(Ok(RecheckedConversation { asked, episode }))) = answer else {
            return Err(stalled());
        };
        match episode {
            Some(Some(first)) if first == owed.episode => {
                self.know(|known| known.asked = asked);
                Ok(())
            }
            Some(_) => Err(Outcome::not_tried("no longer unread", Duration::ZERO)),
            None => Err(stalled()),
        }
    }

    async fn look_for_no(&self) -> Result<(), Outcome> {
        let dispatch = self.dispatch;
        let question = self.clearance.ask(BegunAttempt {
            attempt: dispatch.attempt,
            recipient: dispatch.recipient,
            others: dispatch.others.clone(),
            rule_skill: dispatch.rule.key().skill,
        });
        let answer = tokio::time::timeout(PATIENCE, question).await;
        let Ok(Ok(Ok((looked, found)))) = answer else {
            return Err(stalled());
        };
        let code = match found {
            None => {
                self.know(|known| known.cleared = looked);
                return Ok(());
            }
            Some(Forbidden::Over) => return Err(stalled()),
            Some(Forbidden::Suppressed) => "suppressed",
            Some(Forbidden::Paused) => "paused",
        };
        Err(Outcome::not_tried(code, Duration::ZERO))
    }

    fn known(&self) -> CheckedAt {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn know(&self, change: impl FnOnce(&mut CheckedAt)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn stalled() -> Outcome {
    Outcome::not_tried("stalled", UNMADE_PAUSE)
}

fn too_late(
    age: Duration,
    stale: Duration,
    to_deadline: TimeDelta,
    to_quiet: TimeDelta,
) -> Option<Outcome> {
    if to_deadline < TimeDelta::zero() {
        Some(Outcome::Refused {
            class: Refusal::Expired,
            code: "deadline".to_owned(),
        })
    } else if age > stale {
        Some(stalled())
    } else if to_quiet <= TimeDelta::zero() {
        // Decided anew: the rule says what becomes of it.
        Some(Outcome::not_tried("quiet hours", Duration::ZERO))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_has_grown_old_is_looked_at_again_and_only_that() {
        for (asked, cleared, wanted) in [
            (0, 0, RecheckStep::Go),
            (1_500, 400, RecheckStep::Go),
            (900, 401, RecheckStep::LookForNo),
            // LivePerson first: the other look would grow old meanwhile.
            (1_501, 401, RecheckStep::AskLivePerson),
            (1_501, 0, RecheckStep::AskLivePerson),
            (u32::MAX, u32::MAX, RecheckStep::AskLivePerson),
        ] {
            assert_eq!(step(MS * asked, MS * cleared), wanted, "{asked} {cleared}");
        }
        assert!(ASK_AGAIN < FRESH);
    }

    #[test]
    fn what_stood_still_between_its_beginning_and_the_provider_is_not_sent() {
        let (now, minute) = (Duration::from_secs(1), TimeDelta::minutes(1));
        for channel in Channel::ALL {
            let stale = stale(channel);
            let code = |age, deadline, quiet| {
                too_late(age, stale, deadline, quiet).map(|outcome| outcome.code().to_owned())
            };
            assert_eq!(code(now, minute, minute), None);
            assert_eq!(
                code(stale + now, minute, minute).as_deref(),
                Some("stalled")
            );
            assert_eq!(code(now, -minute, -minute).as_deref(), Some("deadline"));
            assert_eq!(code(now, minute, -minute).as_deref(), Some("quiet hours"));
            assert!(stale * 2 < Context::lease(channel).to_std().unwrap());
        }
    }
}
