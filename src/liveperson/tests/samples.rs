//! The sample payloads, read whole, and what the rules make of them.

use serde::Deserialize;

use super::{BY_CONSUMER, BY_ID_V1, BY_IDS, SEARCH_EMPTY, SEARCH_PAGE, parse};
use crate::domain::contact::{ContactPolicy, choose};
use crate::domain::conversation::{AgentKind, Queue, Record};
use crate::domain::ids::{Channel, SkillId};
use crate::domain::read_state::{ReadState, read_state};
use crate::domain::zone::Zone;

/// What is known to be true of the samples, worked out by hand.
#[derive(Deserialize)]
struct Expected {
    search_page: Vec<Verdict>,
    by_ids: Vec<Verdict>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Verdict {
    id: String,
    case: String,
    /// `None`: the record does not tell.
    unread_human_only: Option<bool>,
    unread_with_bots: Option<bool>,
    email: Option<String>,
    phone: Option<String>,
    /// Of people, bots included, in what the consumer can see.
    last_agent_message: Option<String>,
}

fn unread(state: &ReadState) -> Option<bool> {
    match state {
        ReadState::Unread(_) => Some(true),
        ReadState::Read(_) => Some(false),
        ReadState::Undecided => None,
    }
}

/// The verdict on `record`, with the parts of `expected` that it cannot know.
fn verdict(record: &Record, expected: &Verdict) -> Verdict {
    let policy = ContactPolicy {
        default_region: Some("US".to_owned()),
        unauthenticated: false,
    };
    let reached = |channel| {
        let contact = choose(&record.contact, channel, &policy)?;
        Some(contact.address.expose().to_owned())
    };
    let with_bots = read_state(record, true);
    let last_agent_message = match &with_bots {
        ReadState::Unread(episode) => Some(episode.last_message.clone()),
        // Nothing is unread, so the rules do not name a message.
        _ => expected.last_agent_message.clone(),
    };
    Verdict {
        id: record.id.clone(),
        case: expected.case.clone(),
        unread_human_only: unread(&read_state(record, false)),
        unread_with_bots: unread(&with_bots),
        email: reached(Channel::Email),
        phone: reached(Channel::Sms),
        last_agent_message,
    }
}

#[test]
fn the_rules_judge_every_sample_as_worked_out_by_hand() {
    let expected: Expected = serde_json::from_str(include_str!(
        "../../../tests/fixtures/liveperson/expected.json"
    ))
    .unwrap();
    for (body, expected) in [
        (SEARCH_PAGE, expected.search_page),
        (BY_IDS, expected.by_ids),
    ] {
        let records = parse(body).unwrap().records;
        assert_eq!(records.len(), expected.len());
        for (record, expected) in records.iter().zip(expected) {
            assert_eq!(verdict(record, &expected), expected);
        }
    }
}

#[test]
fn every_sample_is_read_without_a_loss() {
    for (body, records) in [
        (SEARCH_PAGE, 13),
        (SEARCH_EMPTY, 0),
        (BY_IDS, 2),
        (BY_ID_V1, 1),
    ] {
        let page = parse(body).unwrap();
        assert_eq!(page.unreadable, []);
        assert_eq!(page.records.len(), records);
        assert_eq!(page.total as usize, records);
    }
    let page = parse(BY_CONSUMER).unwrap();
    assert_eq!(page.unreadable, []);
    assert!(!page.records.is_empty());
}

#[test]
fn a_record_keeps_what_the_rules_need() {
    let record = parse(SEARCH_PAGE).unwrap().records.remove(0);
    assert_eq!(record.id, "44eefca3-3b86-5eb2-b379-3bda9ddcfb50");
    assert!(record.open && !record.partial);
    assert_eq!(record.skill, SkillId(3_155_411_010));
    assert_eq!(record.skill_name.as_deref(), Some("Customer Care"));
    assert_eq!(record.started_at.timestamp(), 1_772_712_000);
    assert_eq!(record.ended_at, None);
    assert_eq!(record.queue, Queue::Active);
    assert_eq!(
        record.time_zone,
        Some(Zone::Named(chrono_tz::America::New_York))
    );
    assert_eq!(record.language.as_deref(), Some("en-US"));
    assert_eq!(record.customer_id.as_deref(), Some("CUST-100231"));
    assert_eq!(record.consumer_ids.len(), 1);
    assert_eq!(record.messages.len(), 3);
    assert_eq!(record.receipts.unwrap().len(), 5);
    assert_eq!(record.agents[0].kind, AgentKind::Human);
    assert_eq!(record.agents[0].nickname.as_deref(), Some("Dana"));
    let dialog = &record.dialogs.unwrap()[0];
    assert!(dialog.main && dialog.open);
}

#[test]
fn the_older_version_reads_the_same() {
    let record = parse(BY_ID_V1).unwrap().records.remove(0);
    assert_eq!(record.customer_id.as_deref(), Some("CUST-100299"));
    assert_eq!(record.contact.authenticated.len(), 1);
    assert!(record.dialogs.is_none());
    assert!(!record.partial);
}

#[test]
fn no_text_of_a_message_and_no_address_can_be_logged() {
    for record in parse(SEARCH_PAGE).unwrap().records {
        let shown = format!("{record:?}");
        for secret in [
            "gift wrapped",
            "where is my order",
            "@example.com",
            "555-01",
        ] {
            assert!(!shown.contains(secret), "{secret}");
        }
    }
}
