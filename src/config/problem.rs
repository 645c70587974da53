//! What is wrong with the settings, told so that the reader can fix it without opening the manual.

use std::fmt;

/// One thing to fix. Never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// The setting as the person wrote it, or would write it: `PORT`, `web.port in unread.toml`.
    pub key: String,
    /// What is wrong, as the rest of a sentence that begins with the key: `is not set`.
    pub what: String,
    /// What to do about it, as a sentence.
    pub fix: String,
}

impl SettingProblem {
    pub fn new(key: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
            fix: fix.into(),
        }
    }
}

/// Everything that is wrong with the settings, in one go. Never empty.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<SettingProblem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "The configuration has a problem:")?,
            n => write!(f, "The configuration has {n} problems:")?,
        }
        for SettingProblem { key, what, fix } in &self.0 {
            write!(f, "\n\n  {key} {what}\n      {fix}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_printed_with_its_fix() {
        let error = ConfigError(vec![
            SettingProblem::new("PORT", "cannot be \"x\"", "Write a number."),
            SettingProblem::new("LE_ACCOUNT", "is not set", "Set it."),
        ]);
        assert_eq!(
            error.to_string(),
            "The configuration has 2 problems:\n\n  PORT cannot be \"x\"\n      Write a number.\n\n  \
             LE_ACCOUNT is not set\n      Set it."
        );
    }
}
