//! Settings as a page: one's own login, and what this installation is configured with. Secrets are not even here to be shown.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{PageError, PageFrame, faults_of, own, second_factor};
use crate::control::{Fault, passwords};
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::RouteTable;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/settings", show);
}

/// The page; with the faults of a form of one's own login ([`super::own`]).
pub async fn render(
    page: &PageFrame,
    state: &AppState,
    status: StatusCode,
    faults: &[Fault],
) -> Result<Response, PageError> {
    let facts: Vec<Value> = facts(page, state)
        .into_iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let values = json!({
        "facts": facts,
        "faults": faults_of(faults),
        "shortest": passwords::SHORTEST,
        "sessions": own::logins(page, state).await?,
        "passwords": state.access.passwords,
        "factor": second_factor::state_of(page, state).await?,
    });
    Ok(page.render_as(status, "settings.hbs", "Settings", values))
}

/// What can be told of the configuration.
fn facts(page: &PageFrame, state: &AppState) -> Vec<(&'static str, String)> {
    let accounts: Vec<String> = page
        .accounts
        .ids()
        .iter()
        .map(|id| format!("{} ({id})", state.brand_of(id)))
        .collect();
    let access = &state.access;
    vec![
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Address", state.public_url.to_string()),
        ("Accounts", accounts.join(", ")),
        (
            "Logins expire",
            format!(
                "after {} min without use, at the latest after {} h",
                access.idle.num_minutes(),
                access.longest.num_hours()
            ),
        ),
        (
            "Single sign-on",
            match (access.sso.is_some(), access.passwords) {
                (true, true) => "on",
                (true, false) => "on, without passwords",
                (false, _) => "off",
            }
            .to_owned(),
        ),
    ]
}

async fn show(page: PageFrame, Shared(state): Shared<AppState>) -> Result<Response, PageError> {
    render(&page, &state, StatusCode::OK, &[]).await
}
