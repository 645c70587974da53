//! The export of suppressions, piece by piece.

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use utoipa_axum::routes;

use crate::control;
use crate::control::accounts::Accounts;
use crate::db::suppressions::SuppressionRow;
use crate::domain::access::Permission;
use crate::suppressions_file;
use crate::web::AppState;
use crate::web::access::RouteTable;

pub(super) fn add(table: &mut RouteTable) {
    table.api(Permission::Operate, routes!(export_suppressions));
}

/// Export the suppressions of all accounts that you may see as CSV, with hashes in place of addresses
#[utoipa::path(get, path = "/suppressions/export", tag = "suppressions",
    responses((status = 200, body = String, content_type = "text/csv")))]
pub async fn export_suppressions(accounts: Accounts, Shared(state): Shared<AppState>) -> Response {
    (
        [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
            (
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"suppressions.csv\"",
            ),
        ],
        Body::from_stream(lines(state, accounts)),
    )
        .into_response()
}

/// The file piece by piece: memory does not grow with the table. A piece that cannot be read breaks the answer off.
fn lines(
    state: AppState,
    accounts: Accounts,
) -> impl Stream<Item = Result<String, control::ControlError>> {
    let header = stream::once(async { Ok(suppressions_file::HEADER.to_owned()) });
    header.chain(stream::try_unfold(
        None,
        move |last: Option<SuppressionRow>| {
            let (state, accounts) = (state.clone(), accounts.clone());
            async move {
                let pool = &state.pool;
                let piece = control::suppressions::export(pool, &accounts, last.as_ref()).await?;
                Ok(piece.map(|(lines, last)| (lines, Some(last))))
            }
        },
    ))
}
