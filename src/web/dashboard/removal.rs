//! Removing a person who logs in: what goes with the person, and which tokens an administrator keeps.

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::labels::{self, Moment};
use super::{PageError, PageFrame};
use crate::control::tokens::{Maker, TokenView, TokensLeft};
use crate::control::{ControlError, tokens, users};
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::page_error::sentence;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::Administer, "/team/{id}/remove", ask);
    table.form(Permission::Administer, "/team/{id}/remove", remove);
}

#[derive(Serialize)]
struct RemovalPage<'a> {
    id: i64,
    name: String,
    own: bool,
    tokens: Vec<ProgramTokenRow<'a>>,
    fault: Option<String>,
}

#[derive(Serialize)]
struct ProgramTokenRow<'a> {
    #[serde(flatten)]
    token: &'a TokenView,
    used: Option<Moment>,
    can_stay: bool,
}

async fn ask(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    render(&page, &state, id, StatusCode::OK, None).await
}

async fn render(
    page: &PageFrame,
    state: &AppState,
    id: i64,
    status: StatusCode,
    fault: Option<String>,
) -> Result<Response, PageError> {
    let (user, now) = (users::find(&state.pool, id).await?, state.clock.now());
    let theirs = tokens::of(&state.pool, id).await?;
    let own = page.caller.user() == Some(id);
    let tokens = theirs.iter().map(|token| ProgramTokenRow {
        used: token.last_used_at.map(|at| labels::time(at, now)),
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
    Ok(page.render_as(status, "remove_user.hbs", "Remove a user", values))
}

/// The names of the tokens that are ticked.
fn kept(body: &[u8]) -> Vec<String> {
    let fields = url::form_urlencoded::parse(body);
    let ticked = fields.filter(|(name, _)| name == "take_over");
    ticked.map(|(_, value)| value.into_owned()).collect()
}

async fn remove(
    page: PageFrame,
    maker: Maker,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
    body: Bytes,
) -> Result<Response, PageError> {
    let (names, now) = (kept(&body), state.clock.now());
    let heir = Some((&maker, names.as_slice()));
    match users::remove(&state.pool, id, heir, &maker.name, now).await {
        Ok(estate) => page.done("/team", &removal_message(&estate)).await,
        Err(ControlError::Conflict(why)) => page.not_done("/team", &sentence(&why)).await,
        Err(ControlError::Invalid(faults)) => {
            let why: Vec<String> = faults.into_iter().map(|fault| fault.detail).collect();
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            render(&page, &state, id, status, Some(why.join("; "))).await
        }
        Err(error) => Err(error.into()),
    }
}

fn removal_message(estate: &TokensLeft) -> String {
    let of = |what: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!(" {what}: {}.", names.join(", ")),
    };
    format!(
        "Removed, and logged out everywhere.{}{}",
        of("Tokens that no longer work", &estate.removed),
        of("Tokens that are now yours", &estate.taken_over)
    )
}
