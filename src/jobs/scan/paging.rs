//! The order in which a search is paged through: oldest start first, in slices of start time that stay within what a search index shows.
//!
//! A search index shows the first 10,000 results. LivePerson rounds start times to marks of ten minutes, so a slice begins at a mark:
//! the first one that a page reaches once the offset has grown, so that hardly anything is read twice. Where more conversations began
//! between two marks than the index shows, they are read from both ends. What is denser still is asked for beyond the window: LivePerson
//! may answer, and if it does not, the skills of the search are asked for by fewer.

use chrono::{DateTime, TimeDelta, Utc};

use crate::liveperson::{MARK, MAX_PAGE, Search, SearchPage};

/// Results that a search index shows.
const WINDOW: u32 = 10_000;

/// From this offset on, the next slice begins at the next mark: seldom enough that the page on which it begins, which is read twice, costs
/// little.
const SLICE: u32 = 4_000;

/// Where a search stands that is paged through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    search: Search,
    offset: u32,
    /// The end of the whole window.
    to: DateTime<Utc>,
    /// The last mark that pages have reached, if it is not the one at which the slice begins.
    mark: Option<DateTime<Utc>>,
    /// The start time that was reached from below, while the rest of its ten minutes is read from above.
    met_at: Option<DateTime<Utc>>,
}

impl Paging {
    pub fn new(search: Search) -> Self {
        Self {
            to: search.to,
            search,
            offset: 0,
            mark: None,
            met_at: None,
        }
    }

    /// What to ask for next, and from which offset on.
    pub fn question(&self) -> (&Search, u32) {
        (&self.search, self.offset)
    }

    /// Whether pages come in the order of start times, so that what began before the last of a page is complete.
    pub fn is_ascending(&self) -> bool {
        self.met_at.is_none()
    }

    /// Moves on past a page. False: it was the last.
    pub fn advance(&mut self, page: &SearchPage) -> bool {
        self.offset += page.received;
        let over = page.received == 0 || (self.offset >= page.total && !page.incomplete);
        let last = page.records.last().map(|record| record.started_at);
        match (self.met_at, last) {
            (Some(met_at), _) if over || last.is_some_and(|last| last < met_at) => {
                self.leave_dense_mark()
            }
            (None, _) if over => false,
            (None, Some(last)) => {
                self.slice(last);
                true
            }
            _ => true,
        }
    }

    /// Begins the next slice if it is time.
    fn slice(&mut self, last: DateTime<Utc>) {
        let reached = mark(last);
        let known = self.mark.unwrap_or_else(|| mark(self.search.from));
        if reached > known {
            self.mark = Some(reached);
            if self.offset >= SLICE {
                return self.begin(reached);
            }
        }
        if self.offset + MAX_PAGE > WINDOW {
            match self.mark {
                Some(mark) => self.begin(mark),
                None => self.read_from_above(last),
            }
        }
    }

    fn begin(&mut self, from: DateTime<Utc>) {
        self.search.from = from;
        self.search.to = self.to;
        self.search.newest_first = false;
        self.offset = 0;
        self.mark = None;
        self.met_at = None;
    }

    /// More began between two marks than the index shows: the newest of them come first now, until they meet those that are known.
    fn read_from_above(&mut self, met_at: DateTime<Utc>) {
        self.search.to = self.to.min(mark(met_at) + MARK);
        self.search.newest_first = true;
        self.offset = 0;
        self.met_at = Some(met_at);
    }

    /// Goes on after the mark that was read from both ends. False: nothing comes after it.
    fn leave_dense_mark(&mut self) -> bool {
        let next = mark(self.search.from) + MARK;
        self.begin(next);
        next < self.to
    }
}

/// The mark at or before a moment.
fn mark(at: DateTime<Utc>) -> DateTime<Utc> {
    let past = at.timestamp_millis().rem_euclid(MARK.num_milliseconds());
    let whole = DateTime::from_timestamp_millis(at.timestamp_millis() - past);
    whole.unwrap_or(at - TimeDelta::milliseconds(past))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::contact::ContactSources;
    use crate::domain::conversation::{Queue, Record};
    use crate::domain::ids::SkillId;
    use crate::liveperson::ConversationStatus;

    const WINDOW_END_MS: i64 = 1_773_144_123_456;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    fn record(ms: i64) -> Record {
        Record {
            id: String::new(),
            open: true,
            partial: false,
            skill: SkillId::UNASSIGNED,
            skill_name: None,
            started_at: at(ms),
            ended_at: None,
            queue: Queue::Active,
            time_zone: None,
            language: None,
            consumer_ids: Vec::new(),
            customer_id: None,
            messages: Vec::new(),
            receipts: None,
            agents: Vec::new(),
            dialogs: None,
            contact: ContactSources::default(),
        }
    }

    /// What a search over conversations that began at these moments, in order, answers: as LivePerson does.
    fn answer(starts: &[i64], search: &Search, offset: u32) -> SearchPage {
        let ten = MARK.num_milliseconds();
        let from = search.from.timestamp_millis();
        let from = from - from.rem_euclid(ten);
        let to = search.to.timestamp_millis();
        let to = to + (-to).rem_euclid(ten);
        let first = starts.partition_point(|start| *start < from);
        let end = starts.partition_point(|start| *start <= to);
        let found = &starts[first..end.max(first)];
        let page = (offset as usize..found.len()).take(MAX_PAGE as usize);
        let record = |place: usize| {
            let place = if search.newest_first {
                found.len() - 1 - place
            } else {
                place
            };
            record(found[place])
        };
        let records: Vec<Record> = page.map(record).collect();
        SearchPage {
            received: u32::try_from(records.len()).unwrap(),
            total: u32::try_from(found.len()).unwrap(),
            records,
            ..SearchPage::default()
        }
    }

    /// Pages through all: how many of them were met, the calls, and the farthest result that was asked for.
    fn paged(starts: &[i64]) -> (usize, usize, u32) {
        let mut paging = Paging::new(Search {
            skills: Vec::new(),
            status: ConversationStatus::Open,
            from: at(WINDOW_END_MS) - TimeDelta::days(89),
            to: at(WINDOW_END_MS),
            updated_since: None,
            newest_first: false,
        });
        let (mut met, mut calls, mut farthest) = (std::collections::HashSet::new(), 0, 0);
        loop {
            let (search, offset) = paging.question();
            let page = answer(starts, search, offset);
            calls += 1;
            farthest = farthest.max(offset + MAX_PAGE);
            assert!(calls < starts.len(), "it does not end");
            met.extend(page.records.iter().map(|r| r.started_at));
            if !paging.advance(&page) {
                return (met.len(), calls, farthest);
            }
        }
    }

    /// So many, one each so many milliseconds, the last of them a minute before the end.
    fn every(ms: i64, many: usize) -> Vec<i64> {
        let last = WINDOW_END_MS - 60_000;
        let many = i64::try_from(many).unwrap();
        (0..many).map(|n| last - (many - 1 - n) * ms).collect()
    }

    #[test]
    fn everything_is_met_within_the_index_whatever_the_density() {
        // One in so many milliseconds, how many, and how much more than one call for each hundred they may take.
        for (ms, many, overhead) in [
            (60_000, 50, 1.0),
            (172_800, 20_000, 1.03),
            (1_000, 30_000, 1.05),
            // 12,000 within twenty minutes, and twice as many within ten.
            (100, 12_000, 1.05),
            (60, 30_000, 1.7),
            (32, 60_000, 1.7),
            (31, 19_000, 1.7),
        ] {
            let starts = every(ms, many);
            let (met, calls, farthest) = paged(&starts);
            assert_eq!(met, many, "every {ms} ms");
            assert!(farthest <= WINDOW, "every {ms} ms: {farthest}");
            let least = many.div_ceil(100);
            #[expect(clippy::cast_precision_loss, reason = "a ratio of small counts")]
            let ratio = calls as f64 / least as f64;
            assert!(
                ratio <= overhead,
                "every {ms} ms: {calls} calls for {least}"
            );
        }
    }

    #[test]
    fn what_both_ends_do_not_reach_is_asked_for_beyond_the_index() {
        // If LivePerson answers, nothing is left out; if it does not, it is told as its error.
        let starts = every(20, 60_000);
        let (met, _, farthest) = paged(&starts);
        assert_eq!(met, starts.len());
        assert!(farthest > WINDOW);
    }

    #[test]
    fn nothing_costs_one_call() {
        assert_eq!(paged(&[0, 1]), (0, 1, MAX_PAGE));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn bursts_are_met_whole(bursts in prop::collection::vec((0_i64..200, 1_usize..9_000, 0_i64..700_000), 1..8)) {
            let mut starts: Vec<i64> = bursts
                .iter()
                .flat_map(|(mark, many, spread)| {
                    let begins = WINDOW_END_MS - 60_000 - mark * 600_000 - spread;
                    (0..i64::try_from(*many).unwrap()).map(move |n| begins + n * spread / 9_000)
                })
                .filter(|start| *start <= WINDOW_END_MS)
                .collect();
            starts.sort_unstable();
            let distinct = starts.iter().collect::<std::collections::HashSet<_>>().len();
            prop_assert_eq!(paged(&starts).0, distinct);
        }
    }
}
