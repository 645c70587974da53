//! Keeps our list of an account's skills like LivePerson's.

use anyhow::Context as _;

use super::context::Context;
use super::names::{self, ScanJob};
use super::queue::{self, When};
use crate::db;
use crate::domain::ids::{AccountId, SkillId};
use crate::domain::round::PassKind;
use crate::liveperson::Purpose;

/// Fetches the skills if they have changed. A LivePerson that fails is logged and asked again at the next slot.
pub async fn sync(ctx: &Context, account: &AccountId) -> anyhow::Result<()> {
    let Some(account) = ctx.accounts.get(account) else {
        return Ok(());
    };
    let (known, revision) = db::accounts::skills_revision(&ctx.pool, &account.id).await?;
    let fetched = match account
        .client
        .made_for(Purpose::Background)
        .skills(revision.as_deref())
        .await
    {
        Ok(Some(fetched)) => fetched,
        Ok(None) => return Ok(()),
        Err(error) => {
            tracing::warn!(account = %account.id, "Skills cannot be fetched: {error}");
            return Ok(());
        }
    };
    let skills: Vec<(SkillId, String)> = fetched
        .skills
        .into_iter()
        .filter(|skill| !skill.deleted)
        .map(|skill| (skill.id, skill.name))
        .collect();
    tracing::info!(account = %account.id, skills = skills.len(), "Skills have changed");
    let mut tx = ctx.pool.begin().await?;
    let now = ctx.clock.now();
    db::accounts::store_skills(
        &mut tx,
        &account.id,
        &skills,
        fetched.revision.as_deref(),
        now,
    )
    .await?;
    if !known {
        // The first scan may have come before any skill was known: nobody waits for the next one because of that.
        let scans =
            ScanJob::of_slot(&account.id, now, now).filter(|scan| scan.pass == PassKind::Full);
        let jobs = scans.map(|scan| names::scan(&scan, now));
        queue::schedule(&mut tx, &ctx.clock, names::SCAN, When::At, jobs).await?;
    }
    tx.commit().await.context("storing skills")
}
