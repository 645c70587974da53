//! `unread erase`.

use unread::clock::Clock;
use unread::config::Config;
use unread::control::consumers::ConsumerSelector;
use unread::domain::ids::AccountId;
use unread::{app, control, say};

use super::{BY, Tools, accounts};

#[derive(clap::Args)]
#[group(required = true, multiple = false, args = ["consumer", "email", "phone"])]
pub struct Erase {
    #[arg(long)]
    account: Option<AccountId>,
    /// LivePerson's consumer id, or the brand's own customer id
    #[arg(long)]
    consumer: Option<String>,
    #[arg(long)]
    email: Option<String>,
    #[arg(long)]
    phone: Option<String>,
}

pub async fn run(config: &Config, whom: &Erase) -> anyhow::Result<()> {
    let tools = Tools::open(config).await?;
    let account = app::account(config, whom.account.as_ref())?;
    let region = account.default_region.as_deref();
    let who = match (&whom.consumer, whom.email.as_ref().or(whom.phone.as_ref())) {
        (Some(id), _) => ConsumerSelector::Consumer(id.clone()),
        (None, Some(raw)) => {
            ConsumerSelector::address(&tools.pool, &Clock::System, &tools.hasher, (raw, region))
                .await
                .map_err(|_| anyhow::anyhow!("that is not an e-mail address or a phone number"))?
        }
        (None, None) => anyhow::bail!("give the consumer: --consumer, --email or --phone"),
    };
    let own = accounts(config).named(account.id.as_str())?;
    let erased =
        control::consumers::erase(&tools.pool, (&Clock::System, &tools.hasher), BY, &own, &who)
            .await?;
    say!(
        "Erased. Conversations: {}; decisions: {}; reminders made anonymous: {}, of which cancelled: {}. Opt-outs stay, as keyed hashes.",
        erased.conversations,
        erased.decisions,
        erased.reminders,
        erased.cancelled
    );
    if erased.still_open > 0 {
        say!(
            "Conversations open at LivePerson: {}. They are not read again. Delete them there, too.",
            erased.still_open
        );
    }
    if erased.in_flight > 0 {
        say!(
            "Reminders being sent right now, which cannot be recalled: {}.",
            erased.in_flight
        );
    }
    tools.close().await
}
