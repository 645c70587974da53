//! The sandbox's own JSON API, for tests in other processes and for the demo's page: every verb, fault and counter.
//!
//! It lives under `/_sandbox`, a path that LivePerson does not have. It is not protected: nothing in the sandbox is real.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::{FaultRule, Faults};
use super::people::Play;
use super::world::{Action, Person, Quirks, Shape, Skill, Unknown, Visibility, WEB, World};

#[derive(Clone)]
struct Admin {
    world: World,
    faults: Faults,
    play: Play,
    account: String,
}

impl IntoResponse for Unknown {
    fn into_response(self) -> Response {
        (
            StatusCode::NOT_FOUND,
            Json(json!({"error": self.to_string()})),
        )
            .into_response()
    }
}

type JsonResult = Result<Json<Value>, Unknown>;

/// The API, to be nested under `/_sandbox`; `account` is whose things are meant when a request does not say.
pub fn router(world: World, faults: Faults, play: Play, account: &str) -> Router {
    Router::new()
        .route("/conversations", get(list).post(open))
        .route("/conversations/{id}", get(witness))
        .route("/conversations/{id}/actions", post(act))
        .route("/populate", post(populate))
        .route("/skills", post(set_skill))
        .route("/tokens", delete(revoke_tokens))
        .route("/hosts", post(set_host))
        .route("/visibility", post(set_visibility))
        .route("/quirks", post(set_quirks))
        .route(
            "/faults",
            get(faults_list).post(faults_add).delete(faults_clear),
        )
        .route("/faults/{number}", delete(fault_clear))
        .route("/requests", get(requests).delete(requests_reset))
        .route("/clock", get(clock).post(advance))
        .route("/expected", get(expected))
        .with_state(Admin {
            world,
            faults,
            play,
            account: account.to_owned(),
        })
}

#[derive(Deserialize)]
struct ListQuery {
    account: Option<String>,
    limit: Option<usize>,
}

async fn list(State(admin): State<Admin>, Query(query): Query<ListQuery>) -> Json<Value> {
    let account = query.account.unwrap_or(admin.account);
    Json(json!({"conversations": admin.world.list(&account, query.limit.unwrap_or(100))}))
}

/// `at` everywhere: epoch milliseconds, now if absent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpeningRequest {
    account: Option<String>,
    skill: i64,
    source: Option<String>,
    #[serde(default)]
    person: Person,
    at: Option<i64>,
}

async fn open(State(admin): State<Admin>, Json(new): Json<OpeningRequest>) -> JsonResult {
    let world = new
        .at
        .map_or_else(|| admin.world.clone(), |at| admin.world.at(at));
    let account = new.account.unwrap_or(admin.account);
    let id = world.open(
        &account,
        new.skill,
        new.source.as_deref().unwrap_or(WEB),
        &new.person,
    )?;
    Ok(Json(json!({"conversation": id})))
}

#[derive(Deserialize)]
struct ActQuery {
    at: Option<i64>,
}

async fn act(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    Query(query): Query<ActQuery>,
    Json(action): Json<Action>,
) -> Result<StatusCode, Unknown> {
    let world = query
        .at
        .map_or_else(|| admin.world.clone(), |at| admin.world.at(at));
    world.act(&id, &action).map(|()| StatusCode::NO_CONTENT)
}

async fn witness(State(admin): State<Admin>, Path(id): Path<String>) -> JsonResult {
    let world = &admin.world;
    let consumer_ids = world.consumer_ids(&id);
    if consumer_ids.is_empty() {
        return Err(Unknown);
    }
    let unread = world.was_unread_at(&id, world.clock().now_ms());
    Ok(Json(json!({
        "conversation": id, "consumer_ids": consumer_ids, "unread": unread,
        "read_at": world.was_read_at(&id), "closed_at": world.closed_at(&id),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Population {
    account: Option<String>,
    skill: i64,
    count: u32,
    shape: Shape,
}

async fn populate(State(admin): State<Admin>, Json(wanted): Json<Population>) -> JsonResult {
    let account = wanted.account.unwrap_or(admin.account);
    let made = admin
        .world
        .populate(&account, wanted.skill, wanted.count, wanted.shape)?;
    Ok(Json(json!({"made": made.len()})))
}

async fn set_skill(
    State(admin): State<Admin>,
    Json(skill): Json<Skill>,
) -> Result<StatusCode, Unknown> {
    admin
        .world
        .set_skill(&admin.account, skill)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn revoke_tokens(State(admin): State<Admin>) -> Result<StatusCode, Unknown> {
    admin
        .world
        .revoke_tokens(&admin.account)
        .map(|()| StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    service: String,
    host: String,
}

async fn set_host(
    State(admin): State<Admin>,
    Json(new): Json<Host>,
) -> Result<StatusCode, Unknown> {
    admin
        .world
        .set_host(&admin.account, &new.service, &new.host)
        .map(|()| StatusCode::NO_CONTENT)
}

async fn set_visibility(
    State(admin): State<Admin>,
    Json(visibility): Json<Visibility>,
) -> StatusCode {
    admin.world.set_visibility(visibility);
    StatusCode::NO_CONTENT
}

async fn set_quirks(State(admin): State<Admin>, Json(quirks): Json<Quirks>) -> StatusCode {
    admin.world.set_quirks(quirks);
    StatusCode::NO_CONTENT
}

async fn faults_list(State(admin): State<Admin>) -> Json<Value> {
    let list = admin.faults.list().into_iter();
    Json(
        list.map(|(number, rule)| json!({"number": number, "rule": rule}))
            .collect(),
    )
}

async fn faults_add(State(admin): State<Admin>, Json(rule): Json<FaultRule>) -> Json<Value> {
    Json(json!({"number": admin.faults.add(rule)}))
}

async fn faults_clear(State(admin): State<Admin>) -> StatusCode {
    admin.faults.clear_all();
    StatusCode::NO_CONTENT
}

async fn fault_clear(
    State(admin): State<Admin>,
    Path(number): Path<u64>,
) -> Result<StatusCode, Unknown> {
    if admin.faults.clear(number) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Unknown)
    }
}

async fn requests(State(admin): State<Admin>) -> Json<Value> {
    Json(json!(admin.faults.all_traffic()))
}

async fn requests_reset(State(admin): State<Admin>) -> StatusCode {
    admin.faults.reset_traffic();
    StatusCode::NO_CONTENT
}

async fn clock(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({"now_ms": admin.world.clock().now_ms()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: u32,
}

/// Moves the clock on; the people have caught up when this answers.
async fn advance(State(admin): State<Admin>, Json(by): Json<Advance>) -> Json<Value> {
    admin
        .world
        .clock()
        .advance(TimeDelta::seconds(i64::from(by.seconds)));
    admin.play.play_until_now();
    Json(json!({"now_ms": admin.world.clock().now_ms()}))
}

async fn expected(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({"expected": admin.play.expected()}))
}
