//! `UNREAD_LIVE`: channels go live by themselves when nothing stands in the way any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Account, Config};
use crate::control::live::{Installation, Looks, Refusal};
use crate::doctor::{self, State};
use crate::domain::ids::Channel;
use crate::jobs::context::Context;

/// How often is looked whether it is time to try channels again. What still stands in the way is tried less and less often
/// ([`crate::db::live::look`]), by one process at a time: each try asks LivePerson and logs in at the provider.
const LOOK: Duration = Duration::from_secs(10);

pub async fn go_when_possible(
    config: Config,
    ctx: Arc<Context>,
    shutdown: CancellationToken,
) -> &'static str {
    let mut said = BTreeMap::new();
    let mut first = true;
    let looks = Looks::default();
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

/// What doctor finds to be broken of an account's LivePerson and of a channel's provider. LivePerson is asked as for a person: within
/// the share of the account's calls that people have.
pub fn examine<'a>(
    config: &'a Config,
    ctx: &'a Context,
    account: &'a Account,
    channel: Channel,
) -> BoxFuture<'a, Vec<Refusal>> {
    Box::pin(async move {
        // The machine's clock is compared with LivePerson's.
        let limit = ctx.accounts.get(&account.id).map(|a| a.client.limit());
        let of_liveperson = doctor::of_liveperson(config, account, limit, &Clock::System).await;
        let of_channel = doctor::of_channel(config, channel).await;
        if let Err(error) = doctor::keep(&ctx.pool, config, &of_channel, ctx.clock.now()).await {
            tracing::warn!("What the DNS says of the sender's domain could not be kept: {error}");
        }
        let lines = of_liveperson.into_iter().map(|line| ("liveperson", line));
        let lines = lines.chain(of_channel.into_iter().map(|line| ("channel", line)));
        lines
            .filter(|(_, line)| line.state == State::Failed)
            .map(|(what, line)| Refusal {
                what,
                said: format!("{}, {}: {}", line.part, line.check, line.found),
                fix: line.mend.unwrap_or_default(),
            })
            .collect()
    })
}
