//! What the queue, the ledger and the decision log cost: the same calls in a loop written by hand.
//!
//! Claims a hundred rows with `for update skip locked`, asks LivePerson about them in one call, renders and sends each, and
//! marks all hundred as sent. No attempts, no leases, no caps, no decisions, no retries: what a first version would be.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use sqlx::Executor as _;
use unread::app;
use unread::channel::adapter::{OutgoingMessage, SendGate};
use unread::channel::render::Vars;
use unread::clock::Clock;
use unread::domain::contact;
use unread::domain::conversation::Record;
use unread::domain::ids::{AccountId, Channel, ReminderId};
use unread::domain::outcome::Outcome;
use unread::domain::read_state::{ReadState, read_state};
use unread::hashing::Hasher;
use unread::jobs::context::{Account, Context};
use unread::metrics::Metrics;

use crate::ledger::Round;
use crate::stage::Stage;

const CLAIM: &str = "
    update load_reference set state = 'sending' where id = any(array(
        select id from load_reference where state = 'due' and due_at <= now()
        order by due_at limit 100 for update skip locked))
    returning id, conversation";

/// What the loop keeps from round to round, as a process that runs for long would: connections, and LivePerson's token.
pub fn context(stage: &Stage) -> Result<Arc<Context>> {
    let config = stage.config()?;
    Ok(Arc::new(app::context(
        &config,
        &stage.pool,
        &Clock::System,
        &Hasher::new(b"a key for the reference loop"),
        &Metrics::new(),
    )?))
}

pub async fn run(
    ctx: &Arc<Context>,
    account: &AccountId,
    reminders: &[ReminderId],
    lanes: usize,
) -> Result<Round> {
    let pool = &ctx.pool;
    pool.execute(
        "drop table if exists load_reference;
         create table load_reference (id bigint primary key, conversation text not null, token text not null,
             due_at timestamptz not null, state text not null, sent_at timestamptz) with (fillfactor = 80);
         create index on load_reference (due_at) where state = 'due'",
    )
    .await?;
    let ids: Vec<i64> = reminders.iter().map(|id| id.0).collect();
    sqlx::query(
        "insert into load_reference select id, conversation, token, now(), 'due' from reminders where id = any ($1)",
    )
    .bind(&ids)
    .execute(pool)
    .await?;
    pool.execute("vacuum analyze load_reference").await?;

    let started: DateTime<Utc> = Clock::System.now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..lanes {
        let (ctx, account) = (ctx.clone(), account.clone());
        tasks.spawn(async move { lane(&ctx, &account).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(sqlx::query_as(
        "select count(*) filter (where state = 'sent') as sent, extract(epoch from max(sent_at) - $1)::float8 as seconds,
                0::float8 as late_p50, 0::float8 as late_p99, 0::float8 as late_max
         from load_reference",
    )
    .bind(started)
    .fetch_one(pool)
    .await?)
}

async fn lane(ctx: &Context, account: &AccountId) -> Result<()> {
    let account = ctx
        .accounts
        .get(account)
        .context("the account is configured")?;
    loop {
        let claimed: Vec<(i64, String)> = sqlx::query_as(CLAIM).fetch_all(&ctx.pool).await?;
        if claimed.is_empty() {
            return Ok(());
        }
        let conversations: Vec<String> = claimed.iter().map(|(_, id)| id.clone()).collect();
        let fresh = account.client.by_ids(&conversations).await?;
        let sends = claimed.iter().filter_map(|(id, conversation)| {
            let record = fresh.records.iter().find(|r| r.id == *conversation)?;
            Some(send(ctx, account, *id, record))
        });
        let sent: Vec<i64> = join_all(sends).await.into_iter().flatten().collect();
        sqlx::query("update load_reference set state = 'sent', sent_at = clock_timestamp() where id = any ($1)")
            .bind(&sent)
            .execute(&ctx.pool)
            .await?;
    }
}

async fn send(ctx: &Context, account: &Account, id: i64, record: &Record) -> Option<i64> {
    let ReadState::Unread(episode) = read_state(record, account.count_bots) else {
        return None;
    };
    let contact = contact::choose(&record.contact, Channel::Email, &account.contact_policy)?;
    let mail = ctx.channels.of(&account.id, Channel::Email)?;
    let token = format!("{id:032x}");
    let vars = Vars {
        first_name: contact.first_name.clone().unwrap_or_default(),
        brand: account.brand.clone(),
        agent: episode.agent.clone().unwrap_or_default(),
        skill: record.skill_name.clone().unwrap_or_default(),
        count: episode.count,
        since_minutes: (ctx.clock.now() - episode.since)
            .num_minutes()
            .unsigned_abs(),
        link: ctx.link("r", &token),
        unsubscribe_link: ctx.link("u", &token),
    };
    let rendered = ctx
        .texts
        .render(Channel::Email, None, None, vars)
        .await
        .ok()?;
    let message = OutgoingMessage {
        to: &contact.address,
        to_name: contact.first_name.as_deref(),
        words: &rendered,
        sender: None,
        brand: &account.brand,
        name: &format!("ref.{id}"),
        thread: &format!("conv.{}", ctx.hasher.conversation(&record.id)),
        attempt: None,
        way_out: Some(&ctx.link("u", &token)),
        left: &|| Duration::from_mins(5),
        date: ctx.clock.now(),
    };
    let outcome = match mail.open().await {
        Ok(way) => way.send(&message, SendGate::open()).await,
        Err(outcome) => outcome,
    };
    matches!(outcome, Outcome::Accepted { .. }).then_some(id)
}
