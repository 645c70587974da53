//! Settings as a page: one's own login, and what this installation is configured with. Secrets are not even here to be shown.

use axum::extract::{Form, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, Unshown, faults_of};
use crate::control::{Error, Fault, passwords, users};
use crate::domain::access::Permission;
use crate::secret::Secret;
use crate::web::State;
use crate::web::access::{Table, login};

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/settings", show);
    table.form(Permission::View, "/settings/password", change_password);
    table.form(Permission::View, "/settings/log-out", log_out_everywhere);
}

fn render(page: &Page, state: &State, status: StatusCode, faults: &[Fault]) -> Response {
    let facts: Vec<Value> = facts(state)
        .into_iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let values = json!({
        "facts": facts,
        "faults": faults_of(faults),
        "shortest": passwords::SHORTEST,
    });
    page.render_as(status, "settings.hbs", "Settings", values)
}

/// What can be told of the configuration.
fn facts(state: &State) -> Vec<(&'static str, String)> {
    let accounts: Vec<String> = state
        .account_ids()
        .iter()
        .map(|id| format!("{} ({id})", state.brand_of(id.as_str())))
        .collect();
    let access = &state.access;
    vec![
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Address", state.public_url.to_string()),
        ("Accounts", accounts.join(", ")),
        (
            "A login ends",
            format!(
                "after {} min without use, at the latest after {} h",
                access.idle.num_minutes(),
                access.longest.num_hours()
            ),
        ),
        (
            "Single sign-on",
            if access.sso.is_some() { "on" } else { "off" }.to_owned(),
        ),
    ]
}

async fn show(page: Page, Shared(state): Shared<State>) -> Response {
    render(&page, &state, StatusCode::OK, &[])
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    old_password: String,
    #[serde(default)]
    password: String,
}

async fn change_password(
    page: Page,
    Shared(state): Shared<State>,
    Form(change): Form<Change>,
) -> Result<Response, Unshown> {
    let Some(user) = page.caller.user() else {
        return Err(Unshown::forbidden());
    };
    let passwords = (
        &Secret::new(change.old_password),
        &Secret::new(change.password),
    );
    let kept = &page.session().token_hash;
    match users::change_password(&state.pool, user, passwords, kept, state.clock.now()).await {
        Ok(()) => {
            let said = "Your password is changed. You are logged out everywhere else.";
            page.done("/settings", said).await
        }
        Err(Error::Invalid(faults)) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(render(&page, &state, status, &faults))
        }
        Err(error) => Err(error.into()),
    }
}

async fn log_out_everywhere(page: Page, Shared(state): Shared<State>) -> Result<Response, Unshown> {
    let Some(user) = page.caller.user() else {
        return Err(Unshown::forbidden());
    };
    let by = page.caller.by();
    users::log_out_everywhere(&state.pool, user, by, state.clock.now()).await?;
    Ok(login::leave(&state))
}
