//! Whether a journal covers a lost time.
//!
//! It does if it begins, with a whole snapshot, before that time is over; goes on from there without a hole; and was kept until the end of
//! it. What it says from before its beginning is welcome and proves nothing. Where it was begun anew from a database that did not know all
//! of it, which may have been restored, that beginning tells of the time after it only.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::line::{Begins, JournalLine, JournalMark};

/// A journal is marked as complete so often, and the last message of a lost time is known no better.
const SLACK: TimeDelta = TimeDelta::minutes(2);

/// Entries are dated when they were made, which may be shortly before they were committed.
const LATE_COMMIT: TimeDelta = TimeDelta::minutes(10);

/// What is known of a journal's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalEnd {
    /// What its keeper has said last, if it ever has.
    Told(Option<JournalMark>),
    /// It has no keeper who could tell: a receiver of posts.
    Untold,
}

/// A part of the lost time that a journal does not cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub lack: Lack,
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

/// Why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// There is no line with which it begins, or not all that was in force then.
    Beginning,
    BeginsLate(DateTime<Utc>),
    /// Lines from this number to that are missing.
    Hole(i64, i64),
    /// It is not known until when it was kept.
    Mark,
    EndsEarly(DateTime<Utc>),
    /// It has no line with this number, and had one.
    Cut(i64),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str(
                "its beginning is missing (a line with `begins`, and after it all that applied then)",
            ),
            Self::BeginsLate(at) => write!(f, "it begins at {at} only"),
            Self::Hole(from, to) if from == to => write!(f, "the line with number {from} is missing"),
            Self::Hole(from, to) => write!(f, "the lines with numbers {from} to {to} are missing"),
            Self::Mark => f.write_str(
                "the file ….complete is not beside it, which says until when it was kept",
            ),
            Self::EndsEarly(at) => write!(f, "it was kept until {at} only"),
            Self::Cut(number) => write!(f, "its end is missing, up to the line with number {number}"),
        }
    }
}

/// Lines that go on from a beginning, without what comes again.
struct Part<'a> {
    begins: &'a Begins,
    holes: Vec<NumbersMissing>,
    /// Its snapshot is all there.
    whole: bool,
    /// It has more than a snapshot. Whoever dies before begins once more.
    goes_on: bool,
    /// Nothing from before it is needed.
    fresh: bool,
    last: i64,
    last_at: DateTime<Utc>,
}

struct NumbersMissing {
    numbers: (i64, i64),
    after: DateTime<Utc>,
    /// `None`: nothing with a time follows.
    before: Option<DateTime<Utc>>,
}

impl<'a> Part<'a> {
    fn new(begins: &'a Begins, previous: Option<&Self>) -> Self {
        let same = previous.is_none_or(|part| part.begins.journal == begins.journal);
        Self {
            begins,
            holes: Vec::new(),
            whole: false,
            goes_on: false,
            fresh: same && !begins.behind,
            last: begins.number,
            last_at: begins.begins,
        }
    }

    fn add(&mut self, line: &JournalLine) {
        let number = line.number();
        if number <= self.last {
            return;
        }
        if number > self.last + 1 {
            self.holes.push(NumbersMissing {
                numbers: (self.last + 1, number - 1),
                after: self.last_at,
                before: None,
            });
        }
        self.last = number;
        match line {
            JournalLine::SnapshotEnds { .. } => {
                self.whole = self.holes.is_empty();
                self.goes_on = true;
            }
            JournalLine::Entry(entry) if entry.snapshot.is_none() => self.goes_on = true,
            _ => {}
        }
        if let Some(at) = line.noted_at() {
            self.last_at = at;
            let open = self.holes.iter_mut().filter(|hole| hole.before.is_none());
            open.for_each(|hole| hole.before = Some(at));
        }
    }
}

fn parts(lines: &[JournalLine]) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for line in lines {
        match (line, parts.last_mut()) {
            // A post may come twice.
            (JournalLine::Begins(begins), Some(part)) if part.begins == begins => {}
            (JournalLine::Begins(begins), _) => {
                let part = Part::new(begins, parts.last());
                parts.push(part);
            }
            (line, Some(part)) => part.add(line),
            (_, None) => {}
        }
    }
    parts.retain(|part| part.goes_on);
    parts
}

/// What is missing in a journal of the time between these moments; nothing: it covers it.
pub fn missing(
    lines: &[JournalLine],
    end: &JournalEnd,
    (from, until): (DateTime<Utc>, DateTime<Utc>),
) -> Vec<Missing> {
    let parts = parts(lines);
    let tells = |part: &Part<'_>| {
        let begins = part.begins.begins;
        part.whole && begins <= until && (part.fresh || begins <= from)
    };
    let Some(start) = parts.iter().rposition(tells) else {
        let whole = parts.iter().filter(|part| part.whole);
        let first = whole.map(|part| part.begins.begins).min();
        let lack = first.map_or(Lack::Beginning, Lack::BeginsLate);
        return vec![Missing { lack, from, until }];
    };
    let mut found = Vec::new();
    for (index, part) in parts.iter().enumerate().skip(start) {
        if part.begins.begins > until {
            break;
        }
        let next = parts.get(index + 1).map(|part| part.begins);
        let until = next.map_or(until, |next| next.begins.min(until));
        found.extend(part.holes_in(from, until));
        // Who began it anew has noted what was said of it until then.
        let mark = match (next, end) {
            (Some(next), _) => next.before.as_ref(),
            (None, JournalEnd::Told(mark)) => mark.as_ref(),
            (None, JournalEnd::Untold) => None,
        };
        let lack = match (mark, next) {
            (None, _) if *end == JournalEnd::Untold => None,
            // Somebody has taken it away.
            (None, None) => Some((Lack::Mark, part.begins.begins)),
            (mark, _) => part.lacks_end(mark, until),
        };
        found.extend(lack.map(|(lack, at)| Missing {
            lack,
            from: at.max(from).min(until),
            until,
        }));
    }
    found
}

impl Part<'_> {
    fn holes_in(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = Missing> {
        let holes = self.holes.iter().filter(move |hole| {
            hole.after - LATE_COMMIT <= until
                && hole.before.is_none_or(|at| at >= from - LATE_COMMIT)
        });
        holes.map(move |hole| {
            let until = hole.before.unwrap_or(until).min(until);
            Missing {
                lack: Lack::Hole(hole.numbers.0, hole.numbers.1),
                from: hole.after.max(from).min(until),
                until,
            }
        })
    }

    /// Why it is not known to tell all until this moment, and from when on it may not. One that has just begun tells all until then,
    /// before its keeper says so; it may be begun anew, or looked at, before that.
    fn lacks_end(
        &self,
        mark: Option<&JournalMark>,
        until: DateTime<Utc>,
    ) -> Option<(Lack, DateTime<Utc>)> {
        let begins = self.begins;
        let own =
            |mark: &&JournalMark| mark.journal == begins.journal && mark.number >= begins.number;
        match mark.filter(own) {
            None if self.whole && begins.begins + SLACK >= until => None,
            None => Some((Lack::Mark, begins.begins)),
            Some(mark) if mark.number > self.last => Some((Lack::Cut(mark.number), self.last_at)),
            Some(mark) if mark.at + SLACK < until => Some((Lack::EndsEarly(mark.at), mark.at)),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::super::{EntryKind, VERSION};
    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2026-01-05T{time}:00Z").parse().unwrap()
    }

    fn mark(number: i64, time: &str) -> JournalMark {
        JournalMark {
            journal: "ours".to_owned(),
            number,
            at: at(time),
        }
    }

    /// A beginning with one entry in force.
    fn begins(number: i64, time: &str, before: Option<JournalMark>) -> Vec<JournalLine> {
        let begins = Begins {
            number,
            version: VERSION,
            journal: "ours".to_owned(),
            begins: at(time),
            key: None,
            before,
            behind: false,
        };
        let mut old = entry(EntryKind::OptOut, 1, "2025-11-30T12:00:00Z");
        old.snapshot = Some(at(time));
        old.number = number + 1;
        let ends = JournalLine::SnapshotEnds {
            number: number + 2,
            snapshot_ends: at(time),
        };
        vec![JournalLine::Begins(begins), JournalLine::Entry(old), ends]
    }

    /// The same, by a database that does not know what was noted before, or in another journal.
    fn begins_behind(number: i64, time: &str, before: JournalMark) -> Vec<JournalLine> {
        let mut lines = begins(number, time, Some(before));
        if let JournalLine::Begins(begins) = &mut lines[0] {
            begins.behind = true;
        }
        lines
    }

    fn renamed(mut lines: Vec<JournalLine>) -> Vec<JournalLine> {
        if let JournalLine::Begins(begins) = &mut lines[0] {
            begins.journal = "a new one".to_owned();
        }
        lines
    }

    fn noted(number: i64, time: &str) -> JournalLine {
        let mut entry = entry(EntryKind::OptOut, 2, "2026-01-05T12:00:00Z");
        (entry.number, entry.at) = (number, at(time));
        JournalLine::Entry(entry)
    }

    fn all(parts: &[&[JournalLine]]) -> Vec<JournalLine> {
        parts.concat()
    }

    #[test]
    fn a_journal_covers_a_lost_time_that_it_begins_in_and_goes_on_through_without_a_hole() {
        let told = |number, time| JournalEnd::Told(Some(mark(number, time)));
        let morning = begins(1, "03:00", None);
        let later = [noted(4, "10:00"), noted(5, "11:00"), noted(6, "13:00")];
        let usual = all(&[&morning, &later]);
        let without = |n: usize| {
            let mut lines = usual.clone();
            lines.remove(n);
            lines
        };
        let noon = all(&[&begins(1, "12:00", None), &[noted(4, "13:00")]]);
        let anew = |number, before| all(&[&usual, &begins(7, "15:00", Some(mark(number, before)))]);
        let forgotten = {
            let mut lines = usual.clone();
            lines[3] = JournalLine::forgotten(4);
            lines
        };
        let other_file = JournalEnd::Told(Some(JournalMark {
            journal: "another".to_owned(),
            ..mark(6, "14:00")
        }));
        let old_hole = all(&[
            &begins(1, "01:00", None),
            &[noted(5, "02:00")],
            &[noted(6, "13:00")],
        ]);
        let torn = all(&[
            &morning[..2],
            &begins(3, "05:00", None),
            &[noted(6, "13:00")],
        ]);
        let twice = |once, again| {
            let before = || mark(4, once);
            all(&[
                &usual[..4],
                &begins_behind(5, once, before()),
                &begins_behind(8, again, before()),
            ])
        };
        // The lost time is from 09:30 to 14:00.
        let (from, until) = ("09:30", "14:00");
        #[rustfmt::skip]
        let cases = [
            ("as usual", usual.clone(), told(6, "13:59"), None),
            ("what was posted twice is no hole", all(&[&usual, &later, &morning]), told(6, "13:59"), None),
            ("a journal that was set up within the lost time tells what was in force", noon.clone(), told(4, "13:59"), None),
            ("one that was set up after it does not", begins(1, "14:01", None), told(3, "14:05"), Some((Lack::BeginsLate(at("14:01")), from, until))),
            ("nothing is there, though somebody kept one", vec![], told(6, "13:59"), Some((Lack::Beginning, from, until))),
            ("the head of the file was cut off", usual[1..].to_vec(), told(6, "13:59"), Some((Lack::Beginning, from, until))),
            ("an entry in force at the beginning is missing", without(1), told(6, "13:59"), Some((Lack::Beginning, from, until))),
            ("the beginning was not finished", usual[..2].to_vec(), told(2, "13:59"), Some((Lack::Beginning, from, until))),
            ("it was not finished, and begun anew", torn, told(6, "13:59"), None),
            ("a line is missing", without(4), told(6, "13:59"), Some((Lack::Hole(5, 5), "10:00", "13:00"))),
            ("two are", all(&[&morning, &later[2..]]), told(6, "13:59"), Some((Lack::Hole(4, 5), from, "13:00"))),
            ("a hole from before the lost time does not matter", old_hole, told(6, "13:59"), None),
            ("what is past its time leaves its number", forgotten, told(6, "13:59"), None),
            ("the end is missing", without(5), told(6, "13:59"), Some((Lack::Cut(6), "11:00", until))),
            ("its keeper was away, and others went on", usual.clone(), told(6, "13:10"), Some((Lack::EndsEarly(at("13:10")), "13:10", until))),
            ("its keeper has been gone for long", usual.clone(), told(6, "04:00"), Some((Lack::EndsEarly(at("04:00")), from, until))),
            ("nobody says until when it was kept", usual.clone(), JournalEnd::Told(None), Some((Lack::Mark, from, until))),
            ("what says so is another's", usual.clone(), other_file, Some((Lack::Mark, from, until))),
            ("a receiver cannot say so", usual.clone(), JournalEnd::Untold, None),
            ("a receiver's hole is one", without(4), JournalEnd::Untold, Some((Lack::Hole(5, 5), "10:00", "13:00"))),
            ("begun anew after the lost time, complete before", anew(6, "13:59"), told(9, "16:00"), None),
            ("begun anew after it, and not complete before", anew(6, "11:30"), told(9, "16:00"), Some((Lack::EndsEarly(at("11:30")), "11:30", until))),
            ("begun anew within it", all(&[&usual[..4], &begins(7, "11:30", Some(mark(4, "05:00")))]), told(9, "14:00"), None),
            ("begun anew within it by a restored database", all(&[&usual[..4], &begins_behind(7, "11:30", mark(4, "05:00"))]), told(9, "14:00"), Some((Lack::EndsEarly(at("05:00")), from, "11:30"))),
            ("the same, and it was complete until then", all(&[&usual[..4], &begins_behind(7, "11:30", mark(4, "11:29"))]), told(9, "14:00"), None),
            ("the same, and there is a hole before", all(&[&morning, &later[1..2], &begins_behind(7, "11:30", mark(5, "11:29"))]), told(9, "14:00"), Some((Lack::Hole(4, 4), from, "11:00"))),
            ("the same, and nothing from before is there", begins_behind(7, "11:30", mark(4, "11:29")), told(9, "14:00"), Some((Lack::BeginsLate(at("11:30")), from, until))),
            ("the backup is from after a restored database's beginning", begins_behind(7, "09:00", mark(4, "08:59")), told(9, "14:00"), None),
            ("begun anew twice at once, before its keeper could say that it was complete", twice("13:58", "13:59"), told(10, "14:00"), None),
            ("begun anew twice, and nobody says what happened between", twice("11:30", "13:00"), told(10, "14:00"), Some((Lack::Mark, "11:30", "13:00"))),
            ("looked at while it is begun anew", all(&[&usual[..4], &begins_behind(5, "13:59", mark(4, "13:58"))]), told(4, "13:58"), None),
            ("the same, and nobody has said anything since", all(&[&usual[..4], &begins_behind(5, "11:30", mark(4, "11:29"))]), told(4, "11:29"), Some((Lack::Mark, "11:30", until))),
            ("a receiver is told anew, after a hole", all(&[&morning, &later[1..2], &renamed(begins(1, "11:30", None))]), JournalEnd::Untold, Some((Lack::Hole(4, 4), from, "11:00"))),
            ("a receiver is told anew", all(&[&usual[..5], &renamed(begins(1, "11:30", None))]), JournalEnd::Untold, None),
            ("a receiver is told anew, and something in force is missing", all(&[&usual[..5], &renamed([&begins(1, "11:30", None)[..1], &begins(1, "11:30", None)[2..]].concat())]), JournalEnd::Untold, Some((Lack::Hole(2, 2), "11:30", "11:30"))),
        ];
        for (what, lines, end, expected) in cases {
            let found = missing(&lines, &end, (at(from), at(until)));
            let expected = expected.map(|(lack, from, until)| Missing {
                lack,
                from: at(from),
                until: at(until),
            });
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{what}");
        }
    }
}
