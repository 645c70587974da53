//! The interactions service: the scan, the look-up by id, the look-up by consumer.

use std::collections::HashMap;

use axum::RequestExt as _;
use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::criteria::{self, Bad, Criteria, Order, Page};
use super::record::{Method, RecordParts, View, record};
use super::{LivePersonServer, json_body};
use crate::faults::{Endpoint, Fault};
use crate::world::conversation::{Entry, Key};
use crate::world::{Account, WorldState};

type HistoryParameters = Query<HashMap<String, String>>;

/// A request of any of the three methods, read but not yet understood.
pub struct Asked {
    account: String,
    query: HashMap<String, String>,
    uri: Uri,
    body: Value,
}

impl<S: Send + Sync> FromRequest<S> for Asked {
    type Rejection = Response;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Response> {
        type Parts = Path<HashMap<String, String>>;
        let parts = request
            .extract_parts::<Parts>()
            .await
            .map_err(IntoResponse::into_response)?;
        let query = request
            .extract_parts::<HistoryParameters>()
            .await
            .map_err(IntoResponse::into_response)?;
        let uri = request.uri().clone();
        let body = Bytes::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        Ok(Self {
            account: parts.get("account").cloned().unwrap_or_default(),
            query: query.0,
            uri,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }
}

/// What was found: how many there are in all, and the entries of this page.
struct Found<'a> {
    total: usize,
    entries: Vec<&'a Entry>,
}

impl LivePersonServer {
    fn answer(
        &self,
        asked: &Asked,
        method: Method,
        find: impl for<'a> Fn(
            &'a WorldState,
            &'a Account,
            &Page,
            i64,
        ) -> Result<(Found<'a>, RecordParts), Bad>,
    ) -> Response {
        let now = self.world.clock().now_ms();
        let state = self.world.read();
        let Some(account) = state.accounts.get(&asked.account) else {
            return self.bad_request("no such account");
        };
        let found = criteria::page(&asked.query).and_then(|page| {
            let (found, content) = find(&state, account, &page, now)?;
            Ok((page, found, content))
        });
        let (page, found, content) = match found {
            Ok(found) => found,
            Err(why) => return self.bad_request(&why),
        };
        let view = View::new(&state, account, now, method, page.v2, content);
        let records: Vec<Value> = found
            .entries
            .iter()
            .map(|entry| record(&view, entry))
            .collect();
        let href = format!(
            "https://{}.msghist.sandbox.example{}",
            account.id, asked.uri
        );
        json_body(&json!({
            "_metadata": {
                "count": found.total,
                "self": {"rel": "self", "href": href},
                "shardsStatusResult": {"partialResult": false},
            },
            "conversationHistoryRecords": records,
        }))
        .into_response()
    }
}

/// What the world shows of events by now.
fn as_of(state: &WorldState, now: i64) -> i64 {
    now - state.visibility.events_ms
}

fn is_open(state: &WorldState, key: &Key) -> bool {
    key.open || (state.quirks.survey_keeps_open && key.any_open)
}

fn matches(state: &WorldState, criteria: &Criteria, entry: &Entry, as_of: i64) -> bool {
    let Some(key) = entry.key_at(as_of, &state.staff) else {
        return false;
    };
    let open = is_open(state, &key);
    (if open { criteria.open } else { criteria.closed })
        && criteria
            .latest_skills
            .as_ref()
            .is_none_or(|skills| skills.contains(&key.skill))
        && criteria
            .in_queue
            .is_none_or(|in_queue| in_queue == key.in_queue)
        && criteria
            .updated_since
            .is_none_or(|since| updated(state, entry, &key, as_of) >= since)
        && criteria
            .sources
            .as_ref()
            .is_none_or(|all| all.iter().any(|source| **source == *entry.source))
}

/// When the filter takes a conversation for updated.
fn updated(state: &WorldState, entry: &Entry, key: &Key, as_of: i64) -> i64 {
    let quirks = &state.quirks;
    if quirks.reads_are_updates || quirks.missed_updates > 0.0 {
        let is_missed = |message| state.is_missed(entry.id, message);
        let detail = entry.detail(&state.staff);
        detail.updated_at(as_of, quirks.reads_are_updates, is_missed)
    } else {
        key.updated
    }
}

fn paged<'a>(mut all: Vec<&'a Entry>, state: &WorldState, page: &Page, as_of: i64) -> Found<'a> {
    let end = |entry: &&Entry| {
        let closed = entry.detail(&state.staff).closed_at();
        closed.filter(|at| *at <= as_of).unwrap_or(i64::MAX)
    };
    match page.order {
        Order::StartAscending => {}
        Order::StartDescending => all.reverse(),
        Order::EndAscending => all.sort_by_cached_key(end),
        Order::EndDescending => all.sort_by_cached_key(|entry| std::cmp::Reverse(end(entry))),
    }
    let total = all.len();
    Found {
        total,
        entries: all.into_iter().skip(page.offset).take(page.limit).collect(),
    }
}

pub async fn search(State(server): State<LivePersonServer>, asked: Asked) -> Response {
    let window = server.world.read().quirks.search_window;
    let beyond = |page: &Page| page.offset + page.limit > window;
    if criteria::page(&asked.query).as_ref().is_ok_and(beyond) {
        return server.failure(Endpoint::Search, Fault::ElasticSearch);
    }
    server.answer(&asked, Method::Search, |state, account, page, now| {
        let criteria = criteria::search(&asked.body, now, &state.quirks)?;
        let as_of = as_of(state, now);
        let skills = criteria
            .latest_skills
            .as_deref()
            .or(criteria.skills.as_deref());
        let within = account.started_within(criteria.from, criteria.to, skills);
        let entries = within
            .iter()
            .map(|(_, place)| &account.entries[*place as usize]);
        let all = entries
            .filter(|entry| matches(state, &criteria, entry, as_of))
            .collect();
        Ok((paged(all, state, page, as_of), criteria.content))
    })
}

pub async fn by_id(State(server): State<LivePersonServer>, asked: Asked) -> Response {
    server.answer(&asked, Method::ById, |state, account, _, now| {
        let body = &asked.body;
        let ids: Vec<&str> = match (&body["conversationId"], &body["conversationIds"]) {
            (Value::String(id), Value::Null) => vec![id],
            (Value::Null, Value::Array(ids)) => ids.iter().filter_map(Value::as_str).collect(),
            _ => return Err("either conversationId or conversationIds".into()),
        };
        if ids.is_empty() || ids.len() > 100 {
            return Err("between 1 and 100 conversationIds".into());
        }
        server.world.note_checks(&ids, now);
        let entries = ids.iter().filter_map(|id| state.entry(account, id));
        let visible = entries.filter(|entry| entry.start <= as_of(state, now));
        let entries: Vec<_> = visible.collect();
        Ok((
            Found {
                total: entries.len(),
                entries,
            },
            criteria::content(&body["contentToRetrieve"])?,
        ))
    })
}

pub async fn by_consumer(State(server): State<LivePersonServer>, asked: Asked) -> Response {
    server.answer(&asked, Method::ByConsumer, |state, account, page, now| {
        let body = &asked.body;
        let consumer = body["consumer"].as_str().ok_or("consumer is required")?;
        let (open, closed) = criteria::status(&body["status"])?;
        let as_of = as_of(state, now);
        let perhaps = account.perhaps_of(consumer).iter();
        let mut all: Vec<_> = perhaps
            .map(|place| &account.entries[*place as usize])
            .filter(|entry| {
                let detail = entry.detail(&state.staff);
                let known = detail
                    .consumers
                    .iter()
                    .any(|c| c.id == consumer && c.joined <= as_of);
                let key = entry.key_at(as_of, &state.staff);
                known && key.is_some_and(|key| if is_open(state, &key) { open } else { closed })
            })
            .collect();
        all.sort_by_key(|entry| entry.start);
        Ok((
            paged(all, state, page, as_of),
            criteria::content(&body["contentToRetrieve"])?,
        ))
    })
}
