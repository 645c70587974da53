//! What goes around a rule: texts and test messages, forecasts, pauses, and the way to the first reminder.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Path, Query};
use super::paging::Page;
use super::rules::{GivenSettings, SkillWord};
use crate::control::accounts::Accounts;
use crate::control::forecast::{self, Forecast, LiveForecast};
use crate::control::pause::{self, PauseView};
use crate::control::rules::{self, ChangeAuthor};
use crate::control::senders::AllowedSenders;
use crate::control::setup::{self, AccountSetup};
use crate::control::test_send::{self, EnteredCode, Sent, TestRequest};
use crate::control::texts::{self, PreviewRecipient, TextPreview, Variable};
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::pause::Scope;
use crate::domain::rule::{RuleKey, Template};
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};
use crate::web::problem::{ApiError, Problem};

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_variables));
    table.api(Permission::View, routes!(read_built_in));
    table.api_question(Permission::View, routes!(preview_text));
    table.api(Permission::Edit, routes!(send_test));
    table.api(Permission::Edit, routes!(enter_code));
    table.api(Permission::View, routes!(forecast_stored));
    table.api_question(Permission::Edit, routes!(forecast_live));
    table.api(Permission::View, routes!(list_pauses));
    table.api(Permission::Operate, routes!(pause_sending));
    table.api(Permission::Operate, routes!(resume_sending));
    table.api(Permission::View, routes!(read_setup));
}

/// List what texts may say
#[utoipa::path(get, path = "/texts/variables", tag = "texts", responses((status = 200, body = Page<Variable>)))]
async fn list_variables() -> axum::Json<Page<Variable>> {
    axum::Json(Page::whole(texts::variables()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BuiltInQuery {
    #[param(inline)]
    channel: Channel,
    /// A language tag; the nearest language with built-in texts is given.
    #[param(example = "de")]
    language: Option<String>,
}

/// Read a built-in text
#[utoipa::path(get, path = "/texts/built-in", tag = "texts", params(BuiltInQuery), responses((status = 200, body = Template)))]
async fn read_built_in(Query(of): Query<BuiltInQuery>) -> axum::Json<Template> {
    let language = of.language.as_deref().unwrap_or("en");
    axum::Json(texts::built_in(of.channel, language))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ToPreview {
    channel: Channel,
    /// Left out: the built-in text.
    template: Option<Template>,
    /// The text's; of the built-in text the reader's, which is the conversation's if left out.
    #[schema(example = "en")]
    language: Option<String>,
    brand: Option<String>,
    /// A conversation at LivePerson whose names and numbers are used where none are given here. Needs its account.
    conversation: Option<String>,
    #[schema(value_type = Option<String>, example = "12345678")]
    account: Option<AccountId>,
    /// As for a visitor and an agent whose names are not known.
    #[serde(default)]
    nameless: bool,
    first_name: Option<String>,
    agent: Option<String>,
    skill: Option<String>,
    #[schema(minimum = 1, maximum = 65535)]
    count: Option<u16>,
}

/// Preview a text
///
/// Filled in with sample data, a conversation's or your own, with its size as SMS and what is wrong with it. A conversation's data
/// are asked for at LivePerson, which needs the scope `edit`.
#[utoipa::path(post, path = "/texts/preview", tag = "texts", request_body = ToPreview,
    responses((status = 200, body = TextPreview),
    (status = 404, description = "There is no such conversation", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "LivePerson is being asked so much that this would have to wait; Retry-After says for how long",
    body = Problem, content_type = "application/problem+json")))]
async fn preview_text(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(wish): Json<ToPreview>,
) -> Result<axum::Json<TextPreview>, ApiError> {
    let of = match (&wish.conversation, &wish.account) {
        (None, _) => PreviewRecipient::default(),
        // It spends LivePerson's calls, and shows what stands in somebody's conversation.
        (Some(_), _) if !caller.may(Permission::Edit) => {
            return Err(ApiError::forbidden(Permission::Edit));
        }
        (Some(id), Some(account)) => {
            let account = accounts.named(account.as_str())?;
            texts::of_conversation(&state.context, &account, wish.channel, id).await?
        }
        (Some(_), None) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let detail = "is missing: name the conversation's account as well";
            return Err(ApiError::fault(status, "/account", detail));
        }
    };
    let reader = PreviewRecipient {
        // In which language a given text is, only its author knows.
        language: wish
            .language
            .or(of.language.filter(|_| wish.template.is_none())),
        brand: wish.brand.or(of.brand),
        nameless: wish.nameless,
        first_name: wish.first_name.or(of.first_name),
        agent: wish.agent.or(of.agent),
        skill: wish.skill.or(of.skill),
        count: wish.count.map(u32::from).or(of.count),
        since_minutes: of.since_minutes,
        ..PreviewRecipient::default()
    };
    let (all, template) = (&state.context.texts, wish.template.as_ref());
    Ok(axum::Json(
        texts::preview(all, wish.channel, template, &reader).await?,
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ToSend {
    account: AccountId,
    channel: Channel,
    /// The rule whose words and sender are used. Left out: the channel's defaults.
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
    (status = 409, description = "The channel is not set up, or nothing can go to the address; why, is told with the scope `operate`"),
    (status = 429, description = "Enough for today: `Retry-After` says when the next can go", body = Problem, content_type = "application/problem+json")))]
async fn send_test(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(wish): Json<ToSend>,
) -> Result<axum::Json<Sent>, ApiError> {
    let account = accounts.named(wish.account.as_str())?;
    let settings = wish.settings.unwrap_or_else(|| serde_json::json!({}));
    let settings = rules::checked(&state.context.texts, wish.channel, settings).await?;
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
    (status = 409, description = "No code for this address is good any more"),
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

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TextTarget {
    #[param(inline)]
    account: AccountId,
    #[param(inline)]
    channel: Channel,
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
    let (of, now) = ((whom.channel, whom.skill.map(SkillId)), state.clock.now());
    Ok(axum::Json(
        forecast::stored(&state.context, &account, of, now).await?,
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ToLookAt)]
struct ForecastBody {
    account: AccountId,
    channel: Channel,
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
        channel: wish.channel,
    })?;
    let change = match wish.change {
        Some(change) => {
            let texts = &state.context.texts;
            let settings = rules::checked(texts, key.channel, change.settings).await?;
            Some((change.enabled, settings))
        }
        None => None,
    };
    let now = state.clock.now();
    let live = forecast::live(&state.context, &key, change, now).await?;
    Ok(axum::Json(live))
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
    /// Of the account.
    channel: Option<Channel>,
    /// `default` or a skill's id: only that rule of the account and channel.
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
    /// `default` or a skill's id.
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
        (Some(account), Some(channel), Some(rule)) => {
            let skill: SkillWord = rule.parse().map_err(|detail| ("rule", detail))?;
            Ok(Scope::Rule(RuleKey {
                account,
                skill: skill.0,
                channel,
            }))
        }
        (None, ..) => Err(("account", "is missing: name the account as well")),
        (_, None, _) => Err(("channel", "is missing: name the channel as well")),
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfAccount {
    /// The account's id.
    #[param(inline)]
    account: AccountId,
}

/// How far an account has come on the way to its first reminder
#[utoipa::path(get, path = "/accounts/{account}/setup", tag = "accounts", params(OfAccount),
    responses((status = 200, body = AccountSetup)))]
async fn read_setup(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(of): Path<OfAccount>,
) -> Result<axum::Json<AccountSetup>, ApiError> {
    let account = accounts.named(of.account.as_str())?;
    let has_page = state.has_page(&account);
    Ok(axum::Json(
        setup::of_account(&state.context, &account, has_page).await?,
    ))
}
