//! The first look: is it well, what did it do today, what needs a person, what comes next.

mod attention;
mod series;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::PgPool;

use self::attention::Seen;
use super::Error;
use crate::db;
use crate::db::pages::{Reminder, Scan};
use crate::db::tallies::{Every, Sums};
use crate::domain::ids::{AccountId, Channel};
use crate::domain::round::{Pace, Round};
use crate::jobs::context::Context;
use crate::jobs::queue;

pub use self::attention::{About, Attention, Health, Level};
pub use self::series::{Piece, Span, midnight, series};

/// Reminders in the list of what comes next.
const NEXT: i64 = 10;

#[derive(Clone, Debug)]
pub struct Overview {
    pub now: DateTime<Utc>,
    pub health: Health,
    /// What needs a person, worst first.
    pub attention: Vec<Attention>,
    /// Since midnight in the zone asked for, by channel.
    pub today: Vec<(Channel, Sums)>,
    /// Open conversations with something unread, as the last scans saw them.
    pub unread_now: i64,
    pub open_now: i64,
    /// Reminders that wait for their moment.
    pub waiting: i64,
    pub next: Vec<Reminder>,
    pub scans: Vec<Scan>,
    /// What it takes to scan all skills of each account once.
    pub rounds: Vec<(AccountId, Round)>,
    pub pace: Pace,
}

impl Overview {
    /// Today's numbers of all channels together.
    pub fn total(&self) -> Sums {
        self.today
            .iter()
            .fold(Sums::default(), |all, (_, of)| all.plus(of))
    }
}

pub async fn overview(
    ctx: &Context,
    accounts: &[AccountId],
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Overview, Error> {
    let pool = &ctx.pool;
    let words: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
    let midnight = midnight(now, zone);
    let mut today = Vec::new();
    // By the hour, since a day may begin or end where the clocks change.
    let points = db::tallies::series(pool, &words, (midnight, now), Every::Day, "UTC").await?;
    for channel in Channel::ALL {
        let own = points.iter().filter(|p| p.channel == channel.as_str());
        today.push((
            channel,
            own.fold(Sums::default(), |all, p| all.plus(&p.sums)),
        ));
    }
    let scans = scans(pool, accounts).await?;
    let rounds = rounds(ctx, accounts).await?;
    let circuits = db::circuits::open_ones(pool).await?;
    let pauses = db::pauses::all(pool).await?;
    let rules_on = db::rules::any_on(pool, &words).await?;
    let sum = |pick: fn(&Sums) -> i64| today.iter().map(|(_, sums)| pick(sums)).sum::<i64>();
    let failed = sum(|s| s.failed - s.undelivered);
    let unwritten = match failed {
        0 => 0,
        _ => db::pages::unwritten(pool, &words, midnight).await?,
    };
    let seen = Seen {
        scans: &scans,
        rounds: &rounds,
        pace: ctx.scan_pace,
        circuits: &circuits,
        pauses: &pauses,
        rules_on,
        failed,
        unwritten,
        undelivered: sum(|s| s.undelivered),
        unknown: sum(|s| s.unknown),
        expired: sum(|s| s.expired),
        dead: queue::dead(pool).await?,
    };
    Ok(Overview {
        now,
        health: Health::of(&seen, now),
        attention: seen.attention(now),
        unread_now: scans.iter().map(|s| i64::from(s.unread)).sum(),
        open_now: scans.iter().map(|s| i64::from(s.conversations)).sum(),
        waiting: db::tallies::waiting(pool, &words).await?,
        next: db::pages::due_next(pool, NEXT).await?,
        scans,
        rounds,
        pace: ctx.scan_pace,
        today,
    })
}

/// The latest scan of every skill in use.
pub async fn scans(pool: &PgPool, accounts: &[AccountId]) -> Result<Vec<Scan>, Error> {
    let mut scans = db::pages::scans(pool).await?;
    scans.retain(|scan| accounts.iter().any(|own| own.as_str() == scan.account));
    Ok(scans)
}

/// What it takes to scan all skills of each account once.
pub async fn rounds(
    ctx: &Context,
    accounts: &[AccountId],
) -> sqlx::Result<Vec<(AccountId, Round)>> {
    let mut rounds = Vec::with_capacity(accounts.len());
    for account in accounts {
        let known = ctx.accounts.get(account);
        let only = known.and_then(|known| known.only_skills.as_deref());
        let round = db::scans::round(&ctx.pool, account, only).await?;
        rounds.push((account.clone(), round));
    }
    Ok(rounds)
}
