//! Removing a person who logs in: what goes with the person, and which tokens an administrator keeps.

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::words::{self, Moment};
use super::{Page, Unshown};
use crate::control::tokens::{Estate, Maker, TokenView};
use crate::control::{Error, tokens, users};
use crate::domain::access::Permission;
use crate::web::State;
use crate::web::access::Table;

pub fn add(table: &mut Table) {
    table.page(Permission::Administer, "/users/{id}/remove", ask);
    table.form(Permission::Administer, "/users/{id}/remove", remove);
}

#[derive(Serialize)]
struct RemovalPage<'a> {
    id: i64,
    name: String,
    own: bool,
    tokens: Vec<Row<'a>>,
    fault: Option<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    token: &'a TokenView,
    used: Option<Moment>,
    can_stay: bool,
}

async fn ask(
    page: Page,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
) -> Result<Response, Unshown> {
    render(&page, &state, id, StatusCode::OK, None).await
}

async fn render(
    page: &Page,
    state: &State,
    id: i64,
    status: StatusCode,
    fault: Option<String>,
) -> Result<Response, Unshown> {
    let (user, now) = (users::find(&state.pool, id).await?, state.clock.now());
    let theirs = tokens::of(&state.pool, id).await?;
    let own = page.caller.user() == Some(id);
    let tokens = theirs.iter().map(|token| Row {
        used: token.last_used_at.map(|at| words::time(at, now)),
        can_stay: !own && !token.effective_scopes.is_empty(),
        token,
    });
    let values = RemovalPage {
        id,
        name: user.name,
        own,
        tokens: tokens.collect(),
        fault,
    };
    Ok(page.render_as(status, "remove_user.hbs", "Remove a person", values))
}

/// The names of the tokens that are ticked.
fn kept(body: &[u8]) -> Vec<String> {
    let fields = url::form_urlencoded::parse(body);
    let ticked = fields.filter(|(name, _)| name == "take_over");
    ticked.map(|(_, value)| value.into_owned()).collect()
}

async fn remove(
    page: Page,
    maker: Maker,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
    body: Bytes,
) -> Result<Response, Unshown> {
    let (names, now) = (kept(&body), state.clock.now());
    let heir = Some((&maker, names.as_slice()));
    match users::remove(&state.pool, id, heir, &maker.name, now).await {
        Ok(estate) => page.done("/users", &told(&estate)).await,
        Err(Error::Conflict(why)) => page.not_done("/users", &format!("{why}.")).await,
        Err(Error::Invalid(faults)) => {
            let why: Vec<String> = faults.into_iter().map(|fault| fault.detail).collect();
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            render(&page, &state, id, status, Some(why.join("; "))).await
        }
        Err(error) => Err(error.into()),
    }
}

fn told(estate: &Estate) -> String {
    let of = |what: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!(" {what}: {}.", names.join(", ")),
    };
    format!(
        "Removed, and logged out everywhere.{}{}",
        of("Tokens that stopped working", &estate.removed),
        of("Tokens that are yours now", &estate.taken_over)
    )
}
