//! Up to which start time a pass has gone, and which conversations it has met there.

use chrono::{DateTime, Utc};

use crate::domain::conversation::Record;

/// Pages come in the order of start times. Those that began before the last one of a page are complete, then; those that began with it
/// may go on on the next page.
pub(super) struct MetRange {
    from: DateTime<Utc>,
    /// Those that began at `from` or later.
    met: Vec<(DateTime<Utc>, String)>,
    ids: Vec<String>,
}

impl MetRange {
    pub fn new(from: DateTime<Utc>) -> Self {
        Self {
            from,
            met: Vec::new(),
            ids: Vec::new(),
        }
    }

    pub fn add(&mut self, records: &[Record]) {
        let new = records
            .iter()
            .filter(|record| record.started_at >= self.from);
        self.met
            .extend(new.map(|record| (record.started_at, record.id.clone())));
    }

    /// The start times from which on conversations can be said to be missing, up to `to`; `None`: pages have not come further than before.
    pub fn pass_to(&mut self, to: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        if to <= self.from {
            return None;
        }
        self.ids = self.met.iter().map(|(_, id)| id.clone()).collect();
        Some((std::mem::replace(&mut self.from, to), to))
    }

    /// Those that were met in what was passed.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// What was passed is over.
    pub fn forget(&mut self) {
        self.ids.clear();
        let from = self.from;
        self.met.retain(|(started_at, _)| *started_at >= from);
    }
}
