//! What a client asks before it searches: where the services are (CSDS), an access token (Sentinel), which skills there are.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::random;
use serde_json::{Map, Value, json};

use super::{LivePersonServer, json_body};
use crate::faults::Endpoint;
use crate::world::Skill;

const SERVICES: [&str; 11] = [
    "msgHist",
    "accountConfigReadOnly",
    "accountConfigReadWrite",
    "agentVep",
    "sentinel",
    "idp",
    "asyncMessagingEnt",
    "facadeMsg",
    "leDataReporting",
    "liveEngageUI",
    "visitorFeed",
];

type SetupParameters = Query<HashMap<String, String>>;

impl LivePersonServer {
    /// Every service is at the host by which the caller reached this one, unless the world says otherwise.
    fn base_uri(&self, account: &str, service: &str, headers: &HeaderMap) -> Option<Value> {
        let here = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())?;
        let state = self.world.read();
        let hosts = &state.accounts.get(account)?.hosts;
        let host = hosts.get(service).map_or(here, String::as_str);
        (SERVICES.contains(&service) || hosts.contains_key(service))
            .then(|| json!({"service": service, "account": account, "baseURI": host}))
    }
}

pub async fn domain(
    State(server): State<LivePersonServer>,
    Path((account, service)): Path<(String, String)>,
    Query(query): SetupParameters,
    headers: HeaderMap,
) -> Response {
    match server.base_uri(&account, &service, &headers) {
        Some(found) if query.get("version").is_some_and(|v| v == "1.0") => {
            json_body(&found).into_response()
        }
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

pub async fn domains(
    State(server): State<LivePersonServer>,
    Path(account): Path<String>,
    Query(query): SetupParameters,
    headers: HeaderMap,
) -> Response {
    if query.get("version").is_none_or(|v| v != "1.0") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let all = SERVICES
        .iter()
        .filter_map(|service| server.base_uri(&account, service, &headers));
    json_body(&json!({"baseURIs": all.collect::<Vec<_>>()})).into_response()
}

pub async fn token(
    State(server): State<LivePersonServer>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let is_form = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    let form: HashMap<_, _> = url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    if !is_form || given("grant_type") != "client_credentials" {
        let why = json!({"error": "unsupported_grant_type"});
        return (StatusCode::BAD_REQUEST, json_body(&why)).into_response();
    }
    let known = server.world.credentials(&account).ok().filter(|keys| {
        keys.oauth2
            && keys.client_id == given("client_id")
            && keys.client_secret == given("client_secret")
    });
    let Some(keys) = known else {
        return server.unauthorized(Endpoint::Token);
    };
    let now = server.world.clock().now().timestamp();
    let claims = json!({"aud": account, "azp": keys.client_id, "iss": "Sentinel", "iat": now,
                        "exp": now + keys.token_lifetime_s});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    // It looks like a JWT, and is opaque: the sandbox knows its tokens by heart.
    let token = format!(
        "{}.{}.{}",
        part(&json!({"kid": "sandbox", "typ": "JWT", "alg": "RS256"})),
        part(&claims),
        URL_SAFE_NO_PAD.encode(random::<[u8; 24]>()),
    );
    match server.world.issue_token(&account, token.clone()) {
        Ok(lifetime) => json_body(
            &json!({"access_token": token, "token_type": "Bearer", "expires_in": lifetime.to_string()}),
        )
        .into_response(),
        Err(_) => server.unauthorized(Endpoint::Token),
    }
}

fn full_skill(skill: &Skill) -> Map<String, Value> {
    let full = json!({
        "id": skill.id, "name": skill.name, "deleted": skill.deleted,
        "description": "", "skillOrder": 0, "maxWaitTime": 120,
        "dateUpdated": "2026-01-15 09:30:00", "canTransfer": true,
        "skillTransferList": null, "lobIds": [3_155_411_510_i64],
        "skillRoutingConfiguration": [{"priority": 1, "splitPercentage": 100, "agentGroupId": -1}],
        "wrapUpTime": 0, "slaDefaultResponseTime": 3600, "slaUrgentResponseTime": 600,
        "slaFirstTimeResponseTime": 3600, "autoCloseInSeconds": 604_800, "workingHoursId": null,
        "specialOccasionId": null, "fallbackSkill": null, "fallbackWhenAllAgentsAreAway": true,
        "transferToAgentMaxWaitInSeconds": 180,
    });
    if let Value::Object(fields) = full {
        fields
    } else {
        Map::new()
    }
}

/// The fields that `select` names; `$all` is everything, a field that does not exist is nothing.
fn selected(skill: &Skill, query: &HashMap<String, String>) -> Value {
    let select = query
        .get("select")
        .map_or("id,deleted,name", String::as_str);
    let wanted: Vec<_> = select.split(',').map(str::trim).collect();
    let fields = full_skill(skill).into_iter();
    Value::Object(
        fields
            .filter(|(name, _)| wanted.contains(&"$all") || wanted.contains(&name.as_str()))
            .collect(),
    )
}

pub async fn skills(
    State(server): State<LivePersonServer>,
    Path(account): Path<String>,
    Query(query): SetupParameters,
    headers: HeaderMap,
) -> Response {
    let state = server.world.read();
    let Some(account) = state.accounts.get(&account) else {
        return server.unauthorized(Endpoint::Skills);
    };
    let revision = account.revision.to_string();
    let known = headers
        .get(header::IF_MATCH)
        .and_then(|known| known.to_str().ok());
    if known == Some(revision.as_str()) {
        return (StatusCode::NOT_MODIFIED, [("ac-revision", revision)]).into_response();
    }
    let with_deleted = query
        .get("include_deleted")
        .is_some_and(|yes| yes == "true");
    let listed = account
        .skills
        .iter()
        .filter(|skill| with_deleted || !skill.deleted);
    let list: Vec<_> = listed.map(|skill| selected(skill, &query)).collect();
    ([("ac-revision", revision)], json_body(&Value::Array(list))).into_response()
}

pub async fn skill(
    State(server): State<LivePersonServer>,
    Path((account, skill)): Path<(String, String)>,
    Query(query): SetupParameters,
) -> Response {
    let state = server.world.read();
    let skills = state
        .accounts
        .get(&account)
        .map_or(&[][..], |account| &account.skills);
    match skills.iter().find(|known| known.id.to_string() == skill) {
        Some(found) => json_body(&selected(found, &query)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
