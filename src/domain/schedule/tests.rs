use chrono::TimeDelta;
use proptest::prelude::*;

use super::super::quiet::QuietHours;
use super::super::reached::Standing;
use super::super::sample::minute;
use super::super::zone::Zone;
use super::*;
use Channel::{Email, Sms};
use When::{Always, IfNotReached};

/// At any hour; each channel an hour late at most.
pub(super) fn rule(steps: &[(StepId, Channel, i64, When)], debounce: i64) -> Rule {
    let steps = steps.iter().map(|(id, channel, after, when)| Step {
        id: *id,
        channel: *channel,
        after: TimeDelta::minutes(*after),
        when: *when,
    });
    let mut settings = RuleSettings {
        steps: steps.collect(),
        debounce: TimeDelta::minutes(debounce),
        ..RuleSettings::default_for(&[])
    };
    for (_, own) in settings.channels.iter_mut() {
        own.max_age = TimeDelta::minutes(60);
        own.quiet_hours = QuietHours::default();
    }
    Rule::sample(settings)
}

/// As the default over both channels.
fn rungs() -> Rule {
    rule(
        &[
            (1, Email, 10, Always),
            (2, Sms, 10, IfNotReached),
            (3, Email, 1440, Always),
            (4, Sms, 1440, IfNotReached),
        ],
        2,
    )
}

pub(super) fn episode(since: i64, last_at: i64) -> Episode {
    Episode {
        first_message: "first".to_owned(),
        since: minute(since),
        last_message: "last".to_owned(),
        last_at: minute(last_at),
        count: 2,
        agent: None,
        times: vec![minute(since), minute(last_at)],
    }
}

pub(super) fn by_utc(rule: &Rule, channel: Channel) -> Reach {
    let settings = (&rule.settings, channel);
    Reach::By(LocalTime::new(
        Some(Zone::UTC),
        None,
        settings,
        Zone::UTC,
        minute(0),
    ))
}

fn reach(rule: &Rule, email: bool, sms: bool) -> PerChannel<Reach> {
    PerChannel::of(|channel| match channel {
        Email if email => by_utc(rule, Email),
        Sms if sms => by_utc(rule, Sms),
        Email | Sms => Reach::NoAddress,
        #[cfg(feature = "test-channel")]
        Channel::Probe => Reach::NotConfigured,
    })
}

/// Sent at its minute: step 1 and 2 after ten minutes, the others after a day.
fn done(step: StepId, channel: Channel, standing: Standing) -> DoneStep {
    let sent = matches!(
        standing,
        Standing::Reached | Standing::Open { .. } | Standing::NotReached { since: None }
    );
    DoneStep {
        step,
        channel,
        standing,
        sent: sent.then(|| minute(if step < 3 { 10 } else { 1440 })),
    }
}

fn due(step: StepId, channel: Channel, at: i64, deadline: i64) -> Next {
    Next::Due(DueStep {
        step,
        channel,
        at: minute(at),
        deadline: minute(deadline),
        not_before: minute(0),
    })
}

/// What is next, without what the rule alone says.
fn next(
    rule: &Rule,
    (email, sms): (bool, bool),
    episode: &Episode,
    done: &[DoneStep],
    now: i64,
) -> Next {
    let next = next_step(&Sequence {
        rule,
        episode,
        reach: &reach(rule, email, sms),
        done,
        now: minute(now),
    });
    match next.next {
        Next::Due(due) => Next::Due(DueStep {
            not_before: minute(0),
            ..due
        }),
        other => other,
    }
}

#[test]
fn of_one_channel_the_next_step_is_the_first_that_is_left_and_in_time() {
    let usual = rule(&[(1, Sms, 10, Always), (2, Sms, 1440, Always)], 2);
    let slow = rule(&[(1, Sms, 10, Always), (2, Sms, 20, Always)], 30);
    // From minute 60 to 720, 09:00 to 20:00.
    let mut day = usual.clone();
    day.settings.channels[Sms].quiet_hours.allowed = QuietHours::sms_default().allowed;
    let reached = |step| done(step, Sms, Standing::Reached);
    let nothing = Next::Nothing;
    // What, settings, episode since and last, steps done, now, expected.
    #[rustfmt::skip]
    let cases = [
        ("fresh", &usual, (0, 0), vec![], 1, due(1, Sms, 10, 70)),
        ("already due", &usual, (0, 0), vec![], 30, due(1, Sms, 10, 70)),
        ("the agent still writes", &usual, (0, 9), vec![], 9, due(1, Sms, 11, 71)),
        ("one done", &usual, (0, 0), vec![reached(1)], 11, due(2, Sms, 1440, 1500)),
        ("all done", &usual, (0, 0), vec![reached(2), reached(1)], 11, nothing(Reason::AllStepsDone)),
        ("the second done without the first", &usual, (0, 0), vec![reached(2)], 11, nothing(Reason::AllStepsDone)),
        ("more done than the rule has steps", &usual, (0, 0), vec![reached(1), reached(2), reached(3)], 11, nothing(Reason::AllStepsDone)),
        ("an old conversation", &usual, (0, 0), vec![], 70, due(2, Sms, 1440, 1500)),
        ("a very old one", &usual, (0, 0), vec![], 1500, nothing(Reason::TooLate)),
        ("the last step, too late", &usual, (0, 0), vec![reached(1)], 1500, nothing(Reason::TooLate)),
        ("old, but the agent wrote again", &usual, (0, 2000), vec![], 2000, due(1, Sms, 2002, 2062)),
        ("a long debounce", &slow, (0, 0), vec![], 1, due(1, Sms, 30, 90)),
        ("raises both alike", &slow, (0, 0), vec![reached(1)], 31, due(2, Sms, 30, 90)),
        ("due in the night: until an hour after it", &day, (0, 0), vec![], 1, due(1, Sms, 10, 120)),
        ("still in the night", &day, (710, 710), vec![], 1000, due(1, Sms, 720, 1560)),
        ("after it", &day, (710, 710), vec![], 1560, due(2, Sms, 2150, 2990)),
    ];
    for (what, rule, (since, last), done, now, expected) in cases {
        let found = next(rule, (false, true), &episode(since, last), &done, now);
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn a_rung_goes_on_only_with_who_was_not_reached() {
    use Standing::{Ends, NotReached, Open, Over, PassedOver, Reached, Scheduled, Trying};
    let rungs = rungs();
    let (both, email_only, sms_only) = ((true, true), (true, false), (false, true));
    let open = Open { until: minute(25) };
    let failed = |at| NotReached {
        since: Some(minute(at)),
    };
    let bounced = NotReached { since: None };
    let email = |standing| done(1, Email, standing);
    let text = |standing| done(2, Sms, standing);
    let nothing = Next::Nothing;
    // What, who has which addresses, the steps done, now, expected.
    #[rustfmt::skip]
    let cases = [
        ("both: the e-mail", both, vec![], 1, due(1, Email, 10, 70)),
        ("no number: the e-mail", email_only, vec![], 1, due(1, Email, 10, 70)),
        ("no e-mail address: the text at its own moment", sms_only, vec![], 1, due(2, Sms, 10, 70)),
        ("neither", (false, false), vec![], 1, nothing(Reason::NoAddress)),
        ("scheduled, not tried: the same again", both, vec![email(Scheduled)], 5, due(1, Email, 10, 70)),
        ("the address of what is scheduled is gone", sms_only, vec![email(Scheduled)], 5, due(2, Sms, 10, 70)),
        ("an address turns up while the text is scheduled", both, vec![text(Scheduled)], 5, due(1, Email, 10, 70)),
        ("while it is being tried it is too late for that", both, vec![text(Trying)], 12, Next::Trying(2, Sms)),
        ("it was cancelled for want of an address, and there is one now", both, vec![email(PassedOver)], 15, due(1, Email, 10, 70)),
        ("the same, and the text was sent: not gone back to", both, vec![email(PassedOver), text(Reached)], 15, due(3, Email, 1440, 1500)),
        ("reached: the next rung", both, vec![email(Reached)], 11, due(3, Email, 1440, 1500)),
        ("reached, no e-mail address by now: the next rung by text", sms_only, vec![email(Reached)], 11, due(4, Sms, 1440, 1500)),
        ("open: held back, and the next rung does not wait", both, vec![email(open)], 11, due(3, Email, 1440, 1500)),
        ("refused at once", both, vec![email(failed(10))], 10, due(2, Sms, 10, 70)),
        ("failed later: from then on", both, vec![email(failed(30))], 30, due(2, Sms, 30, 70)),
        ("failed when the text would be too late: the next rung", both, vec![email(failed(70))], 70, due(3, Email, 1440, 1500)),
        ("came back: now", both, vec![email(bounced)], 22, due(2, Sms, 22, 70)),
        ("came back, text scheduled: still that", both, vec![email(bounced), text(Scheduled)], 23, due(2, Sms, 23, 70)),
        ("came back, no number", email_only, vec![email(bounced)], 22, due(3, Email, 1440, 1500)),
        ("came back too late", both, vec![email(bounced)], 80, due(3, Email, 1440, 1500)),
        ("ended by a person: no substitute", both, vec![email(Over)], 11, due(3, Email, 1440, 1500)),
        ("a no ends it", both, vec![email(Ends(Reason::OptedOut))], 11, nothing(Reason::OptedOut)),
        ("held out of the whole rule", both, vec![email(Ends(Reason::HeldOut))], 11, nothing(Reason::HeldOut)),
        ("both of the first rung failed", both, vec![email(failed(10)), text(failed(11))], 12, due(3, Email, 1440, 1500)),
        ("the last rung: open", both, vec![email(Reached), done(3, Email, open)], 1441, nothing(Reason::AwaitingReport)),
        ("the last rung: reached", both, vec![email(Reached), done(3, Email, Reached)], 1441, nothing(Reason::AllStepsDone)),
        ("the last rung: came back", both, vec![email(Reached), done(3, Email, bounced)], 1450, due(4, Sms, 1450, 1500)),
    ];
    for (what, reach, done, now, expected) in cases {
        let found = next(&rungs, reach, &episode(0, 0), &done, now);
        assert_eq!(found, expected, "{what}");
    }
}

/// The bound of a step that was brought forward is that of its own moment, and the next rung's beginning.
#[test]
fn a_step_gives_way_to_the_next_rung() {
    let close = rule(
        &[
            (1, Email, 10, Always),
            (2, Sms, 20, IfNotReached),
            (3, Email, 45, Always),
        ],
        2,
    );
    let bounced = [done(1, Email, Standing::NotReached { since: None })];
    let found = |now| next(&close, (true, true), &episode(0, 0), &bounced, now);
    assert_eq!(found(12), due(2, Sms, 20, 45));
    assert_eq!(found(44), due(2, Sms, 44, 45));
    assert_eq!(found(45), due(3, Email, 45, 105));
}

/// In the night, from minute 720 to 1500, no text may go: an e-mail of the next rung does not wait for the morning with it.
#[test]
fn what_waits_for_its_hours_gives_way_to_the_next_rung() {
    let mut rule = rule(&[(1, Sms, 10, Always), (2, Email, 60, Always)], 2);
    rule.settings.channels[Sms].quiet_hours.allowed = QuietHours::sms_default().allowed;
    let found = |now| next(&rule, (true, true), &episode(715, 715), &[], now);
    assert!(
        matches!(found(726), Next::Due(due) if due.step == 1),
        "waits"
    );
    assert!(
        matches!(found(774), Next::Due(due) if due.step == 1),
        "still"
    );
    assert_eq!(found(775), due(2, Email, 775, 835));
    assert!(
        matches!(next(&rule, (false, true), &episode(715, 715), &[], 775), Next::Due(due) if due.step == 1),
        "no e-mail address"
    );
}

#[test]
fn what_is_edited_is_neither_repeated_nor_skipped() {
    let reached = |step, channel| done(step, channel, Standing::Reached);
    let sent = [reached(1, Email)];
    #[rustfmt::skip]
    let cases = [
        ("a step put in after the one that was sent", vec![(1, Email, 10, Always), (7, Sms, 60, Always), (3, Email, 1440, Always)], due(7, Sms, 60, 120)),
        ("one put in before it", vec![(7, Sms, 5, Always), (1, Email, 10, Always), (3, Email, 1440, Always)], due(3, Email, 1440, 1500)),
        ("the sent one removed", vec![(3, Email, 1440, Always)], due(3, Email, 1440, 1500)),
        ("the next one removed", vec![(1, Email, 10, Always), (8, Sms, 2880, Always)], due(8, Sms, 2880, 2940)),
        ("the sent one moved to the end", vec![(3, Email, 20, Always), (1, Email, 1440, Always)], due(3, Email, 20, 80)),
        ("moved behind what had been due before", vec![(3, Email, 9, Always), (1, Email, 1440, Always)], Next::Nothing(Reason::AllStepsDone)),
        ("its id on another channel is another step", vec![(1, Sms, 20, Always)], due(1, Sms, 20, 80)),
        ("made conditional: it was reached", vec![(1, Email, 10, Always), (3, Email, 1440, IfNotReached)], Next::Nothing(Reason::AllStepsDone)),
    ];
    for (what, steps, expected) in cases {
        let rule = rule(&steps, 2);
        let found = next(&rule, (true, true), &episode(0, 0), &sent, 11);
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn a_channel_that_is_not_live_or_not_there_is_passed_over_and_said() {
    let mut rungs = rungs();
    let ask = |rule: &Rule, reach: &PerChannel<Reach>| {
        next_step(&Sequence {
            rule,
            episode: &episode(0, 0),
            reach,
            done: &[],
            now: minute(1),
        })
    };
    let is_step = |found: &NextStep, step| matches!(found.next, Next::Due(due) if due.step == step);
    rungs.live[Email] = None;
    let found = ask(&rungs, &reach(&rungs, true, true));
    assert!(is_step(&found, 2), "{found:?}");
    assert_eq!(found.passed_over, [(Email, Reason::NotLive)]);
    // Nothing is live: what would happen.
    rungs.live = PerChannel::default();
    let found = ask(&rungs, &reach(&rungs, true, true));
    assert!(
        is_step(&found, 1) && found.passed_over.is_empty(),
        "{found:?}"
    );
    // Live since after the message.
    rungs.live = PerChannel::of(|channel| (channel == Email).then(|| minute(1)).or(Rule::ALWAYS));
    let found = ask(&rungs, &reach(&rungs, true, true));
    assert!(is_step(&found, 2), "{found:?}");
    assert_eq!(found.passed_over, [(Email, Reason::BeforeLive)]);
    rungs.live = PerChannel::of(|_| Rule::ALWAYS);
    let mut gone = reach(&rungs, true, true);
    gone[Email] = Reach::NotConfigured;
    let found = ask(&rungs, &gone);
    assert!(is_step(&found, 2), "{found:?}");
    assert_eq!(found.passed_over, [(Email, Reason::NotConfigured)]);
}

#[test]
fn what_fell_due_in_a_lost_time_is_not_owed_again_nor_what_is_there_in_its_place() {
    let mut simple = rule(
        &[
            (1, Sms, 10, Always),
            (2, Sms, 60, Always),
            (3, Sms, 1440, Always),
        ],
        2,
    );
    simple.settings.channels[Sms].max_age = TimeDelta::minutes(600);
    for (lost, expected) in [
        (None, due(1, Sms, 10, 610)),
        (Some(9), due(1, Sms, 10, 610)),
        (Some(10), due(2, Sms, 60, 660)),
        (Some(70), due(3, Sms, 1440, 2040)),
        (Some(1440), Next::Nothing(Reason::TooLate)),
    ] {
        simple.lost_until = lost.map(minute);
        let found = next(&simple, (true, true), &episode(0, 0), &[], 30);
        assert_eq!(found, expected, "{lost:?}");
    }
    // Whether the e-mail of the lost time reached them nobody knows.
    let mut rungs = rule(
        &[
            (1, Email, 10, Always),
            (2, Sms, 40, IfNotReached),
            (3, Email, 1440, Always),
        ],
        2,
    );
    rungs.lost_until = Some(minute(20));
    let found = |done: &[DoneStep]| next(&rungs, (true, true), &episode(0, 0), done, 30);
    assert_eq!(found(&[]), due(3, Email, 1440, 1500));
    let failed = done(
        1,
        Email,
        Standing::NotReached {
            since: Some(minute(10)),
        },
    );
    assert_eq!(found(&[failed]), due(2, Sms, 40, 100));
}

proptest! {
    #[test]
    fn steps_come_in_order_and_in_time(
        mut steps in prop::collection::vec((1..3000_i64, any::<bool>(), any::<bool>()), 1..8),
        debounce in 0..200_i64, max_age in 1..500_i64, last in 0..3000_i64, now in 0..4000_i64,
        already in prop::collection::vec(1..9_i16, 0..4), nights: bool, (email, sms) in any::<(bool, bool)>(),
    ) {
        steps.sort_unstable();
        let steps: Vec<_> = (1..).zip(&steps).map(|(id, (after, is_sms, always))| {
            let when = if *always || id == 1 { Always } else { IfNotReached };
            (id, if *is_sms { Sms } else { Email }, *after, when)
        }).collect();
        let mut rule = rule(&steps, debounce);
        for (_, own) in rule.settings.channels.iter_mut() {
            own.max_age = TimeDelta::minutes(max_age);
            if nights {
                own.quiet_hours = QuietHours::sms_default();
            }
        }
        // Each was sent when it was due.
        let reached = |id: StepId| {
            let step = steps.iter().find(|step| step.0 == id);
            DoneStep {
                sent: step.map(|step| minute(step.2)),
                ..done(id, step.map_or(Sms, |step| step.1), Standing::Reached)
            }
        };
        let before: Vec<_> = already.iter().map(|id| reached(*id)).collect();
        let episode = episode(0, last);
        let reach = (email, sms);
        if let Next::Due(due) = next(&rule, reach, &episode, &before, now) {
            prop_assert!(already.iter().all(|id| *id < due.step || *id > i16::try_from(steps.len()).unwrap()));
            prop_assert!(minute(now) < due.deadline && due.at < due.deadline);
            prop_assert!(due.deadline - due.at <= rule.settings.latest(due.channel));
            prop_assert!(due.at >= episode.last_at + rule.settings.debounce);
            let has_address = if due.channel == Email { email } else { sms };
            prop_assert!(has_address);
            let mut with_it = before.clone();
            with_it.push(reached(due.step));
            if let Next::Due(after_it) = next(&rule, reach, &episode, &with_it, now) {
                prop_assert!(after_it.step > due.step && after_it.at >= due.at);
                let place = |step: StepId| usize::try_from(step - 1).unwrap();
                let rung = earlier_of_rung(&rule.settings, place(after_it.step));
                prop_assert!(!rung.contains(&place(due.step)), "its rung was reached");
            }
        }
    }
}
