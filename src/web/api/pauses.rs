//! `/pauses`: what is paused, pausing and resuming.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::paging::Page;
use super::rules::SkillWord;
use crate::control::accounts::Accounts;
use crate::control::pause::{self, PauseView};
use crate::control::rules::ChangeAuthor;
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::pause::Scope;
use crate::domain::rule::RuleKey;
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};
use crate::web::problem::{ApiError, Problem};

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_pauses));
    table.api(Permission::Operate, routes!(pause_sending));
    table.api(Permission::Operate, routes!(resume_sending));
}

/// List what is paused
#[utoipa::path(get, path = "/pauses", tag = "pauses", responses((status = 200, body = Page<PauseView>)))]
async fn list_pauses(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
) -> Result<axum::Json<Page<PauseView>>, ApiError> {
    let paused = pause::list(&state.pool, &accounts).await?;
    Ok(axum::Json(Page::whole(paused)))
}

/// What to pause. Nothing but the note: everything.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ToPause {
    account: Option<AccountId>,
    /// One channel of the account, whatever the rule.
    channel: Option<Channel>,
    /// `default` or a skill's id: that rule of the account, on all channels.
    #[schema(example = "default")]
    rule: Option<String>,
    /// Why, for the others.
    #[schema(max_length = 500)]
    note: Option<String>,
}

/// Pause sending
///
/// Everything, an account, a channel or one rule; who is limited to some accounts pauses these. It holds for all workers at once; what waits is held until its deadline.
#[utoipa::path(post, path = "/pauses", tag = "pauses", request_body = ToPause,
    responses((status = 204), (status = 404, description = "There is no such account, or no such rule"),
    (status = 409, description = "It is paused already")))]
async fn pause_sending(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(wish): Json<ToPause>,
) -> Result<StatusCode, ApiError> {
    let scope = scope(wish.account, wish.channel, wish.rule.as_deref());
    let scope = scope.map_err(|(field, detail)| {
        let pointer = format!("/{field}");
        ApiError::fault(StatusCode::UNPROCESSABLE_ENTITY, pointer, detail)
    })?;
    let scope = accounts.scope(scope)?;
    let by = ChangeAuthor {
        name: caller.by(),
        now: state.clock.now(),
    };
    let note = wish.note.as_deref().unwrap_or_default();
    pause::pause(&state.pool, &scope, note, by).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ToResume {
    #[param(inline)]
    account: Option<AccountId>,
    #[param(inline)]
    channel: Option<Channel>,
    /// `default` or a skill's id. It does not go with a channel.
    rule: Option<String>,
}

/// Resume sending
///
/// Names what was paused. What was held goes out now, if nothing else stands in the way.
#[utoipa::path(delete, path = "/pauses", tag = "pauses", params(ToResume),
    responses((status = 204), (status = 404, description = "It is not paused"),
    (status = 422, description = "The parameters do not go together", body = Problem, content_type = "application/problem+json")))]
async fn resume_sending(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Query(wish): Query<ToResume>,
) -> Result<StatusCode, ApiError> {
    let scope = scope(wish.account, wish.channel, wish.rule.as_deref());
    let scope = scope.map_err(|(field, detail)| {
        ApiError::fault(StatusCode::UNPROCESSABLE_ENTITY, field, detail)
    })?;
    let scope = accounts.scope(scope)?;
    let by = ChangeAuthor {
        name: caller.by(),
        now: state.clock.now(),
    };
    pause::resume(&state.pool, &state.clock, &scope, by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a pause is of, or which field does not fit and why.
pub fn scope(
    account: Option<AccountId>,
    channel: Option<Channel>,
    rule: Option<&str>,
) -> Result<Scope, (&'static str, &'static str)> {
    match (account, channel, rule) {
        (None, None, None) => Ok(Scope::Everything),
        (Some(account), None, None) => Ok(Scope::Account(account)),
        (Some(account), Some(channel), None) => Ok(Scope::Channel(account, channel)),
        (Some(account), None, Some(rule)) => {
            let skill: SkillWord = rule.parse().map_err(|detail| ("rule", detail))?;
            let skill = skill.0;
            Ok(Scope::Rule(RuleKey { account, skill }))
        }
        (Some(_), Some(_), Some(_)) => Err((
            "channel",
            "does not go with a rule, which is paused on all its channels: leave one of them out",
        )),
        (None, ..) => Err(("account", "is missing: name the account as well")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::SkillId;

    #[test]
    fn a_pause_is_of_everything_an_account_one_of_its_channels_or_one_of_its_rules() {
        let account: AccountId = "12345678".parse().unwrap();
        let (of, sms) = (Some(account.clone()), Some(Channel::Sms));
        let rule = |skill: Option<i64>| {
            let (account, skill) = (account.clone(), skill.map(SkillId));
            Ok(Scope::Rule(RuleKey { account, skill }))
        };
        #[rustfmt::skip]
        let cases = [
            (None, None, None, Ok(Scope::Everything)),
            (of.clone(), None, None, Ok(Scope::Account(account.clone()))),
            (of.clone(), sms, None, Ok(Scope::Channel(account.clone(), Channel::Sms))),
            (of.clone(), None, Some("default"), rule(None)),
            (of.clone(), None, Some("-1"), rule(Some(-1))),
            (of.clone(), None, Some("sms"), Err("rule")),
            (of, sms, Some("default"), Err("channel")),
            (None, sms, None, Err("account")),
            (None, None, Some("default"), Err("account")),
        ];
        for (account, channel, rule, expected) in cases {
            let told = format!("{account:?} {channel:?} {rule:?}");
            assert_eq!(
                scope(account, channel, rule).map_err(|(field, _)| field),
                expected,
                "{told}"
            );
        }
    }
}
