//! The accounts of the configuration and their skills, and which of them a caller may see. They are read only: accounts come from the
//! settings, skills from LivePerson.
//!
//! Whoever tells or changes something of an account takes [`Accounts`], or an [`Allowed`] that only [`Accounts`] gives: a function
//! that forgot to ask whether the caller may see the account would not compile.

use std::fmt;
use std::ops::Deref;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::{ControlError, Fault};
use crate::db;
use crate::db::accounts::Skill;
use crate::domain::access::AccountLimit;
use crate::domain::ids::{AccountId, SkillId};
use crate::domain::pause::Scope;
use crate::domain::rule::RuleKey;

/// The accounts that a caller may see.
#[derive(Clone, Debug)]
pub struct Accounts {
    ids: Vec<AccountId>,
    limit: AccountLimit,
}

/// Something in an account that the caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed<T>(T);

impl<T> Deref for Allowed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Display> fmt::Display for Allowed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Accounts {
    /// Of the accounts of the configuration, those within a limit.
    pub fn within(configured: Vec<AccountId>, limit: AccountLimit) -> Self {
        let mut ids = configured;
        ids.retain(|id| limit.allows(id));
        Self { ids, limit }
    }

    /// All: for who runs the server, and for what is of nobody.
    pub fn of_installation(configured: Vec<AccountId>) -> Self {
        Self::within(configured, AccountLimit::NONE)
    }

    /// One of those that a caller may see, and no other.
    pub fn only(account: &Allowed<AccountId>) -> Self {
        Self::within(
            vec![account.0.clone()],
            AccountLimit::to([account.0.clone()]),
        )
    }

    pub fn ids(&self) -> &[AccountId] {
        &self.ids
    }

    pub fn each(&self) -> impl Iterator<Item = Allowed<AccountId>> {
        self.ids.iter().cloned().map(Allowed)
    }

    /// Whether the caller sees only some of the installation.
    pub fn is_limited(&self) -> bool {
        self.limit.ids().is_some()
    }

    /// The accounts to ask the database for; `None`: all, those too that are not configured any more.
    pub fn limit(&self) -> Option<&[AccountId]> {
        self.limit.ids()
    }

    /// Whether something of an account may be told, configured or not.
    pub fn sees(&self, account: &AccountId) -> bool {
        self.limit.allows(account)
    }

    /// The configured account with this id.
    pub fn named(&self, id: &str) -> Result<Allowed<AccountId>, ControlError> {
        let found = self.ids.iter().find(|own| own.as_str() == id);
        found.cloned().map(Allowed).ok_or_else(|| unknown(id))
    }

    /// These, or of these the one that is wanted: none, if there is no such account.
    #[must_use]
    pub fn narrowed(&self, wanted: Option<&str>) -> Self {
        let mut narrowed = self.clone();
        if let Some(wanted) = wanted {
            narrowed.ids.retain(|own| own.as_str() == wanted);
            narrowed.limit = self.limit.and(&AccountLimit::to(wanted.parse().ok()));
        }
        narrowed
    }

    /// A rule's key, if the caller may see its account.
    pub fn rule(&self, key: RuleKey) -> Result<Allowed<RuleKey>, ControlError> {
        if self.sees(&key.account) {
            Ok(Allowed(key))
        } else {
            Err(unknown(key.account.as_str()))
        }
    }

    /// What is to be paused or resumed. Everything is of the whole installation: not for who is limited to a part of it.
    pub fn scope(&self, scope: Scope) -> Result<Allowed<Scope>, ControlError> {
        match scope.account() {
            Some(account) if !self.sees(account) => Err(unknown(account.as_str())),
            None if self.is_limited() => Err(ControlError::Forbidden(
                "you cannot pause or resume everything: your access is limited to some accounts, so give the account".to_owned(),
            )),
            _ => Ok(Allowed(scope)),
        }
    }
}

/// What somebody is to be limited to: accounts of this installation, at least one; `None`: no limit.
pub fn limit(accounts: &Accounts, wanted: Option<&[String]>) -> Result<AccountLimit, Vec<Fault>> {
    let Some(wanted) = wanted else {
        return Ok(AccountLimit::NONE);
    };
    let fault = |field: String, detail: String| Fault { field, detail };
    if wanted.is_empty() {
        let detail = "must list at least one account; for all of them, leave it out or give null";
        return Err(vec![fault("/accounts".to_owned(), detail.to_owned())]);
    }
    let (mut ids, mut faults) = (Vec::new(), Vec::new());
    for (n, id) in wanted.iter().enumerate() {
        match accounts.named(id) {
            Ok(Allowed(id)) => ids.push(id),
            Err(_) => faults.push(fault(
                format!("/accounts/{n}"),
                "is not an account of this installation".to_owned(),
            )),
        }
    }
    if faults.is_empty() {
        Ok(AccountLimit::to(ids))
    } else {
        Err(faults)
    }
}

fn unknown(account: &str) -> ControlError {
    ControlError::NotFound(format!("account {account}"))
}

/// An account, and when its skills were last read at LivePerson.
#[derive(Clone, Debug)]
pub struct SyncedAccount {
    pub id: AccountId,
    pub skills_synced_at: Option<DateTime<Utc>>,
}

/// The accounts of the configuration that the caller may see.
pub async fn list(pool: &PgPool, accounts: &Accounts) -> Result<Vec<SyncedAccount>, ControlError> {
    let synced = db::accounts::synced(pool, accounts.ids()).await?;
    Ok(synced
        .into_iter()
        .map(|(id, skills_synced_at)| SyncedAccount {
            id,
            skills_synced_at,
        })
        .collect())
}

/// A skill as LivePerson lists it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Skill)]
pub struct SkillView {
    #[schema(value_type = i64, example = 1_234_567)]
    pub id: SkillId,
    pub name: String,
}

/// The skills of an account that LivePerson lists, by name.
pub async fn skills(
    pool: &PgPool,
    account: &Allowed<AccountId>,
) -> Result<Vec<SkillView>, ControlError> {
    let rows = db::accounts::skills(pool, account).await?;
    let view = |row: Skill| SkillView {
        id: row.id,
        name: row.name,
    };
    Ok(rows.into_iter().map(view).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(word: &str) -> AccountId {
        word.parse().unwrap()
    }

    #[test]
    fn who_is_limited_knows_no_account_but_their_own() {
        let all = vec![id("a"), id("b")];
        let everyone = Accounts::of_installation(all.clone());
        let limited = Accounts::within(all, AccountLimit::to([id("a"), id("gone")]));
        assert_eq!(
            (everyone.ids(), limited.ids()),
            (&[id("a"), id("b")][..], &[id("a")][..])
        );
        let told =
            |accounts: &Accounts, word: &str| accounts.named(word).map_err(|e| e.to_string());
        assert!(told(&everyone, "b").is_ok() && told(&limited, "a").is_ok());
        // The same words for what is another's and for what is not there.
        assert_eq!(told(&limited, "b"), Err("there is no account b".to_owned()));
        assert_eq!(told(&limited, "c"), Err("there is no account c".to_owned()));
        assert!(told(&limited, "gone").is_err(), "not configured any more");
        assert!(limited.narrowed(Some("b")).ids().is_empty());
        assert_eq!(limited.narrowed(Some("b")).limit(), Some(&[][..]));
        assert_eq!(everyone.narrowed(Some("b")).ids(), [id("b")]);
        let key = |account| RuleKey {
            account: id(account),
            skill: None,
        };
        assert!(limited.rule(key("b")).is_err() && limited.rule(key("a")).is_ok());
        assert!(
            everyone.rule(key("imported")).is_ok(),
            "a rule may come before its account"
        );
    }

    #[test]
    fn everything_is_paused_by_who_is_not_limited() {
        let everyone = Accounts::of_installation(vec![id("a")]);
        let limited = Accounts::within(vec![id("a")], AccountLimit::to([id("a")]));
        assert!(everyone.scope(Scope::Everything).is_ok());
        assert!(matches!(
            limited.scope(Scope::Everything),
            Err(ControlError::Forbidden(_))
        ));
        assert!(limited.scope(Scope::Account(id("a"))).is_ok());
        assert!(matches!(
            limited.scope(Scope::Account(id("b"))),
            Err(ControlError::NotFound(_))
        ));
    }
}
