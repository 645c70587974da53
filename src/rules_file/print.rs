//! Printing: every setting, in one order, each a person could change in place.

use std::fmt::{self, Write as _};

use toml::{Table, Value};

use super::RuleEntry;

/// The settings in the order of the file, explained. A test holds them complete.
pub(super) const FIELDS: [(&str, &str); 16] = [
    (
        "steps",
        "when to remind: minutes from the first unread message",
    ),
    (
        "debounce_minutes",
        "no reminder before this long after the agent's newest message",
    ),
    (
        "max_age_minutes",
        "a reminder later than this after its due moment is not sent; time outside the hours does not count",
    ),
    (
        "latest_minutes",
        "nor later than this, whatever the hours; left out: 24 hours for e-mail, 17 for SMS",
    ),
    (
        "in_quiet_hours",
        "\"move\" to the end of the quiet hours, or \"drop\"",
    ),
    (
        "time_zone",
        "where neither LivePerson nor the number tells the consumer's; left out: the account's",
    ),
    (
        "remind_in_queue",
        "also while the conversation waits for an agent",
    ),
    (
        "resend_unknown",
        "e-mail only: once more, if it stays unknown whether the first was sent",
    ),
    (
        "holdout_percent",
        "of 100 conversations so many get no reminder, to measure the effect; left out: none",
    ),
    (
        "sender",
        "address, number or messaging service of this rule; left out: the channel's",
    ),
    ("caps", "how much is too much"),
    (
        "caps.gap_minutes",
        "between two reminders in one conversation",
    ),
    ("caps.per_conversation_24h", "reminders in one conversation"),
    ("caps.per_recipient_24h", "reminders to one address"),
    (
        "quiet_hours",
        "when sending is allowed, in the recipient's local time; by_country replaces it for phone numbers of a country",
    ),
    (
        "templates",
        "texts by language; left out: the built-in ones",
    ),
];

/// Writes rules as a file: by account, its default before its skills, e-mail before SMS.
pub fn print(rules: &[RuleEntry]) -> String {
    let mut rules: Vec<&RuleEntry> = rules.iter().collect();
    rules.sort_by_key(|rule| (rule.account.clone(), rule.skill, rule.channel));
    let mut page = String::from(
        "# Rules of unread: whom to remind, when and how. One [[rule]] for each account, skill and channel.\n\
         # What a rule leaves out is the channel's default. A rule without a skill is the account's default.\n#\n",
    );
    for (field, about) in FIELDS {
        writeln!(page, "# {field:<26} {about}").expect("writing to a String does not fail");
    }
    for rule in rules {
        print_rule(&mut page, rule).expect("writing to a String does not fail");
    }
    page
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
    let rank = |name: &str| {
        let name = format!("{prefix}{name}");
        FIELDS
            .iter()
            .position(|(field, _)| *field == name)
            .unwrap_or(FIELDS.len())
    };
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
