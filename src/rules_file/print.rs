//! Printing: every setting, in one order, each a person could change in place.

use std::fmt::{self, Write as _};

use toml::{Table, Value};

use super::{RuleEntry, VERSION};
use crate::domain::ids::Channel;
use crate::domain::rule::ChannelSettings;
use crate::domain::rule::settings::{CHANNELS, LeftOut, Of, SETTINGS, Setting, find, split};

/// Columns of a comment.
const WIDTH: usize = 118;

/// What a step is written with, in this order.
const OF_STEP: [&str; 4] = ["id", "channel", "after_minutes", "when"];

/// Writes rules as a file: by account, its default before its skills.
pub fn print(rules: &[RuleEntry]) -> String {
    let mut rules: Vec<&RuleEntry> = rules.iter().collect();
    rules.sort_by_key(|rule| rule.key());
    let mut page = format!(
        "# Rules of unread: which customers to remind, when, on which channels and how. One [[rule]] for each account and skill.\n# What \
         a rule leaves out is the default. A rule without a skill is the account's default.\nversion = {VERSION}\n\n# A setting with \
         {CHANNELS}.… is each channel's own, as in {CHANNELS}.sms.max_age_minutes.\n#\n"
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
    match setting.of {
        Of::Rule => writeln!(page, "# {name}: {label}")?,
        _ => writeln!(page, "# {CHANNELS}.….{name}: {label}")?,
    }
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

/// Where a path stands in the order of the file: a setting's own place, a table's that of the first setting in it.
fn rank(path: &str) -> usize {
    let (of, name) = split(path);
    let is_or_holds = |setting: &Setting| {
        let rest = setting.name.strip_prefix(name);
        let is_of = (setting.of == Of::Rule) == of.is_none();
        is_of && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
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
    writeln!(page, "enabled = {}", rule.enabled)?;
    let mut settings = Table::try_from(&rule.settings)
        .expect("settings are made of text, numbers, lists and tables");
    if let Some(Value::Table(channels)) = settings.get_mut(CHANNELS) {
        channels.retain(|word, _| word.parse().is_ok_and(|channel| is_told(rule, channel)));
        for (word, own) in channels.iter_mut() {
            let of_channel = |name: &str| find(&format!("{CHANNELS}.{word}.{name}")).is_some();
            if let Value::Table(own) = own {
                own.retain(|name, _| of_channel(name));
            }
        }
    }
    print_table(page, "rule", "", &settings)
}

/// Whether a file has a channel's settings: those of one that no step uses, and that nobody has changed, say nothing.
fn is_told(rule: &RuleEntry, channel: Channel) -> bool {
    let settings = &rule.settings;
    let is_used = settings.used().any(|used| used == channel);
    is_used || settings.channels[channel] != ChannelSettings::default_for(channel)
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
                    writeln!(page, "    {},", inline(item))?;
                }
                writeln!(page, "]")?;
            }
            value => writeln!(page, "{key} = {value}")?,
        }
    }
    Ok(())
}

/// A step, or a window of hours, in a line.
fn inline(item: &Value) -> String {
    let Value::Table(table) = item else {
        return item.to_string();
    };
    let place = |name: &str| OF_STEP.iter().position(|known| *known == name);
    let is_no_id =
        |(name, value): &(&String, &Value)| *name == "id" && **value == Value::Integer(0);
    let mut fields: Vec<(&String, &Value)> =
        table.iter().filter(|field| !is_no_id(field)).collect();
    fields.sort_by_key(|(name, _)| place(name));
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{} = {value}", quoted_if_needed(name)))
        .collect();
    format!("{{ {} }}", fields.join(", "))
}

fn quoted_if_needed(name: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !name.is_empty() && name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}
