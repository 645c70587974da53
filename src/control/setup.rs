//! The way from an empty installation to the first reminder, step by step: what is done, what is next, and who can do it.

use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::ControlError;
use super::accounts::{Accounts, Allowed};
use crate::channel;
use crate::db;
use crate::db::setup::SetupProgress;
use crate::domain::ids::{AccountId, Channel, Provider};
use crate::domain::pause::Scope;
use crate::jobs::context::Context;

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SetupStep)]
pub struct SetupStep {
    /// `liveperson`, `channel`, `page`, `rule`, `test`, `live`.
    pub name: &'static str,
    pub title: &'static str,
    pub done: bool,
    /// How it stands, and what to do if it is not done.
    pub said: String,
}

/// How far an account has come.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Setup)]
pub struct AccountSetup {
    pub account: AccountId,
    pub done: bool,
    pub steps: Vec<SetupStep>,
}

/// The steps of an account. `has_page` says whether links in its reminders have somewhere to lead.
pub async fn of_account(
    ctx: &Context,
    account: &Allowed<AccountId>,
    has_page: bool,
) -> Result<AccountSetup, ControlError> {
    let progress = db::setup::progress(&ctx.pool, account).await?;
    let paused = is_paused(&ctx.pool, account).await?;
    let channels: Vec<Channel> = Channel::ALL
        .into_iter()
        .filter(|channel| ctx.has(account, *channel))
        .collect();
    let steps = vec![
        liveperson(&progress),
        channel(&channels),
        page(has_page),
        rule(&progress),
        test(&progress),
        live(&progress, paused),
    ];
    Ok(AccountSetup {
        account: AccountId::clone(account),
        done: steps.iter().all(|step| step.done),
        steps,
    })
}

/// Whether every account has gone live: what leads there is then not needed any more.
pub async fn is_over(pool: &PgPool, accounts: &Accounts) -> Result<bool, ControlError> {
    let live = db::live::of_accounts(pool, accounts.ids()).await?;
    let mut ids = accounts.ids().iter();
    let all = ids.all(|id| live.iter().any(|(account, _)| account == id));
    Ok(all && !accounts.ids().is_empty())
}

async fn is_paused(pool: &PgPool, account: &AccountId) -> Result<bool, ControlError> {
    let pauses = db::pauses::all(pool).await?;
    Ok(pauses.iter().any(|pause| match &pause.scope {
        Scope::Everything => true,
        Scope::Account(of) => of == account,
        Scope::Channel(..) | Scope::Rule(_) => false,
    }))
}

fn liveperson(progress: &SetupProgress) -> SetupStep {
    let done = progress.scanned_at.is_some() && progress.skills > 0;
    let said = match (&progress.scan_error, done) {
        (Some(error), false) => format!("LivePerson answered with an error: {error}"),
        (None, false) => "Waiting for LivePerson's first answer. It arrives within a minute once the key is set and correct. Your server \
                          administrator can check with `unread doctor`."
            .to_owned(),
        (_, true) => format!("Connected: conversations are read. Skills found: {}.", progress.skills),
    };
    SetupStep {
        name: "liveperson",
        title: "Connect LivePerson",
        done,
        said,
    }
}

fn channel(channels: &[Channel]) -> SetupStep {
    let labels = |set_up: bool| {
        let of = Channel::ALL
            .into_iter()
            .filter(|c| channels.contains(c) == set_up);
        let labels: Vec<&str> = of.map(|channel| channel.names().label).collect();
        labels.join(" and ")
    };
    let said = match channels {
        [] => format!(
            "Neither {} is set up: your server administrator sets {}.",
            Channel::ALL
                .map(|channel| channel.names().inside)
                .join(" nor "),
            Provider::ALL
                .map(|provider| channel::profile(provider).set_up_by)
                .join(", or "),
        ),
        [_] => format!(
            "{} is set up. {} is not, and is optional.",
            labels(true),
            labels(false)
        ),
        _ => format!("{} are set up.", labels(true)),
    };
    SetupStep {
        name: "channel",
        title: "Set up e-mail or SMS",
        done: !channels.is_empty(),
        said,
    }
}

fn page(has_page: bool) -> SetupStep {
    let said = if has_page {
        "Links in reminders go to your page with the conversation."
    } else {
        "Links in reminders have nowhere to go: your server administrator sets UNREAD_PAGE_URL to the page with your conversation."
    };
    SetupStep {
        name: "page",
        title: "Where links go",
        done: has_page,
        said: said.to_owned(),
    }
}

fn rule(progress: &SetupProgress) -> SetupStep {
    let said = match (progress.rules_on, progress.drafts) {
        (0, 0) => "No customers are reminded yet. Create a rule for one skill, or for all of them."
            .to_owned(),
        (0, _) => "There is a draft. Review it, then publish it.".to_owned(),
        (1, _) => "1 rule is active.".to_owned(),
        (rules, _) => format!("{rules} rules are active."),
    };
    SetupStep {
        name: "rule",
        title: "Create a rule",
        done: progress.rules_on > 0,
        said,
    }
}

fn test(progress: &SetupProgress) -> SetupStep {
    let said = if progress.test_arrived {
        "A test message has arrived."
    } else if progress.live_channels > 0 {
        "You went live without one."
    } else if progress.test_sent {
        "A test message was sent. Enter the code in it on the rule's page."
    } else {
        "Send yourself a test message from a rule's page, and enter the code in it."
    };
    SetupStep {
        name: "test",
        title: "Send yourself a test",
        done: progress.test_arrived || progress.live_channels > 0,
        said: said.to_owned(),
    }
}

fn live(progress: &SetupProgress, paused: bool) -> SetupStep {
    let said = if progress.live_channels == 0 {
        "No customer gets a message before you go live. See who would be reminded, then go live."
    } else if paused {
        "Sending is paused. Resume it when you are ready."
    } else if progress.reminder_sent {
        "Reminders go out."
    } else if progress.rules_on > 0 {
        "Everything is ready. The first reminder goes out when a message has been unread for long enough."
    } else {
        "Reminders go out once a rule is active."
    };
    SetupStep {
        name: "live",
        title: "Go live",
        done: progress.live_channels > 0 && !paused,
        said: said.to_owned(),
    }
}
