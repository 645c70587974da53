//! `/texts`: what texts may say, the built-in ones, and a preview.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::paging::Page;
use crate::control::accounts::Accounts;
use crate::control::texts::{self, PreviewRecipient, TextPreview, Variable};
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::rule::Template;
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};
use crate::web::problem::{ApiError, Problem};

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_variables));
    table.api(Permission::View, routes!(read_built_in));
    table.api_question(Permission::View, routes!(preview_text));
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
    (status = 429, description = "Too many requests to LivePerson are waiting; Retry-After says for how long",
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
