//! Importing lists of people who said no elsewhere.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::control;
use crate::control::accounts::Accounts;
use crate::control::suppressions::{BadLines, import};
use crate::domain::access::Permission;
use crate::domain::contact::Suppression as Reason;
use crate::domain::ids::AccountId;
use crate::suppressions_file::Defaults;
use crate::web::access::{Caller, RouteTable};
use crate::web::api::extract::{Query, bytes, kind, parse};
use crate::web::problem::ApiError;
use crate::web::{AppState, MAX_LIST};

/// A list is in memory while it arrives.
const LONGEST_UPLOAD: Duration = Duration::from_mins(2);

/// Lines that are not understood in one answer.
const MOST_PROBLEMS: usize = 1_000;

pub(super) fn add(table: &mut RouteTable) {
    table.long_api(Permission::Operate, MAX_LIST, routes!(import_suppressions));
}

/// A list of people who opted out elsewhere, as JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = File)]
struct ImportBody {
    /// For lines that name no account.
    account: AccountId,
    /// One address per line, or CSV whose first line names the columns, as many providers export it.
    #[schema(example = "somebody@example.com")]
    csv: String,
    /// For lines that name no reason; left out: `opted_out`.
    reason: Option<Reason>,
    /// Whether the other lines are stored if some are not understood; left out: `false`, and nothing is stored then.
    #[serde(default)]
    leave_out_bad_lines: bool,
}

/// The same, for a file that is sent as it is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfFile {
    /// Only for a file that is not JSON, and then needed: for lines that name no account.
    #[param(inline)]
    account: Option<AccountId>,
    /// Only for a file that is not JSON: for lines that name no reason; left out: `opted_out`.
    #[param(inline)]
    reason: Option<Reason>,
    /// Only for a file that is not JSON: whether the other lines are stored if some are not understood.
    #[serde(default)]
    #[param(default = false)]
    leave_out_bad_lines: bool,
}

/// What an import did. `lines` is the sum of `taken`, the counts of `skipped`, and `left_out`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Imported)]
struct ImportResult {
    /// Whose export it was, as far as its columns tell.
    #[schema(example = "SendGrid bounces or blocks")]
    layout: &'static str,
    lines: usize,
    /// Lines with a suppression.
    taken: usize,
    /// Suppressions new or changed.
    changed: u64,
    /// Lines that are valid and contain no suppression.
    skipped: Vec<Skipped>,
    /// How many lines were not understood.
    left_out: usize,
    /// The first thousand of them.
    problems: Vec<BadLine>,
}

/// Lines that are valid and contain no suppression.
#[derive(Debug, Serialize, ToSchema)]
struct Skipped {
    /// `not_an_opt_out`, `temporary_failure`, `about_the_sender`, `no_address` or `expired`.
    #[schema(example = "not_an_opt_out")]
    why: &'static str,
    lines: usize,
}

/// A line that was not understood, and is not repeated.
#[derive(Debug, Serialize, ToSchema)]
struct BadLine {
    /// From 1.
    line: usize,
    /// The same, but where quotation marks join several lines.
    last_line: usize,
    what: &'static str,
}

impl From<control::suppressions::SuppressionImport> for ImportResult {
    fn from(done: control::suppressions::SuppressionImport) -> Self {
        let skipped = done.skipped.iter().map(|(skip, lines)| Skipped {
            why: skip.as_str(),
            lines: *lines,
        });
        let problems = done.problems.iter().take(MOST_PROBLEMS);
        Self {
            layout: done.layout,
            lines: done.lines,
            taken: done.taken,
            changed: done.changed,
            skipped: skipped.collect(),
            left_out: done.problems.len(),
            problems: problems
                .map(|problem| BadLine {
                    line: problem.line,
                    last_line: problem.last_line,
                    what: problem.what,
                })
                .collect(),
        }
    }
}

/// Import suppressions
///
/// The file goes into JSON, or is the body itself with another content type: then it may have any encoding. If a line is not
/// understood, nothing is stored and each such line is named, unless `leave_out_bad_lines` is set. Lines that were understood
/// and contain no suppression (a temporary failure, an ordinary message) are counted. One import runs at a time; a second is answered
/// 429. `docs/data-protection.md` says which exports are understood.
#[utoipa::path(post, path = "/suppressions/import", tag = "suppressions", params(OfFile),
    request_body(content((ImportBody = "application/json"), (String = "text/csv"))),
    responses((status = 200, body = ImportResult),
    (status = 404, description = "There is no such account")))]
async fn import_suppressions(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Query(options): Query<OfFile>,
    request: Request,
) -> Result<axum::Json<ImportResult>, ApiError> {
    let is_json = kind(request.headers()) == "application/json";
    let arriving = tokio::time::timeout(LONGEST_UPLOAD, bytes(request, &state, MAX_LIST)).await;
    let body = arriving.map_err(|_| {
        ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "the list did not arrive within two minutes; send it in parts",
        )
    })??;
    // Not before it has arrived: who sends slowly, or nothing, would keep everybody else from it.
    let turn = state.imports.begin()?;
    let (file, options) = if is_json {
        // A few megabytes take longer than others should wait.
        let parsed = tokio::task::spawn_blocking(move || parse::<ImportBody>(&body)).await;
        let file = parsed.map_err(|error| control::ControlError::Internal(error.into()))??;
        let of_file = OfFile {
            account: Some(file.account),
            reason: file.reason,
            leave_out_bad_lines: file.leave_out_bad_lines,
        };
        (Bytes::from(file.csv), of_file)
    } else {
        (body, options)
    };
    let account = options.account.ok_or_else(|| {
        let what = "a file that is not JSON needs ?account=, for lines that name none";
        ApiError::fault(StatusCode::BAD_REQUEST, "account", what)
    })?;
    let defaults = Defaults {
        region: state.region_of(&account),
        account,
        accounts: Vec::new(),
        reason: options.reason.unwrap_or(Reason::OptedOut),
        now: state.clock.now(),
    };
    let bad_lines = BadLines::left_out_if(options.leave_out_bad_lines);
    let (pool, hasher, by) = (&state.pool, &state.hasher, caller.by());
    let list = (turn, file);
    let done = import(pool, hasher, by, list, &accounts, defaults, bad_lines).await?;
    Ok(axum::Json(done.into()))
}
