//! The people who log in, as a page: add, change, remove.

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::labels::{self, Moment};
use super::{BrandChoice, PageError, PageFrame, brands, brands_of, faults_of};
use crate::control::users::{self, Link, UserView};
use crate::control::{ControlError, Fault, accounts, second_factor, sso};
use crate::domain::access::{AccountLimit, Permission, Role};
use crate::domain::ids::AccountId;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::page_error::sentence;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::Administer, "/team", show);
    table.form(Permission::Administer, "/team", add_user);
    table.form(Permission::Administer, "/team/{id}/role", set_role);
    table.form(Permission::Administer, "/team/{id}/password-link", new_link);
    table.form(Permission::Administer, "/team/{id}/log-out", log_out);
    table.form(Permission::Administer, "/team/{id}/disconnect", disconnect);
    table.form(
        Permission::Administer,
        "/team/{id}/second-factor/reset",
        reset_second_factor,
    );
}

/// What the page tells beside the list.
#[derive(Default)]
struct UsersPageNotice<'a> {
    faults: &'a [Fault],
    name: &'a str,
    /// Whose link was just made.
    link: Option<(&'a str, &'a Link)>,
    /// It was mailed to them.
    mailed: bool,
}

#[derive(Serialize)]
struct UsersPage<'a> {
    users: Vec<UserRow<'a>>,
    accounts: Vec<BrandChoice<'a>>,
    faults: Value,
    name: &'a str,
    link: Option<LinkShown<'a>>,
    sso: bool,
    passwords: bool,
}

/// A link that was just made.
#[derive(Serialize)]
struct LinkShown<'a> {
    name: &'a str,
    url: String,
    expires: Moment,
    mailed: bool,
}

async fn render(
    page: &PageFrame,
    state: &AppState,
    status: StatusCode,
    beside: UsersPageNotice<'_>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let users = users::list(&state.pool).await?;
    let link = beside.link.map(|(name, link)| {
        let url = users::address_of(&state.dashboard_url, link).map_err(ControlError::from);
        let expires = labels::time(link.expires_at, now);
        url.map(|url| LinkShown {
            name,
            url: url.into(),
            expires,
            mailed: beside.mailed,
        })
    });
    let values = UsersPage {
        users: users
            .iter()
            .map(|user| UserRow::new(user, page, state, now))
            .collect(),
        accounts: brands(state, &page.accounts, ""),
        faults: faults_of(beside.faults),
        name: beside.name,
        link: link.transpose()?,
        sso: state.access.sso.is_some(),
        passwords: state.access.passwords,
    };
    Ok(page.render_as(status, "users.hbs", "Team", values))
}

#[derive(Serialize)]
struct UserRow<'a> {
    #[serde(flatten)]
    user: &'a UserView,
    #[serde(rename = "self")]
    is_self: bool,
    roles: [RoleChoice; Role::ALL.len()],
    how: String,
    /// The accounts to choose from.
    choices: Vec<BrandChoice<'a>>,
    limited_to: Option<String>,
    seen: Option<Moment>,
}

#[derive(Serialize)]
struct RoleChoice {
    name: Role,
    own: bool,
}

impl<'a> UserRow<'a> {
    fn new(user: &'a UserView, page: &'a PageFrame, state: &AppState, now: DateTime<Utc>) -> Self {
        // Also an account that is not configured any more: else the next change would take it away unseen.
        let limit = user.accounts.ids();
        let all = page.accounts.ids().iter().chain(limit.unwrap_or_default());
        let mut ids: Vec<&AccountId> = all.collect();
        ids.sort();
        ids.dedup();
        let several = ids.len() > 1;
        let choices = ids.into_iter().filter(|_| several).map(|id| BrandChoice {
            id,
            brand: state.brand_of(id),
            chosen: limit.is_some_and(|limit| limit.contains(id)),
        });
        let how = match (user.has_password, user.has_sso) {
            (true, true) => "password, single sign-on",
            (true, false) => "password",
            (false, true) => "single sign-on",
            (false, false) => "never logged in",
        };
        let factor = if user.has_second_factor {
            ", second factor"
        } else {
            ""
        };
        Self {
            user,
            is_self: page.caller.user() == Some(user.id),
            roles: Role::ALL.map(|role| RoleChoice {
                name: role,
                own: role == user.role,
            }),
            how: format!("{how}{factor}"),
            choices: choices.collect(),
            limited_to: limit.map(|ids| brands_of(state, ids)),
            seen: user.seen_at.map(|at| labels::time(at, now)),
        }
    }
}

async fn show(page: PageFrame, Shared(state): Shared<AppState>) -> Result<Response, PageError> {
    render(&page, &state, StatusCode::OK, UsersPageNotice::default()).await
}

/// Boxes that are ticked come as one field each of the same name, which serde's forms do not read.
struct UserForm {
    name: String,
    role: String,
    /// None of them: all.
    accounts: Option<Vec<String>>,
}

impl UserForm {
    fn read(body: &[u8]) -> Self {
        let fields: Vec<_> = url::form_urlencoded::parse(body).into_owned().collect();
        let all = |name: &str| -> Vec<String> {
            let own = fields.iter().filter(|(own, _)| own == name);
            own.map(|(_, value)| value.clone()).collect()
        };
        let one = |name| all(name).into_iter().next().unwrap_or_default();
        Self {
            name: one("name"),
            role: one("role"),
            accounts: Some(all("account")).filter(|ids| !ids.is_empty()),
        }
    }

    fn limit(&self, page: &PageFrame) -> Result<AccountLimit, ControlError> {
        accounts::limit(&page.accounts, self.accounts.as_deref()).map_err(ControlError::Invalid)
    }
}

async fn add_user(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    body: Bytes,
) -> Result<Response, PageError> {
    let (new, now) = (UserForm::read(&body), state.clock.now());
    let faults = match add_given(&page, &state, &new, now).await {
        Ok((user, link)) => {
            let beside = UsersPageNotice {
                mailed: users::mail_link(&state.context, &user.name, &link).await?,
                link: Some((&user.name, &link)),
                ..UsersPageNotice::default()
            };
            return render(&page, &state, StatusCode::OK, beside).await;
        }
        Err(ControlError::Invalid(faults)) => faults,
        Err(ControlError::Conflict(why)) => vec![Fault {
            field: "/name".to_owned(),
            detail: why,
        }],
        Err(error) => return Err(error.into()),
    };
    let beside = UsersPageNotice {
        faults: &faults,
        name: &new.name,
        ..UsersPageNotice::default()
    };
    render(&page, &state, StatusCode::UNPROCESSABLE_ENTITY, beside).await
}

async fn add_given(
    page: &PageFrame,
    state: &AppState,
    new: &UserForm,
    now: DateTime<Utc>,
) -> Result<(UserView, Link), ControlError> {
    let role = new.role.parse::<Role>().unwrap_or(Role::Viewer);
    let rights = users::rights(role, new.limit(page)?)?;
    users::add(&state.pool, &new.name, rights, page.caller.by(), now).await
}

async fn set_role(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
    body: Bytes,
) -> Result<Response, PageError> {
    let change = UserForm::read(&body);
    let Ok(role) = change.role.parse::<Role>() else {
        return page.not_done("/team", "Choose a role.").await;
    };
    let (by, now) = (page.caller.by(), state.clock.now());
    let done = match change.limit(&page) {
        Ok(limit) => users::set_rights(&state.pool, id, (role, Some(limit)), by, now).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(user) => {
            let said = match user.accounts.ids() {
                Some(_) => format!("{} is now {role} of some accounts.", user.name),
                None => format!("{} is now {role}.", user.name),
            };
            page.done("/team", &said).await
        }
        Err(ControlError::Conflict(why)) => page.not_done("/team", &sentence(&why)).await,
        Err(ControlError::Invalid(faults)) => {
            let why: Vec<String> = faults.into_iter().map(|fault| fault.detail).collect();
            let why = format!("Nothing was changed: {}.", why.join("; "));
            page.not_done("/team", &why).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn new_link(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    let link = users::new_link(&state.pool, id, page.caller.by(), state.clock.now()).await?;
    let all = users::list(&state.pool).await?;
    let name = all
        .iter()
        .find(|user| user.id == id)
        .map_or("", |user| &user.name);
    let beside = UsersPageNotice {
        mailed: users::mail_link(&state.context, name, &link).await?,
        link: Some((name, &link)),
        ..UsersPageNotice::default()
    };
    render(&page, &state, StatusCode::OK, beside).await
}

async fn log_out(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let ended = users::log_out_everywhere(&state.pool, id, page.caller.by(), now).await?;
    let said = match ended {
        0 => "There were no logins to end.".to_owned(),
        1 => "1 login was ended.".to_owned(),
        many => format!("{many} logins were ended."),
    };
    page.done("/team", &said).await
}

async fn disconnect(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    let (by, now) = (page.caller.by(), state.clock.now());
    match sso::unbind(&state.pool, &state.hasher, id, by, now).await {
        Ok(user) => {
            let said = format!(
                "{} is logged out and cannot use single sign-on until {0} is connected again.",
                user.name
            );
            page.done("/team", &said).await
        }
        Err(ControlError::Conflict(why)) => page.not_done("/team", &sentence(&why)).await,
        Err(error) => Err(error.into()),
    }
}

async fn reset_second_factor(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    match second_factor::remove(&state.pool, id, page.caller.by(), state.clock.now()).await {
        Ok(user) => {
            let said = format!(
                "{} is no longer asked for a code and can set up a second factor again.",
                user.name
            );
            page.done("/team", &said).await
        }
        Err(ControlError::Conflict(why)) => page.not_done("/team", &sentence(&why)).await,
        Err(error) => Err(error.into()),
    }
}
