//! Fetches conversations that somebody has hinted at: something may have happened there, and it need not wait for the next scan.
//!
//! A hint is believed in nothing but which conversation to ask LivePerson about. Hints have a limit of their own, a fifth of the account's
//! calls, and many of them go into one call. One that is lost costs nothing: the scans find what there is.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use tracing::{info, warn};

use super::context::{Account, Context};
use super::names;
use super::queue::{self, Job, When};
use super::scan::{self, Unchanged};
use crate::batch::Batcher;
use crate::clock::Clock;
use crate::db;
use crate::domain::conversation::Record;
use crate::domain::ids::AccountId;
use crate::liveperson::{MAX_IDS, Purpose};

/// LivePerson shows what has happened up to a minute later: it is asked again after so long.
const AGAIN_AFTER: TimeDelta = TimeDelta::seconds(70);

/// The share of an account's calls that hints may have.
const SHARE: f64 = 0.2;

/// The arguments of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HintJob {
    pub account: AccountId,
    pub conversation: String,
}

/// Has LivePerson asked about a conversation now and once more when it shows what has happened by now. However many hints there are at one
/// conversation, it is asked about once now, and once after the last of them.
pub async fn schedule(
    conn: &mut PgConnection,
    clock: &Clock,
    account: &AccountId,
    conversation: &str,
) -> sqlx::Result<()> {
    let now = clock.now();
    let args = json!(HintJob {
        account: account.clone(),
        conversation: conversation.to_owned(),
    });
    let soon = Job::new(format!("{account}:{conversation}"), now).with_args(args.clone());
    let again = Job::new(format!("{account}:{conversation}:again"), now + AGAIN_AFTER);
    queue::schedule(conn, clock, names::HINT, When::NoLaterThan, [soon]).await?;
    queue::schedule(conn, clock, names::HINT, When::At, [again.with_args(args)]).await?;
    Ok(())
}

/// An error shared by all conversations of a batch.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct BatchFailed(Arc<str>);

type HintBatcher = Batcher<String, Result<(), BatchFailed>>;

/// Fetches conversations, many of one account at a time.
#[derive(Clone)]
pub struct Hints {
    lanes: Arc<HashMap<AccountId, HintBatcher>>,
}

impl Hints {
    pub fn new(ctx: &Arc<Context>) -> Self {
        let lane = |id: &AccountId| {
            let (ctx, account) = (ctx.clone(), id.clone());
            let fetch = move |conversations| fetch(ctx.clone(), account.clone(), conversations);
            (id.clone(), Batcher::new(MAX_IDS, 1, fetch, drop))
        };
        Self {
            lanes: Arc::new(ctx.accounts.keys().map(lane).collect()),
        }
    }

    /// Handles one job.
    pub async fn run(&self, job: HintJob) -> anyhow::Result<()> {
        let Some(lane) = self.lanes.get(&job.account) else {
            info!(account = %job.account, "No such account is configured");
            return Ok(());
        };
        let done = lane.ask(job.conversation).await?;
        done.context("fetching a conversation that was hinted at")
    }
}

async fn fetch(
    ctx: Arc<Context>,
    account: AccountId,
    conversations: Vec<String>,
) -> Vec<Result<(), BatchFailed>> {
    let done = async {
        let account = ctx.accounts.get(&account);
        let account = account.context("no such account is configured")?;
        ask(&ctx, account, &conversations).await
    };
    let done = done
        .await
        .map_err(|error: anyhow::Error| BatchFailed(format!("{error:#}").into()));
    conversations.iter().map(|_| done.clone()).collect()
}

async fn ask(ctx: &Context, account: &Account, ids: &[String]) -> anyhow::Result<()> {
    let (key, rate) = (
        format!("hints:{}", account.id),
        ctx.scan_pace.per_second * SHARE,
    );
    let wait = db::limits::reserve(&ctx.pool, &key, rate).await?;
    tokio::time::sleep(wait).await;
    let asked_at = ctx.clock.now();
    let answer = match account.by_ids_for(Purpose::Background, ids).await {
        Ok(answer) => answer,
        Err(error) => {
            warn!(account = %account.id, conversations = ids.len(), "Cannot fetch conversations that were hinted at: {error}");
            return Ok(());
        }
    };
    let mut records = answer.records;
    records.retain(|record| is_scanned(account, record, ids));
    let rules = ctx.rules(account).await?;
    scan::store(ctx, account, &rules, &records, asked_at, Unchanged::Skip).await?;
    Ok(())
}

/// Whether it is one of those that were asked for, of a skill that is scanned.
fn is_scanned(account: &Account, record: &Record, asked: &[String]) -> bool {
    let only = account.only_skills.as_deref();
    asked.contains(&record.id) && only.is_none_or(|skills| skills.contains(&record.skill))
}
