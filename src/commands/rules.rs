//! `unread rules`.

use std::path::PathBuf;

use clap::Subcommand;
use unread::channel::render::Texts;
use unread::config::Config;
use unread::domain::ids::AccountId;
use unread::{complain, control, printed, rules_file, say};

use super::{Tools, by, read, spoken};

#[derive(Subcommand)]
pub enum Rules {
    /// Store the rules of a file; rules that the file does not name are left alone
    Import {
        /// `-` for standard input
        file: PathBuf,
    },
    /// Print all rules
    Export,
}

pub async fn run(config: &Config, what: Rules) -> anyhow::Result<()> {
    let tools = Tools::open(config).await?;
    match what {
        Rules::Export => {
            let rules = control::rules::export(&tools.pool).await?;
            printed::text(&rules_file::print(&rules));
        }
        Rules::Import { file } => {
            let text = read(&file)?;
            let tools_of = (&tools.pool, &Texts::new());
            let around = |account: &AccountId| control::rules::around(config, Some(account));
            let done = control::rules::import(tools_of, around, &text, by()).await;
            let done = done.map_err(spoken)?;
            for warning in &done.warnings {
                complain!("unread: {}: {}", warning.field, warning.detail);
            }
            say!("{} rules read, {} changed.", done.rules, done.changed);
        }
    }
    tools.close().await
}
