//! `unread users`.

use std::path::Path;

use clap::Subcommand;
use unread::clock::Clock;
use unread::config::Config;
use unread::control;
use unread::domain::access::Role;
use unread::secret::Secret;

use super::{BY, Tools, read};

#[derive(Subcommand)]
pub enum Users {
    /// Add a person and print a link with which a password is chosen, once, within two days
    Add {
        /// What the person logs in with; an e-mail address will do
        name: String,
        /// viewer, editor or administrator
        #[arg(long, default_value = "viewer")]
        role: Role,
        /// Read the password from standard input instead
        #[arg(long)]
        password_stdin: bool,
    },
    /// Print everybody
    List,
    /// Remove a person and end the person's sessions
    Remove { name: String },
    /// Print a link with which the person chooses a new password, once, within two days
    Password { name: String },
}

pub async fn run(config: &Config, what: Users) -> anyhow::Result<()> {
    let tools = Tools::open(config).await?;
    let (pool, now) = (&tools.pool, Clock::System.now());
    let told = |name: &str, link: &control::users::Link| -> anyhow::Result<()> {
        let url = control::users::address_of(&config.web.public_url, link)?;
        println!(
            "{name} chooses a password at {url} (works once, until {})",
            link.expires_at.format("%Y-%m-%d %H:%M UTC")
        );
        Ok(())
    };
    match what {
        Users::Add {
            name,
            role,
            password_stdin: true,
        } => {
            let password = Secret::new(read(Path::new("-"))?.trim_end_matches(['\r', '\n']));
            control::users::add_with_password(pool, &name, role, &password, BY, now).await?;
            println!("{name} can log in as {role}.");
        }
        Users::Add { name, role, .. } => {
            let (user, link) = control::users::add(pool, &name, role, BY, now).await?;
            told(&user.name, &link)?;
        }
        Users::List => {
            for user in control::users::list(pool).await? {
                let seen = user.seen_at.map_or("never logged in".to_owned(), |at| {
                    format!("last seen {}", at.format("%Y-%m-%d %H:%M UTC"))
                });
                println!("{:<32} {:<14} {seen}", user.name, user.role.as_str());
            }
        }
        Users::Remove { name } => {
            let user = control::users::named(pool, &name).await?;
            control::users::remove(pool, user.id, BY, now).await?;
            println!("{} is removed.", user.name);
        }
        Users::Password { name } => {
            let user = control::users::named(pool, &name).await?;
            let link = control::users::new_link(pool, user.id, BY, now).await?;
            told(&user.name, &link)?;
        }
    }
    tools.close().await
}
