//! Looks a setting up, environment over file over default, and collects what is wrong instead of stopping at it.

mod written;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::SocketAddr;

use toml::{Table, Value};

use super::inherit;
use super::keys;
use super::names;
use super::parse;
use super::problem::SettingProblem;
use super::shown::shown;
use super::source::Sources;
use crate::secret::Secret;

use self::written::{WrittenSetting, WrittenValue};

/// The problem has been noted; there is no value.
#[derive(Clone, Copy, Debug)]
pub struct Noted;

/// The account whose settings are being read.
#[derive(Default)]
struct CurrentAccount {
    table: Table,
    /// How the file's readers find it.
    place: String,
    /// Whether the environment describes this account too.
    in_environment: bool,
}

/// Whose channels are being read.
#[derive(Default)]
enum ChannelsOf {
    #[default]
    Installation,
    /// The current account's, which has these settings as its own.
    Account(Vec<&'static str>),
}

pub struct SettingsReader<'a> {
    sources: &'a Sources,
    file_name: &'a str,
    root: Table,
    account: CurrentAccount,
    channels: ChannelsOf,
    /// Some account has channels of its own, right or wrong.
    pub has_own_channels: bool,
    asked: BTreeSet<&'static str>,
    pub problems: Vec<SettingProblem>,
    pub warnings: Vec<String>,
}

impl<'a> SettingsReader<'a> {
    pub fn new(sources: &'a Sources) -> Self {
        let mut reader = Self {
            sources,
            file_name: sources
                .file
                .as_ref()
                .map_or("unread.toml", |(name, _)| name),
            root: Table::new(),
            account: CurrentAccount::default(),
            channels: ChannelsOf::default(),
            has_own_channels: false,
            asked: BTreeSet::from(["UNREAD_CONFIG"]),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        if let Some((name, text)) = &sources.file {
            match text.parse() {
                Ok(table) => reader.root = table,
                Err(error) => reader.problems.push(syntax_problem(name, text, &error)),
            }
        }
        let (refused, warnings) = names::in_environment(sources.environment.keys());
        reader.problems.extend(refused);
        reader.warnings.extend(warnings);
        reader
            .problems
            .extend(names::in_file(&reader.root, reader.file_name));
        reader
    }

    /// Takes the accounts out of the file, one table each.
    pub fn take_accounts(&mut self) -> Vec<Table> {
        match self.root.remove("account") {
            None => Vec::new(),
            Some(Value::Array(entries)) if entries.iter().all(Value::is_table) => entries
                .into_iter()
                .filter_map(|entry| entry.try_into().ok())
                .collect(),
            Some(_) => {
                self.problem(
                    &format!("account in {}", self.file_name),
                    "is not a list of tables",
                    "Begin each account with a line [[account]].",
                );
                Vec::new()
            }
        }
    }

    /// From now on the settings of accounts are those of `table`, the `number`th of the file, and of the environment if it
    /// describes this account.
    pub fn enter_account(&mut self, table: Table, number: Option<usize>, in_environment: bool) {
        let place = number.map_or(self.file_name.to_owned(), |number| {
            format!("[[account]] {number} of {}", self.file_name)
        });
        self.account = CurrentAccount {
            table,
            place,
            in_environment,
        };
        self.problems
            .extend(names::in_account(&self.account.table, &self.account.place));
    }

    /// Reads channels of the current account: `read` finds its own settings, and those of the installation that go with them. `None`: it
    /// has none of its own in this section.
    pub fn of_account<T>(
        &mut self,
        section: &str,
        read: impl FnOnce(&mut Self) -> Result<T, Noted>,
    ) -> Result<Option<T>, Noted> {
        let own = self.own_settings(section);
        if own.is_empty() {
            return Ok(None);
        }
        self.has_own_channels = true;
        let incomplete = inherit::incomplete(&own);
        self.channels = ChannelsOf::Account(own);
        let done = match incomplete {
            None => read(self).map(Some),
            Some((setting, needed)) => {
                let (name, needed) = (self.name_of(setting), self.name_of(needed));
                let what = format!("is set for this account, but {needed} is not");
                let fix = "Set both for the account, or neither: a login goes to the server that it was written for only.";
                Err(self.problem(&name, what, fix))
            }
        };
        self.channels = ChannelsOf::Installation;
        done
    }

    /// What a person wrote of a section for the current account.
    fn own_settings(&mut self, section: &str) -> Vec<&'static str> {
        let keys = keys::all().filter(|key| key.section() == section);
        keys.filter(|key| !matches!(self.given_for_account(key), Ok(None)))
            .map(|key| key.env)
            .collect()
    }

    pub fn problem(
        &mut self,
        name: &str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Noted {
        let problem = SettingProblem::new(name, what, fix);
        // A setting may be looked at twice.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
        Noted
    }

    /// The same by the setting's name, as the person wrote it or would write it.
    pub fn problem_of(
        &mut self,
        env: &str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Noted {
        let name = self.name_of(env);
        self.problem(&name, what, fix)
    }

    pub fn warn(&mut self, warning: impl Into<String>) {
        let warning = match &self.channels {
            ChannelsOf::Installation => warning.into(),
            ChannelsOf::Account(_) => format!("{}: {}", self.account.place, warning.into()),
        };
        // A setting may be looked at twice.
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Whether a person wrote anything for this setting.
    pub fn is_given(&mut self, env: &str) -> bool {
        !matches!(self.given(env), Ok(None))
    }

    /// The name under which the person wrote, or would write, this setting.
    pub fn name_of(&mut self, env: &str) -> String {
        let key = keys::find(env);
        match self.given(env) {
            Ok(Some(given)) => given.name,
            _ if self.reads_own(key) && self.account.in_environment => {
                format!("{}{env}", inherit::PREFIX)
            }
            _ if self.reads_own(key) => self.name_for_account(key),
            _ if self.account.in_environment || !keys::find(env).is_of_account() => env.to_owned(),
            _ => self.name_in_file(keys::find(env).file.unwrap_or(env)),
        }
    }

    /// The value, else the default, else nothing.
    pub fn optional<T, E: Display>(
        &mut self,
        env: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Noted> {
        let Some(given) = self.given(env)? else {
            let preset = keys::find(env).default.map(&parse).transpose();
            return Ok(preset.unwrap_or_else(|_| panic!("the default of {env} is not usable")));
        };
        match given.value {
            WrittenValue::One(text) => self.parsed(env, &given.name, &text, &parse).map(Some),
            WrittenValue::List(_) => {
                Err(self.problem(&given.name, "is a list", "Write a single value."))
            }
        }
    }

    /// The value of a setting that has a default.
    pub fn setting<T, E: Display>(
        &mut self,
        env: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, Noted> {
        let value = self.optional(env, parse)?;
        Ok(value.unwrap_or_else(|| panic!("{env} has no default")))
    }

    /// The value of a setting that must be there; `fix` says how to get one.
    pub fn required<T, E: Display>(
        &mut self,
        env: &str,
        fix: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, Noted> {
        let value = self.optional(env, parse)?;
        value.ok_or_else(|| {
            let name = self.name_of(env);
            self.problem(&name, "is not set", fix)
        })
    }

    /// A list: an array in the file, separated by commas in the environment. Empty counts as left out.
    pub fn list<T, E: Display>(
        &mut self,
        env: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<Vec<T>>, Noted> {
        let (name, items) = match (self.given(env)?, keys::find(env).default) {
            (
                Some(WrittenSetting {
                    name,
                    value: WrittenValue::List(items),
                }),
                _,
            ) => (name, items),
            (
                Some(WrittenSetting {
                    name,
                    value: WrittenValue::One(text),
                }),
                _,
            ) => (name, split(&text)),
            (None, Some(preset)) => (env.to_owned(), split(preset)),
            (None, None) => return Ok(None),
        };
        let values: Vec<_> = items
            .iter()
            .map(|item| self.parsed(env, &name, item, &parse))
            .collect();
        let values: Vec<T> = values.into_iter().collect::<Result<_, _>>()?;
        Ok(Some(values).filter(|values| !values.is_empty()))
    }

    pub fn secret(&mut self, env: &str) -> Result<Option<Secret>, Noted> {
        self.optional(env, parse::secret)
    }

    pub fn required_secret(&mut self, env: &str, fix: &str) -> Result<Secret, Noted> {
        self.required(env, fix, parse::secret)
    }

    fn parsed<T, E: Display>(
        &mut self,
        env: &str,
        name: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, Noted> {
        parse(text).map_err(|expected| {
            let key = keys::find(env);
            // Kubernetes describes a Service named `unread-metrics` in UNREAD_METRICS_PORT, to every pod beside it.
            let of_service = text
                .strip_prefix("tcp://")
                .is_some_and(|rest| rest.parse::<SocketAddr>().is_ok());
            let what = match shown(text) {
                _ if of_service && !key.secret => {
                    format!("is \"{text}\", which Kubernetes wrote for a Service")
                }
                Some(text) if !key.secret => format!("cannot be \"{text}\""),
                _ => "cannot be used".to_owned(),
            };
            let fix = match key.default {
                _ if of_service => "Set enableServiceLinks: false in the pod.".to_owned(),
                Some(preset) => format!("Write {expected}; left out, it is {preset}."),
                None => format!("Write {expected}."),
            };
            self.problem(name, what, fix)
        })
    }

    #[cfg(test)]
    pub fn asked(&self) -> &BTreeSet<&'static str> {
        &self.asked
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Only place and kind: the line itself may hold a password.
fn syntax_problem(name: &str, text: &str, error: &toml::de::Error) -> SettingProblem {
    let start = error.span().map_or(0, |span| span.start);
    let line = 1 + text
        .as_bytes()
        .iter()
        .take(start)
        .filter(|byte| **byte == b'\n')
        .count();
    SettingProblem::new(
        format!("line {line} of {name}"),
        format!("is not TOML: {}", error.message()),
        "Write name = \"value\", with quotation marks around text, below a [section].",
    )
}
