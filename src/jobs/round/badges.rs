//! What recent passes do not show: that a consumer has read, and that a conversation was closed. It is asked for by id where somebody sees
//! the difference, of conversations with something unread whose badge a page has open. (A reminder asks again before it goes.)

use chrono::{DateTime, Utc};
use tracing::warn;

use crate::db;
use crate::db::recent_passes::BadgeCheckTotals;
use crate::jobs::context::{Account, Context};
use crate::jobs::scan::{self, Stopped, Unchanged};
use crate::liveperson::{MAX_IDS, Purpose};

/// Asks about open badges of what was not asked about since `slot`, a hundred conversations to a call. What is beyond the calls that they may
/// have waits for the next slot, and comes first then.
pub(super) async fn check(
    ctx: &Context,
    account: &Account,
    slot: DateTime<Utc>,
) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let most = ctx.scan_pace.badge_calls() * MAX_IDS;
    let due = db::open_badges::due(&ctx.pool, &account.id, slot, now, most).await?;
    if due.is_empty() {
        return Ok(());
    }
    let rules = ctx.rules(account).await?;
    let mut totals = BadgeCheckTotals::default();
    for ids in due.chunks(MAX_IDS) {
        let asked_at = ctx.clock.now();
        let asked = scan::ask_by_id(
            ctx,
            account,
            Purpose::Background,
            &rules,
            ids,
            Unchanged::Skip,
        );
        totals.calls += 1;
        match asked.await {
            Ok(changed) => {
                totals.asked += u32::try_from(ids.len()).unwrap_or(u32::MAX);
                totals.changed += changed;
                db::open_badges::checked(&ctx.pool, &account.id, ids, asked_at).await?;
            }
            Err(Stopped::LivePerson(error)) => {
                warn!(account = %account.id, "Open badges cannot be checked: {error}");
                break;
            }
            Err(Stopped::Database(error)) => return Err(error),
        }
    }
    db::recent_passes::note_badges(&ctx.pool, &account.id, totals, now).await?;
    Ok(())
}
