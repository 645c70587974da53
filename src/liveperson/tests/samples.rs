//! The sample payloads, read whole.

use super::{BY_CONSUMER, BY_ID_V1, BY_IDS, SEARCH_EMPTY, SEARCH_PAGE, parse};
use crate::domain::conversation::{AgentKind, Queue};
use crate::domain::ids::SkillId;

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
    assert_eq!(record.time_zone, Some(chrono_tz::America::New_York));
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
