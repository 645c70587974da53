//! `/forecast`: who is reminded in the next hour, who not, and why.

use axum::extract::State as Shared;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::rules::GivenSettings;
use crate::control::accounts::Accounts;
use crate::control::forecast::{self, Forecast, LiveForecast};
use crate::control::rules;
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, SkillId};
use crate::domain::rule::RuleKey;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(forecast_stored));
    table.api_question(Permission::Edit, routes!(forecast_live));
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TextTarget {
    #[param(inline)]
    account: AccountId,
    /// Left out: all skills.
    #[param(value_type = Option<i64>)]
    skill: Option<i64>,
}

/// Who is reminded in the next hour, who not, and why
///
/// From what is stored: the ledger, and what the latest scans found.
#[utoipa::path(get, path = "/forecast", tag = "forecast", params(TextTarget), responses((status = 200, body = Forecast), (status = 404, description = "There is no such account")))]
async fn forecast_stored(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Query(whom): Query<TextTarget>,
) -> Result<axum::Json<Forecast>, ApiError> {
    let account = accounts.named(whom.account.as_str())?;
    let (skill, now) = (whom.skill.map(SkillId), state.clock.now());
    Ok(axum::Json(
        forecast::stored(&state.context, &account, skill, now).await?,
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ToLookAt)]
struct ForecastBody {
    account: AccountId,
    /// Left out: the account's default rule.
    skill: Option<i64>,
    /// A change to compare with the rule in force.
    change: Option<TriedRule>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Tried)]
struct TriedRule {
    enabled: bool,
    #[schema(value_type = GivenSettings)]
    settings: Value,
}

/// The same, asked at LivePerson at this moment, and under a change that is not published yet
///
/// Looks at the 300 open conversations that began first. Stores nothing and sends nothing.
#[utoipa::path(post, path = "/forecast/live", tag = "forecast", request_body = ForecastBody,
    responses((status = 200, body = LiveForecast), (status = 404, description = "There is no such account")))]
async fn forecast_live(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Json(wish): Json<ForecastBody>,
) -> Result<axum::Json<LiveForecast>, ApiError> {
    let key = accounts.rule(RuleKey {
        account: wish.account,
        skill: wish.skill.map(SkillId),
    })?;
    let change = match wish.change {
        Some(change) => {
            let texts = &state.context.texts;
            let channels = &state.context.installation_of(&key.account).channels;
            let settings = rules::checked(texts, channels, change.settings).await?;
            Some((change.enabled, settings))
        }
        None => None,
    };
    let now = state.clock.now();
    let live = forecast::live(&state.context, &key, change, now).await?;
    Ok(axum::Json(live))
}
