//! `/test-messages`: a message to an address of the caller's own, and the code that shows that it is.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::extract::Json;
use super::rules::GivenSettings;
use crate::control::accounts::Accounts;
use crate::control::rules::{self, ChangeAuthor};
use crate::control::senders::AllowedSenders;
use crate::control::test_send::{self, EnteredCode, Sent, TestRequest};
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, Channel};
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};
use crate::web::problem::{ApiError, Problem};

pub fn add(table: &mut RouteTable) {
    table.api(Permission::Edit, routes!(send_test));
    table.api(Permission::Edit, routes!(enter_code));
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ToSend {
    account: AccountId,
    /// Which of the rule's channels.
    channel: Channel,
    /// The rule whose words and sender are used. Left out: the defaults.
    #[schema(value_type = Option<GivenSettings>)]
    settings: Option<Value>,
    #[schema(example = "en")]
    language: Option<String>,
    /// Where to: an e-mail address or a phone number. It is not kept.
    to: String,
}

/// Send a test message
///
/// To an address of your own. Until it is verified the message brings a code of six digits instead of the rule's words; entering it
/// with `POST /test-messages/verify` verifies the address for you. 20 messages within 24 hours, of these 3 with a code; an address
/// gets 3 codes within 24 hours. The answer says how it went; nothing is owed, and the address is kept as a keyed hash only.
#[utoipa::path(post, path = "/test-messages", tag = "texts", request_body = ToSend,
    responses((status = 200, body = Sent), (status = 404, description = "There is no such account"),
    (status = 409, description = "The channel is not set up, or nothing can go to the address; the reason is given with the scope \
                                  `operate`"),
    (status = 429, description = "The daily limit is reached: `Retry-After` says when the next can be sent", body = Problem, content_type = "application/problem+json")))]
async fn send_test(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(wish): Json<ToSend>,
) -> Result<axum::Json<Sent>, ApiError> {
    let account = accounts.named(wish.account.as_str())?;
    let settings = wish.settings.unwrap_or_else(|| serde_json::json!({}));
    let settings = rules::checked(&state.context.texts, &[wish.channel], settings).await?;
    let wish = TestRequest {
        account: &account,
        channel: wish.channel,
        settings: &settings,
        senders: &AllowedSenders::of(&state.context, &accounts).await?,
        language: wish.language.as_deref(),
        to: &wish.to,
        link: &state.link_home(&account),
        may_know_why: caller.may(Permission::Operate),
    };
    let by = ChangeAuthor {
        name: caller.by(),
        now: state.clock.now(),
    };
    Ok(axum::Json(
        test_send::send(&state.context, &wish, by).await?,
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ToVerify {
    account: AccountId,
    channel: Channel,
    /// Where the test message went: an e-mail address or a phone number.
    to: String,
    /// The six digits in it.
    #[schema(example = "042317")]
    code: String,
}

/// Enter the code of a test message
///
/// From then on your test messages to this address bring the rule's own words. A code lasts 15 minutes and 5 tries.
#[utoipa::path(post, path = "/test-messages/verify", tag = "texts", request_body = ToVerify,
    responses((status = 204), (status = 404, description = "There is no such account"),
    (status = 409, description = "There is no valid code for this address"),
    (status = 422, description = "It is not the code", body = Problem, content_type = "application/problem+json")))]
async fn enter_code(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(wish): Json<ToVerify>,
) -> Result<StatusCode, ApiError> {
    let account = accounts.named(wish.account.as_str())?;
    let entered = EnteredCode {
        account: &account,
        channel: wish.channel,
        to: &wish.to,
        code: &wish.code,
    };
    let by = ChangeAuthor {
        name: caller.by(),
        now: state.clock.now(),
    };
    test_send::verify(&state.context, &entered, by).await?;
    Ok(StatusCode::NO_CONTENT)
}
