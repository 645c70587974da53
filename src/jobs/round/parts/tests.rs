use proptest::prelude::*;

use super::*;
use crate::liveperson::LivePersonError;

/// A LivePerson that chokes on some skills, and on too many at once.
#[derive(Clone, Debug, Default)]
struct Peer {
    odd: Vec<i64>,
    most: Option<usize>,
    /// What it says to everything.
    down: Option<LivePersonError>,
    /// What it says to those: it is not there in time, rather than refused.
    hangs: bool,
    /// It has answered a moment ago.
    answers_lately: bool,
}

fn refusal(status: u16) -> LivePersonError {
    LivePersonError::Rejected {
        endpoint: "search",
        status,
    }
}

fn unavailable(why: &'static str) -> LivePersonError {
    LivePersonError::Unavailable {
        endpoint: "search",
        why,
        retry_after: None,
    }
}

impl Peer {
    fn answer(&self, skills: &[SkillId]) -> Result<(), LivePersonError> {
        if let Some(error) = &self.down {
            return Err(error.clone());
        }
        let odd = skills.iter().any(|skill| self.odd.contains(&skill.0));
        let too_many = self.most.is_some_and(|most| skills.len() > most);
        if (odd || too_many) && self.hangs {
            Err(unavailable("timed out"))
        } else if odd || too_many {
            Err(refusal(400))
        } else {
            Ok(())
        }
    }
}

/// What became of a set.
#[derive(Debug)]
struct Ended {
    searches: u32,
    failed: Vec<i64>,
    alone: Vec<i64>,
    fits: Option<usize>,
    hopeless: bool,
    skills: usize,
    calls: f64,
}

fn scan(skills: i64, peer: &Peer) -> Ended {
    let all = (0..skills).map(SkillId).collect();
    let mut parts = SkillBatches::new(all, peer.answers_lately);
    let mut searches = 0;
    while let Some(skills) = parts.next() {
        searches += 1;
        match peer.answer(&skills) {
            Ok(()) => parts.answered(&skills, HashMap::new(), 1),
            Err(error) => parts.refused(skills, &error, 1),
        }
    }
    let (fits, hopeless) = (parts.fits(), parts.hopeless());
    let found = parts.end();
    let those = |which: fn(&Summary) -> bool| {
        let mut skills: Vec<i64> = found
            .iter()
            .filter(|(_, of)| which(of))
            .map(|(skill, _)| skill.0)
            .collect();
        skills.sort_unstable();
        skills
    };
    Ended {
        searches,
        failed: those(|of| of.error.is_some()),
        alone: those(|of| of.alone),
        fits,
        hopeless,
        skills: found.len(),
        calls: found.iter().map(|(_, of)| of.calls).sum(),
    }
}

/// Skills, what LivePerson does, the most searches, which skills fail, which are left out of sets, how many fit, hopeless.
type Case<'a> = (i64, Peer, u32, &'a [i64], &'a [i64], Option<usize>, bool);

#[test]
fn a_set_is_asked_for_in_parts_only_where_that_may_help() {
    let all: Vec<i64> = (0..100).collect();
    let down = |error| Peer {
        down: Some(error),
        ..Peer::default()
    };
    let odd = |odd: &[i64]| Peer {
        odd: odd.to_vec(),
        ..Peer::default()
    };
    let most = |most| Peer {
        most: Some(most),
        ..Peer::default()
    };
    let lately = |peer| Peer {
        hangs: true,
        answers_lately: true,
        ..peer
    };
    let hangs = |skills: &[i64]| lately(odd(skills));
    let slow_from = |too_many: usize| lately(most(too_many - 1));
    let unauthorized = |status| LivePersonError::Unauthorized {
        endpoint: "search",
        status,
    };
    let cases: Vec<Case<'_>> = vec![
        // Well: one search.
        (100, Peer::default(), 1, &[], &[], None, false),
        (1, Peer::default(), 1, &[], &[], None, false),
        // One odd skill at either end and in the middle: found in about two searches for each halving.
        (100, odd(&[0]), 15, &[0], &[0], None, false),
        (100, odd(&[99]), 15, &[99], &[99], None, false),
        (100, odd(&[50]), 15, &[50], &[50], None, false),
        (100, odd(&[7, 93]), 28, &[7, 93], &[7, 93], None, false),
        (2, odd(&[1]), 3, &[1], &[1], None, false),
        // Nobody can tell whether it is the skill's fault or the account's.
        (1, odd(&[0]), 1, &[0], &[], None, false),
        (2, odd(&[0, 1]), 3, &[0, 1], &[], None, false),
        // Fewer at once: nobody fails, and the next sets are smaller.
        (100, most(50), 3, &[], &[], Some(50), false),
        (100, most(30), 7, &[], &[], Some(25), false),
        (100, most(1), 199, &[], &[], Some(1), false),
        // The account's trouble: no search for a culprit, nobody is left out of sets.
        (100, down(unauthorized(401)), 1, &all, &[], None, true),
        (
            100,
            down(LivePersonError::NoService("msgHist")),
            1,
            &all,
            &[],
            None,
            true,
        ),
        (100, down(unavailable("HTTP 503")), 1, &all, &[], None, true),
        (
            100,
            down(unavailable("no connection")),
            1,
            &all,
            &[],
            None,
            true,
        ),
        // It hangs: one call, and smaller sets for a while in case they were too large.
        (
            100,
            down(unavailable("timed out")),
            1,
            &all,
            &[],
            Some(50),
            true,
        ),
        (1, down(unavailable("timed out")), 1, &[0], &[], None, true),
        // It has answered a moment ago: whether the account hangs or a skill is worth a few calls, and no more.
        (100, hangs(&all), 3, &all, &[], Some(25), true),
        (2, hangs(&[0, 1]), 3, &[0, 1], &[], None, true),
        // One skill hangs: it is found, with all others answered, and sets stay as large as they were.
        (100, hangs(&[0]), 15, &[0], &[0], None, false),
        (100, hangs(&[57]), 15, &[57], &[57], None, false),
        (100, hangs(&[99]), 15, &[99], &[99], None, false),
        // Two in different halves look like the account; smaller sets will tell.
        (100, hangs(&[7, 93]), 3, &all, &[], Some(25), true),
        (25, hangs(&[3, 7]), 17, &[3, 7], &[3, 7], None, false),
        (2, hangs(&[0]), 3, &[0], &[0], None, false),
        // By itself from then on.
        (1, hangs(&[0]), 1, &[0], &[0], None, false),
        // Too many at once are not answered in time.
        (100, slow_from(51), 3, &[], &[], Some(50), false),
        (100, slow_from(26), 3, &all, &[], Some(25), true),
        // May be about one skill, but is about all.
        (100, down(unauthorized(403)), 10, &all, &[], None, true),
        (100, down(refusal(400)), 10, &all, &[], None, true),
        (
            100,
            down(unavailable("HTTP 500")),
            10,
            &all,
            &[],
            None,
            true,
        ),
    ];
    for (skills, peer, searches, failed, alone, fits, hopeless) in cases {
        let ended = scan(skills, &peer);
        assert!(ended.searches <= searches, "{peer:?}: {ended:?}");
        assert_eq!(ended.failed, failed, "{peer:?}");
        assert_eq!(ended.alone, alone, "{peer:?}");
        assert_eq!(ended.fits, fits, "{peer:?}");
        assert_eq!(ended.hopeless, hopeless, "{peer:?}");
    }
}

proptest! {
    #[test]
    fn every_skill_has_one_result_and_only_odd_ones_fail(
        skills in 1_i64..=100,
        odd in prop::collection::vec(0_i64..100, 0..6),
        most in prop::option::of(1_usize..=100),
        hangs in any::<bool>(),
    ) {
        let peer = Peer { odd: odd.clone(), most, hangs, answers_lately: hangs, down: None };
        let ended = scan(skills, &peer);
        prop_assert_eq!(ended.skills, usize::try_from(skills).unwrap());
        prop_assert!((ended.calls - f64::from(ended.searches)).abs() < 1e-6, "the calls are shared out, none lost");
        if !ended.hopeless {
            let mut odd: Vec<i64> = odd.into_iter().filter(|skill| *skill < skills).collect();
            odd.sort_unstable();
            odd.dedup();
            prop_assert_eq!(&ended.failed, &odd);
        }
    }
}
