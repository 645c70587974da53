//! A person who logs in, as people and programs see them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::users::User;
use crate::domain::access::{AccountLimit, Role};
use crate::domain::ids::AccountId;

/// A person who logs in.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserView {
    pub id: i64,
    pub name: String,
    pub role: Role,
    /// The accounts that the role is for. Null: all.
    #[schema(value_type = Option<Vec<AccountId>>)]
    pub accounts: AccountLimit,
    /// Whether the person has chosen a password.
    pub has_password: bool,
    /// Whether the person is known by single sign-on.
    pub has_sso: bool,
    /// Whether the person is asked for a code beside the password.
    pub has_second_factor: bool,
    pub created_at: DateTime<Utc>,
    /// To the minute. Null: never.
    pub seen_at: Option<DateTime<Utc>>,
}

impl From<User> for UserView {
    fn from(row: User) -> Self {
        Self {
            id: row.id,
            name: row.name,
            role: row.role,
            accounts: row.limit,
            has_password: row.has_password,
            has_sso: row.has_sso,
            has_second_factor: row.has_second_factor,
            created_at: row.created_at,
            seen_at: row.seen_at,
        }
    }
}
