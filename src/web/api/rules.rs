//! `/rules`: list, read, draft, publish, discard, delete, history, restore, check.

use std::borrow::Cow;
use std::str::FromStr;

use axum::extract::State as Shared;
use axum::http::header::HeaderName;
use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_axum::routes;

use super::etag::{IfMatch, etag};
use super::extract::{Json, Path, Query};
use super::paging::{Page, Paging};
use crate::control::accounts::Accounts;
use crate::control::rules::{
    self, ChangeAuthor, ListView, RuleChange, RuleCheck, RuleContradictions, RuleStamp, RuleView,
    VersionView,
};
use crate::control::senders::AllowedSenders;
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, SkillId};
use crate::domain::rule::{ChannelSettings, RuleKey, RuleSettings};
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_rules));
    table.api(Permission::View, routes!(read_rule));
    table.api(Permission::Edit, routes!(delete_rule));
    table.api(Permission::Edit, routes!(save_draft));
    table.api(Permission::Edit, routes!(discard_draft));
    table.api(Permission::Edit, routes!(publish_rule));
    table.api(Permission::Edit, routes!(restore_rule));
    table.api(Permission::View, routes!(list_versions));
    table.api(Permission::View, routes!(list_contradictions));
    table.api_question(Permission::View, routes!(check_rule));
}

/// `default`, or a skill's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SkillWord(pub Option<SkillId>);

impl FromStr for SkillWord {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        if raw == "default" {
            return Ok(Self(None));
        }
        let id = raw
            .parse()
            .map_err(|_| "must be a skill's id, or default")?;
        Ok(Self(Some(SkillId(id))))
    }
}

impl TryFrom<String> for SkillWord {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        raw.parse()
    }
}

/// Which rule.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RulePath {
    /// The account's id.
    #[param(inline)]
    account: AccountId,
    /// A skill's id, or `default`: for all skills without a rule of their own.
    #[param(value_type = String, pattern = "^(default|-?[0-9]{1,18})$", example = "default")]
    skill: SkillWord,
}

impl From<RulePath> for RuleKey {
    fn from(of: RulePath) -> Self {
        Self {
            account: of.account,
            skill: of.skill.0,
        }
    }
}

/// The version that was read, and is meant to be changed.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described; IfMatch reads it")]
struct ReadVersion {
    /// The `ETag` of the rule as it was read.
    #[param(
        rename = "If-Match",
        required = true,
        pattern = "^\"v[0-9]{1,9}-d[0-9]{1,18}\"$",
        example = "\"v3-d0\""
    )]
    if_match: String,
}

type RuleResponse = Result<([(HeaderName, String); 1], axum::Json<RuleView>), ApiError>;

fn with_etag(view: RuleView) -> ([(HeaderName, String); 1], axum::Json<RuleView>) {
    (etag(view.stamp), axum::Json(view))
}

fn by<'a>(caller: &'a Caller, state: &AppState) -> ChangeAuthor<'a> {
    ChangeAuthor {
        name: caller.by(),
        now: state.clock.now(),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RuleListQuery {
    /// Only rules of this account.
    #[param(inline)]
    account: Option<AccountId>,
    /// Entries on a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next` of the page before.
    after: Option<String>,
}

/// List the rules
///
/// Rules and drafts, each account's default first.
#[utoipa::path(get, path = "/rules", tag = "rules", params(RuleListQuery), responses((status = 200, body = Page<ListView>)))]
async fn list_rules(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Query(filter): Query<RuleListQuery>,
) -> Result<axum::Json<Page<ListView>>, ApiError> {
    let paging = Paging {
        limit: filter.limit,
        after: filter.after,
    };
    let limit = paging.limit()?;
    let after: Option<(AccountId, Option<SkillId>)> = paging.after()?;
    let after = after.map(|(account, skill)| RuleKey { account, skill });
    let accounts = accounts.narrowed(filter.account.as_ref().map(AccountId::as_str));
    let rows = rules::list(&state.pool, &accounts, after.as_ref(), limit + 1).await?;
    let key = |row: &ListView| (row.account.clone(), row.skill);
    Ok(axum::Json(Page::of(rows, limit, key)))
}

/// Read a rule
///
/// The rule in force, its draft, and the account's default that applies without it.
#[utoipa::path(get, path = "/rules/{account}/{skill}", tag = "rules", params(RulePath),
    responses((status = 200, body = RuleView, headers(("ETag" = String)))))]
async fn read_rule(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(of): Path<RulePath>,
) -> RuleResponse {
    let key = accounts.rule(of.into())?;
    Ok(with_etag(rules::read(&state.pool, &key).await?))
}

/// Delete a skill's own rule
///
/// The account's default applies again. A default cannot be deleted; switch it off.
#[utoipa::path(delete, path = "/rules/{account}/{skill}", tag = "rules", params(RulePath, ReadVersion),
    responses((status = 200, body = RuleView), (status = 409, description = "It is the account's default")))]
async fn delete_rule(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(of): Path<RulePath>,
    IfMatch(seen): IfMatch<RuleStamp>,
) -> RuleResponse {
    let key = accounts.rule(of.into())?;
    let by = by(&caller, &state);
    Ok(with_etag(rules::delete(&state.pool, &key, seen, by).await?))
}

/// What is written over a rule.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Written)]
struct RuleBody {
    enabled: bool,
    #[schema(value_type = GivenSettings)]
    settings: Value,
}

/// Settings as they are sent: what is left out is the default, steps those of the channels that are configured. Only described; [`RuleSettings::parse`] reads them.
pub enum GivenSettings {}

impl PartialSchema for GivenSettings {
    fn schema() -> RefOr<Schema> {
        let mut schema = RuleSettings::schema();
        if let RefOr::T(Schema::Object(settings)) = &mut schema {
            settings.required.clear();
            settings
                .properties
                .insert("channels".to_owned(), given_channels());
        }
        schema
    }
}

/// The settings of channels as they are sent: of each channel what is not its default.
fn given_channels() -> RefOr<Schema> {
    let mut schema = ChannelSettings::schema();
    if let RefOr::T(Schema::Object(settings)) = &mut schema {
        settings.required.clear();
    }
    let channels = ObjectBuilder::new()
        .description(Some("By channel: `email`, `sms`."))
        .additional_properties(Some(schema));
    RefOr::T(Schema::Object(channels.build()))
}

impl ToSchema for GivenSettings {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("GivenRuleSettings")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        RuleSettings::schemas(schemas);
    }
}

/// Save a draft
///
/// Nothing changes until it is published. All errors are reported at once; a draft with errors is not saved.
#[utoipa::path(put, path = "/rules/{account}/{skill}/draft", tag = "rules", params(RulePath, ReadVersion),
    request_body = RuleBody, responses((status = 200, body = RuleView)))]
async fn save_draft(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(of): Path<RulePath>,
    IfMatch(seen): IfMatch<RuleStamp>,
    Json(written): Json<RuleBody>,
) -> RuleResponse {
    let key = accounts.rule(of.into())?;
    let change = RuleChange {
        enabled: written.enabled,
        settings: written.settings,
    };
    let senders = AllowedSenders::of(&state.context, &accounts).await?;
    let channels = state.config.channels_of(&key.account).channels();
    let with = (&state.context.texts, &senders, channels.as_slice());
    let by = by(&caller, &state);
    let view = rules::save_draft(&state.pool, with, &key, seen, change, by).await?;
    Ok(with_etag(view))
}

/// Discard a draft
#[utoipa::path(delete, path = "/rules/{account}/{skill}/draft", tag = "rules", params(RulePath, ReadVersion),
    responses((status = 200, body = RuleView), (status = 409, description = "There is no draft")))]
async fn discard_draft(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(of): Path<RulePath>,
    IfMatch(seen): IfMatch<RuleStamp>,
) -> RuleResponse {
    let key = accounts.rule(of.into())?;
    let by = by(&caller, &state);
    Ok(with_etag(
        rules::discard(&state.pool, &key, seen, by).await?,
    ))
}

/// Publish a draft
///
/// From then on every scan and every delivery goes by it.
#[utoipa::path(post, path = "/rules/{account}/{skill}/publish", tag = "rules", params(RulePath, ReadVersion),
    responses((status = 200, body = RuleView), (status = 409, description = "There is no draft")))]
async fn publish_rule(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(of): Path<RulePath>,
    IfMatch(seen): IfMatch<RuleStamp>,
) -> RuleResponse {
    let key = accounts.rule(of.into())?;
    let senders = AllowedSenders::of(&state.context, &accounts).await?;
    let (with, by) = ((&state.context.texts, &senders), by(&caller, &state));
    Ok(with_etag(
        rules::publish(&state.pool, with, &key, seen, by).await?,
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Restore)]
struct RestoreBody {
    /// A version of this rule's history.
    #[schema(minimum = 1)]
    version: i32,
}

/// Make an old version the draft
#[utoipa::path(post, path = "/rules/{account}/{skill}/restore", tag = "rules", params(RulePath, ReadVersion),
    request_body = RestoreBody, responses((status = 200, body = RuleView)))]
async fn restore_rule(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(of): Path<RulePath>,
    IfMatch(seen): IfMatch<RuleStamp>,
    Json(restore): Json<RestoreBody>,
) -> RuleResponse {
    let key = accounts.rule(of.into())?;
    let by = by(&caller, &state);
    let view = rules::restore(&state.pool, &key, restore.version, seen, by).await?;
    Ok(with_etag(view))
}

/// List a rule's history
///
/// The newest version first, each with what it changed.
#[utoipa::path(get, path = "/rules/{account}/{skill}/versions", tag = "rules", params(RulePath, Paging),
    responses((status = 200, body = Page<VersionView>)))]
async fn list_versions(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(of): Path<RulePath>,
    Query(paging): Query<Paging>,
) -> Result<axum::Json<Page<VersionView>>, ApiError> {
    let key = accounts.rule(of.into())?;
    let limit = paging.limit()?;
    let rows = rules::versions(&state.pool, &key, paging.after()?, limit + 1).await?;
    Ok(axum::Json(Page::of(rows, limit, |row| row.version)))
}

/// Tell what a rule promises and cannot do
///
/// Of the draft if there is one, else of the rule, else of what applies without one. None of it keeps a draft from being published.
#[utoipa::path(get, path = "/rules/{account}/{skill}/contradictions", tag = "rules", params(RulePath),
    responses((status = 200, body = RuleContradictions)))]
async fn list_contradictions(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(of): Path<RulePath>,
) -> Result<axum::Json<RuleContradictions>, ApiError> {
    let key = accounts.rule(of.into())?;
    let (pool, texts) = (&state.pool, &state.context.texts);
    let found = rules::of_key((pool, texts), &state.config, &key, state.clock.now()).await?;
    Ok(axum::Json(found))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ToCheck {
    /// Whose time zone counts. Left out: hours are read in UTC.
    account: Option<AccountId>,
    enabled: bool,
    /// As a draft has them. What is not valid is reported in the answer.
    settings: Value,
    /// Where it would apply, for the sentences.
    #[schema(example = "Customer care", max_length = 200)]
    place: Option<String>,
}

/// Look at settings without saving them
///
/// What they say in plain words, what must be fixed, what is probably not meant, and what they promise and cannot do.
#[utoipa::path(post, path = "/rules/check", tag = "rules", request_body = ToCheck, responses((status = 200, body = RuleCheck)))]
async fn check_rule(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Json(given): Json<ToCheck>,
) -> Result<axum::Json<RuleCheck>, ApiError> {
    let place: String = given.place.unwrap_or_else(|| "this skill".to_owned());
    let place: String = place.chars().take(200).collect();
    let account = given
        .account
        .map(|id| accounts.named(id.as_str()))
        .transpose()?;
    let around = rules::around(&state.config, account.as_deref());
    let senders = AllowedSenders::of(&state.context, &accounts).await?;
    let with = (&state.pool, &state.context.texts, &senders);
    let channels = match account.as_deref() {
        Some(account) => state.config.channels_of(account).channels(),
        None => state.config.channels_anywhere(),
    };
    let of = (channels.as_slice(), place.as_str());
    let written = (given.enabled, given.settings);
    let checked = rules::check(with, &around, of, written, state.clock.now()).await?;
    Ok(axum::Json(checked))
}
