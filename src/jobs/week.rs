//! The week's result, to those who hear of incidents: at one hour of one day, once, whichever process it is.

use anyhow::Context as _;
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use serde_json::json;

use super::context::Context;
use super::tell;
use crate::db;
use crate::db::incidents::NoticeKind;
use crate::domain::ids::AccountId;
use crate::domain::week::WeekFigures;

/// Who comes back within a day is counted to the reminder: of a day that has not passed yet nothing can be said.
const WINDOW: TimeDelta = TimeDelta::hours(24);

const WEEK: TimeDelta = TimeDelta::days(7);

/// Sends the week's result when it is time.
pub async fn tell(ctx: &Context) -> anyhow::Result<()> {
    if ctx.notify.emails.is_empty() {
        return Ok(());
    }
    let now = ctx.clock.now();
    let due = ctx
        .notify
        .week
        .and_then(|moment| moment.due(now, ctx.notify.zone));
    if let Some(day) = due {
        note(ctx, day, now).await.context("the week's result")?;
    }
    for address in &ctx.notify.emails {
        tell::mail(ctx, address, NoticeKind::Week).await?;
    }
    Ok(())
}

async fn note(ctx: &Context, day: NaiveDate, now: DateTime<Utc>) -> anyhow::Result<()> {
    let subject = format!("week/{day}");
    if db::incidents::is_noted(&ctx.pool, &subject).await? {
        return Ok(());
    }
    let until = now - WINDOW;
    let figures = figures(ctx, until).await?;
    let last = until.with_timezone(&ctx.notify.zone).date_naive();
    let first = last.checked_sub_days(Days::new(7)).unwrap_or(last);
    let body = json!({ "subject": figures.subject(), "text": figures.text(first, last) });
    let targets: Vec<String> = ctx.notify.mailboxes(&ctx.hasher).collect();
    let mut conn = ctx.pool.acquire().await?;
    let of = (NoticeKind::Week, subject.as_str());
    db::incidents::notify(&mut conn, of, &targets, &body, now).await?;
    Ok(())
}

/// What the seven days before came to, in all accounts.
async fn figures(ctx: &Context, until: DateTime<Utc>) -> anyhow::Result<WeekFigures> {
    let accounts: Vec<AccountId> = ctx.accounts.keys().cloned().collect();
    let span = (until - WEEK, until);
    let rows = db::reminder_counts::by_skill(&ctx.pool, &accounts, span).await?;
    let opted_out = db::suppressions::opted_out(&ctx.pool, &accounts, span).await?;
    let mut week = WeekFigures {
        opted_out,
        ..WeekFigures::default()
    };
    for row in rows {
        week.sent += row.sums.sent;
        week.back += row.sums.back_24h;
        week.reminded += row.sums.reminded;
        week.reminded_back += row.sums.reminded_back_24h;
        week.held_out += row.sums.held_out;
        week.held_back += row.sums.held_back_24h;
    }
    Ok(week)
}
