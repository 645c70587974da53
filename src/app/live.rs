//! `UNREAD_LIVE`: channels go live by themselves when nothing stands in the way any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::live::{Examine, Installation, LiveCheckCache};
use crate::jobs::context::Context;

/// How often is looked whether it is time to try channels again. What still stands in the way is tried less and less often
/// ([`crate::db::live::not_live_counts`]), by one process at a time: each try asks LivePerson and logs in at the provider.
const LOOK: Duration = Duration::from_secs(10);

pub async fn go_when_possible(
    config: Config,
    ctx: Arc<Context>,
    examine: Examine,
    shutdown: CancellationToken,
) -> &'static str {
    let mut said = BTreeMap::new();
    let mut first = true;
    let looks = LiveCheckCache::default();
    loop {
        let installation = Installation {
            config: &config,
            ctx: &ctx,
            examine,
            looks: &looks,
        };
        match installation.go_by_setting(&ctx.clock, first).await {
            Ok(refused) => {
                first = false;
                for (what, refusals) in refused {
                    let words: Vec<String> = refusals
                        .iter()
                        .map(|refusal| format!("{} {}", refusal.said, refusal.fix))
                        .collect();
                    if said.get(&what) != Some(&words) {
                        tracing::warn!(
                            "UNREAD_LIVE: {what} cannot go live yet. {}",
                            words.join(" ")
                        );
                        said.insert(what, words);
                    }
                }
            }
            Err(error) => tracing::warn!(
                "UNREAD_LIVE: whether channels can go live could not be looked at: {error}"
            ),
        }
        tokio::select! {
            () = shutdown.cancelled() => return "going live",
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
