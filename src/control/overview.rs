//! The first look: is it well, what did it do today, what needs a person, what comes next.

mod attention;
mod findings;
mod series;
mod view;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::PgPool;

use self::attention::OverviewSummary;
use self::findings::OverviewFacts;
use super::accounts::Accounts;
use super::reminders::ReminderView;
use super::{ControlError, obstacles, pause, senders};
use crate::db;
use crate::db::reminder_counts::{Every, Sums};
use crate::domain::ids::{AccountId, Channel};
use crate::domain::round::Round;
use crate::jobs::context::Context;
use crate::jobs::queue;

pub use self::attention::{Attention, AttentionLevel, AttentionMark, AttentionTopic};
pub use self::series::{SeriesPoint, TimeSpan, midnight, series};
pub use self::view::{Numbers, Overview, ScanRound, ScanView};

/// Reminders in the list of what comes next.
const NEXT: i64 = 10;

/// What `reader`, a person, has dismissed is left out.
pub async fn overview(
    ctx: &Context,
    accounts: &Accounts,
    reader: Option<i64>,
    (zone, now): (Tz, DateTime<Utc>),
) -> Result<Overview, ControlError> {
    let pool = &ctx.pool;
    let ids = accounts.ids();
    let midnight = midnight(now, zone);
    // By the hour, since a day may begin or end where the clocks change.
    let points = db::reminder_counts::series(pool, ids, (midnight, now), Every::Day, "UTC").await?;
    let today = points
        .iter()
        .fold(Sums::default(), |all, point| all.plus(&point.sums));
    let scans = db::reports::scans(pool, Some(ids)).await?;
    let rounds = rounds(ctx, accounts).await?;
    let circuits = senders::open(ctx, accounts).await?;
    let pauses = pause::seen(pool, accounts).await?;
    let holds = db::holds::active(pool).await?;
    let mut next = db::reports::due_next(pool, ids, NEXT).await?;
    obstacles::mark(&obstacles::of(pool, accounts).await?, &mut next);
    let rules_on = db::rules::any_on(pool, ids).await?;
    let live = db::live::of_accounts(pool, accounts.ids()).await?;
    let not_live: Vec<(&AccountId, Channel)> = accounts
        .ids()
        .iter()
        .flat_map(|account| Channel::ALL.map(|channel| (account, channel)))
        .filter(|(account, channel)| {
            ctx.has(account, *channel) && !live.iter().any(|(a, c)| a == *account && c == channel)
        })
        .collect();
    let failed = today.failed - today.undelivered;
    let unwritten = match failed {
        0 => 0,
        _ => db::reports::unwritten(pool, ids, midnight).await?,
    };
    let seen = OverviewFacts {
        now,
        midnight,
        scans: &scans,
        rounds: &rounds,
        pace: ctx.scan_pace,
        circuits: &circuits,
        pauses: &pauses,
        holds: &holds,
        rules_on,
        live: !live.is_empty(),
        not_live: &not_live,
        failed,
        unwritten,
        undelivered: today.undelivered,
        unknown: today.unknown,
        expired: today.expired,
        unreadable: db::unreadable::open(pool, ids, now).await?,
        // Of the whole installation: nothing says whose they are.
        dead: if accounts.is_limited() {
            0
        } else {
            queue::dead(pool).await?
        },
    };
    let dismissed = match reader {
        Some(user) => db::dismissals::of(pool, user).await?,
        None => BTreeMap::new(),
    };
    let told = OverviewSummary::of(seen.findings(), &dismissed);
    if let (Some(user), false) = (reader, told.over.is_empty()) {
        let over: Vec<&str> = told.over.iter().map(String::as_str).collect();
        db::dismissals::remove_dismissals(pool, user, &over).await?;
    }
    Ok(Overview {
        at: now,
        level: told.health.level,
        sentence: told.health.sentence,
        attention: told.attention,
        today: today.into(),
        unread_now: scans.iter().map(|s| i64::from(s.unread)).sum(),
        open_now: scans.iter().map(|s| i64::from(s.conversations)).sum(),
        waiting: db::reminder_counts::waiting(pool, ids).await?,
        next: next.into_iter().map(ReminderView::from).collect(),
        scans: scans.into_iter().map(ScanView::from).collect(),
        scan_rounds: with_latest(ctx, rounds, now).await?,
    })
}

/// Dismisses what needs a person, for one who has seen it: until it happens anew.
pub async fn dismiss(
    ctx: &Context,
    accounts: &Accounts,
    reader: i64,
    key: &str,
    when: (Tz, DateTime<Utc>),
) -> Result<(), ControlError> {
    let overview = overview(ctx, accounts, Some(reader), when).await?;
    let mut marks = overview
        .attention
        .into_iter()
        .filter_map(|entry| entry.mark);
    let Some(mark) = marks.find(|mark| mark.key == key) else {
        return Err(ControlError::NotFound(
            "such entry to dismiss any more".to_owned(),
        ));
    };
    db::dismissals::add(&ctx.pool, reader, &mark.key, mark.at).await?;
    Ok(())
}

/// The latest scan of every skill in use.
pub async fn scans(pool: &PgPool, accounts: &Accounts) -> Result<Vec<ScanView>, ControlError> {
    let rows = db::reports::scans(pool, Some(accounts.ids())).await?;
    Ok(rows.into_iter().map(ScanView::from).collect())
}

/// The passes over the skills of each account.
pub async fn passes(
    ctx: &Context,
    accounts: &Accounts,
    now: DateTime<Utc>,
) -> Result<Vec<ScanRound>, ControlError> {
    let rounds = rounds(ctx, accounts).await?;
    Ok(with_latest(ctx, rounds, now).await?)
}

async fn with_latest(
    ctx: &Context,
    rounds: Vec<(AccountId, Round)>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ScanRound>> {
    let (accounts, rounds): (Vec<AccountId>, Vec<Round>) = rounds.into_iter().unzip();
    let latest = db::recent_passes::latest(&ctx.pool, &accounts, now).await?;
    let of = |(round, latest)| ScanRound::new(round, ctx.scan_pace, latest);
    Ok(rounds.iter().zip(latest).map(of).collect())
}

/// What a full pass over the skills of each account takes.
pub async fn rounds(ctx: &Context, accounts: &Accounts) -> sqlx::Result<Vec<(AccountId, Round)>> {
    let mut rounds = Vec::with_capacity(accounts.ids().len());
    for account in accounts.ids() {
        let known = ctx.accounts.get(account);
        let only = known.and_then(|known| known.only_skills.as_deref());
        let round = db::scans::round(&ctx.pool, account, only).await?;
        rounds.push((account.clone(), round));
    }
    Ok(rounds)
}
