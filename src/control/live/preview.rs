//! What going live would do: the dry run of a channel, on LivePerson as it is at this moment.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::ControlError;
use crate::control::accounts::Allowed;
use crate::control::forecast::{ConversationForecast, MOST_LIVE, RuleEffect, done_before};
use crate::db;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::read_state::{ReadState, read_state};
use crate::domain::rule::Rule;
use crate::jobs::context::Context;
use crate::jobs::forecast;

/// Whom a channel would remind of what is unread now, if it were live and that counted.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = LivePreview)]
pub struct LivePreview {
    pub looked_at: DateTime<Utc>,
    /// Conversations that were looked at: those that began first.
    #[schema(minimum = 0)]
    pub conversations: usize,
    /// So many are open.
    pub open: u32,
    /// Of those looked at, unread ones.
    #[schema(minimum = 0)]
    pub unread: usize,
    /// Of these, those whose customer has no address for the channel.
    #[schema(minimum = 0)]
    pub without_address: usize,
    /// What the channel's steps would do. Who is reached over a channel that comes first is not reminded by this one.
    pub effect: RuleEffect,
}

impl LivePreview {
    /// Unread conversations for which a reminder would be scheduled.
    pub fn reminded(&self) -> usize {
        self.effect.within_the_hour + self.effect.later
    }
}

/// Asks LivePerson and decides as a scan would if the channel had always been live. Stores nothing and sends nothing.
pub async fn preview(
    ctx: &Context,
    id: &Allowed<AccountId>,
    channel: Channel,
    now: DateTime<Utc>,
) -> Result<LivePreview, ControlError> {
    let account = ctx.accounts.get(&**id);
    let account = account.ok_or_else(|| ControlError::NotFound(format!("account {id}")))?;
    let seen = forecast::open_conversations(account, None, ctx.window, MOST_LIVE, now).await?;
    let done = done_before(ctx, id, &seen.records).await?;
    let mut rules = db::rules::of_accounts(&ctx.pool, std::slice::from_ref(&**id)).await?;
    for rule in &mut rules {
        rule.live[channel] = Rule::ALWAYS;
    }
    let mut preview = LivePreview {
        looked_at: now,
        conversations: seen.records.len(),
        open: seen.total,
        unread: 0,
        without_address: 0,
        effect: RuleEffect::default(),
    };
    for record in &seen.records {
        let scanned = account.only_skills.as_ref();
        let scanned = scanned.is_none_or(|only| only.contains(&record.skill));
        if !scanned || !matches!(read_state(record, account.count_bots), ReadState::Unread(_)) {
            continue;
        }
        preview.unread += 1;
        let done = done.get(&record.id).map_or(&[][..], Vec::as_slice);
        let verdict = forecast::verdict(
            account,
            ctx.installation_of(&account.id),
            &rules,
            record,
            done,
            now,
        );
        let mut told = ConversationForecast::of(verdict);
        let lacks_address = told.passed_over.get(&channel) == Some(&Reason::NoAddress);
        preview.without_address += usize::from(lacks_address);
        if told.channel.is_some_and(|first| first != channel) {
            told.at = None;
            told.reason = if lacks_address {
                Reason::NoAddress
            } else {
                Reason::Reached
            };
        }
        preview.effect.count(&record.id, &told, now);
    }
    Ok(preview)
}
