//! Which findings there are, what they come to as a sentence, and what a reader has dismissed.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::super::attention::OverviewSummary;
use super::*;
use crate::domain::ids::{Provider, SkillId};

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

fn scan(succeeded: Option<i64>, error: Option<&str>) -> LatestScan {
    LatestScan {
        account: "12345678".parse().unwrap(),
        skill: SkillId::UNASSIGNED,
        name: None,
        started_at: at(0),
        succeeded_at: succeeded.map(at),
        duration_ms: None,
        conversations: 0,
        unreadable: 0,
        unread: 0,
        undecided: 0,
        error: error.map(str::to_owned),
    }
}

fn seen<'a>(
    scans: &'a [LatestScan],
    circuits: &'a [Circuit],
    pauses: &'a [Pause],
) -> OverviewFacts<'a> {
    OverviewFacts {
        now: at(1),
        midnight: at(0),
        scans,
        rounds: &[],
        pace: ScanPace {
            per_second: 5.0,
            every: TimeDelta::seconds(60),
            full_every: TimeDelta::seconds(60),
        },
        circuits,
        pauses,
        holds: &[],
        rules_on: true,
        live: true,
        not_live: &[],
        failed: 0,
        unwritten: 0,
        undelivered: 0,
        unknown: 0,
        expired: 0,
        unreadable: UnreadableCount::default(),
        dead: 0,
    }
}

fn pause(scope: Scope) -> Pause {
    Pause {
        scope,
        paused_by: "ann".to_owned(),
        paused_at: at(0),
        note: String::new(),
    }
}

fn circuit() -> Circuit {
    Circuit {
        provider: Provider::Smtp,
        sender: "a@example.com".to_owned(),
        opened_at: at(0),
        code: "auth 535 5.7.8".to_owned(),
        probe_at: at(1),
    }
}

fn told(seen: &OverviewFacts<'_>) -> OverviewSummary {
    OverviewSummary::of(seen.findings(), &BTreeMap::new())
}

#[test]
fn the_health_sentence_names_the_worst_first() {
    let fresh = scan(Some(0), None);
    let level = |scans: &[LatestScan], now| {
        let seen = OverviewFacts {
            now: at(now),
            ..seen(scans, &[], &[])
        };
        told(&seen).health.level
    };
    assert_eq!(level(&[], 0), AttentionLevel::Waiting);
    assert_eq!(level(std::slice::from_ref(&fresh), 1), AttentionLevel::Good);
    assert_eq!(
        level(&[fresh.clone(), scan(None, None)], 1),
        AttentionLevel::Waiting
    );
    assert_eq!(level(std::slice::from_ref(&fresh), 20), AttentionLevel::Bad);
    let (scans, circuits) = ([scan(Some(0), Some("throttled"))], [circuit()]);
    let both = told(&seen(&scans, &circuits, &[])).health;
    assert!(
        both.sentence.contains("The mail server"),
        "{}",
        both.sentence
    );
}

#[test]
fn what_needs_a_person_is_told_worst_first() {
    let scans = [scan(Some(0), Some("LivePerson throttles search"))];
    let circuits = [circuit()];
    let pauses = [pause(Scope::Everything)];
    let seen = OverviewFacts {
        failed: 2,
        undelivered: 1,
        unknown: 1,
        ..seen(&scans, &circuits, &pauses)
    };
    let told: Vec<_> = told(&seen).attention.into_iter().map(|a| a.about).collect();
    let expected = [
        AttentionTopic::Channels,
        AttentionTopic::Scans,
        AttentionTopic::Pauses,
        AttentionTopic::Reminders("failed"),
        AttentionTopic::Reminders("undelivered"),
        AttentionTopic::Reminders("unknown"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_sentence_is_as_bad_as_the_worst_entry_and_good_only_without_any() {
    let scans = [scan(Some(0), None)];
    let quiet = seen(&scans, &[], &[]);
    let (circuits, pauses) = ([circuit()], [pause(Scope::Everything)]);
    let account = "12345678".parse().unwrap();
    let not_live = [(&account, Channel::Sms)];
    let unreadable = UnreadableCount {
        count: 1,
        newest: Some(at(0)),
    };
    let many = [
        OverviewFacts { failed: 1, ..quiet },
        OverviewFacts {
            unwritten: 1,
            failed: 1,
            ..quiet
        },
        OverviewFacts {
            undelivered: 1,
            unknown: 2,
            expired: 1,
            ..quiet
        },
        OverviewFacts {
            unreadable,
            ..quiet
        },
        OverviewFacts { dead: 1, ..quiet },
        OverviewFacts {
            rules_on: false,
            ..quiet
        },
        OverviewFacts {
            not_live: &not_live,
            ..quiet
        },
        OverviewFacts {
            live: false,
            not_live: &not_live,
            failed: 1,
            ..quiet
        },
        OverviewFacts {
            circuits: &circuits,
            pauses: &pauses,
            ..quiet
        },
        OverviewFacts {
            now: at(30),
            expired: 1,
            ..quiet
        },
    ];
    for seen in many {
        let told = told(&seen);
        let worst = told.attention.iter().map(|entry| entry.level).min();
        assert_eq!(Some(told.health.level), worst, "{told:?}");
        assert!(!told.health.sentence.contains("All is well"), "{told:?}");
    }
    let well = told(&quiet);
    assert!(well.attention.is_empty() && well.health.level == AttentionLevel::Good);
    assert!(well.health.sentence.starts_with("All is well"));
    let two = told(&OverviewFacts {
        failed: 1,
        dead: 1,
        ..quiet
    })
    .health
    .sentence;
    assert_eq!(
        two,
        "Reminders go out on time. There are 2 things to look at."
    );
}

#[test]
fn what_was_dismissed_comes_back_when_it_happens_anew() {
    let scans = [scan(Some(0), None)];
    let seen = OverviewFacts {
        failed: 2,
        unreadable: UnreadableCount {
            count: 1,
            newest: Some(at(5)),
        },
        ..seen(&scans, &[], &[])
    };
    let marks = told(&seen)
        .attention
        .into_iter()
        .filter_map(|entry| entry.mark);
    let dismissed: BTreeMap<String, i64> = marks.map(|mark| (mark.key, mark.at)).collect();
    assert_eq!(dismissed.len(), 2);
    let left = |seen: &OverviewFacts<'_>| {
        let told = OverviewSummary::of(seen.findings(), &dismissed);
        (told.attention.len(), told.health.level)
    };
    assert_eq!(left(&seen), (0, AttentionLevel::Good));
    let fewer = OverviewFacts { failed: 1, ..seen };
    assert_eq!(left(&fewer), (0, AttentionLevel::Good), "no new one");
    let more = OverviewFacts { failed: 3, ..seen };
    assert_eq!(left(&more), (1, AttentionLevel::Warn));
    let next_day = OverviewFacts {
        midnight: at(24 * 60),
        failed: 1,
        ..seen
    };
    assert_eq!(left(&next_day), (1, AttentionLevel::Warn));
    let another = UnreadableCount {
        count: 1,
        newest: Some(at(6)),
    };
    let another = OverviewFacts {
        unreadable: another,
        ..seen
    };
    assert_eq!(left(&another), (1, AttentionLevel::Warn));
    // What is over is forgotten, so that it is new when it comes back.
    let over = OverviewFacts { failed: 0, ..seen };
    assert_eq!(
        OverviewSummary::of(over.findings(), &dismissed).over,
        ["failed"]
    );
    assert!(
        OverviewSummary::of(seen.findings(), &dismissed)
            .over
            .is_empty()
    );
}

#[test]
fn what_stops_reminders_cannot_be_dismissed() {
    let scans = [scan(Some(0), Some("throttled"))];
    let (circuits, pauses) = ([circuit()], [pause(Scope::Everything)]);
    let account = "12345678".parse().unwrap();
    let seen = OverviewFacts {
        rules_on: false,
        live: false,
        not_live: &[(&account, Channel::Email)],
        failed: 1,
        unwritten: 1,
        ..seen(&scans, &circuits, &pauses)
    };
    for entry in told(&seen).attention {
        let standing = entry.about != AttentionTopic::Reminders("failed");
        assert_eq!(entry.mark.is_none(), standing, "{entry:?}");
    }
}

#[test]
fn a_text_that_cannot_be_used_is_told_before_what_failed_because_of_it() {
    let scans = [scan(Some(0), None)];
    let told = |unwritten| {
        let seen = OverviewFacts {
            failed: 3,
            unwritten,
            ..seen(&scans, &[], &[])
        };
        told(&seen).attention
    };
    assert_eq!(told(0).len(), 1);
    let one = &told(1)[0];
    assert_eq!(
        (one.level, one.about),
        (AttentionLevel::Bad, AttentionTopic::Rules)
    );
    let said = "1 reminder was not sent today";
    assert!(one.what.starts_with(said), "{}", one.what);
    let some = &told(3)[0];
    let said = "3 reminders were not sent";
    assert!(some.what.starts_with(said), "{}", some.what);
}

#[test]
fn a_full_pass_that_takes_longer_than_a_quarter_of_an_hour_needs_a_person() {
    let of = |account: &str, calls| {
        let round = Round {
            skills: 1000,
            never_scanned: 0,
            calls,
        };
        (account.parse().unwrap(), round)
    };
    let scans = [scan(Some(0), None)];
    let rounds = [of("12345678", 2400.0), of("87654321", 1200.0)];
    let seen = OverviewFacts {
        rounds: &rounds,
        ..seen(&scans, &[], &[])
    };
    let told = told(&seen).attention;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (told[0].level, told[0].about),
        (AttentionLevel::Warn, AttentionTopic::Scans)
    );
    assert_eq!(
        told[0].what,
        "Conversations of account 12345678 are not checked often enough: a full pass over 1,000 skills takes 16 min at 2.5 calls/s, half \
         of what the settings allow."
    );
}

#[test]
fn what_is_paused_is_not_called_well() {
    let scans = [scan(Some(0), None)];
    let health = |seen: &OverviewFacts<'_>| told(seen).health;
    let everything = health(&seen(&scans, &[], &[pause(Scope::Everything)]));
    assert_eq!(everything.level, AttentionLevel::Warn);
    let part = Scope::Account("12345678".parse().unwrap());
    let both = [pause(part.clone()), pause(Scope::Everything)];
    let part = health(&seen(&scans, &[], &[pause(part)]));
    assert!(
        part.sentence.contains("Some reminders"),
        "{}",
        part.sentence
    );
    let both = health(&seen(&scans, &[], &both));
    assert_eq!(both, everything, "the whole says more than a part");
    let off = OverviewFacts {
        rules_on: false,
        ..seen(&scans, &[], &[])
    };
    assert_eq!(health(&off).level, AttentionLevel::Waiting);
    let account = "12345678".parse().unwrap();
    let before = OverviewFacts {
        live: false,
        not_live: &[(&account, Channel::Email)],
        ..seen(&scans, &[], &[])
    };
    let told = told(&before);
    assert!(
        told.health.sentence.starts_with("Nothing is sent yet"),
        "{told:?}"
    );
    assert_eq!(told.attention[0].about, AttentionTopic::Live);
}
