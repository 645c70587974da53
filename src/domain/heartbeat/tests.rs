use super::super::sample::minute;
use super::*;

fn pulse(counter: i64, at: i64) -> StoredHeartbeat {
    StoredHeartbeat {
        installation: "ours".to_owned(),
        counter,
        beat_at: minute(at),
        server: Some("a".to_owned()),
        gap: None,
        names: OtherNames::default(),
        decided: None,
        floor: 0,
    }
}

fn with_gap(counter: i64, at: i64, (before, from, until): (i64, i64, i64)) -> StoredHeartbeat {
    let gap = Gap {
        counter: before,
        from: minute(from),
        until: minute(until),
    };
    StoredHeartbeat {
        gap: Some(gap),
        ..pulse(counter, at)
    }
}

/// Somebody remembers this counter from that minute, and the database has this one in that line, of that minute; none if it has none.
fn memory(counter: i64, at: i64, line: Option<(i64, i64)>) -> Memory {
    let seen = RememberedHeartbeat {
        installation: "ours".to_owned(),
        counter,
        at: minute(at),
        server: Some("a".to_owned()),
        process: Some("p".to_owned()),
        decided_at: None,
    };
    Memory {
        seen,
        line: line.map(|(counter, at)| ProcessBeat {
            counter,
            beat_at: minute(at),
        }),
        before_newcomers: None,
    }
}

fn of(installation: &str, memory: Memory) -> Memory {
    Memory {
        seen: RememberedHeartbeat {
            installation: installation.to_owned(),
            ..memory.seen
        },
        ..memory
    }
}

fn on(server: &str, memory: Memory) -> Memory {
    Memory {
        seen: RememberedHeartbeat {
            server: Some(server.to_owned()),
            ..memory.seen
        },
        ..memory
    }
}

fn beat(before: Option<StoredHeartbeat>, server: Option<&str>, at: i64) -> Beat {
    Beat::next(before, "fresh", server.map(str::to_owned), minute(at))
}

fn restored(lost_from: i64, lost_until: i64, counter: i64) -> HeartbeatVerdict {
    HeartbeatVerdict::Restored {
        lost_from: minute(lost_from),
        lost_until: minute(lost_until),
        counter,
    }
}

fn other(installation: &str) -> HeartbeatVerdict {
    HeartbeatVerdict::Other {
        lost_until: minute(3),
        counter: 5,
        installation: installation.to_owned(),
    }
}

fn silence(from: i64, until: i64) -> HeartbeatVerdict {
    HeartbeatVerdict::Silence {
        from: minute(from),
        until: minute(until),
    }
}

/// What, the process's memory, the journal's, database before, its server now, now, verdict.
type Case = (
    &'static str,
    Option<Memory>,
    Option<Memory>,
    Option<StoredHeartbeat>,
    Option<&'static str>,
    i64,
    HeartbeatVerdict,
);

fn check(cases: impl IntoIterator<Item = Case>) {
    for (what, own, journal, before, server, now, verdict) in cases {
        let beat = beat(before, server, now);
        let judged = judge(own.as_ref(), journal.as_ref(), &beat);
        assert_eq!(judged, verdict, "{what}");
    }
}

#[test]
fn the_counter_rises_and_a_silence_leaves_its_mark_until_the_next() {
    let first = beat(None, Some("a"), 0).after;
    assert_eq!((first.counter, first.installation.as_str()), (1, "fresh"));
    let second = beat(Some(first), Some("a"), 1).after;
    assert_eq!((second.counter, second.gap), (2, None), "a minute is usual");
    let third = beat(Some(second), Some("b"), 10).after;
    let gap = Gap {
        counter: 2,
        from: minute(1),
        until: minute(10),
    };
    assert_eq!((third.counter, third.gap), (3, Some(gap)));
    assert_eq!(third.server.as_deref(), Some("a"), "not judged yet");
    let fourth = beat(Some(third), Some("b"), 11).after;
    assert_eq!((fourth.counter, fourth.gap), (4, Some(gap)));
}

#[test]
#[rustfmt::skip]
fn ordinary_operation_holds_nothing() {
    let a = Some("a");
    let known = |counter, at| Some(memory(counter, at, Some((counter, at))));
    let at = |counter, at| Some(pulse(counter, at));
    let after_outage = || Some(with_gap(10, 67, (3, 3, 60)));
    check([
        ("a fresh database", None, None, None, a, 0, HeartbeatVerdict::Same),
        ("in the usual course", known(7, 1), None, at(9, 1), a, 2, HeartbeatVerdict::Same),
        ("another process has beaten since", known(7, 1), known(6, 1), at(9, 1), a, 2, HeartbeatVerdict::Same),
        ("a beat of another hand of this process has come between", Some(memory(7, 1, Some((8, 1)))), None, at(9, 1), a, 2, HeartbeatVerdict::Same),
        ("a process starts", None, None, at(9, 1), a, 2, HeartbeatVerdict::Same),
        ("a process starts, with a journal", None, known(9, 1), at(9, 1), a, 2, HeartbeatVerdict::Same),
        ("a beat that the journal has not", None, Some(memory(8, 1, Some((9, 1)))), at(9, 1), a, 2, HeartbeatVerdict::Same),
        ("a failover to a replica with everything in it", known(9, 1), None, at(9, 1), a, 2, HeartbeatVerdict::Same),
        ("an older version remembers", None, Some(Memory { seen: RememberedHeartbeat { process: None, ..memory(9, 1, None).seen }, ..memory(9, 1, None) }), at(9, 1), a, 2, HeartbeatVerdict::Same),
        ("down for a week-end under living processes", known(9, 3), None, at(9, 3), a, 4000, HeartbeatVerdict::Whole),
        ("down for a week-end, with a journal", None, known(9, 3), at(9, 3), a, 4000, HeartbeatVerdict::Whole),
        ("the journal's process was stopped first", None, known(9, 3), at(40, 5), a, 4000, HeartbeatVerdict::Whole),
        ("others went on after it was down", None, known(3, 3), after_outage(), a, 68, HeartbeatVerdict::Whole),
        ("one who came after the silence vouches for nothing", known(4, 60), None, after_outage(), a, 68, HeartbeatVerdict::Same),
        ("the second who starts after it", None, None, after_outage(), a, 68, HeartbeatVerdict::Same),
        ("down for an hour", None, None, at(9, 3), a, 63, HeartbeatVerdict::Same),
        ("the server may not be asked any more", None, None, at(9, 3), None, 4, HeartbeatVerdict::Same),
        ("nor could it ever be", None, None, Some(StoredHeartbeat { server: None, ..pulse(9, 3) }), Some("b"), 4, HeartbeatVerdict::Same),
        ("moved with the journal", None, known(9, 3), at(9, 3), Some("b"), 4, HeartbeatVerdict::Whole),
        ("moved under a living process", known(9, 3), None, at(9, 3), Some("b"), 4, HeartbeatVerdict::Whole),
        // The clock stood an hour ahead at the start of the server, which left a silence's mark, and was set right.
        ("the clock is set back", known(103, 11), None, Some(with_gap(103, 11, (100, 10, 70))), a, 12, HeartbeatVerdict::Same),
        ("and the journal's process starts anew", None, known(103, 11), Some(with_gap(110, 12, (100, 10, 70))), a, 13, HeartbeatVerdict::Same),
        ("the clock is set ahead under a living process", known(9, 3), None, at(10, 3), a, 500, HeartbeatVerdict::Whole),
        ("the line is so old that it was removed", None, Some(memory(9, 1, None)), Some(StoredHeartbeat { floor: 9, ..pulse(90, 3) }), a, 4, HeartbeatVerdict::Same),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_database_in_which_something_is_missing_was_restored() {
    let a = Some("a");
    let at = |counter, at| Some(pulse(counter, at));
    let behind = |counter, at| Some(memory(counter, at, Some((9, 3))));
    let unknown = |counter, at| Some(memory(counter, at, None));
    let newcomers = |memory: Option<Memory>, last| memory.map(|memory| Memory { before_newcomers: Some(minute(last)), ..memory });
    check([
        ("under a living process", behind(70, 59), None, at(9, 3), a, 60, restored(3, 59, 70)),
        ("while nothing ran, with a journal", None, behind(70, 59), at(9, 3), a, 60, restored(3, 59, 70)),
        ("one beat behind", Some(memory(10, 1, Some((9, 1)))), None, at(9, 1), a, 2, restored(1, 1, 10)),
        ("a replica that lagged", Some(memory(10, 4, Some((9, 3)))), None, at(9, 3), a, 4, restored(3, 4, 10)),
        // Others went on after the restore, past what is remembered, with a silence between or without.
        ("others went on after an outage, own memory", behind(70, 59), None, Some(with_gap(90, 67, (10, 3, 60))), a, 68, restored(3, 59, 70)),
        ("others went on after an outage, journal", None, behind(70, 59), Some(with_gap(90, 67, (10, 3, 60))), a, 68, restored(3, 59, 70)),
        ("others went on without a pause", None, Some(memory(10, 3, Some((9, 3)))), at(90, 10), a, 11, restored(3, 3, 10)),
        ("the process came after the backup", unknown(70, 59), None, at(9, 3), a, 60, restored(3, 59, 70)),
        ("and others went on", None, newcomers(unknown(70, 59), 3), Some(with_gap(900, 90, (800, 70, 80))), a, 91, restored(3, 59, 70)),
        ("the clock was set back since", behind(70, 59), None, at(9, 3), a, 1, restored(3, 59, 70)),
        ("an old copy on another server, with the journal", None, behind(70, 59), at(9, 3), Some("b"), 60, restored(3, 59, 70)),
        ("an older version remembers", None, Some(Memory { seen: RememberedHeartbeat { process: None, ..memory(70, 59, None).seen }, ..memory(70, 59, None) }), at(9, 3), a, 60, restored(3, 59, 70)),
        ("the floor is lower", None, unknown(70, 59), Some(StoredHeartbeat { floor: 8, ..pulse(9, 3) }), a, 60, restored(3, 59, 70)),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_nobody_knows_is_asked() {
    let a = Some("a");
    let known = |counter, at| Some(memory(counter, at, Some((counter, at))));
    let at = |counter, at| Some(pulse(counter, at));
    check([
        ("down for a week-end, and nobody knows", None, None, at(9, 3), a, 4000, silence(3, 4000)),
        ("down for more than an hour", None, None, at(9, 3), a, 64, silence(3, 64)),
        ("the journal's process had ended before", None, known(9, 3), at(2000, 9), a, 4000, silence(9, 4000)),
        ("and the database was moved then", None, known(9, 3), at(2000, 9), Some("b"), 10, HeartbeatVerdict::Copied),
        ("copied to another server", None, None, at(9, 3), Some("b"), 4, HeartbeatVerdict::Copied),
        ("copied, after a long silence", None, None, at(9, 3), Some("b"), 4000, HeartbeatVerdict::Copied),
        ("copied and going on", Some(on("b", memory(10, 4, Some((10, 4))))), None, at(10, 4), Some("b"), 5, HeartbeatVerdict::Copied),
    ]);
}

#[test]
#[rustfmt::skip]
fn of_two_installations_the_one_that_is_at_home_is_not_held() {
    let a = Some("a");
    let theirs = || Some(of("theirs", memory(5, 3, None)));
    let at = |counter, at| Some(pulse(counter, at));
    let decided = |until| Some(RestoreDecision { at: minute(50), until: minute(until) });
    let taken_up = |former: &str, until| Some(StoredHeartbeat {
        names: OtherNames { former: vec![former.to_owned()], ..OtherNames::default() },
        decided: decided(until),
        ..pulse(9, 50)
    });
    let after = |minute_of: i64, memory: Memory| Some(Memory {
        seen: RememberedHeartbeat { decided_at: Some(minute(minute_of)), ..memory.seen },
        ..memory
    });
    check([
        ("a fresh database in place of the one that sent", None, Some(memory(5, 3, None)), None, a, 4, other("ours")),
        ("the same under a living process", Some(memory(5, 3, None)), None, None, a, 4, other("ours")),
        ("another installation's, where nobody works", None, theirs(), at(900, 3), a, 400, other("theirs")),
        ("others have just begun on a fresh one", None, theirs(), at(9, 3), a, 3, other("theirs")),
        ("others have just begun again", None, theirs(), Some(with_gap(909, 90, (900, 3, 60))), a, 90, other("theirs")),
        ("others are at home there", None, theirs(), at(900, 3), a, 3, HeartbeatVerdict::Stranger),
        ("a person has said that they do not belong here", None, theirs(),
         Some(StoredHeartbeat { names: OtherNames { strangers: vec!["theirs".to_owned()], ..OtherNames::default() }, ..pulse(9, 3) }), a, 400, HeartbeatVerdict::Stranger),
        // The database took the place of the one that the journal knows, and its name: who had known it before does not object.
        ("the fresh name", theirs(), None, taken_up("theirs", 3), a, 51, HeartbeatVerdict::Same),
        ("a name that it had before another decision", after(60, of("theirs", memory(5, 3, None))), None, taken_up("theirs", 3), a, 51, other("theirs")),
        ("the journal of the lost time", None, Some(memory(5, 3, None)), taken_up("fresh", 3), a, 51, HeartbeatVerdict::Same),
        ("who went on beside a hold", Some(memory(8, 49, Some((8, 49)))), None, taken_up("fresh", 3), a, 51, HeartbeatVerdict::Same),
        ("who knows more than was decided about", None, Some(memory(70, 40, None)), taken_up("fresh", 3), a, 51, restored(3, 40, 70)),
        ("a backup from before the decision", None, after(50, memory(70, 55, None)), at(9, 3), a, 60, restored(3, 55, 70)),
        ("a backup from after it", None, after(50, memory(70, 55, Some((9, 50)))), taken_up("fresh", 3), a, 60, restored(50, 55, 70)),
    ]);
}
