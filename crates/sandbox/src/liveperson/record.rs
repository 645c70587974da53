//! One conversation as a record of the interactions service, to the letter: the placeholders, the doubled names and times, the
//! attribute objects nested twice.

mod parts;

use std::collections::HashSet;
use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, Timelike as _};
use serde_json::{Map, Value, json};

use self::parts::{
    agents, attributes, consumers, dialogs, messages, response_time, statuses, transfers,
};
use super::criteria::Bad;
use crate::world::conversation::{Detail, Dialog, Entry, Key, Message, Party, uuid};
use crate::world::{Account, Closer, Partial, WorldState};

/// Every content type, in the documentation's order. Those before the marks are what a search returns unasked.
const TYPES: [&str; 24] = [
    "campaign",
    "messageRecords",
    "agentParticipants",
    "agentParticipantsLeave",
    "agentParticipantsActive",
    "consumerParticipants",
    "transfers",
    "interactions",
    "messageScores",
    "messageStatuses",
    "conversationSurveys",
    "coBrowseSessions",
    "summary",
    "sdes",
    // Only on request:
    "unAuthSdes",
    "monitoring",
    "dialogs",
    "responseTime",
    "skillChanges",
    "intents",
    "uniqueIntents",
    "latestAgentSurvey",
    "previouslySubmittedAgentSurveys",
    "info",
];
const BY_DEFAULT: usize = 14;

/// Which parts of a record are wanted.
#[derive(Debug)]
pub struct RecordParts(HashSet<&'static str>);

impl Default for RecordParts {
    fn default() -> Self {
        Self(TYPES[..BY_DEFAULT].iter().copied().collect())
    }
}

impl RecordParts {
    pub fn of(names: &[String]) -> Result<Self, Bad> {
        let known = |name: &String| TYPES.iter().copied().find(|known| known == name);
        let all = names
            .iter()
            .map(|name| known(name).ok_or(format!("unknown content {name}")));
        all.collect::<Result<_, _>>().map(Self)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Search,
    ById,
    ByConsumer,
}

/// Through what the records of one answer are seen.
pub struct View<'a> {
    state: &'a WorldState,
    account: &'a Account,
    now: i64,
    /// Events are visible up to here …
    as_of: i64,
    /// … and receipts up to here.
    receipts_as_of: i64,
    method: Method,
    v2: bool,
    content: RecordParts,
}

impl<'a> View<'a> {
    pub fn new(
        state: &'a WorldState,
        account: &'a Account,
        now: i64,
        method: Method,
        v2: bool,
        content: RecordParts,
    ) -> Self {
        let as_of = now - state.visibility.events_ms;
        let receipts_as_of = as_of.min(now - state.visibility.receipts_ms);
        Self {
            state,
            account,
            now,
            as_of,
            receipts_as_of,
            method,
            v2,
            content,
        }
    }

    /// The time stamp of an attribute: a string in the first version, a number in the second.
    fn stamp(&self, ms: i64) -> Value {
        if self.v2 {
            json!(ms)
        } else {
            json!(ms.to_string())
        }
    }

    fn open(&self, key: &Key) -> bool {
        key.open || (self.state.quirks.survey_keeps_open && key.any_open)
    }
}

/// `2016-08-29 14:30:24.565+0000`
fn time(ms: i64) -> String {
    let Some(t) = DateTime::from_timestamp_millis(ms) else {
        return "undefined".into();
    };
    let mut text = String::with_capacity(28);
    let _ = write!(text, "{:04}-{:02}-{:02} ", t.year(), t.month(), t.day());
    let _ = write!(text, "{:02}:{:02}:{:02}.", t.hour(), t.minute(), t.second());
    let _ = write!(text, "{:03}+0000", t.timestamp_subsec_millis());
    text
}

/// How a record is cut short in an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Whole,
    Partial,
    /// As `Partial`, but the list that lacks something is there.
    Truncated,
}

impl Cut {
    fn of(partial: Partial, method: Method) -> Self {
        match partial {
            Partial::Always => Self::Partial,
            Partial::TruncatedAlways => Self::Truncated,
            Partial::InSearch if method != Method::ById => Self::Partial,
            Partial::TruncatedInSearch if method != Method::ById => Self::Truncated,
            Partial::Never | Partial::InSearch | Partial::TruncatedInSearch => Self::Whole,
        }
    }
}

pub fn record(view: &View<'_>, entry: &Entry) -> Value {
    let detail = entry.detail(&view.state.staff);
    let detail = &*detail;
    if detail.garbled {
        let skill = detail.key_at(view.as_of).skill;
        return json!({"info": {"conversationId": uuid(entry.id), "startTimeL": "soon", "status": 7, "latestSkillId": skill},
                      "messageRecords": {"this": "is not a list"}, "messageStatuses": "nor is this"});
    }
    let cut = Cut::of(detail.partial, view.method);
    let mut record = Map::new();
    record.insert("info".into(), info(view, entry, detail, cut));
    for name in &view.content.0 {
        if let Some(part) = part(view, entry, detail, name, cut) {
            record.insert((*name).to_owned(), part);
        }
    }
    Value::Object(record)
}

fn part(view: &View<'_>, entry: &Entry, detail: &Detail, name: &str, cut: Cut) -> Option<Value> {
    Some(match name {
        "messageRecords" => messages(view, entry, detail),
        "messageStatuses" => match cut {
            Cut::Whole => return statuses(view, detail),
            Cut::Partial => return None,
            Cut::Truncated => json!([]),
        },
        "agentParticipants" | "agentParticipantsActive" => agents(view, detail),
        "consumerParticipants" => consumers(view, detail),
        "dialogs" => dialogs(view, detail),
        "responseTime" => response_time(view, detail),
        "sdes" => attributes(view, detail, true),
        "unAuthSdes" if view.v2 => attributes(view, detail, false),
        "transfers" => transfers(view, detail),
        "summary" => json!({"text": "", "lastUpdatedTime": -1}),
        "coBrowseSessions" => json!({"coBrowseSessionsList": []}),
        "campaign" => json!({"campaignName": "Web messaging", "lobName": "Retail"}),
        "monitoring" => json!({"country": "United States", "countryCode": "US"}),
        "agentParticipantsLeave"
        | "interactions"
        | "messageScores"
        | "conversationSurveys"
        | "skillChanges"
        | "intents"
        | "uniqueIntents" => json!([]),
        // What is left is not there when there is nothing to say: the unauthenticated attributes of v=1, the agent surveys.
        _ => return None,
    })
}

fn info(view: &View<'_>, entry: &Entry, detail: &Detail, cut: Cut) -> Value {
    let key = detail.key_at(view.as_of);
    let id = uuid(entry.id);
    let status = |open| if open { "OPEN" } else { "CLOSE" };
    let mut info = json!({
        "startTime": time(entry.start), "startTimeL": entry.start,
        "endTime": "undefined", "endTimeL": -1, "duration": view.now - entry.start,
        "conversationId": id, "brandId": view.account.id,
        "agentDeleted": false,
        "latestSkillId": key.skill, "latestSkillName": view.account.skill_name(key.skill),
        "source": &*entry.source, "mcs": 50, "alertedMCS": 0,
        "status": status(view.open(&key)), "fullDialogStatus": status(key.any_open),
        "firstConversation": false,
        "device": "DESKTOP", "browser": "CHROME", "browserVersion": "145.0.0.0",
        "operatingSystem": "WINDOWS", "operatingSystemVersion": "11",
        "latestQueueState": if key.in_queue { "IN_QUEUE" } else { "ACTIVE" },
        "isPartial": cut == Cut::Partial,
        "visitorId": format!("A1{}", id[..14].replace('-', "").to_uppercase()),
        "sessionId": &id[24..], "interactionContextId": "1",
        "features": ["PHOTO_SHARING", "CO_BROWSE", "QUICK_REPLIES", "AUTO_MESSAGES", "MULTI_DIALOG",
                     "FILE_SHARING", "RICH_CONTENT", "SECURE_FORMS"],
        "integration": "WEB_SDK", "integrationVersion": "3.0.87", "appId": "webAsync",
        "ipAddress": "192.0.2.10",
    });
    if cut == Cut::Truncated {
        info["isTruncated"] = json!(true);
    }
    for (name, value) in [
        ("timeZone", &detail.time_zone),
        ("language", &detail.language),
    ] {
        if let Some(value) = value {
            info[name] = json!(value);
        }
    }
    if detail.stepped_up.is_some_and(|at| at <= view.as_of) {
        info["wasStepUp"] = json!(true);
    }
    latest_agent(view, detail, &key, &mut info);
    ends(view, detail, &mut info);
    info
}

fn latest_agent(view: &View<'_>, detail: &Detail, key: &Key, info: &mut Value) {
    let assigned = detail.agents.iter().rev().find(|joined| {
        joined.at <= view.as_of && joined.dialog == 0 && joined.agent.permission == "ASSIGNED_AGENT"
    });
    let agent = assigned
        .filter(|_| !key.in_queue)
        .map(|joined| &joined.agent);
    info["latestAgentId"] = json!(agent.map_or("null", |a| a.id));
    info["latestAgentNickname"] = json!(agent.map_or("null", |a| a.nickname));
    info["latestAgentFullName"] = json!(agent.map_or("null", |a| a.full_name));
    info["latestAgentLoginName"] = json!(agent.map_or("null", |a| a.login));
    let (group, name) = agent.map_or((-1, "Unassigned"), |a| a.group);
    info["latestAgentGroupId"] = json!(group);
    info["latestAgentGroupName"] = json!(name);
}

/// Why and when it ended, if it has.
fn ends(view: &View<'_>, detail: &Detail, info: &mut Value) {
    let closed = |dialog: &Dialog| dialog.closed.filter(|(at, _)| *at <= view.as_of);
    let Some((at, by)) = detail.dialogs.first().and_then(closed) else {
        return;
    };
    let survey_end = detail
        .dialogs
        .iter()
        .filter_map(closed)
        .map(|(at, _)| at)
        .max()
        .unwrap_or(at);
    let all_closed = detail
        .dialogs
        .iter()
        .all(|d| d.opened > view.as_of || closed(d).is_some());
    for (name, at) in [("endTime", at), ("conversationEndTime", at)] {
        info[name] = json!(time(at));
        info[format!("{name}L")] = json!(at);
    }
    if all_closed {
        info["endTime"] = json!(time(survey_end));
        info["endTimeL"] = json!(survey_end);
        info["fullDialogEndTime"] = json!(time(survey_end));
        info["fullDialogEndTimeL"] = json!(survey_end);
    }
    info["duration"] = json!(at - detail.dialogs[0].opened);
    let (who, why) = close_reason(by);
    info["closeReason"] = json!(who);
    info["closeReasonDescription"] = json!(why);
}

fn close_reason(by: Closer) -> (&'static str, &'static str) {
    match by {
        Closer::Agent => ("AGENT", "MANUAL_CLOSE"),
        Closer::Consumer => ("CONSUMER", "MANUAL_CLOSE"),
        Closer::System => ("SYSTEM", "AUTO_CLOSE"),
    }
}

fn message_id(detail: &Detail, message: &Message) -> String {
    format!(
        "ms::dialog:{}::msg:{}",
        detail.dialogs[message.dialog].id, message.seq
    )
}

fn party<'a>(detail: &'a Detail, party: &'a Party) -> (&'a str, &'static str) {
    match party {
        Party::Consumer(place) => (&detail.consumers[*place].id, "Consumer"),
        Party::Agent(agent) => (agent.id, "Agent"),
    }
}
