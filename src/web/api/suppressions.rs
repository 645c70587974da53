//! `/suppressions`: addresses that must not be written to. They are known by keyed hash only.

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::paging::{Page, Paging, cursor};
use super::problem::Refusal;
use crate::control;
use crate::control::consumers::Who;
use crate::db::suppressions::{AddressHash, Filter, Row};
use crate::domain::access::Permission;
use crate::domain::contact::Suppression as Reason;
use crate::domain::ids::{AccountId, Channel};
use crate::suppressions_file::{self, Defaults};
use crate::web::State;
use crate::web::access::{Caller, Table};

pub fn add(table: &mut Table) {
    table.api(Permission::View, routes!(list_suppressions));
    table.api(Permission::Operate, routes!(add_suppression));
    table.api(Permission::Operate, routes!(remove_suppression));
    table.api(Permission::Operate, routes!(import_suppressions));
    table.api(Permission::Operate, routes!(export_suppressions));
}

/// An address that must not be written to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Suppression {
    account: String,
    channel: Channel,
    /// The address's keyed hash.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    hash: String,
    reason: Reason,
    /// Where it comes from.
    source: &'static str,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

impl From<Row> for Suppression {
    fn from(row: Row) -> Self {
        Self {
            account: row.account.to_string(),
            channel: row.channel,
            hash: suppressions_file::hex(&row.hash),
            reason: row.reason,
            source: row.source.as_str(),
            created_at: row.created_at,
            expires_at: row.expires_at,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
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
#[utoipa::path(get, path = "/suppressions", tag = "suppressions", params(Wanted),
    responses((status = 200, body = Page<Suppression>)))]
async fn list_suppressions(
    Shared(state): Shared<State>,
    Query(wanted): Query<Wanted>,
) -> Result<axum::Json<Page<Suppression>>, Refusal> {
    let mut accounts = state.account_ids();
    accounts.retain(|own| wanted.account.as_ref().is_none_or(|account| account == own));
    let filter = Filter {
        accounts,
        channel: wanted.channel,
        reason: wanted.reason,
        hash: None,
    };
    let paging = Paging {
        limit: wanted.limit,
        after: wanted.after,
    };
    let (after, limit) = (paging.after()?, paging.limit()?);
    let mut rows = control::suppressions::list(&state.pool, &filter, after, limit + 1).await?;
    let most = usize::try_from(limit).unwrap_or_default();
    let more = rows.len() > most;
    rows.truncate(most);
    let next = rows.last().filter(|_| more);
    Ok(axum::Json(Page {
        next: next.map(|row| cursor(&(row.created_at, row.hash, row.channel, &row.account))),
        items: rows.into_iter().map(Suppression::from).collect(),
    }))
}

/// An address, given itself or by its hash.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    account: AccountId,
    /// An e-mail address or a phone number. It is hashed at once and neither stored nor logged.
    address: Option<String>,
    /// Instead of the address: its hash, as a list or an export has it …
    #[schema(pattern = "^[0-9a-fA-F]{32}$")]
    hash: Option<String>,
    /// … with its channel.
    channel: Option<Channel>,
}

impl Which {
    fn key(&self, state: &State) -> Result<(AccountId, Channel, AddressHash), Refusal> {
        let fault = |field: &str, detail: &str| {
            Refusal::fault(StatusCode::UNPROCESSABLE_ENTITY, field, detail)
        };
        let configured = state.account_ids();
        let account = control::accounts::find(&configured, self.account.as_str())?.clone();
        let (channel, hash) = match (&self.address, &self.hash, &self.channel) {
            (Some(raw), None, None) => {
                let region = state.region_of(&account);
                match Who::address(&state.hasher, raw, region.as_deref())? {
                    Who::Address(channel, hash) => (channel, hash),
                    Who::Consumer(_) | Who::Conversation(_) => unreachable!("an address was read"),
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
struct New {
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
#[utoipa::path(post, path = "/suppressions", tag = "suppressions", request_body = New, responses((status = 204),
    (status = 404, description = "There is no such account")))]
async fn add_suppression(
    Shared(state): Shared<State>,
    caller: Caller,
    Json(new): Json<New>,
) -> Result<StatusCode, Refusal> {
    let reason = new.reason.unwrap_or(Reason::Blocked);
    let which = Which {
        account: new.account,
        address: new.address,
        hash: new.hash,
        channel: new.channel,
    };
    let (account, channel, hash) = which.key(&state)?;
    let key = (&account, channel, &hash);
    control::suppressions::add(&state.pool, &state.clock, caller.by(), key, reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lift a suppression, whatever its reason
#[utoipa::path(post, path = "/suppressions/remove", tag = "suppressions", request_body = Which, responses((status = 204),
    (status = 404, description = "It is not suppressed")))]
async fn remove_suppression(
    Shared(state): Shared<State>,
    caller: Caller,
    Json(which): Json<Which>,
) -> Result<StatusCode, Refusal> {
    let (account, channel, hash) = which.key(&state)?;
    let key = (&account, channel, &hash);
    control::suppressions::remove(&state.pool, &state.clock, caller.by(), key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A list of people who said no elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct File {
    /// For lines that name no account.
    account: AccountId,
    /// One address per line, or CSV whose first line names the columns.
    #[schema(example = "somebody@example.com")]
    csv: String,
    /// For lines that name no reason; left out: `opted_out`.
    reason: Option<Reason>,
}

/// What an import did.
#[derive(Debug, Serialize, ToSchema)]
struct Imported {
    lines: usize,
    /// New or changed.
    changed: u64,
}

/// Import suppressions
///
/// All lines or none.
#[utoipa::path(post, path = "/suppressions/import", tag = "suppressions", request_body = File,
    responses((status = 200, body = Imported),
    (status = 404, description = "There is no such account")))]
async fn import_suppressions(
    Shared(state): Shared<State>,
    caller: Caller,
    Json(file): Json<File>,
) -> Result<axum::Json<Imported>, Refusal> {
    let configured = state.account_ids();
    let account = control::accounts::find(&configured, file.account.as_str())?;
    let region = state.region_of(account);
    let defaults = Defaults {
        account,
        region: region.as_deref(),
        reason: file.reason.unwrap_or(Reason::OptedOut),
        now: state.clock.now(),
    };
    let (pool, hasher) = (&state.pool, &state.hasher);
    let by = caller.by();
    let done =
        control::suppressions::import(pool, hasher, by, &file.csv, &defaults, &configured).await?;
    Ok(axum::Json(Imported {
        lines: done.lines,
        changed: done.changed,
    }))
}

/// Export all suppressions as CSV, with hashes in place of addresses
#[utoipa::path(get, path = "/suppressions/export", tag = "suppressions",
    responses((status = 200, body = String, content_type = "text/csv")))]
pub async fn export_suppressions(Shared(state): Shared<State>) -> Response {
    (
        [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
            (
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"suppressions.csv\"",
            ),
        ],
        Body::from_stream(lines(state)),
    )
        .into_response()
}

/// The file piece by piece: memory does not grow with the table. A piece that cannot be read breaks the answer off.
fn lines(state: State) -> impl Stream<Item = Result<String, control::Error>> {
    let header = stream::once(async { Ok(suppressions_file::HEADER.to_owned()) });
    header.chain(stream::try_unfold(None, move |last: Option<Row>| {
        let state = state.clone();
        async move {
            let piece = control::suppressions::export(&state.pool, last.as_ref()).await?;
            Ok(piece.map(|(lines, last)| (lines, Some(last))))
        }
    }))
}
