//! Who may do what: the roles of people and what each allows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::AccountId;

/// What a token or a role allows. Every route of the dashboard and of the config API needs exactly one.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[schema(as = Scope)]
pub enum Permission {
    /// See everything but addresses.
    View,
    /// Change rules, drafts and texts; publish; test sends.
    Edit,
    /// Cancel, send again, pause, opt people in and out; see a masked address in full.
    Operate,
    /// People who log in, API tokens, settings, erasing consumers.
    Administer,
}

impl Permission {
    pub const ALL: [Self; 4] = [Self::View, Self::Edit, Self::Operate, Self::Administer];

    /// The scope of an API token that grants it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Edit => "edit",
            Self::Operate => "operate",
            Self::Administer => "administer",
        }
    }
}

/// What a person may do: a viewer sees, an editor also changes rules and operates, an administrator does everything.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Editor,
    Administrator,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Administrator];

    pub const fn may(self, permission: Permission) -> bool {
        match self {
            Self::Viewer => matches!(permission, Permission::View),
            Self::Editor => !matches!(permission, Permission::Administer),
            Self::Administrator => true,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Administrator => "administrator",
        }
    }
}

/// The accounts that what somebody may do is limited to; without a limit it holds for the whole installation. Administrators have
/// none: administration is of the installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AccountLimit(Option<Vec<AccountId>>);

impl AccountLimit {
    pub const NONE: Self = Self(None);

    pub fn to(ids: impl IntoIterator<Item = AccountId>) -> Self {
        let mut ids: Vec<AccountId> = ids.into_iter().collect();
        ids.sort();
        ids.dedup();
        Self(Some(ids))
    }

    /// In order; `None`: no limit.
    pub fn ids(&self) -> Option<&[AccountId]> {
        self.0.as_deref()
    }

    /// Whether no account is left within it.
    pub fn is_nothing(&self) -> bool {
        self.0.as_ref().is_some_and(Vec::is_empty)
    }

    pub fn allows(&self, account: &AccountId) -> bool {
        self.0.as_ref().is_none_or(|ids| ids.contains(account))
    }

    /// What both allow.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (None, _) => other.clone(),
            (_, None) => self.clone(),
            (Some(ids), Some(_)) => Self::to(ids.iter().filter(|id| other.allows(id)).cloned()),
        }
    }
}

/// What a person is given: a role, and the accounts that it is limited to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    role: Role,
    limit: AccountLimit,
}

/// Somebody else would have to look after the rest of the installation.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an administrator covers the whole installation: leave the accounts out, or choose another role"
)]
pub struct LimitedAdministrator;

impl Rights {
    pub fn limited(role: Role, limit: AccountLimit) -> Result<Self, LimitedAdministrator> {
        if role.may(Permission::Administer) && limit != AccountLimit::NONE {
            return Err(LimitedAdministrator);
        }
        Ok(Self { role, limit })
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn limit(&self) -> &AccountLimit {
        &self.limit
    }
}

/// For the whole installation.
impl From<Role> for Rights {
    fn from(role: Role) -> Self {
        Self {
            role,
            limit: AccountLimit::NONE,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word names no role.
#[derive(Debug, thiserror::Error)]
#[error("a role is viewer, editor or administrator")]
pub struct NoRole;

impl FromStr for Role {
    type Err = NoRole;

    fn from_str(word: &str) -> Result<Self, NoRole> {
        Self::ALL
            .into_iter()
            .find(|r| r.as_str() == word)
            .ok_or(NoRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_the_one_before_may_and_more() {
        let counts = Role::ALL.map(|r| Permission::ALL.into_iter().filter(|p| r.may(*p)).count());
        assert_eq!(counts, [1, 3, 4]);
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>().unwrap(), role);
        }
        assert!("owner".parse::<Role>().is_err());
    }

    #[test]
    fn an_administrator_is_not_limited() {
        let limit = || AccountLimit::to([id("a")]);
        assert!(Rights::limited(Role::Administrator, limit()).is_err());
        assert!(Rights::limited(Role::Administrator, AccountLimit::NONE).is_ok());
        assert_eq!(
            *Rights::limited(Role::Editor, limit()).unwrap().limit(),
            limit()
        );
    }

    fn id(word: &str) -> AccountId {
        word.parse().unwrap()
    }

    fn limits() -> impl proptest::strategy::Strategy<Value = AccountLimit> {
        use proptest::prelude::*;
        proptest::option::of(proptest::collection::vec("[a-d]", 0..4)).prop_map(|ids| match ids {
            Some(ids) => AccountLimit::to(ids.iter().map(|word| id(word))),
            None => AccountLimit::NONE,
        })
    }

    proptest::proptest! {
        #[test]
        fn two_limits_allow_what_each_allows(one in limits(), other in limits(), word in "[a-e]") {
            let both = one.and(&other);
            let account = id(&word);
            proptest::prop_assert_eq!(both.allows(&account), one.allows(&account) && other.allows(&account));
            proptest::prop_assert_eq!(&both, &other.and(&one));
        }
    }
}
