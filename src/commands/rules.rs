//! `unread rules`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;
use unread::channel::render::Texts;
use unread::config::Config;
use unread::control::rules::RuleImport;
use unread::domain::ids::AccountId;
use unread::domain::rule::{Difference, Step, When, span};
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
            let channels = config.channels_anywhere();
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
                    "unread: rule {}: this installation has no account {}, so it sends nothing",
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
                "Rules read: {}; changed: {}.",
                done.rules.len(),
                done.changed()
            );
        }
    }
    tools.close().await
}

/// What an import did to a rule: `changed: caps.gap_minutes (120, now 240), steps (2 removed)`.
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

/// A setting by its path; numbers and switches with their values, steps with what became of each. Other lists and texts would fill the
/// screen.
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
    } else if let ("steps", Some(before), Some(after)) =
        (field.as_str(), steps(before), steps(after))
    {
        format!("{field} ({})", step_changes(&before, &after).join("; "))
    } else {
        field.clone()
    }
}

fn steps(value: &Value) -> Option<Vec<Step>> {
    serde_json::from_value(value.clone()).ok()
}

/// What became of each step, by its id.
fn step_changes(before: &[Step], after: &[Step]) -> Vec<String> {
    let find = |steps: &[Step], id| steps.iter().find(|step| step.id == id).copied();
    let mut changes = Vec::new();
    for step in after {
        match find(before, step.id) {
            None => changes.push(format!("{} new: {}", step.id, described(step))),
            Some(was) if was != *step => changes.push(format!(
                "{}: {}, now {}",
                step.id,
                described(&was),
                described(step)
            )),
            Some(_) => {}
        }
    }
    let removed = before.iter().filter(|step| find(after, step.id).is_none());
    changes.extend(removed.map(|step| format!("{} removed: {}", step.id, described(step))));
    if changes.is_empty() {
        changes.push("in another order".to_owned());
    }
    changes
}

fn described(step: &Step) -> String {
    let when = match step.when {
        When::Always => "",
        When::IfNotReached => " if not reached",
    };
    format!("{} after {}{when}", step.channel, span(step.after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_import_changed_is_said_by_its_path() {
        let email = |id: i64, minutes: i64| json!({ "id": id, "channel": "email", "after_minutes": minutes });
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
            difference(
                "steps",
                json!([email(1, 10), email(2, 20), email(3, 1440)]),
                json!([email(1, 10), email(3, 60), { "id": 4, "channel": "sms", "after_minutes": 60, "when": "if_not_reached" }]),
            ),
        ]);
        assert_eq!(
            outcome(&changed),
            "changed: enabled (true, now false), caps.gap_minutes (120, now 240), channels.sms.templates.en.text, \
             channels.sms.latest_minutes, steps (3: email after 24 hours, now email after 1 hour; 4 new: sms after 1 hour if not \
             reached; 2 removed: email after 20 minutes)"
        );
        let moved = difference(
            "steps",
            json!([email(1, 10), email(2, 10)]),
            json!([email(2, 10), email(1, 10)]),
        );
        assert_eq!(change(&moved), "steps (in another order)");
        assert_eq!(
            [outcome(&RuleImport::New), outcome(&RuleImport::Unchanged)],
            ["new", "unchanged"]
        );
    }
}
