//! The arithmetic of turns, without a database.

use super::*;

use proptest::prelude::*;

const HORIZON: Duration = Duration::from_secs(10);

#[test]
fn a_backlog_gets_what_the_rate_allows_within_the_horizon() {
    let waits = spaced(100, 0.0, 2.0, HORIZON);
    // One at once, then two a second for ten seconds.
    assert_eq!(waits.len(), 21);
    assert_eq!(waits[..3], [0.0, 0.5, 1.0].map(Duration::from_secs_f64));
    assert!(waits.is_sorted());
}

#[test]
fn turns_come_behind_those_who_were_before_and_after_a_pause_one_by_one() {
    assert_eq!(spaced(3, 9.5, 1.0, HORIZON).len(), 1);
    assert!(spaced(1, 3600.0, 1.0, HORIZON).is_empty());
    let after_a_pause = spaced(3, 2.0, 10.0, HORIZON);
    assert_eq!(
        after_a_pause,
        [2.0, 2.1, 2.2].map(Duration::from_secs_f64),
        "not all at once"
    );
}

proptest! {
    /// The row's arithmetic over random arrivals: whoever asks when, no window of a second holds more than the rate (rounded up),
    /// and while somebody waits no turn is left out.
    #[test]
    fn no_second_holds_more_than_the_rate_after_idling_either(
        rate in 0.2f64..200.0,
        arrivals in prop::collection::vec((0.0f64..3.0, 1usize..60), 1..40),
    ) {
        let (mut now, mut tat, mut turns) = (0.0f64, 0.0f64, Vec::<f64>::new());
        for (pause, wanted) in arrivals {
            now += pause;
            let begins = (tat - now).max(0.0);
            let waits = spaced(wanted, begins, rate, HORIZON);
            turns.extend(waits.iter().map(|wait| now + wait.as_secs_f64()));
            if !waits.is_empty() {
                tat = now + begins + lasts(waits.len(), rate);
            }
        }
        for (first, at) in turns.iter().enumerate() {
            // Half a microsecond for rounding.
            let within = turns[first..].iter().take_while(|t| **t < at + 1.0 - 5e-7).count();
            prop_assert!(lasts(within - 1, rate) < 1.0, "{within} within a second at {rate} a second");
        }
    }
}
