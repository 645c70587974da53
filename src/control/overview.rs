//! The first look: is it well, what did it do today, what needs a person, what comes next.

mod attention;
mod findings;
mod series;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::PgPool;

use self::attention::Told;
use self::findings::Seen;
use super::accounts::Accounts;
use super::{Error, obstacles, pause, senders};
use crate::db;
use crate::db::pages::{Reminder, Scan};
use crate::db::tallies::{Every, Sums};
use crate::domain::ids::{AccountId, Channel};
use crate::domain::round::{Pace, Round};
use crate::jobs::context::Context;
use crate::jobs::queue;

pub use self::attention::{About, Attention, Health, Level, Mark};
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

/// What `reader`, a person, has dismissed is left out.
pub async fn overview(
    ctx: &Context,
    accounts: &Accounts,
    reader: Option<i64>,
    (zone, now): (Tz, DateTime<Utc>),
) -> Result<Overview, Error> {
    let pool = &ctx.pool;
    let ids = accounts.ids();
    let midnight = midnight(now, zone);
    let mut today = Vec::new();
    // By the hour, since a day may begin or end where the clocks change.
    let points = db::tallies::series(pool, ids, (midnight, now), Every::Day, "UTC").await?;
    for channel in Channel::ALL {
        let own = points.iter().filter(|p| p.channel == channel);
        today.push((
            channel,
            own.fold(Sums::default(), |all, p| all.plus(&p.sums)),
        ));
    }
    let scans = scans(pool, accounts).await?;
    let rounds = rounds(ctx, accounts).await?;
    let circuits = senders::open(ctx, accounts).await?;
    let pauses = pause::seen(pool, accounts).await?;
    let holds = db::holds::active(pool).await?;
    let mut next = db::pages::due_next(pool, ids, NEXT).await?;
    obstacles::mark(&obstacles::of(pool, accounts).await?, &mut next);
    let rules_on = db::rules::any_on(pool, ids).await?;
    let live = db::live::of_accounts(pool, accounts.ids()).await?;
    let not_live: Vec<(&AccountId, Channel)> = accounts
        .ids()
        .iter()
        .flat_map(|account| Channel::ALL.map(|channel| (account, channel)))
        .filter(|(account, channel)| {
            ctx.has(*channel) && !live.iter().any(|(a, c)| a == *account && c == channel)
        })
        .collect();
    let sum = |pick: fn(&Sums) -> i64| today.iter().map(|(_, sums)| pick(sums)).sum::<i64>();
    let failed = sum(|s| s.failed - s.undelivered);
    let unwritten = match failed {
        0 => 0,
        _ => db::pages::unwritten(pool, ids, midnight).await?,
    };
    let seen = Seen {
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
        undelivered: sum(|s| s.undelivered),
        unknown: sum(|s| s.unknown),
        expired: sum(|s| s.expired),
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
    let told = Told::of(seen.findings(), &dismissed);
    if let (Some(user), false) = (reader, told.over.is_empty()) {
        let over: Vec<&str> = told.over.iter().map(String::as_str).collect();
        db::dismissals::forget(pool, user, &over).await?;
    }
    Ok(Overview {
        now,
        health: told.health,
        attention: told.attention,
        unread_now: scans.iter().map(|s| i64::from(s.unread)).sum(),
        open_now: scans.iter().map(|s| i64::from(s.conversations)).sum(),
        waiting: db::tallies::waiting(pool, ids).await?,
        next,
        scans,
        rounds,
        pace: ctx.scan_pace,
        today,
    })
}

/// Dismisses what needs a person, for one who has seen it: until it happens anew.
pub async fn dismiss(
    ctx: &Context,
    accounts: &Accounts,
    reader: i64,
    key: &str,
    when: (Tz, DateTime<Utc>),
) -> Result<(), Error> {
    let overview = overview(ctx, accounts, Some(reader), when).await?;
    let mut marks = overview
        .attention
        .into_iter()
        .filter_map(|entry| entry.mark);
    let Some(mark) = marks.find(|mark| mark.key == key) else {
        return Err(Error::NotFound("such entry to dismiss any more".to_owned()));
    };
    db::dismissals::add(&ctx.pool, reader, &mark.key, mark.at).await?;
    Ok(())
}

/// The latest scan of every skill in use.
pub async fn scans(pool: &PgPool, accounts: &Accounts) -> Result<Vec<Scan>, Error> {
    Ok(db::pages::scans(pool, Some(accounts.ids())).await?)
}

/// What it takes to scan all skills of each account once.
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
