//! Whose jobs fill a queue's slots: no one may have them all.
//!
//! Whoever hangs keeps a slot for as long as patience lasts, and it shows only then. So it is not waited for: where a queue works for
//! several, nobody has more than half of its slots, and each has some of the other half for itself alone. Shares are kept at the fetch: a
//! job that would be beyond its owner's share stays in the table, where it is in nobody's way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::Notify;

/// Among whom a queue's slots are shared.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// The argument of a job that says whose it is.
    pub by: &'static str,
    pub among: Vec<String>,
}

/// The slots of one queue in this process.
pub(super) struct Shares {
    by: &'static str,
    slots: usize,
    among: Vec<String>,
    held: Mutex<Vec<usize>>,
    /// Somebody was left out of the last fetch.
    left_out: AtomicBool,
    freed: Notify,
}

/// A slot as a part of its owner's share, until it is dropped.
pub(super) struct Share(Option<(Arc<Shares>, usize)>);

/// What may be fetched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Jobs at most, whoever they belong to.
    pub limit: usize,
    /// What the arguments of those contain who have their share.
    pub without: Vec<Vec<u8>>,
}

impl Shares {
    pub fn new(slots: usize, sharing: Option<Sharing>) -> Arc<Self> {
        let (by, among) = sharing.map_or(("", Vec::new()), |sharing| (sharing.by, sharing.among));
        Arc::new(Self {
            by,
            slots,
            held: Mutex::new(vec![0; among.len()]),
            among,
            left_out: AtomicBool::new(false),
            freed: Notify::new(),
        })
    }

    /// So many are each one's own.
    fn reserved(&self) -> usize {
        self.slots / 2 / self.among.len().max(1)
    }

    /// How many more slots each may take.
    fn rooms(&self) -> Vec<usize> {
        let held = self.held();
        if held.len() < 2 {
            return vec![self.slots; held.len()];
        }
        let (reserved, most) = (self.reserved(), self.slots.div_ceil(2));
        let open = self.slots - reserved * held.len();
        let beyond = |held: usize| held.saturating_sub(reserved);
        let open = open.saturating_sub(held.iter().map(|held| beyond(*held)).sum());
        let room = |held: &usize| {
            let own = reserved.saturating_sub(*held);
            most.saturating_sub(*held).min(own + open)
        };
        held.iter().map(room).collect()
    }

    /// For so many `free` slots. All jobs of a fetch may turn out to be one's, so it takes no more than the one with the least room may
    /// have; the next fetch goes on without that one.
    pub fn plan(&self, free: usize) -> Plan {
        // Before it is looked who has what: who gives a slot back meanwhile shall notify.
        self.left_out.store(true, Ordering::SeqCst);
        let rooms = self.rooms();
        let full = self
            .among
            .iter()
            .zip(&rooms)
            .filter(|(_, room)| **room == 0);
        let without: Vec<Vec<u8>> = full.map(|(who, _)| self.mark(who)).collect();
        if without.is_empty() {
            self.left_out.store(false, Ordering::SeqCst);
        }
        let least = rooms.into_iter().filter(|room| *room > 0).min();
        Plan {
            limit: free.min(least.unwrap_or(free)),
            without,
        }
    }

    /// How a job's arguments, as they are stored, say whose it is.
    fn mark(&self, who: &str) -> Vec<u8> {
        format!("{}:{}", Value::from(self.by), Value::from(who)).into_bytes()
    }

    /// Counts a fetched job.
    pub fn take(self: &Arc<Self>, args: &[u8]) -> Share {
        let owner = (0..self.among.len()).find(|who| {
            let mark = self.mark(&self.among[*who]);
            args.windows(mark.len()).any(|part| part == mark)
        });
        if let Some(owner) = owner {
            self.held()[owner] += 1;
        }
        Share(owner.map(|owner| (self.clone(), owner)))
    }

    /// Ends when somebody who was left out may have a slot again.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    fn held(&self) -> MutexGuard<'_, Vec<usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((shares, owner)) = &self.0 else {
            return;
        };
        shares.held()[*owner] -= 1;
        if shares.left_out.load(Ordering::SeqCst) {
            shares.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(slots: usize, among: usize) -> Arc<Shares> {
        let among = (0..among).map(|n| format!("a{n}")).collect();
        let by = "account";
        Shares::new(slots, Some(Sharing { by, among }))
    }

    fn args(who: usize) -> Vec<u8> {
        let args = serde_json::json!({ "account": format!("a{who}"), "reminder": 7 });
        args.to_string().into_bytes()
    }

    #[test]
    fn one_has_half_of_the_slots_and_each_of_the_others_its_own() {
        let shares = shares(32, 4);
        let nobody = |limit| Plan {
            limit,
            without: Vec::new(),
        };
        assert_eq!(shares.plan(32), nobody(16));
        let first: Vec<Share> = (0..16).map(|_| shares.take(&args(0))).collect();
        let left = |limit| Plan {
            limit,
            without: vec![br#""account":"a0""#.to_vec()],
        };
        assert_eq!(shares.plan(16), left(8), "four of its own, four open ones");
        let second: Vec<Share> = (0..8).map(|_| shares.take(&args(1))).collect();
        // Two may take all that is open; the third and the fourth have theirs.
        let Plan { limit, without } = shares.plan(8);
        assert_eq!((limit, without.len()), (4, 2));
        drop(second);
        assert_eq!(shares.plan(16), left(8));
        drop(first);
        assert_eq!(shares.plan(32), nobody(16));
    }

    #[test]
    fn who_is_alone_has_all_and_strangers_are_not_counted() {
        let alone = shares(3, 1);
        let _two = [alone.take(&args(0)), alone.take(&args(0))];
        let plan = alone.plan(1);
        assert_eq!((plan.limit, plan.without.len()), (1, 0));
        let shared = shares(4, 2);
        let _strangers = [
            shared.take(b"null"),
            shared.take(b"\xff{"),
            shared.take(&args(7)),
        ];
        assert_eq!(shared.plan(4).limit, 2);
    }

    proptest! {
        #[test]
        fn whoever_hangs_everybody_else_can_start_a_job(
            (slots, among) in (2usize..100).prop_flat_map(|slots| (Just(slots), 2..=slots / 2 + 1)),
            wishes in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
        ) {
            prop_assume!(among <= slots / 2);
            let shares = shares(slots, among);
            let mut all = Vec::new();
            // Nobody ever gives a slot back; the last one has not asked for any.
            let mut held = vec![0; among];
            for wish in wishes {
                let who = wish.index(among - 1);
                loop {
                    let plan = shares.plan(slots - all.len());
                    if plan.limit == 0 || plan.without.contains(&shares.mark(&format!("a{who}"))) {
                        break;
                    }
                    for _ in 0..plan.limit {
                        all.push(shares.take(&args(who)));
                        held[who] += 1;
                    }
                }
                prop_assert!(held[who] <= slots.div_ceil(2));
                prop_assert!(held[who] >= 1, "each has one of its own");
            }
            let plan = shares.plan(slots - all.len());
            let last = shares.mark(&format!("a{}", among - 1));
            prop_assert!(plan.limit > 0 && !plan.without.contains(&last));
        }
    }
}
