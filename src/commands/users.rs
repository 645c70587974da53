//! `unread users`.

use std::path::Path;

use clap::Subcommand;
use unread::clock::Clock;
use unread::config::Config;
use unread::control::passwords::Chosen;
use unread::domain::access::{Rights, Role};
use unread::domain::ids::AccountId;
use unread::secret::Secret;
use unread::{control, say};

use super::{BY, Tools, accounts, read};

const NO_PASSWORDS: &str = "there are no passwords here (UNREAD_PASSWORDS is false): people log in by single sign-on. `unread users login \
                            NAME` prints a link that logs someone in anyway";

#[derive(Subcommand)]
pub enum Users {
    /// Add a person and print a link with which a password is chosen, once, within two days
    Add {
        /// What the person logs in with; an e-mail address will do
        name: String,
        /// viewer, editor or administrator
        #[arg(long, default_value = "viewer")]
        role: Role,
        /// Only this account; may be given several times. Left out: all
        #[arg(long)]
        account: Vec<AccountId>,
        /// Read the password from standard input instead
        #[arg(long)]
        password_stdin: bool,
    },
    /// List all users
    List,
    /// Remove a person; the person's sessions and API tokens end
    Remove { name: String },
    /// Print a link with which the person chooses a new password, once, within two days
    Password { name: String },
    /// Print a link that logs the person in, once, within an hour, whatever else works: without password, code or single sign-on
    Login { name: String },
    /// Let a person who has lost phone and recovery codes in with the password alone, until a second factor is set up again
    ResetSecondFactor { name: String },
}

fn rights(config: &Config, role: Role, wanted: &[AccountId]) -> anyhow::Result<Rights> {
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    let wanted = Some(wanted.as_slice()).filter(|ids| !ids.is_empty());
    let limit = control::accounts::limit(&accounts(config), wanted);
    let rights = control::users::rights(role, limit.map_err(control::ControlError::Invalid)?);
    Ok(rights?)
}

pub async fn run(config: &Config, what: Users) -> anyhow::Result<()> {
    let tools = Tools::open(config).await?;
    let (pool, now) = (&tools.pool, Clock::System.now());
    let say = |does: &str, name: &str, link: &control::users::Link| -> anyhow::Result<()> {
        let url = control::users::address_of(&config.web.dashboard_url, link)?;
        say!(
            "{name} {does} at {url} (works once, until {})",
            link.expires_at.format("%Y-%m-%d %H:%M UTC")
        );
        Ok(())
    };
    let told = |name: &str, link: &control::users::Link| {
        let does = if config.web.passwords {
            "chooses a password"
        } else {
            "comes in by single sign-on"
        };
        say(does, name, link)
    };
    match what {
        Users::Add {
            name,
            role,
            account,
            password_stdin: true,
        } => {
            anyhow::ensure!(config.web.passwords, NO_PASSWORDS);
            let rights = rights(config, role, &account)?;
            let password = Secret::new(read(Path::new("-"))?.trim_end_matches(['\r', '\n']));
            let brands: Vec<String> = config.accounts.iter().map(|a| a.brand.clone()).collect();
            let password = Chosen {
                password: &password,
                own_words: &brands,
            };
            control::users::add_with_password(pool, &name, rights, password, BY, now).await?;
            say!("{name} can log in as {role}.");
        }
        Users::Add {
            name,
            role,
            account,
            ..
        } => {
            let rights = rights(config, role, &account)?;
            let (user, link) = control::users::add(pool, &name, rights, BY, now).await?;
            told(&user.name, &link)?;
        }
        Users::List => {
            for user in control::users::list(pool).await? {
                let seen = user.seen_at.map_or("never logged in".to_owned(), |at| {
                    format!("last seen {}", at.format("%Y-%m-%d %H:%M UTC"))
                });
                let limit = user.accounts.ids().map_or(String::new(), |ids| {
                    let ids: Vec<&str> = ids.iter().map(AccountId::as_str).collect();
                    format!(", only {}", ids.join(", "))
                });
                say!("{:<32} {:<14} {seen}{limit}", user.name, user.role.as_str());
            }
        }
        Users::Remove { name } => {
            let user = control::users::named(pool, &name).await?;
            let estate = control::users::remove(pool, user.id, None, BY, now).await?;
            say!("{} is removed.", user.name);
            for token in estate.removed {
                say!("The API token \"{token}\" does not work any more.");
            }
        }
        Users::Password { name } => {
            anyhow::ensure!(config.web.passwords, NO_PASSWORDS);
            let user = control::users::named(pool, &name).await?;
            let link = control::users::new_link(pool, user.id, BY, now).await?;
            told(&user.name, &link)?;
        }
        Users::Login { name } => {
            let user = control::users::named(pool, &name).await?;
            let link = control::users::login_link(pool, user.id, BY, now).await?;
            say("logs in", &user.name, &link)?;
        }
        Users::ResetSecondFactor { name } => {
            let user = control::users::named(pool, &name).await?;
            control::second_factor::remove(pool, user.id, BY, now).await?;
            say!("{} is no longer asked for a code.", user.name);
        }
    }
    tools.close().await
}
