//! The oddities of LivePerson's payloads, one by one.

use serde_json::{Value, json};

use super::super::record::convert;
use super::{envelope, parse};
use crate::domain::conversation::{AgentKind, Party, Queue, Record};
use crate::domain::ids::SkillId;

/// The smallest useful record, with `changes` laid over it.
fn record(changes: &Value) -> Record {
    let mut page = parse(&envelope(&json!([merged(changes)]))).unwrap();
    assert_eq!(page.unreadable, []);
    page.records.remove(0)
}

fn why_unreadable(changes: &Value) -> (Option<String>, String) {
    let mut page = parse(&envelope(&json!([merged(changes)]))).unwrap();
    let unreadable = page.unreadable.remove(0);
    (unreadable.id, unreadable.why)
}

fn merged(changes: &Value) -> Value {
    let mut record = json!({
        "info": { "conversationId": "c1", "status": "OPEN", "startTimeL": 1_773_000_000_000_i64 },
        "messageRecords": [], "messageStatuses": [], "dialogs": [],
    });
    merge(&mut record, changes);
    record
}

fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes.clone(),
    }
}

#[test]
fn numbers_may_be_text_and_text_numbers() {
    let record = record(&json!({
        "info": { "conversationId": 77, "startTimeL": "1773000000000", "latestSkillId": "3155411010", "isPartial": "false" },
        "messageRecords": [{ "messageId": 5, "seq": "12", "timeL": "1773000001000", "participantId": 2_911_000_110_i64, "sentBy": "AGENT" }],
        "agentParticipants": [{ "agentId": 2_911_000_110_i64, "userType": "2" }],
    }));
    assert_eq!(record.id, "77");
    assert_eq!(record.skill, SkillId(3_155_411_010));
    assert_eq!(record.started_at.timestamp(), 1_773_000_000);
    assert!(!record.partial);
    let message = &record.messages[0];
    assert_eq!((message.id.as_str(), message.seq), ("5", 12));
    assert_eq!(message.participant, record.agents[0].id);
    assert_eq!(message.sent_by, Party::Agent);
    assert_eq!(record.agents[0].kind, AgentKind::Bot);
}

#[test]
fn placeholders_are_absence() {
    let record = record(&json!({
        "info": { "endTime": "undefined", "endTimeL": -1, "latestSkillId": "undefined", "latestSkillName": "null", "timeZone": "undefined",
            "language": "undefined", "latestQueueState": null },
        "messageRecords": [{ "messageId": "m", "seq": 0, "timeL": 1_773_000_001_000_i64, "dialogId": "undefined", "audience": "undefined", "sentBy": "Agent" }],
        "consumerParticipants": [{ "participantId": "p", "email": "undefined", "phone": "0", "firstName": "** LP deleted data **" }],
        "agentParticipants": [{ "agentId": "null", "userType": "1" }],
        "sdes": "undefined",
    }));
    assert_eq!(record.ended_at, None);
    assert_eq!(record.skill, SkillId::UNASSIGNED);
    assert_eq!(record.skill_name, None);
    assert_eq!((record.time_zone, record.language), (None, None));
    assert_eq!(record.queue, Queue::Unknown);
    assert_eq!(record.messages[0].dialog, None);
    assert!(record.messages[0].public);
    assert!(record.contact.participants.is_empty());
    assert!(record.agents.is_empty());
}

#[test]
fn lists_may_be_null_absent_or_a_single_object_under_a_singular_name() {
    let singular = record(&json!({
        "consumerParticipant": { "participantId": "p1" },
        "agentParticipants": null,
        "messageStatuses": null,
        "dialogs": null,
    }));
    assert_eq!(singular.consumer_ids, ["p1"]);
    assert!(singular.receipts.is_none());
    assert!(singular.dialogs.is_none());
    assert!(!singular.partial);
    assert!(record(&json!({ "messageRecords": null })).partial);
}

#[test]
fn times_may_come_as_text_only() {
    let record = record(&json!({
        "info": { "startTimeL": null, "startTime": "2016-08-29 14:30:24.565+0000", "endTime": "2016-08-30 00:00:00.000+0200" },
    }));
    assert_eq!(record.started_at.timestamp_millis(), 1_472_481_024_565);
    assert_eq!(record.ended_at.unwrap().timestamp(), 1_472_508_000);
}

#[test]
fn what_decides_nothing_must_not_decide_something() {
    let message =
        json!({ "messageId": "m", "seq": 1, "timeL": 1_773_000_001_000_i64, "sentBy": "Agent" });
    let cases = [
        json!({ "info": { "isPartial": true } }),
        json!({ "info": { "isTruncated": true } }),
        json!({ "info": { "isTruncated": "true" } }),
        json!({ "info": { "isTruncated": 1 } }),
        json!({ "info": { "isTruncated": true, "isPartial": false } }),
        json!({ "info": { "isTruncated": false, "isPartial": true } }),
        json!({ "messageRecords": [message, "lost"] }),
        json!({ "messageRecords": [{ "messageId": "m", "seq": 1, "sentBy": "Agent" }] }),
        json!({ "messageRecords": [{ "seq": 1, "timeL": 1_773_000_001_000_i64, "sentBy": "Agent" }] }),
        json!({ "messageRecords": 7 }),
        json!({ "messageStatuses": ["lost"] }),
        json!({ "messageStatuses": [{ "participantType": "Consumer", "messageDeliveryStatus": "READ" }] }),
        json!({ "dialogs": [{ "dialogType": "MAIN", "status": "OPEN" }] }),
    ];
    for case in cases {
        assert!(record(&case).partial, "{case}");
    }
    for whole in [
        json!({ "messageRecords": [message] }),
        json!({ "info": { "isTruncated": false } }),
        json!({ "info": { "isTruncated": "false" } }),
        json!({ "info": { "isTruncated": null } }),
        json!({ "info": { "isTruncated": "undefined" } }),
    ] {
        assert!(!record(&whole).partial, "{whole}");
    }
}

#[test]
fn receipts_of_the_consumer_are_known_by_type_or_by_id() {
    let record = record(&json!({
        "consumerParticipants": [{ "participantId": "p1" }],
        "messageStatuses": [
            { "seq": "4", "dialogId": "d", "participantType": "consumer", "messageDeliveryStatus": "read" },
            { "messageId": "m", "participantId": "p1", "messageDeliveryStatus": "READ" },
            { "messageId": "m", "participantId": "p1", "participantType": "Agent", "messageDeliveryStatus": "READ" },
            { "messageId": "m", "participantType": "Robot", "messageDeliveryStatus": "ENRICH" },
        ],
    }));
    let receipts: Vec<_> = record
        .receipts
        .unwrap()
        .into_iter()
        .map(|receipt| (receipt.by, receipt.read))
        .collect();
    assert_eq!(
        receipts,
        [
            (Party::Consumer, true),
            (Party::Consumer, true),
            (Party::Agent, true),
            (Party::Other, false)
        ]
    );
}

#[test]
fn unknown_words_are_never_the_favourable_ones() {
    let record = record(&json!({
        "info": { "status": "Suspended", "latestQueueState": "SOMEWHERE" },
        "messageRecords": [{ "messageId": "m", "seq": 0, "timeL": 1_773_000_001_000_i64, "sentBy": "Oracle", "audience": "SUPERVISORS" }],
        "agentParticipants": [{ "agentId": "a", "userType": "9", "userTypeName": "Oracle" }],
        "dialogs": [{ "dialogId": "d", "dialogType": "SIDE", "status": "HALF" }],
    }));
    assert!(!record.open);
    assert_eq!(record.queue, Queue::Unknown);
    assert_eq!(record.messages[0].sent_by, Party::Other);
    assert!(!record.messages[0].public);
    assert_eq!(record.agents[0].kind, AgentKind::Unknown);
    let dialogs = record.dialogs.unwrap();
    assert!(!dialogs[0].main && !dialogs[0].open);
}

#[test]
fn attributes_may_be_flat_or_nested_and_the_newest_comes_first() {
    let contact = |mail: &str| json!([{ "personalContact": { "email": mail, "phone": "0" } }]);
    let record = record(&json!({
        "sdes": { "events": [
            { "serverTimeStamp": "1000", "personalInfo": { "contacts": contact("flat@example.com") } },
            { "serverTimeStamp": 3000, "personalInfo": { "personalInfo": { "name": "Ana", "contacts": contact("nested@example.com") } } },
            { "personalInfo": { "serverTimeStamp": 2000, "personalInfo": { "contacts": [{ "email": "bare@example.com" }] } } },
            { "serverTimeStamp": 9000, "isAuthenticated": false, "personalInfo": { "contacts": contact("liar@example.com") },
              "customerInfo": { "customerInfo": { "customerId": "LIAR" } } },
            { "serverTimeStamp": 10, "customerInfo": { "customerInfo": { "customerId": "OLD" } } },
            { "serverTimeStamp": 20, "customerInfo": { "customerId": 100_231 } },
        ]},
        "unAuthSdes": { "events": [
            { "serverTimeStamp": 9500, "customerInfo": { "customerInfo": { "customerId": "ANYONE" } } },
            { "serverTimeStamp": 9600, "personalInfo": { "personalInfo": { "contacts": contact("page@example.com") } } },
        ]},
    }));
    let mails = |contacts: Vec<crate::domain::contact::RawContact>| {
        let mails = contacts.into_iter().map(|contact| contact.email.unwrap());
        mails.collect::<Vec<String>>()
    };
    assert_eq!(record.customer_id.as_deref(), Some("100231"));
    assert_eq!(
        record.contact.authenticated[0].first_name.as_deref(),
        Some("Ana")
    );
    assert_eq!(
        mails(record.contact.authenticated),
        ["nested@example.com", "bare@example.com", "flat@example.com"]
    );
    assert_eq!(
        mails(record.contact.unauthenticated),
        ["page@example.com", "liar@example.com"]
    );
}

#[test]
fn an_endless_or_unprintable_value_is_dropped_not_cut() {
    let long = "x".repeat(50_000);
    let record = record(&json!({
        "info": { "latestSkillName": long, "language": "x".repeat(36), "timeZone": "Europe/Nowhere" },
        "sdes": { "events": [
            { "customerInfo": { "customerId": long } },
            { "personalInfo": { "name": "A\u{0}na", "contacts": [{ "email": long, "phone": "12345678" }] } },
        ]},
    }));
    assert_eq!(record.skill_name, None);
    assert_eq!((record.time_zone, record.language), (None, None));
    assert_eq!(record.customer_id, None);
    let contact = &record.contact.authenticated[0];
    assert_eq!((&contact.first_name, &contact.email), (&None, &None));
    assert_eq!(contact.phone.as_deref(), Some("12345678"));
}

#[test]
fn the_consumers_ids_are_told_apart_and_the_newest_is_last() {
    let record = record(&json!({ "consumerParticipants": [
        { "participantId": "new", "joinTimeL": 1_773_000_300_000_i64, "email": "new@example.com" },
        { "participantId": "old", "timeL": 1_773_000_100_000_i64, "email": "old@example.com" },
        { "participantId": "new", "joinTimeL": 1_773_000_050_000_i64 },
    ]}));
    assert_eq!(record.consumer_ids, ["old", "new"]);
    let newest = &record.contact.participants[0];
    assert_eq!(newest.email.as_deref(), Some("new@example.com"));
}

#[test]
fn one_bad_record_is_named_and_the_others_are_read() {
    let twice = r#"{"info":{"conversationId":"twice"},"dialogs":[],"dialogs":[]}"#;
    let body = format!(
        r#"{{"conversationHistoryRecords":[{},null,"text",{twice},{}],"_metadata":{{"count":"9"}}}}"#,
        merged(&json!({ "info": { "status": null } })),
        merged(&json!({ "unknown": { "a": [1] } })),
    );
    let page = parse(&body).unwrap();
    assert_eq!((page.received, page.total), (5, 9));
    assert_eq!(page.records[0].id, "c1");
    let named: Vec<_> = page
        .unreadable
        .iter()
        .map(|unreadable| (unreadable.id.as_deref(), unreadable.why.as_str()))
        .collect();
    assert_eq!(
        named,
        [
            (Some("c1"), "status is missing"),
            (None, "not an object"),
            (None, "not an object"),
            (Some("twice"), "not the expected JSON at character 57"),
        ]
    );
    assert_eq!(
        why_unreadable(&json!({ "info": { "startTimeL": 0 } })),
        (Some("c1".to_owned()), "startTime is missing".to_owned())
    );
    assert!(convert(super::super::wire::WireRecord::default()).is_err());
}

#[test]
fn a_byte_that_is_not_text_spoils_nothing_else() {
    let mut body = envelope(&json!([merged(&json!({ "messageData": "XX" }))])).into_bytes();
    let at = body.windows(2).position(|pair| pair == b"XX").unwrap();
    body[at] = 0xFF;
    let page = super::page(&body, 0, 100, "search").unwrap();
    assert_eq!(page.records.len(), 1);
}

#[test]
fn an_answer_that_says_nothing_is_not_an_empty_one() {
    for body in ["{}", "[]", "", r#"{"_metadata":{"count":3}}"#] {
        assert!(parse(body).is_err(), "{body}");
    }
    let page = parse(r#"{"_metadata":{"count":0},"conversationHistoryRecords":null}"#).unwrap();
    assert_eq!(page.received, 0);
}

#[test]
fn without_a_total_a_full_page_promises_another() {
    let one = json!({ "conversationHistoryRecords": [{}] }).to_string();
    let total = |limit| {
        super::page(one.as_bytes(), 10, limit, "search")
            .unwrap()
            .total
    };
    assert_eq!((total(100), total(1)), (11, 12));
}
