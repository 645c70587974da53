//! A pause: a person's "send nothing for now", of everything, an account, a channel or one rule.
//!
//! It holds reminders, it does not cancel them: they are still scheduled and still end when they are read, and what has not
//! passed its deadline goes out when the pause ends.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use super::ids::{AccountId, Channel, SkillId};
use super::rule::RuleKey;

/// What is paused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    Everything,
    Account(AccountId),
    Channel(AccountId, Channel),
    Rule(RuleKey),
}

impl Scope {
    /// Whether reminders of the rule of this key on this channel are held.
    pub fn holds(&self, rule: &RuleKey, channel: Channel) -> bool {
        match self {
            Self::Channel(account, own) => *account == rule.account && *own == channel,
            _ => self.holds_all(rule),
        }
    }

    /// Whether all reminders of the rule of this key are held.
    pub fn holds_all(&self, rule: &RuleKey) -> bool {
        match self {
            Self::Everything => true,
            Self::Account(account) => *account == rule.account,
            Self::Channel(..) => false,
            Self::Rule(key) => key == rule,
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

/// What pauses hold, for lists of reminders that are known by their skill and not by their rule.
#[derive(Clone, Debug, Default)]
pub struct PausedScopes {
    pub scopes: Vec<Scope>,
    /// The rules of single skills; all other skills go by their account's default.
    pub of_skills: HashSet<RuleKey>,
}

impl PausedScopes {
    /// Whether reminders of this skill on this channel are held.
    pub fn holds(&self, account: &AccountId, skill: SkillId, channel: Channel) -> bool {
        if self.scopes.is_empty() {
            return false;
        }
        let mut rule = RuleKey {
            account: account.clone(),
            skill: Some(skill),
        };
        if !self.of_skills.contains(&rule) {
            rule.skill = None;
        }
        self.scopes.iter().any(|scope| scope.holds(&rule, channel))
    }
}

/// As the audit trail and the pages' forms name it.
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

/// That something is no name of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is nothing that can be paused")]
pub struct NoScope;

impl FromStr for Scope {
    type Err = NoScope;

    /// What [`Display`](fmt::Display) writes.
    fn from_str(word: &str) -> Result<Self, NoScope> {
        let account = |word: &str| word.parse().map_err(|_| NoScope);
        let words: Vec<&str> = word.split('/').collect();
        match words[..] {
            ["everything"] => Ok(Self::Everything),
            [of] => Ok(Self::Account(account(of)?)),
            [of, by] => {
                let account = account(of)?;
                if let Ok(channel) = by.parse() {
                    return Ok(Self::Channel(account, channel));
                }
                let skill = match by {
                    "default" => None,
                    id => Some(SkillId(id.parse().map_err(|_| NoScope)?)),
                };
                Ok(Self::Rule(RuleKey { account, skill }))
            }
            _ => Err(NoScope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountId {
        "12345678".parse().unwrap()
    }

    fn key(skill: Option<i64>) -> RuleKey {
        RuleKey {
            account: account(),
            skill: skill.map(SkillId),
        }
    }

    #[test]
    fn a_pause_holds_what_it_names_and_nothing_else() {
        let other: AccountId = "87654321".parse().unwrap();
        for (scope, holds, all) in [
            (Scope::Everything, true, true),
            (Scope::Account(account()), true, true),
            (Scope::Account(other.clone()), false, false),
            (Scope::Channel(account(), Channel::Sms), true, false),
            (Scope::Channel(account(), Channel::Email), false, false),
            (Scope::Channel(other, Channel::Sms), false, false),
            (Scope::Rule(key(Some(7))), true, true),
            (Scope::Rule(key(None)), false, false),
        ] {
            let rule = key(Some(7));
            assert_eq!(scope.holds(&rule, Channel::Sms), holds, "{scope}");
            assert_eq!(scope.holds_all(&rule), all, "{scope}");
        }
    }

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for scope in [
            Scope::Everything,
            Scope::Account(account()),
            Scope::Channel(account(), Channel::Sms),
            Scope::Rule(key(None)),
            Scope::Rule(key(Some(7))),
            Scope::Rule(key(Some(-1))),
        ] {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        for wrong in [
            "",
            "/",
            "12345678/",
            "12345678/post",
            "12345678/1/sms",
            "a/1/b",
        ] {
            assert_eq!(wrong.parse::<Scope>(), Err(NoScope), "{wrong}");
        }
    }

    #[test]
    fn a_pause_of_the_default_holds_only_skills_without_a_rule_of_their_own() {
        let own = SkillId(7);
        let held = |scopes: Vec<Scope>| PausedScopes {
            scopes,
            of_skills: [key(Some(7))].into(),
        };
        let holds = |held: &PausedScopes, skill| held.holds(&account(), skill, Channel::Sms);
        let of_default = held(vec![Scope::Rule(key(None))]);
        assert!(!holds(&of_default, own) && holds(&of_default, SkillId(8)));
        let of_skill = held(vec![Scope::Rule(key(Some(7)))]);
        assert!(holds(&of_skill, own) && !holds(&of_skill, SkillId(8)));
        assert!(of_skill.holds(&account(), own, Channel::Email));
        let of_channel = held(vec![Scope::Channel(account(), Channel::Sms)]);
        assert!(holds(&of_channel, own) && !of_channel.holds(&account(), own, Channel::Email));
        assert!(holds(&held(vec![Scope::Account(account())]), own));
        assert!(!holds(&held(Vec::new()), own));
    }
}
