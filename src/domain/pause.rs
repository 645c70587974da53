//! A pause: a person's "send nothing for now", of everything, an account, a channel or one rule.
//!
//! It holds reminders, it does not cancel them: they are still scheduled and still end when they are read, and what has not
//! passed its deadline goes out when the pause ends.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use super::ids::{AccountId, Channel, SkillId};
use super::rule::{Rule, RuleKey};

/// What is paused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    Everything,
    Account(AccountId),
    Channel(AccountId, Channel),
    Rule(RuleKey),
}

impl Scope {
    /// Whether reminders under this rule are held.
    pub fn holds(&self, rule: &Rule) -> bool {
        self.holds_under(&rule.key())
    }

    /// Whether reminders under the rule of this key are held.
    pub fn holds_under(&self, rule: &RuleKey) -> bool {
        match self {
            Self::Everything => true,
            Self::Account(account) => *account == rule.account,
            Self::Channel(account, channel) => *account == rule.account && *channel == rule.channel,
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
            channel,
        };
        if !self.of_skills.contains(&rule) {
            rule.skill = None;
        }
        self.scopes.iter().any(|scope| scope.holds_under(&rule))
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
#[error("this names nothing that can be paused")]
pub struct NoScope;

impl FromStr for Scope {
    type Err = NoScope;

    /// What [`Display`](fmt::Display) writes.
    fn from_str(word: &str) -> Result<Self, NoScope> {
        let account = |word: &str| word.parse().map_err(|_| NoScope);
        let channel = |word: &str| word.parse().map_err(|_| NoScope);
        let words: Vec<&str> = word.split('/').collect();
        match words[..] {
            ["everything"] => Ok(Self::Everything),
            [of] => Ok(Self::Account(account(of)?)),
            [of, by] => Ok(Self::Channel(account(of)?, channel(by)?)),
            [of, skill, by] => Ok(Self::Rule(RuleKey {
                account: account(of)?,
                skill: match skill {
                    "default" => None,
                    id => Some(SkillId(id.parse().map_err(|_| NoScope)?)),
                },
                channel: channel(by)?,
            })),
            _ => Err(NoScope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::RuleSettings;
    use super::*;

    #[test]
    fn a_pause_holds_what_it_names_and_nothing_else() {
        let rule = Rule::sample(RuleSettings::default_for(Channel::Sms));
        let other: AccountId = "87654321".parse().unwrap();
        let key = |skill, channel| RuleKey {
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

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        let account: AccountId = "12345678".parse().unwrap();
        let rule = |skill| {
            Scope::Rule(RuleKey {
                account: account.clone(),
                skill,
                channel: Channel::Email,
            })
        };
        for scope in [
            Scope::Everything,
            Scope::Account(account.clone()),
            Scope::Channel(account.clone(), Channel::Sms),
            rule(None),
            rule(Some(SkillId(7))),
            rule(Some(SkillId::UNASSIGNED)),
        ] {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        for wrong in [
            "",
            "/",
            "12345678/",
            "12345678/post",
            "12345678/x/sms",
            "a/1/sms/b",
        ] {
            assert_eq!(wrong.parse::<Scope>(), Err(NoScope), "{wrong}");
        }
    }

    #[test]
    fn a_pause_of_the_default_holds_only_skills_without_a_rule_of_their_own() {
        let account: AccountId = "12345678".parse().unwrap();
        let key = |skill| RuleKey {
            account: account.clone(),
            skill,
            channel: Channel::Sms,
        };
        let own = SkillId(7);
        let held = |scopes: Vec<Scope>| PausedScopes {
            scopes,
            of_skills: [key(Some(own))].into(),
        };
        let holds = |held: &PausedScopes, skill| held.holds(&account, skill, Channel::Sms);
        let of_default = held(vec![Scope::Rule(key(None))]);
        assert!(!holds(&of_default, own) && holds(&of_default, SkillId(8)));
        let of_skill = held(vec![Scope::Rule(key(Some(own)))]);
        assert!(holds(&of_skill, own) && !holds(&of_skill, SkillId(8)));
        assert!(!of_skill.holds(&account, own, Channel::Email));
        assert!(holds(&held(vec![Scope::Account(account.clone())]), own));
        assert!(!holds(&held(Vec::new()), own));
    }
}
