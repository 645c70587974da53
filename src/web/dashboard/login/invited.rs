//! The page of a set-up link: choosing a password, or coming by single sign-on.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State as Shared};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::{sso, steps};
use crate::control::passwords::{self, Chosen};
use crate::control::users::{self, Invitation};
use crate::control::{ControlError, second_factor};
use crate::hashing;
use crate::secret::Secret;
use crate::web::access::{RouteTable, Visitor, csrf};
use crate::web::dashboard::login;
use crate::web::page_error::PageError;
use crate::web::templates::careful;
use crate::web::{AppState, templates};

pub fn add(table: &mut RouteTable) {
    table.open(Method::GET, "/setup/{token}", get(invited));
    table.open(Method::POST, "/setup/{token}", post(choose));
    table.open(Method::GET, "/setup/{token}/sso", get(by_sso));
}

fn gone() -> Response {
    let page = templates::message(
        "This link no longer works",
        "It was used or has expired. Ask an administrator for a new one, or run `unread users password NAME`.",
        Some(("/login", "Back to login")),
    );
    (StatusCode::NOT_FOUND, careful(page)).into_response()
}

async fn invited(
    Shared(state): Shared<AppState>,
    Path(token): Path<String>,
) -> Result<Response, PageError> {
    let found = users::invitation(&state.pool, &token, state.clock.now()).await?;
    Ok(found.map_or_else(gone, |invitation| {
        password_page(&state, StatusCode::OK, &token, &invitation, "", None)
    }))
}

fn password_page(
    state: &AppState,
    status: StatusCode,
    token: &str,
    invitation: &Invitation,
    name: &str,
    fault: Option<&str>,
) -> Response {
    let user = match invitation {
        Invitation::First => None,
        Invitation::Password { user } | Invitation::Login { user } => Some(&user.name),
    };
    let page = templates::render(
        "password.hbs",
        &json!({
            "title": "Welcome",
            "logs_in": matches!(invitation, Invitation::Login { .. }),
            "passwords": state.access.passwords,
            "user": user,
            "name": name,
            "fault": fault,
            "shortest": passwords::SHORTEST,
            "sso": state.access.sso.is_some().then(|| format!("/setup/{token}/sso")),
        }),
    );
    (status, careful(page)).into_response()
}

#[derive(Deserialize)]
struct InvitationForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
}

async fn choose(
    Shared(state): Shared<AppState>,
    Path(token): Path<String>,
    visitor: Visitor,
    chosen: Result<Form<InvitationForm>, FormRejection>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let Some(invitation) = users::invitation(&state.pool, &token, now).await? else {
        return Ok(gone());
    };
    if matches!(invitation, Invitation::Login { .. }) {
        let user = users::log_in_by_link(&state.pool, &token, now).await?;
        return login::enter(&state, &visitor, user, "/").await;
    }
    if !state.access.passwords {
        let why = "Password login is turned off here.";
        let status = StatusCode::FORBIDDEN;
        return Ok(password_page(
            &state,
            status,
            &token,
            &invitation,
            "",
            Some(why),
        ));
    }
    let Ok(Form(chosen)) = chosen else {
        return Ok(password_page(
            &state,
            StatusCode::BAD_REQUEST,
            &token,
            &invitation,
            "",
            None,
        ));
    };
    let password = Secret::new(chosen.password);
    let (name, own_words) = (&chosen.name, state.own_words());
    let password = Chosen {
        password: &password,
        own_words: &own_words,
    };
    match users::accept(&state.pool, &token, name, password, now).await {
        // The link stands in for the password and not for the second factor.
        Ok(user) if second_factor::is_on(&state.pool, user).await? => {
            steps::ask_code(&state, user, (None, "/")).await
        }
        Ok(user) => login::enter(&state, &visitor, user, "/").await,
        Err(ControlError::NotFound(_)) => Ok(gone()),
        Err(ControlError::Invalid(faults)) => {
            let told: Vec<String> = faults
                .iter()
                .map(|fault| {
                    format!(
                        "The {} {}.",
                        fault.field.trim_start_matches('/'),
                        fault.detail
                    )
                })
                .collect();
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(password_page(
                &state,
                status,
                &token,
                &invitation,
                &chosen.name,
                Some(&told.join(" ")),
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// On to the single sign-on: whoever comes back is the person whose link it is. Only from the link's own page, on which that person stands:
/// somebody who was sent here unawares would become another person.
async fn by_sso(
    Shared(state): Shared<AppState>,
    Path(token): Path<String>,
    visitor: Visitor,
) -> Result<Response, PageError> {
    let found = users::invitation(&state.pool, &token, state.clock.now()).await?;
    if found.is_none() {
        return Ok(gone());
    }
    let own_page = format!("/setup/{token}");
    if !csrf::was_followed_on(&state.access, &visitor.headers, &own_page) {
        return Ok(Redirect::to(&own_page).into_response());
    }
    let link = hashing::digest(&token).to_vec();
    sso::begin(&state, visitor.from, "/", Some(link)).await
}
