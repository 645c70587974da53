//! Who may do what: the roles of people and what each allows.

use std::fmt;
use std::str::FromStr;

/// What a caller must be allowed to do. Every route of the dashboard and of the config API names exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// A person's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
}
