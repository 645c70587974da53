//! What a search asks for, checked as LivePerson checks it.

use std::collections::HashMap;

use serde_json::Value;

use super::record::RecordParts;
use crate::world::Quirks;

pub const LARGEST_PAGE: usize = 100;
/// Bounds of intervals are moved outwards to these marks.
const MARK_MS: i64 = 600_000;

/// Why a request is answered 400.
pub type Bad = String;

/// The part of the query that the three methods share.
#[derive(Debug)]
pub struct Page {
    pub offset: usize,
    pub limit: usize,
    pub order: Order,
    /// Numbers stay numbers, and unauthenticated attributes are shown.
    pub v2: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    StartAscending,
    StartDescending,
    EndAscending,
    EndDescending,
}

/// The body of `conversations/search`.
#[derive(Debug)]
pub struct Criteria {
    pub from: i64,
    pub to: i64,
    pub open: bool,
    pub closed: bool,
    /// Any skill the conversation ever had.
    pub skills: Option<Vec<i64>>,
    pub latest_skills: Option<Vec<i64>>,
    pub sources: Option<Vec<String>>,
    pub in_queue: Option<bool>,
    pub updated_since: Option<i64>,
    pub content: RecordParts,
}

/// A list of skill ids, numbers or strings; `None` if it is anything else.
pub fn skill_ids(value: &Value) -> Option<Vec<i64>> {
    value.as_array()?.iter().map(number).collect()
}

/// A number, or a string of one.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

pub fn page(query: &HashMap<String, String>) -> Result<Page, Bad> {
    let source = query.get("source").map_or("", String::as_str);
    if source.is_empty() || source.chars().count() > 20 {
        return Err("the query parameter source is required, at most 20 characters".into());
    }
    let count = |name: &str, default| match query.get(name) {
        None => Ok(default),
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| format!("{name} is not a number")),
    };
    let (offset, limit) = (count("offset", 0)?, count("limit", 50)?);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err("limit must be between 1 and 100".into());
    }
    let order = match query.get("sort").map(String::as_str) {
        Some("start:asc") => Order::StartAscending,
        // Undocumented; the newest first is what catches a client that forgot to say.
        None | Some("start:desc") => Order::StartDescending,
        Some("end:asc") => Order::EndAscending,
        Some("end:desc") => Order::EndDescending,
        Some(_) => return Err("unknown sort".into()),
    };
    let v2 = match query.get("v").map(String::as_str) {
        None | Some("1") => false,
        Some("2") => true,
        Some(_) => return Err("unknown v".into()),
    };
    Ok(Page {
        offset,
        limit,
        order,
        v2,
    })
}

/// `status`: which of open and closed.
pub fn status(value: &Value) -> Result<(bool, bool), Bad> {
    let list = strings(value).ok_or("status must be a list")?;
    if list.is_empty()
        || list
            .iter()
            .any(|status| status != "OPEN" && status != "CLOSE")
    {
        return Err("status must be OPEN or CLOSE".into());
    }
    Ok((
        list.iter().any(|s| s == "OPEN"),
        list.iter().any(|s| s == "CLOSE"),
    ))
}

fn start(value: &Value, now: i64, quirks: &Quirks) -> Result<(i64, i64), Bad> {
    let bound = |name: &str| number(&value[name]).ok_or(format!("start.{name} is required"));
    let (from, to) = (bound("from")?, bound("to")?);
    let to = if to == -1 { now } else { to };
    if from < 0 || to < from || to > now.saturating_add(1 << 40) {
        return Err("start is not an interval".into());
    }
    let (from, to) = (
        from - from % MARK_MS,
        (to + MARK_MS - 1) / MARK_MS * MARK_MS,
    );
    if to - from > quirks.widest_interval_ms {
        return Err("the start interval is wider than three months".into());
    }
    Ok((from, to))
}

/// The body of a scan. Filters that the sandbox does not play are refused.
pub fn search(body: &Value, now: i64, quirks: &Quirks) -> Result<Criteria, Bad> {
    let fields = body.as_object().ok_or("the body must be a JSON object")?;
    let (from, to) = start(&body["start"], now, quirks)?;
    let mut criteria = Criteria {
        from,
        to,
        open: true,
        closed: true,
        skills: None,
        latest_skills: None,
        sources: None,
        in_queue: None,
        updated_since: None,
        content: content(&body["contentToRetrieve"])?,
    };
    let ids = |name: &str, value| {
        let ids = skill_ids(value).ok_or(format!("{name} must be a list of ids"))?;
        if ids.len() > quirks.most_skills {
            return Err(format!("{name} is too long a list"));
        }
        Ok(Some(ids))
    };
    for (name, value) in fields {
        match name.as_str() {
            "start" | "contentToRetrieve" => {}
            "status" => (criteria.open, criteria.closed) = status(value)?,
            "skillIds" => criteria.skills = ids(name, value)?,
            "latestSkillIds" => criteria.latest_skills = ids(name, value)?,
            "source" => criteria.sources = Some(strings(value).ok_or("source must be a list")?),
            "latestConversationQueueState" => {
                criteria.in_queue = match value.as_str() {
                    Some("IN_QUEUE") => Some(true),
                    Some("ACTIVE") => Some(false),
                    _ => return Err("unknown queue state".into()),
                }
            }
            "latestUpdateTime" => {
                let from = number(&value["from"]).ok_or("latestUpdateTime.from is required")?;
                criteria.updated_since = Some(from - from.rem_euclid(MARK_MS));
            }
            other => return Err(format!("the sandbox does not play the filter {other}")),
        }
    }
    Ok(criteria)
}

pub fn content(value: &Value) -> Result<RecordParts, Bad> {
    if value.is_null() {
        return Ok(RecordParts::default());
    }
    RecordParts::of(&strings(value).ok_or("contentToRetrieve must be a list")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_773_144_000_000;
    const DAY: i64 = 86_400_000;

    fn searched(body: &Value) -> Result<Criteria, Bad> {
        search(body, NOW, &Quirks::default())
    }

    fn query(pairs: &[(&str, &str)]) -> Result<Page, Bad> {
        page(
            &pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn the_interval_is_rounded_outwards_to_ten_minutes_and_bounded_afterwards() {
        let criteria = searched(&json!({"start": {"from": NOW - 1, "to": NOW + 1}})).unwrap();
        assert_eq!((criteria.from, criteria.to), (NOW - MARK_MS, NOW + MARK_MS));
        let widest = json!({"start": {"from": NOW - 90 * DAY, "to": (NOW).to_string()}});
        assert!(searched(&widest).is_ok());
        assert!(searched(&json!({"start": {"from": NOW - 90 * DAY - 1, "to": NOW}})).is_err());
    }

    #[test]
    fn what_is_wrong_or_not_played_is_refused() {
        let start = json!({"from": NOW - DAY, "to": NOW});
        for bad in [
            json!([]),
            json!({}),
            json!({"start": {"from": NOW - DAY}}),
            json!({"start": start, "status": ["CLOSED"]}),
            json!({"start": start, "latestSkillIds": ["all"]}),
            json!({"start": start, "keyword": "refund"}),
            json!({"start": start, "contentToRetrieve": ["everything"]}),
        ] {
            assert!(searched(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn skills_may_be_numbers_or_strings() {
        let body = json!({"start": {"from": NOW, "to": NOW}, "latestSkillIds": ["-1", 7]});
        assert_eq!(searched(&body).unwrap().latest_skills, Some(vec![-1, 7]));
    }

    #[test]
    fn the_callers_name_is_required_and_pages_are_bounded() {
        assert!(query(&[]).is_err());
        assert!(query(&[("source", "abcdefghijklmnopqrstu")]).is_err());
        assert!(query(&[("source", "a"), ("limit", "101")]).is_err());
        assert!(query(&[("source", "a"), ("sort", "start")]).is_err());
        let page = query(&[
            ("source", "a"),
            ("sort", "start:asc"),
            ("v", "2"),
            ("limit", "100"),
        ])
        .unwrap();
        assert_eq!(
            (page.limit, page.offset, page.order, page.v2),
            (100, 0, Order::StartAscending, true)
        );
    }
}
