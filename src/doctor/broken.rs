//! What going live asks first: whether doctor finds anything broken.

use futures_util::future::BoxFuture;

use super::{CheckState, keep, of_channel, of_liveperson};
use crate::clock::Clock;
use crate::config::{AccountSettings, Config};
use crate::control::live::LiveRefusal;
use crate::domain::ids::Channel;
use crate::jobs::context::Context;

/// What doctor finds to be broken of an account's LivePerson and of a channel's provider. LivePerson is asked as for a person: within
/// the share of the account's calls that people have.
pub fn find_broken<'a>(
    config: &'a Config,
    ctx: &'a Context,
    account: &'a AccountSettings,
    channel: Channel,
) -> BoxFuture<'a, Vec<LiveRefusal>> {
    Box::pin(async move {
        // The machine's clock is compared with LivePerson's.
        let limit = ctx.accounts.get(&account.id).map(|a| a.client.limit());
        let of_liveperson = of_liveperson(config, account, limit, &Clock::System).await;
        let of_channel = of_channel(config, account, channel).await;
        if let Err(error) = keep(&ctx.pool, config, &of_channel, ctx.clock.now()).await {
            tracing::warn!("What the DNS says of the sender's domain could not be kept: {error}");
        }
        let lines = of_liveperson.into_iter().map(|line| ("liveperson", line));
        let lines = lines.chain(of_channel.into_iter().map(|line| ("channel", line)));
        lines
            .filter(|(_, line)| line.state == CheckState::Failed)
            .map(|(what, line)| LiveRefusal {
                what,
                said: format!("{}, {}: {}", line.part, line.check, line.found),
                fix: line.fix.unwrap_or_default(),
            })
            .collect()
    })
}
