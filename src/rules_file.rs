//! Rules as a TOML file, so that they can be reviewed, kept in version control and carried from one installation to another.
//!
//! Only text to values and back; what is done with them is the caller's. Reading is lenient (what is left out is the channel's
//! default) and tells every problem at once. Printing is complete (a later default changes nothing, save what is left to the account
//! or the channel) and stable (the same rules are the same bytes, so that a difference is a change).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use toml::{Table, Value};

use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::RuleSettings;

mod print;

pub use print::print;

/// One `[[rule]]` of the file: a rule without what the database adds to it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleEntry {
    pub account: AccountId,
    /// `None`: the account's default.
    pub skill: Option<SkillId>,
    pub channel: Channel,
    pub enabled: bool,
    pub settings: RuleSettings,
}

/// One thing to fix in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// Where: `rule 2, caps.gap_minutes`, `line 7`.
    pub place: String,
    /// What is wrong and what is expected.
    pub what: String,
}

/// Everything that is wrong with the file, in one go. Never empty.
#[derive(Debug, PartialEq, Eq)]
pub struct RulesFileError(pub Vec<FileProblem>);

impl fmt::Display for RulesFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The rules cannot be used:")?;
        for FileProblem { place, what } in &self.0 {
            write!(f, "\n  {place}: {what}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RulesFileError {}

/// Reads the rules of a file.
pub fn parse(text: &str) -> Result<Vec<RuleEntry>, RulesFileError> {
    let mut problems = Vec::new();
    let mut problem = |place: String, what: String| problems.push(FileProblem { place, what });
    let mut entries = Vec::new();
    let mut seen = BTreeMap::new();
    for (number, table) in (1..).zip(rule_tables(text)?) {
        match entry(table) {
            Ok(entry) => {
                let key = (entry.account.clone(), entry.skill, entry.channel);
                if let Some(earlier) = seen.insert(key, number) {
                    let what = format!(
                        "is for the same account, skill and channel as rule {earlier}; keep one"
                    );
                    problem(format!("rule {number}"), what);
                }
                entries.push(entry);
            }
            Err(found) => {
                for (field, what) in found {
                    problem(format!("rule {number}, {field}"), what);
                }
            }
        }
    }
    if problems.is_empty() {
        Ok(entries)
    } else {
        Err(RulesFileError(problems))
    }
}

/// The `[[rule]]` tables of the file.
fn rule_tables(text: &str) -> Result<Vec<Table>, RulesFileError> {
    let wrong = |place: String, what: &str| {
        let what = what.to_owned();
        Err(RulesFileError(vec![FileProblem { place, what }]))
    };
    let mut root: Table = match text.parse() {
        Ok(root) => root,
        Err(error) => {
            let error: toml::de::Error = error;
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
            return wrong(format!("line {line}"), error.message());
        }
    };
    let rules = root.remove("rule").unwrap_or(Value::Array(Vec::new()));
    if let Some(name) = root.keys().next() {
        return wrong(
            name.clone(),
            "is not known here; begin each rule with a line [[rule]]",
        );
    }
    match rules.try_into() {
        Ok(tables) => Ok(tables),
        Err(_) => wrong(
            "rule".to_owned(),
            "is not a list of tables; begin each rule with a line [[rule]]",
        ),
    }
}

/// Field and what is wrong with it.
type RuleFileFault = (String, String);

fn entry(mut table: Table) -> Result<RuleEntry, Vec<RuleFileFault>> {
    let mut faults = Vec::new();
    let mut keep = |fault: RuleFileFault| faults.push(fault);
    let account = required(&mut table, "account").map_err(&mut keep).ok();
    let channel = required(&mut table, "channel").map_err(&mut keep).ok();
    let skill = match table.remove("skill") {
        None => Some(None),
        Some(Value::Integer(id)) => Some(Some(SkillId(id))),
        Some(_) => {
            keep(("skill".to_owned(), "must be a number, for example 1234567 or -1; left out, the rule is the account's default".to_owned()));
            None
        }
    };
    let enabled = match table.remove("enabled") {
        None => Some(true),
        Some(Value::Boolean(enabled)) => Some(enabled),
        Some(_) => {
            keep(("enabled".to_owned(), "must be true or false".to_owned()));
            None
        }
    };
    let settings = settings(channel, table);
    let settings = settings.map_err(|found| faults.extend(found)).ok();
    match (account, channel, skill, enabled, settings) {
        (Some(account), Some(channel), Some(skill), Some(enabled), Some(settings)) => {
            Ok(RuleEntry {
                account,
                skill,
                channel,
                enabled,
                settings,
            })
        }
        _ => Err(faults),
    }
}

fn required<T: FromStr<Err: fmt::Display>>(
    table: &mut Table,
    field: &str,
) -> Result<T, RuleFileFault> {
    let fault = |what: String| (field.to_owned(), what);
    match table.remove(field) {
        Some(Value::String(raw)) => raw
            .parse()
            .map_err(|error: T::Err| fault(error.to_string())),
        Some(Value::Integer(raw)) => raw
            .to_string()
            .parse()
            .map_err(|error: T::Err| fault(error.to_string())),
        Some(_) => Err(fault("must be text in quotation marks".to_owned())),
        None => Err(fault("is missing".to_owned())),
    }
}

/// The settings over the channel's defaults. Without a channel, only what is wrong on every channel.
fn settings(channel: Option<Channel>, given: Table) -> Result<RuleSettings, Vec<RuleFileFault>> {
    let given = serde_json::to_value(given).expect("what TOML can say, JSON can say");
    let parse = |channel| RuleSettings::parse(channel, given.clone());
    let problems = if let Some(channel) = channel {
        match parse(channel) {
            Ok(settings) => return Ok(settings),
            Err(problems) => problems,
        }
    } else {
        let mut of_each = Channel::ALL
            .into_iter()
            .map(|channel| parse(channel).err().unwrap_or_default());
        let mut of_all = of_each.next().unwrap_or_default();
        for other in of_each {
            of_all.retain(|problem| other.contains(problem));
        }
        of_all
    };
    Err(problems
        .into_iter()
        .map(|problem| (problem.field, problem.message))
        .collect())
}

#[cfg(test)]
mod tests;
