//! The client against samples of LivePerson's answers, and against a server that misbehaves on a real socket.

mod auth;
mod calls;
mod fuzz;
mod fuzz_records;
mod hosts;
mod quirks;
mod samples;
mod server;

use super::answer::page;
use super::{LivePersonError, SearchPage};

const SEARCH_PAGE: &str = include_str!("../../tests/fixtures/liveperson/search_page.json");
const SEARCH_EMPTY: &str = include_str!("../../tests/fixtures/liveperson/search_empty.json");
const BY_IDS: &str = include_str!("../../tests/fixtures/liveperson/by_ids.json");
const BY_ID_V1: &str = include_str!("../../tests/fixtures/liveperson/by_id_v1.json");
const BY_CONSUMER: &str = include_str!("../../tests/fixtures/liveperson/by_consumer.json");
const DOMAIN_ALL: &str = include_str!("../../tests/fixtures/liveperson/domain_all.json");
const SKILLS: &str = include_str!("../../tests/fixtures/liveperson/skills.json");

fn parse(body: &str) -> Result<SearchPage, LivePersonError> {
    page(body.as_bytes(), 0, 100, "search")
}

/// A page with these records.
fn envelope(records: &serde_json::Value) -> String {
    serde_json::json!({
        "_metadata": { "count": 1, "shardsStatusResult": { "partialResult": false } },
        "conversationHistoryRecords": records,
    })
    .to_string()
}
