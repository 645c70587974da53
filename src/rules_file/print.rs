//! Printing: every setting, in one order, each a person could change in place.

use std::fmt::{self, Write as _};

use toml::{Table, Value};

use super::RuleEntry;
use crate::domain::rule::settings::{LeftOut, SETTINGS, Setting};

/// Columns of a comment.
const WIDTH: usize = 118;

/// Writes rules as a file: by account, its default before its skills, e-mail before SMS.
pub fn print(rules: &[RuleEntry]) -> String {
    let mut rules: Vec<&RuleEntry> = rules.iter().collect();
    rules.sort_by_key(|rule| (rule.account.clone(), rule.skill, rule.channel));
    let mut page = String::from(
        "# Rules of unread: whom to remind, when and how. One [[rule]] for each account, skill and channel.\n\
         # What a rule leaves out is the channel's default. A rule without a skill is the account's default.\n#\n",
    );
    for setting in SETTINGS {
        explain(&mut page, setting).expect("writing to a String does not fail");
    }
    for rule in rules {
        print_rule(&mut page, rule).expect("writing to a String does not fail");
    }
    page
}

/// A comment about a setting: its name, what it does, what it may be.
fn explain(page: &mut String, setting: &Setting) -> fmt::Result {
    let Setting {
        name, label, help, ..
    } = setting;
    writeln!(page, "# {name}: {label}")?;
    let left_out = match setting.left_out {
        LeftOut::Never => String::new(),
        LeftOut::Zero => " Left out: 0.".to_owned(),
        LeftOut::Means(what) => format!(" Left out: {what}."),
    };
    let about = format!("{help} To write: {}.{left_out}", setting.input.takes());
    let mut line = "#  ".to_owned();
    for word in about.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            writeln!(page, "{line}")?;
            "#  ".clone_into(&mut line);
        }
        line = line + " " + word;
    }
    writeln!(page, "{line}")
}

/// Where a name stands in the order of the file: a setting's own place, a table's that of the first setting in it.
fn rank(name: &str) -> usize {
    let is_or_holds = |setting: &Setting| {
        let rest = setting.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let place = SETTINGS.iter().position(is_or_holds);
    place.unwrap_or(SETTINGS.len())
}

fn print_rule(page: &mut String, rule: &RuleEntry) -> fmt::Result {
    write!(
        page,
        "\n[[rule]]\naccount = {}\n",
        Value::from(rule.account.as_str())
    )?;
    if let Some(skill) = rule.skill {
        writeln!(page, "skill = {skill}")?;
    }
    writeln!(
        page,
        "channel = \"{}\"\nenabled = {}",
        rule.channel, rule.enabled
    )?;
    let settings = Table::try_from(&rule.settings)
        .expect("settings are made of text, numbers, lists and tables");
    print_table(page, "rule", "", &settings)
}

/// Values first, then tables: in TOML a value after a table's heading belongs to that table.
fn print_table(page: &mut String, path: &str, prefix: &str, table: &Table) -> fmt::Result {
    let rank = |name: &str| rank(&format!("{prefix}{name}"));
    let mut fields: Vec<(&String, &Value)> = table.iter().collect();
    fields.sort_by_key(|(name, value)| (value.is_table(), rank(name), *name));
    for (name, value) in fields {
        let key = quoted_if_needed(name);
        match value {
            Value::Table(table) => {
                let path = format!("{path}.{key}");
                if table.values().any(|value| !value.is_table()) {
                    writeln!(page, "\n[{path}]")?;
                }
                print_table(page, &path, &format!("{prefix}{name}."), table)?;
            }
            Value::Array(items) if items.iter().any(Value::is_table) => {
                writeln!(page, "{key} = [")?;
                for item in items {
                    writeln!(page, "    {item},")?;
                }
                writeln!(page, "]")?;
            }
            value => writeln!(page, "{key} = {value}")?,
        }
    }
    Ok(())
}

fn quoted_if_needed(name: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !name.is_empty() && name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}
