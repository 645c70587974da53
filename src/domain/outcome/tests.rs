use proptest::prelude::*;

use super::super::sample::START;
use super::*;

fn not_accepted(class: Retryable, retry_after: Option<u64>) -> Outcome {
    Outcome::NotAccepted {
        class,
        code: "451".to_owned(),
        retry_after: retry_after.map(Duration::from_secs),
    }
}

fn refused(class: Refusal) -> Outcome {
    Outcome::Refused {
        class,
        code: "550".to_owned(),
    }
}

fn unknown() -> Outcome {
    Outcome::Unknown {
        code: "timeout".to_owned(),
    }
}

/// A first e-mail attempt, in the middle of the jitter, with a day of time.
fn first(outcome: &Outcome) -> Attempt<'_> {
    Attempt {
        channel: Channel::Email,
        outcome,
        earlier: 0,
        soft_before: false,
        maybe_sent_before: false,
        resend_unknown: false,
        deadline: START + TimeDelta::days(1),
        now: START,
        jitter: 0.5,
    }
}

fn retry(seconds: i64) -> AfterAttempt {
    AfterAttempt::Retry {
        at: START + TimeDelta::seconds(seconds),
    }
}

fn failed(code: &str) -> AfterAttempt {
    AfterAttempt::Failed {
        code: code.to_owned(),
    }
}

#[test]
fn what_was_not_accepted_is_tried_eight_times_with_growing_waits() {
    let outcome = not_accepted(Retryable::Transient, None);
    let waits = [10, 30, 60, 120, 300, 600, 600].map(retry);
    for (earlier, expected) in (0..).zip(waits.into_iter().chain([failed("451"), failed("451")])) {
        assert_eq!(
            next_state(&Attempt {
                earlier,
                ..first(&outcome)
            }),
            expected,
            "{earlier}"
        );
    }
}

#[test]
fn waits_are_spread_by_a_fifth() {
    let outcome = not_accepted(Retryable::Transient, None);
    for (jitter, seconds) in [(0.0, 8), (1.0, 12), (7.0, 12), (-1.0, 8)] {
        assert_eq!(
            next_state(&Attempt {
                jitter,
                ..first(&outcome)
            }),
            retry(seconds),
            "{jitter}"
        );
    }
}

#[test]
fn each_obstacle_has_its_wait() {
    let hold = |seconds| AfterAttempt::OpenCircuit {
        until: START + TimeDelta::seconds(seconds),
    };
    let cases = [
        (Retryable::Transient, None, retry(10)),
        (Retryable::Transient, Some(5), retry(10)),
        (Retryable::Transient, Some(90), retry(90)),
        (
            Retryable::Transient,
            Some(2 * 86_400),
            AfterAttempt::Expired,
        ),
        (Retryable::Transient, Some(u64::MAX), AfterAttempt::Expired),
        (Retryable::Slow, None, retry(60)),
        (Retryable::Slow, Some(300), retry(300)),
        (Retryable::RecipientSoft, None, retry(300)),
        (Retryable::RecipientPolicy, None, retry(60)),
        (Retryable::RecipientPolicy, Some(300), retry(300)),
        (Retryable::Config, None, hold(60)),
        (Retryable::Config, Some(90), hold(90)),
        (Retryable::Quota, None, hold(3600)),
        (Retryable::Quota, Some(7200), hold(7200)),
        // Decided anew, at once if nothing else is said, and at the deadline at the latest: then it expires by a decision.
        (Retryable::NotTried, None, retry(0)),
        (Retryable::NotTried, Some(5), retry(5)),
        (Retryable::NotTried, Some(u64::MAX), retry(86_400)),
    ];
    for (class, retry_after, expected) in cases {
        let outcome = not_accepted(class, retry_after);
        assert_eq!(
            next_state(&first(&outcome)),
            expected,
            "{class:?} {retry_after:?}"
        );
    }
}

#[test]
fn a_soft_failure_of_the_recipient_is_tried_once_more() {
    let outcome = not_accepted(Retryable::RecipientSoft, None);
    let second = Attempt {
        earlier: 1,
        soft_before: true,
        ..first(&outcome)
    };
    assert_eq!(next_state(&second), failed("451"));
}

#[test]
fn refusals_are_final_and_only_the_recipients_suppress() {
    let cases = [
        (
            Refusal::BadRecipient,
            failed("550"),
            Some(Suppression::BadAddress),
        ),
        (
            Refusal::OptedOut,
            AfterAttempt::OptedOut,
            Some(Suppression::OptedOut),
        ),
        // For good: START does not lift a block.
        (
            Refusal::Blocked,
            AfterAttempt::OptedOut,
            Some(Suppression::Blocked),
        ),
        (Refusal::SenderRecipientPair, failed("550"), None),
        (Refusal::Policy, failed("550"), None),
        (Refusal::Expired, AfterAttempt::Expired, None),
        (Refusal::Other, failed("550"), None),
    ];
    for (class, expected, suppression) in cases {
        let outcome = refused(class);
        assert_eq!(next_state(&first(&outcome)), expected, "{class:?}");
        assert_eq!(outcome.suppression(), suppression, "{class:?}");
    }
}

#[test]
fn an_accepted_attempt_is_sent_and_keeps_the_providers_id() {
    let outcome = Outcome::Accepted {
        provider_id: Some("SM1".to_owned()),
    };
    let sent = AfterAttempt::Sent {
        provider_id: Some("SM1".to_owned()),
    };
    assert_eq!(
        next_state(&Attempt {
            maybe_sent_before: true,
            ..first(&outcome)
        }),
        sent
    );
    assert_eq!(outcome.suppression(), None);
}

#[test]
fn an_unknown_sms_is_settled_and_never_resent_by_itself() {
    let outcome = unknown();
    let attempt = Attempt {
        channel: Channel::Sms,
        resend_unknown: true,
        ..first(&outcome)
    };
    let settle = AfterAttempt::Settle {
        at: START + TimeDelta::seconds(90),
    };
    assert_eq!(next_state(&attempt), settle);
    assert_eq!(
        next_state(&Attempt {
            deadline: START,
            ..attempt
        }),
        settle,
        "the truth is wanted after the deadline too"
    );
}

#[test]
fn an_unknown_e_mail_is_resent_at_most_once_and_only_if_the_rule_says() {
    let outcome = unknown();
    let resend = Attempt {
        resend_unknown: true,
        ..first(&outcome)
    };
    assert_eq!(next_state(&first(&outcome)), AfterAttempt::Unknown);
    assert_eq!(next_state(&resend), retry(10));
    assert_eq!(
        next_state(&Attempt {
            maybe_sent_before: true,
            ..resend
        }),
        AfterAttempt::Unknown
    );
    assert_eq!(
        next_state(&Attempt {
            deadline: START,
            ..resend
        }),
        AfterAttempt::Unknown
    );
    assert_eq!(
        next_state(&Attempt {
            earlier: 7,
            ..resend
        }),
        AfterAttempt::Unknown
    );
}

#[test]
fn a_resend_that_fails_leaves_the_reminder_unknown() {
    for outcome in [
        refused(Refusal::Policy),
        not_accepted(Retryable::RecipientSoft, None),
    ] {
        let attempt = Attempt {
            maybe_sent_before: true,
            soft_before: true,
            ..first(&outcome)
        };
        assert_eq!(next_state(&attempt), AfterAttempt::Unknown);
    }
}

#[test]
fn no_try_comes_within_half_a_minute_of_the_deadline() {
    let outcome = not_accepted(Retryable::Transient, None);
    let left = |seconds| Attempt {
        deadline: START + TimeDelta::seconds(seconds),
        ..first(&outcome)
    };
    assert_eq!(next_state(&left(40)), retry(10));
    assert_eq!(next_state(&left(39)), AfterAttempt::Expired);
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let obstacles = prop::sample::select(vec![
        Retryable::Transient,
        Retryable::Slow,
        Retryable::RecipientSoft,
        Retryable::RecipientPolicy,
        Retryable::Config,
        Retryable::Quota,
        Retryable::NotTried,
    ]);
    let refusals = prop::sample::select(vec![
        Refusal::BadRecipient,
        Refusal::OptedOut,
        Refusal::Blocked,
        Refusal::SenderRecipientPair,
        Refusal::Policy,
        Refusal::Expired,
        Refusal::Other,
    ]);
    prop_oneof![
        1 => Just(Outcome::Accepted { provider_id: None }),
        1 => refusals.prop_map(refused),
        4 => (obstacles, prop::option::of(any::<u64>())).prop_map(|(o, after)| not_accepted(o, after)),
        1 => Just(unknown()),
    ]
}

proptest! {
    #[test]
    fn no_reminder_is_tried_for_ever_late_or_twice(
        outcomes in prop::collection::vec(outcomes(), 60),
        sms: bool, resend_unknown: bool, jitter in 0.0..1.0_f64, minutes in 0..2000_i64,
    ) {
        let deadline = START + TimeDelta::minutes(minutes);
        let mut attempt = Attempt {
            channel: if sms { Channel::Sms } else { Channel::Email },
            resend_unknown,
            deadline,
            jitter,
            ..first(&outcomes[0])
        };
        let (mut counted, mut maybe_sent) = (0, 0);
        for outcome in &outcomes {
            attempt.outcome = outcome;
            let next = next_state(&attempt);
            let held = matches!(outcome, Outcome::NotAccepted { class: Retryable::Config | Retryable::Quota, .. });
            prop_assert_eq!(held, matches!(next, AfterAttempt::OpenCircuit { .. }));
            let not_tried = matches!(outcome, Outcome::NotAccepted { class: Retryable::NotTried, .. });
            counted += u32::from(!held && !not_tried);
            maybe_sent += u32::from(matches!(outcome, Outcome::Unknown { .. } | Outcome::Accepted { .. }));
            match next {
                AfterAttempt::Retry { at } if not_tried => {
                    prop_assert!(attempt.now <= at && at <= deadline.max(attempt.now));
                    attempt.now = at;
                }
                AfterAttempt::Retry { at } => {
                    prop_assert!(attempt.now < at && at <= deadline - LAST_CALL);
                    let blind = sms && matches!(outcome, Outcome::Unknown { .. });
                    prop_assert!(!blind);
                    attempt.now = at;
                }
                AfterAttempt::OpenCircuit { until } => {
                    prop_assert!(attempt.now < until);
                    if until >= deadline {
                        break;
                    }
                    attempt.now = until;
                }
                AfterAttempt::Expired | AfterAttempt::Failed { .. } => {
                    prop_assert_eq!(maybe_sent, 0, "it may have been sent");
                    break;
                }
                _ => break,
            }
            attempt.earlier = counted;
            attempt.soft_before |= matches!(outcome, Outcome::NotAccepted { class: Retryable::RecipientSoft, .. });
            attempt.maybe_sent_before |= matches!(outcome, Outcome::Unknown { .. });
        }
        prop_assert!(counted <= 8);
        let allowed = if resend_unknown && !sms { 2 } else { 1 };
        prop_assert!(maybe_sent <= allowed);
    }
}
