//! What a person wrote for a setting, wherever: in the environment, in the configuration file, or in a file of its own.

use std::path::Path;

use toml::Value;

use super::{ChannelsOf, Noted, SettingsReader};
use crate::config::inherit;
use crate::config::keys::{self, SettingKey};
use crate::config::shown::{holds_private_key, other_setting, shown_path};
use crate::config::source::{within_marks, without_mark};

/// What a person wrote for a setting.
pub(super) struct WrittenSetting {
    /// As the person named it: `PORT`, `port in unread.toml`.
    pub(super) name: String,
    pub(super) value: WrittenValue,
}

pub(super) enum WrittenValue {
    One(String),
    List(Vec<String>),
}

impl SettingsReader<'_> {
    pub(super) fn given(&mut self, env: &str) -> Result<Option<WrittenSetting>, Noted> {
        let key = keys::find(env);
        self.asked.insert(key.env);
        if self.reads_own(key) {
            let own = self.given_for_account(key)?;
            if own.is_some() || !self.inherits(env) {
                return Ok(own);
            }
        }
        if self.account.in_environment || !key.is_of_account() {
            let value = self.variable(env);
            let path = if key.secret {
                self.variable(&format!("{env}_FILE"))
            } else {
                None
            };
            if key.secret {
                self.warn_of_marks(env);
            }
            if let Some(given) = self.value_or_mounted(key, env, value.map(Value::String), path)? {
                return Ok(Some(given));
            }
        }
        let Some(path) = key.file else {
            return Ok(None);
        };
        let (section, field) = path.split_once('.').unwrap_or(("", path));
        let table = match section {
            "" => Some(&self.root),
            "account" => Some(&self.account.table),
            _ => self.root.get(section).and_then(Value::as_table),
        };
        let value = table.and_then(|table| table.get(field)).cloned();
        let mounted = table.and_then(|table| table.get(&format!("{field}_file")));
        let mounted = mounted.and_then(Value::as_str).map(str::to_owned);
        let name = self.name_in_file(path);
        self.value_or_mounted(key, &name, value, mounted)
    }

    /// Whether the account that is being read may have this setting as its own.
    pub(super) fn reads_own(&self, key: &SettingKey) -> bool {
        matches!(self.channels, ChannelsOf::Account(_))
            && inherit::SECTIONS.contains(&key.section())
    }

    fn inherits(&self, env: &str) -> bool {
        match &self.channels {
            ChannelsOf::Account(own) => inherit::inherits(env, own),
            ChannelsOf::Installation => true,
        }
    }

    /// What a person wrote for the current account alone.
    pub(super) fn given_for_account(
        &mut self,
        key: &'static SettingKey,
    ) -> Result<Option<WrittenSetting>, Noted> {
        if self.account.in_environment {
            let name = format!("{}{}", inherit::PREFIX, key.env);
            let value = self.variable(&name);
            let path = self
                .variable(&format!("{name}_FILE"))
                .filter(|_| key.secret);
            if key.secret {
                self.warn_of_marks(&name);
            }
            if let Some(given) =
                self.value_or_mounted(key, &name, value.map(Value::String), path)?
            {
                return Ok(Some(given));
            }
        }
        let Some(field) = key.field() else {
            return Ok(None);
        };
        let table = self.account.table.get(key.section());
        let table = table.and_then(Value::as_table);
        let value = table.and_then(|table| table.get(field)).cloned();
        let mounted = table.and_then(|table| table.get(&format!("{field}_file")));
        let mounted = mounted.and_then(Value::as_str).map(str::to_owned);
        let name = self.name_for_account(key);
        self.value_or_mounted(key, &name, value, mounted)
    }

    /// What such a setting is called in the file.
    pub(super) fn name_for_account(&self, key: &SettingKey) -> String {
        format!("{} in {}", key.file.unwrap_or(key.env), self.account.place)
    }

    /// An empty variable is one that nobody set: compose files and templates are full of them. Quotation marks around a whole
    /// value are not part of it, which a secret does not tell: that is warned of.
    pub fn variable(&self, name: &str) -> Option<String> {
        let value = self.sources.environment.get(name)?;
        let bare = within_marks(value);
        if bare.trim().is_empty() {
            return None;
        }
        let env = name.strip_prefix(inherit::PREFIX).unwrap_or(name);
        let is_secret = keys::all().any(|key| key.secret && key.env == env);
        Some(if is_secret { value } else { bare }.to_owned())
    }

    fn warn_of_marks(&mut self, name: &str) {
        let value = self.sources.environment.get(name);
        if value.is_some_and(|value| within_marks(value) != value) {
            self.warn(format!(
                "{name} begins and ends with a quotation mark, which is taken for a part of it. Take the marks away if they are not: \
                 Docker's --env-file keeps them."
            ));
        }
    }

    fn value_or_mounted(
        &mut self,
        key: &SettingKey,
        name: &str,
        value: Option<Value>,
        mounted: Option<String>,
    ) -> Result<Option<WrittenSetting>, Noted> {
        let written = match (value, mounted) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(self.problem(
                    name,
                    "is given twice, here and as a file",
                    "Keep one of the two.",
                ));
            }
            (Some(value), None) => written(value).ok_or_else(|| {
                self.problem(
                    name,
                    "is a table or a nested list",
                    "Write a single value or a list of values.",
                )
            })?,
            (None, Some(path)) => WrittenValue::One(self.mounted(name, &path)?),
        };
        let written = match written {
            WrittenValue::One(text) if text.trim().is_empty() => return Ok(None),
            WrittenValue::One(text) if !key.secret => WrittenValue::One(text.trim().to_owned()),
            // A file with CRLF for line ends, read by what knows LF only, leaves a CR.
            WrittenValue::One(text) => {
                WrittenValue::One(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            other @ WrittenValue::List(_) => other,
        };
        self.refuse_misplaced(key, name, &written)?;
        Ok(Some(WrittenSetting {
            name: name.to_owned(),
            value: written,
        }))
    }

    /// The secret in a file.
    fn mounted(&mut self, name: &str, path: &str) -> Result<String, Noted> {
        // It may be the secret itself, by a slip.
        let shown = shown_path(path)
            .unwrap_or("the file that it names")
            .to_owned();
        match (self.sources.read_secret)(Path::new(path)) {
            Ok(text) if !text.trim().is_empty() => Ok(without_mark(&text).to_owned()),
            Ok(_) => Err(self.problem(
                name,
                format!("is to come from {shown}, which is empty"),
                "Write the secret into that file.",
            )),
            Err(error) => Err(self.problem(
                name,
                format!("cannot be read from {shown}: {error}"),
                "Check that the path is right and that this user may read the file.",
            )),
        }
    }

    /// A line end that is missing puts the next setting into this one's value; and what nobody may see belongs into no setting
    /// that is shown.
    fn refuse_misplaced(
        &mut self,
        key: &SettingKey,
        name: &str,
        written: &WrittenValue,
    ) -> Result<(), Noted> {
        let texts = match written {
            WrittenValue::One(text) => std::slice::from_ref(text),
            WrittenValue::List(texts) => texts,
        };
        if let Some(other) = texts.iter().find_map(|text| other_setting(text)) {
            let fix =
                "Write each setting on a line of its own; if they are, check the file's line ends.";
            return Err(self.problem(name, format!("holds another setting, {other}"), fix));
        }
        if !key.secret && texts.iter().any(|text| holds_private_key(text)) {
            let fix = "Take it away from here, and make a new key if others may have seen it. Where a public key is asked for, write that one.";
            return Err(self.problem(name, "holds a private key", fix));
        }
        Ok(())
    }

    pub(super) fn name_in_file(&self, path: &str) -> String {
        match path.strip_prefix("account.") {
            Some(field) => format!("{field} in {}", self.account.place),
            None => format!("{path} in {}", self.file_name),
        }
    }
}

fn written(value: Value) -> Option<WrittenValue> {
    match value {
        Value::Array(items) => items
            .into_iter()
            .map(|item| match written(item)? {
                WrittenValue::One(text) => Some(text),
                WrittenValue::List(_) => None,
            })
            .collect::<Option<_>>()
            .map(WrittenValue::List),
        Value::String(text) => Some(WrittenValue::One(text)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            Some(WrittenValue::One(value.to_string()))
        }
        Value::Table(_) => None,
    }
}
