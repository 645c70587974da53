//! `unread rules`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;
use unread::channel::render::Texts;
use unread::config::Config;
use unread::control::rules::RuleImport;
use unread::domain::ids::AccountId;
use unread::domain::rule::Difference;
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
            let channels = config.channels.channels();
            let tools_of = (&tools.pool, &Texts::new(), channels.as_slice());
            let around = |account: &AccountId| control::rules::around(config, Some(account));
            let done = control::rules::import(tools_of, around, &text, by()).await;
            let done = done.map_err(spoken)?;
            for warning in &done.warnings {
                complain!("unread: {}: {}", warning.field, warning.detail);
            }
            let is_here = |account: &AccountId| config.accounts.iter().any(|a| a.id == *account);
            for rule in done.rules.iter().filter(|rule| !is_here(&rule.key.account)) {
                complain!(
                    "unread: rule {}: this installation has no account {}, so nothing goes out by it",
                    rule.key,
                    rule.key.account
                );
            }
            for sentence in &done.merged {
                say!("{sentence}");
            }
            for rule in &done.rules {
                say!("{}: {}", rule.key, outcome(&rule.what));
            }
            say!(
                "{} rules read, {} changed.",
                done.rules.len(),
                done.changed()
            );
        }
    }
    tools.close().await
}

/// What an import did to a rule: `changed: caps.gap_minutes (120, now 240), steps`.
fn outcome(what: &RuleImport) -> String {
    match what {
        RuleImport::New => "new".to_owned(),
        RuleImport::Unchanged => "unchanged".to_owned(),
        RuleImport::Changed(differences) => {
            let each: Vec<String> = differences.iter().map(change).collect();
            format!("changed: {}", each.join(", "))
        }
    }
}

/// A setting by its path; numbers and switches with their values. Lists and texts would fill the screen.
fn change(
    Difference {
        field,
        before,
        after,
    }: &Difference,
) -> String {
    let short = |value: &Value| matches!(value, Value::Number(_) | Value::Bool(_));
    if short(before) && short(after) {
        format!("{field} ({before}, now {after})")
    } else {
        field.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_import_changed_is_said_by_its_path() {
        let difference = |field: &str, before, after| Difference {
            field: field.to_owned(),
            before,
            after,
        };
        let changed = RuleImport::Changed(vec![
            difference("enabled", json!(true), json!(false)),
            difference("caps.gap_minutes", json!(120), json!(240)),
            difference(
                "channels.sms.templates.en.text",
                json!("{{link}}"),
                json!("Read {{link}}"),
            ),
            difference("channels.sms.latest_minutes", Value::Null, json!(60)),
        ]);
        assert_eq!(
            outcome(&changed),
            "changed: enabled (true, now false), caps.gap_minutes (120, now 240), channels.sms.templates.en.text, \
             channels.sms.latest_minutes"
        );
        assert_eq!(
            [outcome(&RuleImport::New), outcome(&RuleImport::Unchanged)],
            ["new", "unchanged"]
        );
    }
}
