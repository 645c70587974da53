//! Rules as a TOML file, so that they can be reviewed, kept in version control and carried from one installation to another.
//!
//! Only text to values and back; what is done with them is the caller's. Reading is lenient (what is left out is the default) and tells
//! every problem at once. Printing is complete (a later default changes nothing, save what is left to the account or the channel) and
//! stable (the same rules are the same bytes, so that a difference is a change). A file from before, with a rule for each channel, is
//! read too (`per_channel`) and its rules are put together (`merge`).

mod merge;
mod per_channel;
mod print;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use toml::{Table, Value};

use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{RuleKey, RuleSettings};

pub use print::print;

/// The form that is printed: one rule for each account and skill, over all channels.
const VERSION: i64 = 2;

/// One `[[rule]]` of the file: a rule without what the database adds to it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleEntry {
    pub account: AccountId,
    /// `None`: the account's default.
    pub skill: Option<SkillId>,
    pub enabled: bool,
    /// Steps that name no id have none yet: see [`RuleSettings::number_steps`].
    pub settings: RuleSettings,
}

impl RuleEntry {
    pub fn key(&self) -> RuleKey {
        RuleKey {
            account: self.account.clone(),
            skill: self.skill,
        }
    }
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RulesFile {
    pub rules: Vec<RuleEntry>,
    /// Of a file with a rule for each channel: how they were put together, in sentences.
    pub merged: Vec<String>,
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

/// Reads the rules of a file. What a rule leaves out is the default of one over these channels, those that are configured (over all there
/// are, where none is).
pub fn parse(text: &str, channels: &[Channel]) -> Result<RulesFile, RulesFileError> {
    let (version, tables) = tables(text)?;
    let is_per_channel = |table: &Table| table.contains_key("channel");
    match version {
        Some(Value::Integer(VERSION)) => {
            let channels = if channels.is_empty() {
                &Channel::ALL
            } else {
                channels
            };
            let rules = all(
                tables,
                |table| entry(table, channels),
                |entry| (entry.key(), "account and skill"),
            )?;
            let merged = Vec::new();
            Ok(RulesFile { rules, merged })
        }
        None if tables.is_empty() || tables.iter().any(is_per_channel) => {
            let rules = all(tables, per_channel::rule, |rule| {
                (
                    (rule.key.clone(), rule.channel),
                    "account, skill and channel",
                )
            })?;
            merge::merge(&rules).map_err(RulesFileError)
        }
        None => {
            let what = format!("is missing: write version = {VERSION} in the first line");
            wrong("version", what)
        }
        Some(other) => {
            let what = format!(
                "{other} is not known here: this program reads version {VERSION}, and files from before, which name none. If a newer one \
                 has written the file, import it with that one"
            );
            wrong("version", what)
        }
    }
}

fn wrong<T>(place: impl Into<String>, what: impl Into<String>) -> Result<T, RulesFileError> {
    let (place, what) = (place.into(), what.into());
    Err(RulesFileError(vec![FileProblem { place, what }]))
}

/// The version that the file names, and its `[[rule]]` tables.
fn tables(text: &str) -> Result<(Option<Value>, Vec<Table>), RulesFileError> {
    let mut root: Table = match text.parse() {
        Ok(root) => root,
        Err(error) => {
            let error: toml::de::Error = error;
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
            return wrong(format!("line {line}"), error.message());
        }
    };
    let version = root.remove("version");
    let rules = root.remove("rule").unwrap_or(Value::Array(Vec::new()));
    if let Some(name) = root.keys().next() {
        let what = "is not known here; begin each rule with a line [[rule]]";
        return wrong(name, what);
    }
    match rules.try_into() {
        Ok(tables) => Ok((version, tables)),
        Err(_) => wrong(
            "rule",
            "is not a list of tables; begin each rule with a line [[rule]]",
        ),
    }
}

/// Field and what is wrong with it.
type RuleFileFault = (String, String);

/// Reads all tables, or tells everything that is wrong with them. `key`: what no two may have in common, and its name.
fn all<T, K: Ord>(
    tables: Vec<Table>,
    read: impl Fn(Table) -> Result<T, Vec<RuleFileFault>>,
    key: impl Fn(&T) -> (K, &'static str),
) -> Result<Vec<T>, RulesFileError> {
    let mut problems = Vec::new();
    let mut problem = |place: String, what: String| problems.push(FileProblem { place, what });
    let mut entries = Vec::new();
    let mut seen = BTreeMap::new();
    for (number, table) in (1..).zip(tables) {
        match read(table) {
            Ok(entry) => {
                let (key, name) = key(&entry);
                if let Some(earlier) = seen.insert(key, number) {
                    let what = format!("is for the same {name} as rule {earlier}; keep one");
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

fn entry(mut table: Table, channels: &[Channel]) -> Result<RuleEntry, Vec<RuleFileFault>> {
    let mut faults = Vec::new();
    let head = head(&mut table, &mut faults);
    if table.remove("channel").is_some() {
        let what = format!(
            "is not of version {VERSION}, where a rule is over all channels and each of its steps names its own; a file from before, with a \
             rule for each channel, names no version"
        );
        faults.push(("channel".to_owned(), what));
    }
    let settings = RuleSettings::parse(channels, json(table));
    let settings = settings.map_err(|problems| {
        faults.extend(problems.into_iter().map(|p| (p.field, p.message)));
    });
    match (head, settings) {
        (Some(head), Ok(settings)) if faults.is_empty() => Ok(RuleEntry {
            account: head.key.account,
            skill: head.key.skill,
            enabled: head.enabled,
            settings,
        }),
        _ => Err(faults),
    }
}

/// What stands in a rule beside its settings.
struct Head {
    key: RuleKey,
    enabled: bool,
}

/// Takes it out of the table. `None`: something is wrong with it.
fn head(table: &mut Table, faults: &mut Vec<RuleFileFault>) -> Option<Head> {
    let mut keep = |fault: RuleFileFault| faults.push(fault);
    let account = required(table, "account").map_err(&mut keep).ok();
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
    let key = RuleKey {
        account: account?,
        skill: skill?,
    };
    Some(Head {
        key,
        enabled: enabled?,
    })
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

fn json(table: Table) -> serde_json::Value {
    serde_json::to_value(table).expect("what TOML can say, JSON can say")
}
