//! One's own second factor: turning it on with a first code, codes for the loss of the phone, turning it off.

use axum::extract::{Form, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use qrcode::{Color, QrCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::own::{knows_password, not_taken, person};
use super::{PageError, PageFrame, faults_of};
use crate::control::{ControlError, Fault, second_factor};
use crate::db;
use crate::domain::access::Permission;
use crate::domain::totp;
use crate::secret::Secret;
use crate::web::AppState;
use crate::web::access::{PasswordTry, RouteTable, Visitor, try_code};

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/settings/second-factor", show);
    table.form(Permission::View, "/settings/second-factor", begin);
    table.form(Permission::View, "/settings/second-factor/confirm", confirm);
    table.form(Permission::View, "/settings/second-factor/codes", new_codes);
    table.form(Permission::View, "/settings/second-factor/off", turn_off);
}

/// How it stands, for the page of settings.
pub async fn state_of(page: &PageFrame, state: &AppState) -> Result<Value, PageError> {
    let user = person(page)?;
    let on = second_factor::is_on(&state.pool, user).await?;
    let left = db::second_factors::codes_left(&state.pool, user).await?;
    Ok(json!({ "on": on, "codes_left": left }))
}

#[derive(Deserialize)]
struct SecondFactorForm {
    #[serde(default)]
    factor_password: String,
    #[serde(default)]
    code: String,
}

/// A stolen session must not be able to lock its owner out: the password comes first.
async fn begin(
    page: PageFrame,
    visitor: Visitor,
    Shared(state): Shared<AppState>,
    Form(given): Form<SecondFactorForm>,
) -> Result<Response, PageError> {
    let user = person(&page)?;
    if !state.access.passwords {
        return Err(PageError::forbidden());
    }
    let password = Secret::new(given.factor_password);
    let asked = ("factor_password", &password);
    if let Some(refused) = knows_password(&page, &state, &visitor, asked).await? {
        return Ok(refused);
    }
    second_factor::begin(&state.pool, &state.hasher, user, state.clock.now()).await?;
    Ok(Redirect::to("/settings/second-factor").into_response())
}

async fn show(page: PageFrame, Shared(state): Shared<AppState>) -> Result<Response, PageError> {
    scan_page(&page, &state, StatusCode::OK, &[]).await
}

async fn scan_page(
    page: &PageFrame,
    state: &AppState,
    status: StatusCode,
    faults: &[Fault],
) -> Result<Response, PageError> {
    let (user, now) = (person(page)?, state.clock.now());
    let Some(secret) = second_factor::begun(&state.pool, &state.hasher, user, now).await? else {
        return Ok(Redirect::to("/settings").into_response());
    };
    let secret = totp::base32(&secret);
    let values = json!({
        "codes": null,
        "secret": second_factor::grouped(&secret).replace('-', " "),
        "qr": picture(&address(page.caller.by(), &secret))?,
        "faults": faults_of(faults),
    });
    Ok(page.render_as(status, "second_factor.hbs", "Second factor", values))
}

/// As apps read it.
fn address(name: &str, secret: &str) -> String {
    let word = |word: &str| -> String {
        percent_encoding::utf8_percent_encode(word, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    format!(
        "otpauth://totp/unread:{}?secret={secret}&issuer=unread",
        word(name)
    )
}

/// The dark squares as one path, with the margin that scanners need.
fn picture(text: &str) -> Result<Value, ControlError> {
    use std::fmt::Write as _;
    const MARGIN: usize = 4;
    let code =
        QrCode::new(text).map_err(|_| anyhow::anyhow!("an address is too long for a QR code"))?;
    let width = code.width();
    let mut path = String::new();
    for (at, color) in code.into_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (at % width + MARGIN, at / width + MARGIN);
            let _ = write!(path, "M{x} {y}h1v1h-1z");
        }
    }
    Ok(json!({ "width": width + 2 * MARGIN, "path": path }))
}

async fn confirm(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(given): Form<SecondFactorForm>,
) -> Result<Response, PageError> {
    let (user, now) = (person(&page)?, state.clock.now());
    match second_factor::confirm(&state.pool, &state.hasher, user, &given.code, now).await {
        Ok(codes) => Ok(codes_page(&page, &codes)),
        Err(ControlError::Invalid(faults)) => {
            scan_page(&page, &state, StatusCode::UNPROCESSABLE_ENTITY, &faults).await
        }
        Err(ControlError::NotFound(_)) => {
            let why = "That took too long. Start again.";
            page.not_done("/settings", why).await
        }
        Err(error) => Err(error.into()),
    }
}

fn codes_page(page: &PageFrame, codes: &[String]) -> Response {
    page.render(
        "second_factor.hbs",
        "Second factor",
        json!({ "codes": codes }),
    )
}

/// Whether password and code are right; else the page that says which is not.
async fn knows_both(
    page: &PageFrame,
    state: &AppState,
    visitor: &Visitor,
    given: SecondFactorForm,
) -> Result<Option<Response>, PageError> {
    let password = Secret::new(given.factor_password);
    let asked = ("factor_password", &password);
    if let Some(refused) = knows_password(page, state, visitor, asked).await? {
        return Ok(Some(refused));
    }
    match try_code(state, visitor, page.caller.by(), &given.code).await? {
        (PasswordTry::Good { .. }, _) => Ok(None),
        (PasswordTry::Not(refused), _) => {
            let told = refused.message("That code is not valid now.");
            Ok(Some(
                not_taken(page, state, &refused, ("code", &told)).await?,
            ))
        }
    }
}

async fn new_codes(
    page: PageFrame,
    visitor: Visitor,
    Shared(state): Shared<AppState>,
    Form(given): Form<SecondFactorForm>,
) -> Result<Response, PageError> {
    let user = person(&page)?;
    if let Some(refused) = knows_both(&page, &state, &visitor, given).await? {
        return Ok(refused);
    }
    let codes = second_factor::new_codes(&state.pool, user, state.clock.now()).await?;
    Ok(codes_page(&page, &codes))
}

async fn turn_off(
    page: PageFrame,
    visitor: Visitor,
    Shared(state): Shared<AppState>,
    Form(given): Form<SecondFactorForm>,
) -> Result<Response, PageError> {
    let user = person(&page)?;
    if let Some(refused) = knows_both(&page, &state, &visitor, given).await? {
        return Ok(refused);
    }
    second_factor::remove(&state.pool, user, page.caller.by(), state.clock.now()).await?;
    page.done("/settings", "Your second factor is turned off.")
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_reads_whose_secret_it_is() {
        let address = address("ann@example.net", "GEZDGNBV");
        assert_eq!(
            address,
            "otpauth://totp/unread:ann%40example%2Enet?secret=GEZDGNBV&issuer=unread"
        );
        let longest = format!("{}@example.net", "a".repeat(88));
        let picture = picture(&super::address(&longest, &"A".repeat(32))).unwrap();
        assert!(
            picture["path"]
                .as_str()
                .unwrap()
                .starts_with("M4 4h1v1h-1z"),
            "a finder in the corner"
        );
    }
}
