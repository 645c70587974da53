//! Decides about a conversation again because a step of its rule has turned out not to have reached the consumer: the next one need not wait for the
//! next scan.
//!
//! What is owed next is found by the scan's own code, from a record fetched now. A job that is lost delays that until the next scan.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use sqlx::PgConnection;

use super::context::Context;
use super::names::{self, AdvanceJob};
use super::queue::{self, When};
use super::scan::{self, Stopped, Unchanged};
use crate::batch::Batcher;
use crate::clock::Clock;
use crate::domain::ids::AccountId;
use crate::liveperson::{MAX_IDS, Purpose};

/// An error shared by all conversations of a batch.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct BatchFailed(Arc<str>);

/// Fetches conversations and decides about them, many of one account at a time.
#[derive(Clone)]
pub struct Advance {
    lanes: Arc<HashMap<AccountId, AdvanceBatcher>>,
}

type AdvanceBatcher = Batcher<String, Result<(), BatchFailed>>;

impl Advance {
    pub fn new(ctx: &Arc<Context>) -> Self {
        let lane = |id: &AccountId| {
            let (ctx, account) = (ctx.clone(), id.clone());
            let advance = move |conversations| advance(ctx.clone(), account.clone(), conversations);
            (id.clone(), Batcher::new(MAX_IDS, 1, advance, drop))
        };
        Self {
            lanes: Arc::new(ctx.accounts.keys().map(lane).collect()),
        }
    }

    /// Handles one job.
    pub async fn run(&self, job: AdvanceJob) -> anyhow::Result<()> {
        let Some(lane) = self.lanes.get(&job.account) else {
            tracing::info!(account = %job.account, "No such account is configured");
            return Ok(());
        };
        lane.ask(job.conversation)
            .await?
            .context("deciding about a conversation again")
    }
}

async fn advance(
    ctx: Arc<Context>,
    account: AccountId,
    conversations: Vec<String>,
) -> Vec<Result<(), BatchFailed>> {
    let done = async {
        let account = ctx
            .accounts
            .get(&account)
            .context("no such account is configured")?;
        let rules = ctx.rules(account).await?;
        let asked = scan::ask_by_id(
            &ctx,
            account,
            Purpose::Recheck,
            &rules,
            &conversations,
            Unchanged::Store,
        );
        match asked.await {
            // The next scan finds what is owed.
            Err(Stopped::LivePerson(error)) => {
                tracing::warn!(account = %account.id, conversations = conversations.len(), "Cannot fetch conversations of which a reminder did not arrive: {error}");
                Ok(())
            }
            Err(Stopped::Database(error)) => Err(error),
            Ok(_) => Ok(()),
        }
    };
    let done = done
        .await
        .map_err(|error: anyhow::Error| BatchFailed(format!("{error:#}").into()));
    conversations.iter().map(|_| done.clone()).collect()
}

/// Has conversations decided about again as soon as possible: those of reminders that did not reach their consumers.
pub async fn schedule<'a>(
    conn: &mut PgConnection,
    clock: &Clock,
    conversations: impl IntoIterator<Item = (&'a AccountId, &'a str)>,
) -> sqlx::Result<()> {
    let now = clock.now();
    let jobs: Vec<queue::Job> = conversations
        .into_iter()
        .map(|(account, conversation)| {
            let job = AdvanceJob {
                account: account.clone(),
                conversation: conversation.to_owned(),
            };
            queue::Job::new(format!("{account}:{conversation}"), now).with_args(json!(job))
        })
        .collect();
    queue::schedule(conn, clock, names::ADVANCE, When::NoLaterThan, jobs).await?;
    Ok(())
}
