//! `/overview`, `/series`, `/effect` and `/circuits`: how it is, what it did, what that brought about, and what is held up.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use chrono_tz::Tz;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::paging::Page;
use crate::control;
use crate::control::accounts::Accounts;
use crate::control::effect::OfRule;
use crate::control::overview::{Overview, SeriesPoint, TimeSpan};
use crate::control::senders::CircuitView;
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(get_overview));
    table.api(Permission::View, routes!(list_series));
    table.api(Permission::View, routes!(get_effect));
    table.api(Permission::View, routes!(list_circuits));
    table.api(Permission::Operate, routes!(probe_circuit));
    table.api(Permission::Operate, routes!(close_circuit));
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OverviewQuery {
    /// Where days begin, for example `Europe/Berlin`; left out: `UTC`.
    time_zone: Option<String>,
}

fn zone(name: Option<&str>) -> Result<Tz, ApiError> {
    name.unwrap_or("UTC").parse().map_err(|_| {
        ApiError::fault(
            StatusCode::BAD_REQUEST,
            "time_zone",
            "is not a time zone; write one such as Europe/Berlin",
        )
    })
}

/// Tell how it is
#[utoipa::path(get, path = "/overview", tag = "overview", params(OverviewQuery), responses((status = 200, body = Overview)))]
async fn get_overview(
    accounts: Accounts,
    caller: Caller,
    Shared(state): Shared<AppState>,
    Query(wanted): Query<OverviewQuery>,
) -> Result<axum::Json<Overview>, ApiError> {
    let now = state.clock.now();
    let zone = zone(wanted.time_zone.as_deref())?;
    let overview =
        control::overview::overview(&state.context, &accounts, caller.user(), (zone, now)).await?;
    Ok(axum::Json(overview))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SeriesQuery {
    /// So many days, today included, by the day; left out: today, by the hour.
    #[param(minimum = 1, maximum = 92)]
    days: Option<u8>,
    /// Instead of days: so many hours, this one included, by the hour.
    #[param(minimum = 1, maximum = 48)]
    hours: Option<u8>,
    /// Where days begin, for example `Europe/Berlin`; left out: `UTC`.
    time_zone: Option<String>,
}

/// List what happened, hour by hour or day by day
#[utoipa::path(get, path = "/series", tag = "overview", params(SeriesQuery), responses((status = 200, body = Page<SeriesPoint>)))]
async fn list_series(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Query(over): Query<SeriesQuery>,
) -> Result<axum::Json<Page<SeriesPoint>>, ApiError> {
    let bad = |field, detail| Err(ApiError::fault(StatusCode::BAD_REQUEST, field, detail));
    let span = match (over.days, over.hours) {
        (None, None) => TimeSpan::Today,
        (Some(days @ 1..=92), None) => TimeSpan::Days(days),
        (None, Some(hours @ 1..=48)) => TimeSpan::Hours(hours),
        (Some(_), None) => return bad("days", "must be from 1 to 92"),
        (None, Some(_)) => return bad("hours", "must be from 1 to 48"),
        (Some(_), Some(_)) => return bad("hours", "give either days or hours"),
    };
    let now = state.clock.now();
    let zone = zone(over.time_zone.as_deref())?;
    let pieces = control::overview::series(&state.pool, &accounts, span, zone, now).await?;
    Ok(axum::Json(Page::whole(pieces)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EffectQuery {
    /// So many days back; left out: 30.
    #[param(minimum = 1, maximum = 365)]
    days: Option<u16>,
}

/// Tell what reminders bring about, rule by rule
///
/// The last 24 hours do not count: their recipients still have time.
#[utoipa::path(get, path = "/effect", tag = "overview", params(EffectQuery), responses((status = 200, body = Page<OfRule>)))]
async fn get_effect(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Query(back): Query<EffectQuery>,
) -> Result<axum::Json<Page<OfRule>>, ApiError> {
    let days = back.days.unwrap_or(30);
    if !(1..=365).contains(&days) {
        return Err(ApiError::fault(
            StatusCode::BAD_REQUEST,
            "days",
            "must be from 1 to 365",
        ));
    }
    let now = state.clock.now();
    let effect = control::effect::effect(&state.pool, &accounts, days, now).await?;
    Ok(axum::Json(Page::whole(effect.rules)))
}

/// List the senders that are paused
///
/// Who is limited to some accounts sees those that the rules of these use.
#[utoipa::path(get, path = "/circuits", tag = "circuits", responses((status = 200, body = Page<CircuitView>)))]
async fn list_circuits(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
) -> Result<axum::Json<Page<CircuitView>>, ApiError> {
    let paused = control::senders::paused(&state.context, &accounts).await?;
    Ok(axum::Json(Page::whole(paused)))
}

/// Which sender.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Sender)]
struct SenderName {
    /// `smtp` or `twilio`.
    provider: String,
    #[schema(example = "hello@example.com")]
    sender: String,
}

/// Try a paused sender now
///
/// A caller limited to some accounts may do this only if no rule of another account uses it (403).
#[utoipa::path(post, path = "/circuits/probe", tag = "circuits", request_body = SenderName, responses((status = 204),
    (status = 404, description = "It is not paused")))]
async fn probe_circuit(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(which): Json<SenderName>,
) -> Result<StatusCode, ApiError> {
    let key = control::senders::key(&which.provider, &which.sender)?;
    control::senders::probe(&state.context, &accounts, caller.by(), key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send from a paused sender again
///
/// A caller limited to some accounts may do this only if no rule of another account uses it (403).
#[utoipa::path(post, path = "/circuits/close", tag = "circuits", request_body = SenderName, responses((status = 204),
    (status = 404, description = "It is not paused")))]
async fn close_circuit(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(which): Json<SenderName>,
) -> Result<StatusCode, ApiError> {
    let key = control::senders::key(&which.provider, &which.sender)?;
    control::senders::close(&state.context, &accounts, caller.by(), key).await?;
    Ok(StatusCode::NO_CONTENT)
}
