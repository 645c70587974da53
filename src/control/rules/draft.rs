//! Writing drafts: by hand, and by the editor itself while somebody writes.

use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgPool;

use super::{
    ChangeAuthor, RuleChange, RuleStamp, RuleView, checked, of_this_version, read_in, record,
    unchanged,
};
use crate::channel::render::Texts;
use crate::control::ControlError;
use crate::control::accounts::Allowed;
use crate::control::senders::AllowedSenders;
use crate::db;
use crate::db::drafts::Draft;
use crate::domain::ids::Channel;
use crate::domain::rule::RuleKey;

/// Somebody who has not written for so long begins anew.
const ONE_SITTING: TimeDelta = TimeDelta::hours(1);

/// Writes the draft of a key. `seen` is what the writer has read; what the change leaves out is the default of a rule over these channels,
/// those that are configured.
pub async fn save_draft(
    pool: &PgPool,
    with: (&Texts, &AllowedSenders, &[Channel]),
    key: &Allowed<RuleKey>,
    seen: RuleStamp,
    change: RuleChange,
    by: ChangeAuthor<'_>,
) -> Result<RuleView, ControlError> {
    write_draft(pool, with, (key, seen), change, by, |_| true).await
}

/// Writes the draft as it is being written. The audit trail says once that somebody is at it, not every few seconds.
pub async fn autosave_draft(
    pool: &PgPool,
    with: (&Texts, &AllowedSenders, &[Channel]),
    key: &Allowed<RuleKey>,
    seen: RuleStamp,
    change: RuleChange,
    by: ChangeAuthor<'_>,
) -> Result<RuleView, ControlError> {
    let is_new = |draft: Option<&Draft>| {
        !draft.is_some_and(|draft| {
            draft.changed_by == by.name && by.now - draft.changed_at < ONE_SITTING
        })
    };
    write_draft(pool, with, (key, seen), change, by, is_new).await
}

/// `noted`: whether the audit trail is to have an entry, by the draft that was there.
async fn write_draft(
    pool: &PgPool,
    (texts, senders, channels): (&Texts, &AllowedSenders, &[Channel]),
    (key, seen): (&Allowed<RuleKey>, RuleStamp),
    change: RuleChange,
    by: ChangeAuthor<'_>,
    noted: impl FnOnce(Option<&Draft>) -> bool,
) -> Result<RuleView, ControlError> {
    let mut settings = checked(texts, channels, change.settings).await?;
    senders.allow(&settings)?;
    let mut tx = pool.begin().await?;
    let now_there = unchanged(&mut tx, key, seen).await?;
    // What the page or the caller has read lacks what it would overwrite.
    let there = now_there.rule.iter().map(|rule| &rule.settings);
    let there = there.chain(now_there.draft.iter().map(|draft| &draft.settings));
    there
        .into_iter()
        .try_for_each(|there| of_this_version(key, there))?;
    settings.number_steps(&db::rules::known_steps(&mut tx, key).await?);
    let based_on = now_there.rule_version();
    let written = (change.enabled, &settings);
    db::drafts::save(&mut tx, key, based_on, written, by.name, by.now).await?;
    if noted(now_there.draft.as_ref()) {
        record(&mut tx, by, "rule.draft", key, json!({})).await?;
    }
    let view = read_in(&mut tx, key).await?;
    tx.commit().await?;
    Ok(view)
}
