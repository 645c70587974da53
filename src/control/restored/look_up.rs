//! Which messages of the lost time can be looked up at their providers, and by which addresses.

use std::collections::{BTreeMap, HashSet};

use crate::control::ControlError;
use crate::db;
use crate::db::restored::{LookUp, LostPeriod, PerhapsSent};
use crate::domain::contact;
use crate::domain::ids::{AccountId, Channel};
use crate::jobs::context::Context;
use crate::liveperson::MAX_IDS;

/// The addresses to which messages of the lost time went that providers can be asked about, as LivePerson tells them by now. Whose address it
/// does not tell stays unknown.
pub(super) async fn lookups(ctx: &Context, lost: LostPeriod) -> Result<Vec<LookUp>, ControlError> {
    let mut found = Vec::new();
    for channel in Channel::ALL {
        let mut adapters = ctx.channels.all(channel);
        if adapters.any(|adapter| adapter.finder().is_some()) {
            found.extend(lookups_on(ctx, channel, lost).await?);
        }
    }
    Ok(found)
}

async fn lookups_on(
    ctx: &Context,
    channel: Channel,
    lost: LostPeriod,
) -> Result<Vec<LookUp>, ControlError> {
    let all = db::restored::perhaps_sent(&ctx.pool, channel, lost).await?;
    let mut by_account: BTreeMap<AccountId, Vec<PerhapsSent>> = BTreeMap::new();
    for reminder in all {
        let of_account = by_account.entry(reminder.account.clone());
        of_account.or_default().push(reminder);
    }
    let mut lookups = Vec::new();
    for (account, reminders) in by_account {
        let Some(account) = ctx.accounts.get(&account) else {
            continue;
        };
        let adapter = ctx.channels.of(&account.id, channel);
        if adapter.is_none_or(|adapter| adapter.finder().is_none()) {
            continue;
        }
        for part in reminders.chunks(MAX_IDS) {
            let ids: HashSet<String> = part.iter().map(|r| r.conversation.clone()).collect();
            let ids: Vec<String> = ids.into_iter().collect();
            let records = match account.by_ids(&ids).await {
                Ok(answer) => answer.records,
                Err(error) => {
                    tracing::warn!(account = %account.id, "Messages of {} conversations are not looked up: {error}", ids.len());
                    continue;
                }
            };
            for reminder in part {
                let record = records.iter().find(|r| r.id == reminder.conversation);
                let contact = record.and_then(|record| {
                    contact::choose(&record.contact, channel, &account.contact_policy)
                });
                lookups.extend(contact.map(|contact| LookUp {
                    reminder: reminder.id,
                    address: contact.address.expose().to_owned(),
                }));
            }
        }
    }
    Ok(lookups)
}
