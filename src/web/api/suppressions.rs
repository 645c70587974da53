//! `/suppressions`: addresses that must not be written to. They are known by keyed hash only.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Query, bytes, kind, parse};
use super::paging::{Page, Paging};
use crate::control;
use crate::control::accounts::{Accounts, Allowed};
use crate::control::consumers::ConsumerSelector;
use crate::control::opt_outs::{DoubtfulOptOut, OptOutReview};
use crate::control::suppressions::{BadLines, SuppressionView, import};
use crate::db::suppressions::{AddressHash, SuppressionFilter, SuppressionRow};
use crate::domain::access::Permission;
use crate::domain::contact::Suppression as Reason;
use crate::domain::ids::{AccountId, Channel};
use crate::suppressions_file::{self, Defaults};
use crate::web::access::{Caller, RouteTable};
use crate::web::problem::ApiError;
use crate::web::{AppState, MAX_LIST};

/// A list is in memory while it arrives.
const LONGEST_UPLOAD: Duration = Duration::from_mins(2);

/// Lines that are not understood in one answer.
const MOST_PROBLEMS: usize = 1_000;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_suppressions));
    table.api(Permission::Operate, routes!(add_suppression));
    table.api(Permission::Operate, routes!(remove_suppression));
    table.long_api(Permission::Operate, MAX_LIST, routes!(import_suppressions));
    table.api(Permission::Operate, routes!(export_suppressions));
    table.api(Permission::View, routes!(list_doubtful_opt_outs));
    table.api(Permission::Operate, routes!(review_opt_out));
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SuppressionQuery {
    #[param(inline)]
    account: Option<AccountId>,
    #[param(inline)]
    channel: Option<Channel>,
    #[param(inline)]
    reason: Option<Reason>,
    /// Entries on a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next` of the page before.
    after: Option<String>,
}

/// List suppressions, the newest first
#[utoipa::path(get, path = "/suppressions", tag = "suppressions", params(SuppressionQuery),
    responses((status = 200, body = Page<SuppressionView>)))]
async fn list_suppressions(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Query(wanted): Query<SuppressionQuery>,
) -> Result<axum::Json<Page<SuppressionView>>, ApiError> {
    let accounts = accounts.narrowed(wanted.account.as_ref().map(AccountId::as_str));
    let filter = SuppressionFilter {
        channel: wanted.channel,
        reason: wanted.reason,
        ..SuppressionFilter::default()
    };
    let paging = Paging {
        limit: wanted.limit,
        after: wanted.after,
    };
    let (after, limit) = (paging.after()?, paging.limit()?);
    let pool = &state.pool;
    let rows = control::suppressions::list(pool, &accounts, filter, after, limit + 1).await?;
    Ok(axum::Json(Page::of(rows, limit, SuppressionView::place)))
}

/// An address, given itself or by its hash.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Which)]
struct SuppressionTarget {
    account: AccountId,
    /// An e-mail address or a phone number. It is hashed at once and neither stored nor logged.
    address: Option<String>,
    /// Instead of the address: its hash, as a list or an export has it …
    #[schema(pattern = "^[0-9a-fA-F]{32}$")]
    hash: Option<String>,
    /// … with its channel.
    channel: Option<Channel>,
}

impl SuppressionTarget {
    async fn key(
        &self,
        state: &AppState,
        accounts: &Accounts,
    ) -> Result<(Allowed<AccountId>, Channel, AddressHash), ApiError> {
        let fault = |field: &str, detail: &str| {
            ApiError::fault(StatusCode::UNPROCESSABLE_ENTITY, field, detail)
        };
        let account = accounts.named(self.account.as_str())?;
        let (channel, hash) = match (&self.address, &self.hash, &self.channel) {
            (Some(raw), None, None) => {
                let region = state.region_of(&account);
                let (pool, clock, hasher) = (&state.pool, &state.clock, &state.hasher);
                match ConsumerSelector::address(pool, clock, hasher, (raw, region.as_deref()))
                    .await?
                {
                    ConsumerSelector::Address(channel, hash) => (channel, hash),
                    ConsumerSelector::Consumer(_) | ConsumerSelector::Conversation(_) => {
                        unreachable!("an address was read")
                    }
                }
            }
            (None, Some(hash), Some(channel)) => (
                *channel,
                suppressions_file::unhex(hash)
                    .ok_or_else(|| fault("/hash", "is not 32 hexadecimal digits"))?,
            ),
            _ => {
                return Err(fault(
                    "",
                    "give either an address, or a hash and its channel",
                ));
            }
        };
        Ok((account, channel, hash))
    }
}

/// An address to be suppressed, given itself or by its hash and channel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = New)]
struct NewSuppression {
    account: AccountId,
    /// An e-mail address or a phone number. It is hashed at once and neither stored nor logged.
    address: Option<String>,
    #[schema(pattern = "^[0-9a-fA-F]{32}$")]
    hash: Option<String>,
    channel: Option<Channel>,
    /// Left out: `blocked`.
    reason: Option<Reason>,
}

/// Suppress an address
///
/// What forbids more stays: an opt-out does not replace a block or a complaint.
#[utoipa::path(post, path = "/suppressions", tag = "suppressions", request_body = NewSuppression, responses((status = 204),
    (status = 404, description = "There is no such account")))]
async fn add_suppression(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(new): Json<NewSuppression>,
) -> Result<StatusCode, ApiError> {
    let reason = new.reason.unwrap_or(Reason::Blocked);
    let which = SuppressionTarget {
        account: new.account,
        address: new.address,
        hash: new.hash,
        channel: new.channel,
    };
    let (account, channel, hash) = which.key(&state, &accounts).await?;
    let key = (&account, channel, &hash);
    control::suppressions::add(&state.pool, &state.clock, caller.by(), key, reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lift a suppression, whatever its reason
#[utoipa::path(post, path = "/suppressions/remove", tag = "suppressions", request_body = SuppressionTarget, responses((status = 204),
    (status = 404, description = "It is not suppressed")))]
async fn remove_suppression(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(which): Json<SuppressionTarget>,
) -> Result<StatusCode, ApiError> {
    let (account, channel, hash) = which.key(&state, &accounts).await?;
    let key = (&account, channel, &hash);
    control::suppressions::remove(&state.pool, &state.clock, caller.by(), key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A list of people who said no elsewhere, as JSON.
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
    /// Lines that suppress somebody.
    taken: usize,
    /// Suppressions new or changed.
    changed: u64,
    /// Lines that were understood and suppress nobody.
    skipped: Vec<Skipped>,
    /// How many lines were not understood.
    left_out: usize,
    /// The first thousand of them.
    problems: Vec<BadLine>,
}

/// Lines that were understood and suppress nobody.
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
/// and suppress nobody (a failure that passes, an ordinary message) are counted. One import runs at a time; a second is answered
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

/// Doubtful opt-outs.
#[derive(Debug, Serialize, ToSchema)]
struct ToReview {
    /// The oldest first, 200 at most: those that are kept or undone make room for the rest.
    items: Vec<DoubtfulOptOut>,
}

/// List doubtful opt-outs that nobody has looked at
///
/// What was written is not kept: only that it was doubtful, and why.
#[utoipa::path(get, path = "/suppressions/review", tag = "suppressions", responses((status = 200, body = ToReview)))]
async fn list_doubtful_opt_outs(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
) -> Result<axum::Json<ToReview>, ApiError> {
    const MOST: i64 = 200;
    let found = control::opt_outs::to_review(&state.pool, &accounts, MOST).await?;
    Ok(axum::Json(ToReview { items: found }))
}

/// What is made of a doubtful opt-out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Review {
    /// The address's hash, as the list has it …
    #[schema(pattern = "^[0-9a-fA-F]{32}$")]
    hash: String,
    /// … with its channel.
    channel: Channel,
    verdict: OptOutReview,
}

/// Keep or undo a doubtful opt-out
///
/// `keep` takes it off the list; `undo` lets reminders go to the address again, in all accounts in which it held.
#[utoipa::path(post, path = "/suppressions/review", tag = "suppressions", request_body = Review, responses((status = 204),
    (status = 404, description = "It is not among the doubtful ones")))]
async fn review_opt_out(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(review): Json<Review>,
) -> Result<StatusCode, ApiError> {
    let hash = suppressions_file::unhex(&review.hash).ok_or_else(|| {
        let detail = "is not 32 hexadecimal digits";
        ApiError::fault(StatusCode::UNPROCESSABLE_ENTITY, "/hash", detail)
    })?;
    let (pool, clock, by) = (&state.pool, &state.clock, caller.by());
    let address = (review.channel, &hash);
    control::opt_outs::review(pool, clock, by, &accounts, address, review.verdict).await?;
    Ok(StatusCode::NO_CONTENT)
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
