//! `unread live`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use unread::app;
use unread::clock::Clock;
use unread::config::Config;
use unread::control::accounts::Allowed;
use unread::control::live::{
    CheckCaller, Consent, GoLiveRequest, Installation, LiveCheckCache, OtherInstallation,
};
use unread::control::{ControlError, live};
use unread::doctor;
use unread::domain::ids::{AccountId, Channel};
use unread::metrics::Metrics;
use unread::{complain, say};

use super::{Tools, by};

#[derive(Subcommand)]
pub enum LiveCommand {
    /// Print which channels are live, and what stands in the way of the others
    Status,
    /// Go live with a channel: its reminders go out from now on
    Go(Go),
    /// Take a channel back from live: no reminder goes out any more
    End(LiveTarget),
}

#[derive(Args)]
pub struct LiveTarget {
    /// The account's id; may be left out if there is one
    #[arg(long, value_name = "ID")]
    account: Option<AccountId>,
    /// email or sms
    #[arg(long)]
    channel: Channel,
}

#[derive(Args)]
pub struct Go {
    #[command(flatten)]
    which: LiveTarget,
    /// Whether another installation reminds this account's customers: none, stopped or sends
    #[arg(long, value_name = "ANSWER", value_parser = word::<OtherInstallation>)]
    other_installation: OtherInstallation,
    /// For SMS, how customers agreed to text messages: form, conversation or otherwise
    #[arg(long, value_name = "ANSWER", value_parser = word::<Consent>)]
    consent: Option<Consent>,
    /// The same in your own words, for the audit trail
    #[arg(long, value_name = "TEXT", default_value = "")]
    consent_note: String,
    /// Include the customers with unread messages now, by the number that `unread live status` prints
    #[arg(long, value_name = "NUMBER")]
    include_unread: Option<u64>,
}

/// One of the words that the API takes.
fn word<T: serde::de::DeserializeOwned>(raw: &str) -> Result<T, String> {
    serde_json::from_value(raw.into()).map_err(|error| error.to_string())
}

pub async fn run(config: &Config, what: LiveCommand) -> anyhow::Result<ExitCode> {
    let tools = Tools::open(config).await?;
    let ctx = app::context(
        config,
        &tools.pool,
        &Clock::System,
        &tools.hasher,
        &Metrics::new(),
    )?;
    let ctx = Arc::new(ctx);
    let installation = Installation {
        config,
        ctx: &ctx,
        examine: doctor::find_broken,
        looks: &LiveCheckCache::default(),
    };
    let done = match what {
        LiveCommand::Status => status(installation).await.map(|()| None),
        LiveCommand::Go(go) => {
            let wish = GoLiveRequest {
                other_installation: go.other_installation,
                consent: go.consent,
                consent_note: go.consent_note,
                include_unread: go.include_unread,
            };
            match account(config, &go.which) {
                Ok(account) => installation
                    .go(&account, go.which.channel, &wish, by())
                    .await
                    .map(|()| Some("Live. Reminders are sent from now on.")),
                Err(error) => Err(error),
            }
        }
        LiveCommand::End(which) => match account(config, &which) {
            Ok(account) => installation
                .back(&account, which.channel, by())
                .await
                .map(|()| Some("No longer live: no reminders are sent.")),
            Err(error) => Err(error),
        },
    };
    tools.close().await?;
    match done {
        Ok(said) => {
            if let Some(said) = said {
                say!("{said}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(ControlError::Internal(error)) => Err(error),
        Err(refused) => {
            complain!("unread: {refused}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The account that is meant.
fn account(config: &Config, which: &LiveTarget) -> Result<Allowed<AccountId>, ControlError> {
    let accounts = super::accounts(config);
    match (&which.account, accounts.ids()) {
        (Some(id), _) => accounts.named(id.as_str()),
        (None, [only]) => accounts.named(only.as_str()),
        (None, _) => Err(ControlError::Conflict(
            "There are several accounts: choose one with --account.".to_owned(),
        )),
    }
}

async fn status(installation: Installation<'_>) -> Result<(), ControlError> {
    for account in &installation.config.accounts {
        let id = super::accounts(installation.config).named(account.id.as_str())?;
        for warning in live::warnings(account) {
            say!("{}: {warning}", account.id);
        }
        for channel in Channel::ALL
            .into_iter()
            .filter(|c| installation.ctx.has(&account.id, *c))
        {
            let standing = installation
                .standing(&id, channel, CheckCaller::Operator)
                .await?;
            if standing.live {
                say!("{} {channel}: live", account.id);
                continue;
            }
            say!(
                "{} {channel}: not live; {} customers would be reminded of messages that are unread now, {} more have no address",
                account.id,
                standing.would_be_reminded,
                standing.without_address
            );
            if !standing.scanned {
                say!(
                    "  Not every skill has been scanned completely: these numbers are not known yet"
                );
            }
            if let Some(preview) = &standing.preview {
                say!(
                    "  {} of them in the next hour; {} of {} open conversations were checked just now",
                    preview.effect.within_the_hour,
                    preview.conversations,
                    preview.open
                );
            }
            for refusal in standing.refusals {
                say!("  {} {}", refusal.said, refusal.fix);
            }
        }
    }
    Ok(())
}
