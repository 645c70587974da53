use chrono::DateTime;

use super::*;

const ACCOUNT: &str = "12345678";
const NOW: i64 = 1_773_144_000_000;

fn world(seed: u64) -> World {
    let clock = WorldClock::manual(DateTime::from_timestamp_millis(NOW).unwrap());
    World::new(clock, seed, &[ACCOUNT])
}

#[test]
fn the_same_seed_gives_the_same_ids() {
    let open = |seed| world(seed).conversation(ACCOUNT, ORDERS).start();
    assert_eq!(open(1), open(1));
    assert_ne!(open(1), open(2));
    let id = open(1);
    assert_eq!((&id[14..15], id.len()), ("4", 36));
    assert_eq!(parse_uuid(&id).map(uuid), Some(id));
}

#[test]
fn an_answer_counts_as_having_seen_and_a_second_message_is_unread_again() {
    let world = world(1);
    let id = world.conversation(ACCOUNT, ORDERS).start();
    world.at(NOW + 1).agent_says(&id, "one");
    assert!(world.was_unread_at(&id, NOW + 1));
    world.at(NOW + 2).consumer_says(&id, "yes");
    assert_eq!(world.was_read_at(&id), Some(NOW + 2));
    assert!(!world.was_unread_at(&id, NOW + 2) && world.was_unread_at(&id, NOW + 1));
    world.at(NOW + 3).agent_says(&id, "two");
    assert_eq!(world.was_read_at(&id), None);
}

#[test]
fn bots_notes_and_managers_neither_make_unread_nor_read() {
    let world = world(1);
    let id = world.conversation(ACCOUNT, ORDERS).start();
    world.bot_says(&id, "Hello");
    world.system_says(&id, "Please wait");
    world.private_note(&id, "A note");
    assert!(!world.was_unread_at(&id, NOW));
    world.agent_says(&id, "Hello");
    world.manager_reads(&id);
    world.consumer_accepts(&id);
    assert!(world.was_unread_at(&id, NOW));
}

#[test]
fn conversations_made_in_bulk_are_unread_and_reachable() {
    let world = world(1);
    let shape = Shape {
        started_at: NOW - 1000,
        every_ms: 1,
        answered_after_ms: 500,
        email: true,
        phone: false,
    };
    let ids = world.populate(ACCOUNT, ORDERS, 100, shape).unwrap();
    assert!(ids.iter().all(|id| world.was_unread_at(id, NOW)));
    world.transfer(&ids[0], CUSTOMER_CARE);
    let list = world.list(ACCOUNT, 1000);
    assert_eq!(
        list.iter()
            .filter(|summary| summary.skill == CUSTOMER_CARE)
            .count(),
        1
    );
    assert!(world.act("no such", &Action::Queue).is_err());
}
