//! A pause: a person's "send nothing for now", of everything, an account, a channel or one rule.
//!
//! It holds reminders, it does not cancel them: they are still scheduled and still end when they are read, and what has not
//! passed its deadline goes out when the pause ends.

use std::fmt;

use super::ids::{AccountId, Channel};
use super::rule::{Key, Rule};

/// What is paused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    Everything,
    Account(AccountId),
    Channel(AccountId, Channel),
    Rule(Key),
}

impl Scope {
    /// Whether reminders under this rule are held.
    pub fn holds(&self, rule: &Rule) -> bool {
        match self {
            Self::Everything => true,
            Self::Account(account) => *account == rule.account,
            Self::Channel(account, channel) => *account == rule.account && *channel == rule.channel,
            Self::Rule(key) => *key == rule.key(),
        }
    }

    /// The account it is about; `None`: all of them.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Everything => None,
            Self::Account(account) | Self::Channel(account, _) => Some(account),
            Self::Rule(key) => Some(&key.account),
        }
    }
}

/// As the audit trail names it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Account(account) => write!(f, "{account}"),
            Self::Channel(account, channel) => write!(f, "{account}/{channel}"),
            Self::Rule(key) => write!(f, "{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ids::SkillId;
    use super::super::rule::Settings;
    use super::*;

    #[test]
    fn a_pause_holds_what_it_names_and_nothing_else() {
        let rule = Rule::sample(Settings::default_for(Channel::Sms));
        let other: AccountId = "87654321".parse().unwrap();
        let key = |skill, channel| Key {
            account: rule.account.clone(),
            skill,
            channel,
        };
        let account = rule.account.clone();
        for (scope, holds) in [
            (Scope::Everything, true),
            (Scope::Account(account.clone()), true),
            (Scope::Account(other.clone()), false),
            (Scope::Channel(account.clone(), Channel::Sms), true),
            (Scope::Channel(account, Channel::Email), false),
            (Scope::Channel(other, Channel::Sms), false),
            (Scope::Rule(key(Some(SkillId(7)), Channel::Sms)), true),
            (Scope::Rule(key(None, Channel::Sms)), false),
            (Scope::Rule(key(Some(SkillId(7)), Channel::Email)), false),
        ] {
            assert_eq!(scope.holds(&rule), holds, "{scope}");
        }
    }
}
