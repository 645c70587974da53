//! The body of an answer → pages of records, record by record: what cannot be read is named and the rest goes on.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::tolerant::Object;
use super::{LivePersonError, LivePersonSkill, SearchPage, UnreadableRecord, record, wire};
use crate::domain::conversation::Record;
use crate::domain::ids::SkillId;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "_metadata", default)]
    metadata: Object<wire::Metadata>,
    #[serde(rename = "conversationHistoryRecords", borrow, default)]
    records: Option<Vec<&'a RawValue>>,
}

/// One page. `offset` and `limit` are what was asked for; without a total from LivePerson, a full page means that more may
/// follow.
pub fn page(
    body: &[u8],
    offset: u32,
    limit: u32,
    endpoint: &'static str,
) -> Result<SearchPage, LivePersonError> {
    let malformed = |why| LivePersonError::Malformed { endpoint, why };
    // A byte that is not UTF-8 spoils one record, not the page.
    let text = String::from_utf8_lossy(body);
    let envelope: Envelope =
        serde_json::from_str(&text).map_err(|_| malformed("not the expected JSON"))?;
    let metadata = envelope.metadata.0.unwrap_or_default();
    let count = metadata.count.0.and_then(|count| u32::try_from(count).ok());
    let records = match envelope.records {
        Some(records) => records,
        // "Nothing" has consequences, so it must be said, not left out.
        None if count == Some(0) => Vec::new(),
        None => return Err(malformed("the list of records is missing")),
    };
    let received = u32::try_from(records.len()).unwrap_or(u32::MAX);
    let so_far = offset.saturating_add(received);
    let mut page = SearchPage {
        received,
        total: count.unwrap_or(so_far.saturating_add(u32::from(received >= limit))),
        incomplete: metadata
            .shards
            .0
            .and_then(|shards| shards.partial_result.0)
            .unwrap_or(false),
        ..SearchPage::default()
    };
    for raw in records {
        match read(raw.get()) {
            Ok(record) => page.records.push(record),
            Err(unreadable) => page.unreadable.push(unreadable),
        }
    }
    Ok(page)
}

fn read(raw: &str) -> Result<Record, UnreadableRecord> {
    let why = match serde_json::from_str::<Object<wire::WireRecord>>(raw) {
        Ok(Object(Some(parsed))) => match record::convert(parsed) {
            Ok(record) => return Ok(record),
            Err(why) => why.to_owned(),
        },
        Ok(Object(None)) => "not an object".to_owned(),
        // The parser's own words would quote the value.
        Err(error) => format!("not the expected JSON at character {}", error.column()),
    };
    let name = serde_json::from_str::<wire::Name>(raw).unwrap_or_default();
    let info = name.info.0.unwrap_or_default();
    Err(UnreadableRecord {
        id: info.conversation_id.0,
        skill: info.latest_skill_id.0.map(SkillId),
        why,
    })
}

/// The skills; one without an id is of no use and left out.
pub fn skills(
    body: &[u8],
    endpoint: &'static str,
) -> Result<Vec<LivePersonSkill>, LivePersonError> {
    let text: Cow<str> = String::from_utf8_lossy(body);
    let skills: Vec<Object<wire::WireSkill>> =
        serde_json::from_str(&text).map_err(|_| LivePersonError::Malformed {
            endpoint,
            why: "not a list of skills",
        })?;
    let skills = skills.into_iter().filter_map(|Object(skill)| {
        let skill = skill?;
        let id = skill.id.0?;
        Some(LivePersonSkill {
            id: SkillId(id),
            name: skill.name.0.unwrap_or_else(|| id.to_string()),
            deleted: skill.deleted.0.unwrap_or(false),
        })
    });
    Ok(skills.collect())
}
