//! One's own login, on the page of settings: the password, and where one is logged in.

use axum::extract::{Form, Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::labels::{self, Moment};
use super::{PageError, PageFrame, login, settings};
use crate::control::passwords::Chosen;
use crate::control::{ControlError, Fault, sessions, users};
use crate::db;
use crate::domain::access::Permission;
use crate::secret::Secret;
use crate::web::AppState;
use crate::web::access::{LoginRefusal, PasswordTry, RouteTable, Visitor, try_password};

pub fn add(table: &mut RouteTable) {
    table.form(Permission::View, "/settings/password", change_password);
    table.form(Permission::View, "/settings/log-out", log_out_everywhere);
    table.form(
        Permission::View,
        "/settings/sessions/end-others",
        end_others,
    );
    table.form(Permission::View, "/settings/sessions/{id}/end", end_one);
}

/// Only people have a login.
pub fn person(page: &PageFrame) -> Result<i64, PageError> {
    page.caller.user().ok_or_else(PageError::forbidden)
}

/// Where the person is logged in.
#[derive(Serialize)]
pub struct Login {
    id: i64,
    device: String,
    this_one: bool,
    started: Moment,
    seen: Moment,
}

pub async fn logins(page: &PageFrame, state: &AppState) -> Result<Vec<Login>, PageError> {
    let (user, now) = (person(page)?, state.clock.now());
    let good = (now - state.access.idle, now);
    let own = &page.session().token_hash;
    let all = db::sessions::of_user(&state.pool, user, own, good).await?;
    let told = all.into_iter().map(|session| Login {
        id: session.id,
        device: match session.device.as_str() {
            "" => "An unknown device".to_owned(),
            _ => session.device,
        },
        this_one: session.this_one,
        started: labels::time(session.created_at, now),
        seen: labels::time(session.seen_at, now),
    });
    Ok(told.collect())
}

/// The answer to a form with faults.
async fn faulty(
    page: &PageFrame,
    state: &AppState,
    faults: &[Fault],
) -> Result<Response, PageError> {
    settings::render(page, state, StatusCode::UNPROCESSABLE_ENTITY, faults).await
}

/// Whether this is the own password, counted and limited like a login; else the page that says so.
pub async fn knows_password(
    page: &PageFrame,
    state: &AppState,
    visitor: &Visitor,
    (field, password): (&str, &Secret),
) -> Result<Option<Response>, PageError> {
    match try_password(state, visitor, page.caller.by(), password).await? {
        PasswordTry::Good { .. } => Ok(None),
        PasswordTry::Not(refused) => {
            let told = refused.message("That is not your password.");
            Ok(Some(
                not_taken(page, state, &refused, (field, &told)).await?,
            ))
        }
    }
}

/// The answer to what was not taken: 422, or when to come again.
pub async fn not_taken(
    page: &PageFrame,
    state: &AppState,
    refused: &LoginRefusal,
    (field, told): (&str, &str),
) -> Result<Response, PageError> {
    let fault = Fault {
        field: format!("/{field}"),
        detail: told.to_owned(),
    };
    let mut response = faulty(page, state, &[fault]).await?;
    if refused.is_wait() {
        response = refused.answer(|status| {
            *response.status_mut() = status;
            response
        });
    }
    Ok(response)
}

#[derive(Deserialize)]
struct PasswordForm {
    #[serde(default)]
    old_password: String,
    #[serde(default)]
    password: String,
}

async fn change_password(
    page: PageFrame,
    visitor: Visitor,
    Shared(state): Shared<AppState>,
    Form(change): Form<PasswordForm>,
) -> Result<Response, PageError> {
    let user = person(&page)?;
    if !state.access.passwords {
        return Err(PageError::forbidden());
    }
    let (old, new) = (
        Secret::new(change.old_password),
        Secret::new(change.password),
    );
    if let Some(refused) = knows_password(&page, &state, &visitor, ("old_password", &old)).await? {
        return Ok(refused);
    }
    let (kept, own_words) = (&page.session().token_hash, state.own_words());
    let new = Chosen {
        password: &new,
        own_words: &own_words,
    };
    match users::change_password(&state.pool, user, new, kept, state.clock.now()).await {
        Ok(()) => {
            let said = "Password changed. You are logged out everywhere else.";
            page.done("/settings", said).await
        }
        Err(ControlError::Invalid(faults)) => faulty(&page, &state, &faults).await,
        Err(error) => Err(error.into()),
    }
}

async fn log_out_everywhere(
    page: PageFrame,
    Shared(state): Shared<AppState>,
) -> Result<Response, PageError> {
    let (user, by) = (person(&page)?, page.caller.by());
    users::log_out_everywhere(&state.pool, user, by, state.clock.now()).await?;
    Ok(login::leave(&state))
}

async fn end_one(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    let user = person(&page)?;
    match sessions::end_one(&state.pool, user, id, state.clock.now()).await {
        Ok(()) => page.done("/settings", "That login was ended.").await,
        Err(ControlError::NotFound(_)) => {
            page.not_done("/settings", "That login had already ended.")
                .await
        }
        Err(error) => Err(error.into()),
    }
}

async fn end_others(
    page: PageFrame,
    Shared(state): Shared<AppState>,
) -> Result<Response, PageError> {
    let (user, kept) = (person(&page)?, page.session().token_hash);
    let ended = sessions::end_others(&state.pool, user, &kept, state.clock.now()).await?;
    let said = match ended {
        0 => "You had no other logins.".to_owned(),
        1 => "1 other login was ended.".to_owned(),
        many => format!("{many} other logins were ended."),
    };
    page.done("/settings", &said).await
}
