//! The people who log in, as a page: add, change, remove.

use axum::extract::{Form, Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, Unshown, faults_of, words};
use crate::control::users::{self, Link};
use crate::control::{Error, Fault};
use crate::db::users::User;
use crate::domain::access::{Permission, Role};
use crate::web::State;
use crate::web::access::Table;

pub fn add(table: &mut Table) {
    table.page(Permission::Administer, "/users", show);
    table.form(Permission::Administer, "/users", add_user);
    table.form(Permission::Administer, "/users/{id}/role", set_role);
    table.form(Permission::Administer, "/users/{id}/remove", remove);
    table.form(
        Permission::Administer,
        "/users/{id}/password-link",
        new_link,
    );
    table.form(Permission::Administer, "/users/{id}/log-out", log_out);
}

/// What the page tells beside the list.
#[derive(Default)]
struct Beside<'a> {
    faults: &'a [Fault],
    name: &'a str,
    /// Whose link was just made.
    link: Option<(&'a str, &'a Link)>,
}

async fn render(
    page: &Page,
    state: &State,
    status: StatusCode,
    beside: Beside<'_>,
) -> Result<Response, Unshown> {
    let now = state.clock.now();
    let users = users::list(&state.pool).await?;
    let link = beside.link.map(|(name, link)| {
        let url = users::address_of(&state.public_url, link).map_err(Error::from);
        url.map(|url| {
            json!({ "name": name, "url": url.as_str(), "expires": words::time(link.expires_at, now) })
        })
    });
    let values = json!({
        "users": users.iter().map(|user| row(user, page, now)).collect::<Vec<_>>(),
        "roles": Role::ALL.map(Role::as_str),
        "faults": faults_of(beside.faults),
        "name": beside.name,
        "link": link.transpose()?,
    });
    Ok(page.render_as(status, "users.hbs", "People who log in", values))
}

fn row(user: &User, page: &Page, now: DateTime<Utc>) -> Value {
    let how = match (user.has_password, user.has_sso) {
        (true, true) => "password, single sign-on",
        (true, false) => "password",
        (false, true) => "single sign-on",
        (false, false) => "has not chosen a password yet",
    };
    json!({
        "id": user.id,
        "name": user.name,
        "self": page.caller.user() == Some(user.id),
        "roles": Role::ALL.map(|role| json!({ "name": role.as_str(), "own": role == user.role })),
        "how": how,
        "seen": user.seen_at.map(|at| words::time(at, now)),
    })
}

async fn show(page: Page, Shared(state): Shared<State>) -> Result<Response, Unshown> {
    render(&page, &state, StatusCode::OK, Beside::default()).await
}

#[derive(Deserialize)]
struct New {
    #[serde(default)]
    name: String,
    #[serde(default)]
    role: String,
}

async fn add_user(
    page: Page,
    Shared(state): Shared<State>,
    Form(new): Form<New>,
) -> Result<Response, Unshown> {
    let role = new.role.parse::<Role>().unwrap_or(Role::Viewer);
    let now = state.clock.now();
    let faults = match users::add(&state.pool, &new.name, role, page.caller.by(), now).await {
        Ok((user, link)) => {
            let beside = Beside {
                link: Some((&user.name, &link)),
                ..Beside::default()
            };
            return render(&page, &state, StatusCode::OK, beside).await;
        }
        Err(Error::Invalid(faults)) => faults,
        Err(Error::Conflict(why)) => vec![Fault {
            field: "/name".to_owned(),
            detail: why,
        }],
        Err(error) => return Err(error.into()),
    };
    let beside = Beside {
        faults: &faults,
        name: &new.name,
        link: None,
    };
    render(&page, &state, StatusCode::UNPROCESSABLE_ENTITY, beside).await
}

#[derive(Deserialize)]
struct Change {
    role: String,
}

async fn set_role(
    page: Page,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
    Form(change): Form<Change>,
) -> Result<Response, Unshown> {
    let Ok(role) = change.role.parse::<Role>() else {
        return page.not_done("/users", "Choose a role.").await;
    };
    let now = state.clock.now();
    match users::set_role(&state.pool, id, role, page.caller.by(), now).await {
        Ok(user) => {
            page.done("/users", &format!("{} is {role} now.", user.name))
                .await
        }
        Err(Error::Conflict(why)) => page.not_done("/users", &format!("{why}.")).await,
        Err(error) => Err(error.into()),
    }
}

async fn remove(
    page: Page,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
) -> Result<Response, Unshown> {
    match users::remove(&state.pool, id, page.caller.by(), state.clock.now()).await {
        Ok(()) => {
            page.done("/users", "Removed, and logged out everywhere.")
                .await
        }
        Err(Error::Conflict(why)) => page.not_done("/users", &format!("{why}.")).await,
        Err(error) => Err(error.into()),
    }
}

async fn new_link(
    page: Page,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
) -> Result<Response, Unshown> {
    let link = users::new_link(&state.pool, id, page.caller.by(), state.clock.now()).await?;
    let all = users::list(&state.pool).await?;
    let name = all
        .iter()
        .find(|user| user.id == id)
        .map_or("", |user| &user.name);
    let beside = Beside {
        link: Some((name, &link)),
        ..Beside::default()
    };
    render(&page, &state, StatusCode::OK, beside).await
}

async fn log_out(
    page: Page,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
) -> Result<Response, Unshown> {
    let now = state.clock.now();
    let ended = users::log_out_everywhere(&state.pool, id, page.caller.by(), now).await?;
    let said = match ended {
        0 => "Nobody was logged in.".to_owned(),
        1 => "One login was ended.".to_owned(),
        many => format!("{many} logins were ended."),
    };
    page.done("/users", &said).await
}
