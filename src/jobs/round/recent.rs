//! Recent passes: what was updated since the last pass, over all skills of an account in as few searches as it takes.
//!
//! They run where full passes alone would come too seldom, and as long as LivePerson's filter is found to show what it should. Open badges
//! are asked about where full passes come too seldom, whatever the filter shows.

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use super::{ask_for, badges};
use crate::db;
use crate::db::recent_passes::{DueSkill, RecentPassTotals};
use crate::db::scans::Summary;
use crate::domain::ids::SkillId;
use crate::jobs::context::{Account, Context};
use crate::jobs::scan::Scope;

/// LivePerson shows an update up to a minute late.
const SHOWN_LATE: TimeDelta = TimeDelta::minutes(1);

/// Asks for what was updated in the skills that no pass has begun on since `slot`, and about open badges.
pub(super) async fn scan(
    ctx: &Context,
    account: &Account,
    slot: DateTime<Utc>,
) -> anyhow::Result<()> {
    let only = account.only_skills.as_deref();
    let round = db::scans::round(&ctx.pool, &account.id, only).await?;
    if !round.needs_recent_passes(ctx.scan_pace) {
        return Ok(());
    }
    let now = ctx.clock.now();
    let distrusted = db::recent_passes::distrusted_at(&ctx.pool, &account.id, now).await?;
    if distrusted.is_none() {
        pass(ctx, account, slot).await?;
    }
    Box::pin(badges::check(ctx, account, slot)).await
}

/// One recent pass over the skills that have had none since `slot`.
async fn pass(ctx: &Context, account: &Account, slot: DateTime<Utc>) -> anyhow::Result<()> {
    let only = account.only_skills.as_deref();
    let due = db::recent_passes::due(&ctx.pool, &account.id, only, slot).await?;
    if due.is_empty() {
        return Ok(());
    }
    let started_at = ctx.clock.now();
    let mut totals = RecentPassTotals::default();
    for (skills, since) in questions(due, account.sets.most()) {
        let began_at = ctx.clock.now();
        let scope = Scope::UpdatedSince(since);
        let (goes_on, found) = Box::pin(ask_for(ctx, account, skills, scope)).await?;
        db::recent_passes::finished(&ctx.pool, &account.id, &found, began_at).await?;
        add(&mut totals, &found);
        if !goes_on {
            break;
        }
    }
    db::recent_passes::note(&ctx.pool, &account.id, totals, started_at).await?;
    Ok(())
}

/// The searches that ask for these skills, and for updates since when each: in one for as many as go, those that are refused by themselves.
///
/// The oldest moment of a search's skills counts for all of them. They are asked for in the order of these moments, so that one that was not
/// answered for long makes the search long for few others.
fn questions(due: Vec<DueSkill>, most: usize) -> Vec<(Vec<SkillId>, DateTime<Utc>)> {
    let (alone, together): (Vec<_>, Vec<_>) = due.into_iter().partition(|due| due.alone);
    let sets = together.chunks(most.max(1)).chain(alone.chunks(1));
    let question = |set: &[DueSkill]| {
        let since = set.iter().map(|due| due.known_at).min()?;
        let skills = set.iter().map(|due| due.skill).collect();
        Some((skills, since - SHOWN_LATE))
    };
    sets.filter_map(question).collect()
}

fn add(totals: &mut RecentPassTotals, found: &[(SkillId, Summary)]) {
    let calls: f64 = found.iter().map(|(_, of)| of.calls).sum();
    // Whole calls that were shared among the skills.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of calls"
    )]
    let calls = calls.round() as u32;
    totals.calls += calls;
    totals.met += found.iter().map(|(_, of)| of.conversations).sum::<u32>();
    totals.changed += found.iter().map(|(_, of)| of.changed).sum::<u32>();
}

/// Gives up recent passes for a day if a full pass has found an agent message that one of them should have shown.
pub(super) async fn judge(
    ctx: &Context,
    account: &Account,
    found: &[(SkillId, Summary)],
) -> anyhow::Result<()> {
    let missed: u32 = found.iter().map(|(_, of)| of.missed).sum();
    if missed == 0 {
        return Ok(());
    }
    let now = ctx.clock.now();
    let known = db::recent_passes::distrusted_at(&ctx.pool, &account.id, now).await?;
    db::recent_passes::distrust(&ctx.pool, &account.id, missed, now).await?;
    if known.is_none() {
        warn!(account = %account.id, missed, "LivePerson's filter by update did not show a message of an agent; there are full passes \
            only for a day");
    } else {
        info!(account = %account.id, missed, "LivePerson's filter by update had missed more messages of agents");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(skill: i64, minutes: i64, alone: bool) -> DueSkill {
        DueSkill {
            skill: SkillId(skill),
            known_at: DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes),
            alone,
        }
    }

    #[test]
    fn skills_are_asked_for_together_since_the_oldest_of_them_less_a_minute() {
        let all = vec![
            due(1, 30, false),
            due(2, 25, true),
            due(3, 20, false),
            due(4, 10, false),
        ];
        let at = |minutes| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let ids = |ids: &[i64]| ids.iter().copied().map(SkillId).collect::<Vec<_>>();
        for (most, expected) in [
            (100, vec![(ids(&[1, 3, 4]), at(9)), (ids(&[2]), at(24))]),
            (
                2,
                vec![
                    (ids(&[1, 3]), at(19)),
                    (ids(&[4]), at(9)),
                    (ids(&[2]), at(24)),
                ],
            ),
            (
                0,
                vec![
                    (ids(&[1]), at(29)),
                    (ids(&[3]), at(19)),
                    (ids(&[4]), at(9)),
                    (ids(&[2]), at(24)),
                ],
            ),
        ] {
            assert_eq!(questions(all.clone(), most), expected, "{most}");
        }
        assert_eq!(questions(Vec::new(), 100), []);
    }
}
