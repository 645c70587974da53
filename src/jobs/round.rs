//! Scanning all skills of an account, over and over: the ones that were scanned longest ago come next, as many at once as go into one
//! search, by a few lanes side by side.
//!
//! So go full passes and the look at what is older; recent passes are in `recent`.
//!
//! Which skills are next is decided when a lane has time for them, not when the job is put into the queue. So a round that takes
//! longer than its interval goes on where it is, every skill in its turn, and the next one begins when it is over.

mod badges;
mod parts;
mod recent;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tracing::{info, warn};

use self::parts::SkillBatches;
use super::context::{Account, Context};
use super::names::{self, LANES, ScanJob};
use super::queue::{self, When};
use super::scan::{self, Scope, Stopped};
use crate::db;
use crate::db::scans::{ScanClaim, Summary};
use crate::domain::ids::SkillId;
use crate::domain::round::PassKind;
use crate::liveperson::MAX_SKILLS;

/// After so long a lane lets others run before it goes on.
const TURN: Duration = Duration::from_mins(5);

/// How long an account that took no larger set is asked for smaller ones.
const SMALLER_FOR: Duration = Duration::from_hours(1);

/// An account that has answered within this time does not hang as a whole because one search does.
const LATELY: Duration = Duration::from_mins(5);

/// How often a round that is too slow is logged.
const SAY_AGAIN_AFTER: Duration = Duration::from_hours(1);

/// What a process has learnt about scanning an account.
#[derive(Debug, Default)]
pub struct Sets {
    /// LivePerson did not take more skills than these at once, and when.
    largest: Mutex<Option<(usize, Instant)>>,
    /// When it was last logged that a round is too slow, and how long it took then, in seconds.
    slow: Mutex<Option<(Instant, f64)>>,
    /// When LivePerson last answered a search for this account.
    answered: Mutex<Option<Instant>>,
}

impl Sets {
    /// How many skills to ask for at once.
    pub fn most(&self) -> usize {
        let largest = *guard(&self.largest);
        largest
            .filter(|(_, since)| since.elapsed() < SMALLER_FOR)
            .map_or(MAX_SKILLS, |(most, _)| most)
    }

    fn answers(&self) {
        *guard(&self.answered) = Some(Instant::now());
    }

    fn answers_lately(&self) -> bool {
        let answered = *guard(&self.answered);
        answered.is_some_and(|at| at.elapsed() < LATELY)
    }

    fn too_large(&self, fits: usize) {
        *guard(&self.largest) = Some((fits.max(1), Instant::now()));
    }

    /// Whether it is worth a line in the log that a round takes so long: when it was not said before, has become something else, or
    /// was said long ago.
    fn worth_logging(&self, seconds: f64) -> bool {
        let mut slow = guard(&self.slow);
        let known = slow.is_some_and(|(at, said)| {
            at.elapsed() < SAY_AGAIN_AFTER && (0.75..=1.25).contains(&(seconds / said))
        });
        if !known {
            *slow = Some((Instant::now(), seconds));
        }
        !known
    }

    /// Whether rounds were said to be slow until now.
    fn no_longer_slow(&self) -> bool {
        guard(&self.slow).take().is_some()
    }
}

fn guard<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles a scan job: scans what is due until nothing is. A LivePerson that fails is recorded and left to the next slot; only the
/// database makes it an error.
pub async fn scan(ctx: &Context, job: &ScanJob, before: DateTime<Utc>) -> anyhow::Result<()> {
    let Some(account) = ctx.accounts.get(&job.account) else {
        info!(account = %job.account, "No such account is configured any more; its scan is dropped");
        return Ok(());
    };
    if job.pass == PassKind::Recent {
        return Box::pin(recent::scan(ctx, account, before)).await;
    }
    let deep = job.pass == PassKind::Deep;
    let before = if deep {
        before
    } else {
        full_before(ctx, account, before).await?
    };
    let began = Instant::now();
    let mut sets = 0;
    loop {
        let claim = ScanClaim {
            account: &account.id,
            lane: job.lane,
            lanes: LANES,
            before,
            only: account.only_skills.as_deref(),
            deep,
            most: account.sets.most(),
            now: ctx.clock.now(),
        };
        let skills = db::scans::claim(&ctx.pool, &claim).await?;
        if skills.is_empty() {
            break;
        }
        sets += 1;
        if !Box::pin(scan_set(ctx, account, skills, deep)).await? {
            return Ok(());
        }
        if began.elapsed() > TURN {
            let again = ScanJob {
                before: job.before.or(Some(before)),
                ..job.clone()
            };
            let job = names::scan(&again, ctx.clock.now());
            let mut conn = ctx.pool.acquire().await?;
            let when = When::NoLaterThan;
            queue::schedule(&mut conn, &ctx.clock, names::SCAN, when, [job]).await?;
            return Ok(());
        }
    }
    match (deep, sets) {
        (true, 0) => Ok(()),
        (true, _) => look_for_forgotten(ctx, account).await,
        (false, _) => log_if_slow(ctx, account).await,
    }
}

/// Full passes are due over skills whose last one began before this moment: before this slot, or, as long as recent passes show what is
/// new, so long ago as the settings want.
async fn full_before(
    ctx: &Context,
    account: &Account,
    slot: DateTime<Utc>,
) -> anyhow::Result<DateTime<Utc>> {
    let pace = ctx.scan_pace;
    if pace.full_every <= pace.every {
        return Ok(slot);
    }
    let distrusted =
        db::recent_passes::distrusted_at(&ctx.pool, &account.id, ctx.clock.now()).await?;
    Ok(match distrusted {
        Some(_) => slot,
        None => slot - (pace.full_every - pace.every),
    })
}

async fn look_for_forgotten(ctx: &Context, account: &Account) -> anyhow::Result<()> {
    match scan::look_for_forgotten(ctx, account).await {
        Ok(()) => Ok(()),
        Err(Stopped::LivePerson(error)) => {
            warn!(account = %account.id, "Conversations that no scan meets cannot be asked for: {error}");
            Ok(())
        }
        Err(Stopped::Database(error)) => Err(error),
    }
}

/// Logs that the skills of an account cannot be scanned as often as they are to be, and when they can again.
async fn log_if_slow(ctx: &Context, account: &Account) -> anyhow::Result<()> {
    let only = account.only_skills.as_deref();
    let round = db::scans::round(&ctx.pool, &account.id, only).await?;
    let pace = ctx.scan_pace;
    if round.keeps_up(pace) {
        if account.sets.no_longer_slow() {
            info!(account = %account.id, "Full passes keep up again: {}", round.sentence(pace));
        }
    } else if account.sets.worth_logging(round.seconds(pace)) {
        warn!(account = %account.id, "Full passes come too seldom: {}", round.sentence(pace));
    }
    Ok(())
}

/// Scans a set of skills and writes down what became of each. False: LivePerson does not answer for this account, and asking for
/// other skills is no use.
async fn scan_set(
    ctx: &Context,
    account: &Account,
    skills: Vec<SkillId>,
    deep: bool,
) -> anyhow::Result<bool> {
    let started = Instant::now();
    let scope = if deep { Scope::Older } else { Scope::All };
    let (goes_on, found) = ask_for(ctx, account, skills, scope).await?;
    let elapsed = started.elapsed();
    if !deep {
        let now = ctx.clock.now();
        db::scans::finished(&ctx.pool, &account.id, &found, elapsed, now).await?;
        recent::judge(ctx, account, &found).await?;
    }
    for (skill, summary) in &found {
        ctx.metrics
            .scanned(&account.id, *skill, summary.error.is_none(), elapsed);
    }
    Ok(goes_on)
}

/// What became of each skill of a set. False: LivePerson does not answer for this account.
async fn ask_for(
    ctx: &Context,
    account: &Account,
    skills: Vec<SkillId>,
    scope: Scope,
) -> anyhow::Result<(bool, Vec<(SkillId, Summary)>)> {
    let rules = ctx.rules(account).await?;
    let mut parts = SkillBatches::new(skills, account.sets.answers_lately());
    while let Some(skills) = parts.next() {
        let passed = Box::pin(scan::pass(ctx, account, &rules, &skills, scope)).await;
        match passed.ended {
            Ok(()) => {
                account.sets.answers();
                parts.answered(&skills, passed.found, passed.calls);
            }
            Err(Stopped::LivePerson(error)) => parts.refused(skills, &error, passed.calls),
            Err(Stopped::Database(error)) => return Err(error),
        }
    }
    if let Some(fits) = parts.fits() {
        account.sets.too_large(fits);
    }
    let goes_on = !parts.hopeless();
    let found = parts.end();
    // One line, however many skills there are; the dashboard names each.
    let failed = || {
        let all = found.iter();
        all.filter_map(|(skill, summary)| Some((skill, summary.error.as_ref()?)))
    };
    if let Some((skill, error)) = failed().next() {
        let skills = failed().count();
        warn!(account = %account.id, skill = %skill, skills, "Scan stopped: {error}");
    }
    Ok((goes_on, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_round_is_logged_when_it_begins_and_when_it_has_become_another() {
        let sets = Sets::default();
        assert!(!sets.no_longer_slow(), "it was not");
        // In this order: how many seconds a round takes, and whether that is worth a line.
        for (seconds, line) in [
            (200.0, true),
            (200.0, false),
            (240.0, false),
            (260.0, true),
            (260.0, false),
            (120.0, true),
        ] {
            assert_eq!(sets.worth_logging(seconds), line, "{seconds}");
        }
        assert!(sets.no_longer_slow());
        assert!(!sets.no_longer_slow(), "said once");
        assert!(sets.worth_logging(120.0), "it is slow again");
    }

    #[test]
    fn sets_are_as_large_as_the_filter_takes_until_liveperson_says_otherwise() {
        let sets = Sets::default();
        assert_eq!(sets.most(), MAX_SKILLS);
        for (fits, most) in [(50, 50), (1, 1), (0, 1)] {
            sets.too_large(fits);
            assert_eq!(sets.most(), most);
        }
    }
}
