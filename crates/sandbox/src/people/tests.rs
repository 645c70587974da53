use std::collections::BTreeSet;
use std::time::Instant;

use chrono::{DateTime, TimeDelta};

use super::*;
use crate::clock::WorldClock;
use crate::people::zones::zone_where_it_is;

const ACCOUNT: &str = "12345678";
const NOW: i64 = 1_773_144_000_000;

fn staged() -> (World, Play, mpsc::UnboundedReceiver<PhoneText>) {
    let start = DateTime::from_timestamp_millis(NOW).unwrap();
    let world = World::new(WorldClock::manual(start), 3, &[ACCOUNT]);
    let (play, texts) = Play::new(&world, ACCOUNT);
    for scene in cases(start) {
        play.enter(scene, NOW).unwrap();
    }
    (world, play, texts)
}

fn conversation(play: &Play, case: &str) -> String {
    play.expected()
        .into_iter()
        .find(|expected| expected.case == case)
        .unwrap()
        .conversation
}

#[test]
fn the_cases_have_names_of_their_own_and_all_expect_something() {
    let scenes = cases(DateTime::from_timestamp_millis(NOW).unwrap());
    let names: BTreeSet<_> = scenes.iter().map(|scene| scene.case).collect();
    assert_eq!(names.len(), scenes.len());
    assert!(
        scenes
            .iter()
            .all(|scene| !scene.outcomes.is_empty() && scene.opens <= 0.0)
    );
}

#[test]
fn whoever_is_to_be_sent_something_has_not_read_it_when_due() {
    let (world, play, _texts) = staged();
    for minute in 0..130 {
        world.clock().advance(TimeDelta::minutes(1));
        play.play_until_now();
        let _ = minute;
    }
    assert!(play.is_over());
    for expected in play.expected().iter().filter(|expected| expected.step == 1) {
        // Debounced reminders are due later than the others; all first ones are due by `by_minute`, less a minute's grace.
        let due = NOW + ms(expected.by_minute - 1.5).max(0);
        let unread = world.was_unread_at(&expected.conversation, due);
        match (expected.verdict, expected.reason) {
            ("sent", _) => assert!(unread, "{expected:?}"),
            (_, Some("read" | "answered" | "closed" | "no_agent_message")) => {
                let end = NOW + ms(expected.by_minute);
                assert!(
                    !world.was_unread_at(&expected.conversation, end),
                    "{expected:?}"
                );
            }
            _ => {}
        }
    }
}

#[test]
fn the_future_waits_for_the_clock_and_keeps_its_dates() {
    let (world, play, mut texts) = staged();
    let reader = conversation(&play, "reads_at_the_last_minute");
    assert_eq!(world.was_read_at(&reader), None);
    assert!(texts.try_recv().is_err());
    world.clock().advance(TimeDelta::minutes(10));
    play.play_until_now();
    assert_eq!(world.was_read_at(&reader), Some(NOW + 90_000));
    assert_eq!(
        texts.try_recv().unwrap(),
        PhoneText {
            from: "+1 202-555-0153".into(),
            body: "STOP".into()
        }
    );
}

#[test]
fn at_any_hour_it_is_day_somewhere_and_night_elsewhere() {
    use chrono::{TimeZone as _, Timelike as _};
    for hour in 0..24 {
        let now = DateTime::from_timestamp_millis(NOW).unwrap() + TimeDelta::hours(hour);
        let local = |zone: &str| {
            zone.parse::<chrono_tz::Tz>()
                .unwrap()
                .from_utc_datetime(&now.naive_utc())
                .hour()
        };
        assert!(
            (10..=15).contains(&local(zone_where_it_is(12, now))),
            "{now}"
        );
        assert!((0..=5).contains(&local(zone_where_it_is(2, now))), "{now}");
    }
}

#[tokio::test]
async fn a_live_play_lets_visitors_in_and_stops_when_told() {
    let origin = DateTime::from_timestamp_millis(NOW).unwrap();
    let world = World::new(
        WorldClock::scaled(origin, Instant::now(), 2000.0),
        3,
        &[ACCOUNT],
    );
    let (play, _texts) = Play::new(&world, ACCOUNT);
    let stop = CancellationToken::new();
    let running = tokio::spawn(play.run(Some(1), stop.clone()));
    let three = async {
        while world.list(ACCOUNT, 10).len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), three)
        .await
        .expect("three visitors");
    stop.cancel();
    running.await.unwrap();
}
