use chrono_tz::Europe::{Berlin, Helsinki};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::Decision::{Cancel, Expire, Postpone, Send};
use super::*;
use crate::domain::contact::Address;
use crate::domain::ids::Channel;
use crate::domain::local_time::LocalTime;
use crate::domain::quiet::{QuietHours, Window};
use crate::domain::read_state::Episode;
use crate::domain::rule::{RuleSettings, Step};
use crate::domain::sample::{message_id, minute};
use crate::domain::zone::Zone;

/// Tuesday 08:12 UTC: an agent's message of 08:00 is owed a text message since 08:10, until 09:10. Nothing stands in the way.
#[derive(Clone, Debug)]
struct Case {
    episode: String,
    deadline: DateTime<Utc>,
    rule: Option<Rule>,
    record: Option<Record>,
    contact: Option<Contact>,
    suppression: Option<Suppression>,
    paused: bool,
    held: bool,
    history: History,
    clicked_at: Option<DateTime<Utc>>,
    holdout_bucket: u8,
    now: DateTime<Utc>,
}

fn usual() -> Case {
    let settings = RuleSettings {
        quiet_hours: QuietHours::default(),
        ..RuleSettings::default_for(Channel::Sms)
    };
    Case {
        episode: message_id(1),
        deadline: minute(70),
        rule: Some(Rule::sample(settings)),
        record: Some(Record {
            time_zone: Some(Zone::UTC),
            ..Record::sample().agent(1, 0)
        }),
        contact: Some(contact()),
        suppression: None,
        paused: false,
        held: false,
        history: History::default(),
        clicked_at: None,
        holdout_bucket: 50,
        now: minute(12),
    }
}

fn contact() -> Contact {
    Contact {
        address: Address::phone("+12025550143", None).unwrap(),
        first_name: Some("Ana".to_owned()),
    }
}

impl Case {
    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut case = usual();
        change(&mut case);
        case
    }

    fn local(&self) -> LocalTime {
        let told = self.record.as_ref().and_then(|record| record.time_zone);
        let address = self.contact.as_ref().map(|contact| &contact.address);
        match &self.rule {
            Some(rule) => LocalTime::new(told, address, &rule.settings, Zone::UTC, self.now),
            None => LocalTime::of_account(Zone::UTC),
        }
    }

    fn decide(&self) -> Decision {
        decide(&Facts {
            local: &self.local(),
            episode: &self.episode,
            deadline: self.deadline,
            rule: self.rule.as_ref(),
            record: self.record.as_ref(),
            count_bots: false,
            contact: self.contact.clone(),
            suppression: self.suppression,
            paused: self.paused,
            held: self.held,
            history: &self.history,
            clicked_at: self.clicked_at,
            holdout_bucket: self.holdout_bucket,
            now: self.now,
        })
    }

    fn settings(&mut self) -> &mut RuleSettings {
        &mut self.rule.as_mut().unwrap().settings
    }

    fn rewrite(&mut self, change: impl FnOnce(Record) -> Record) {
        self.record = self.record.take().map(change);
    }

    /// Reminders at these minutes of the day before, earlier than all others.
    fn wrote_yesterday(&mut self, conversation: &[i64], recipient: &[i64]) {
        let yesterday = |m: &i64| minute(m - 24 * 60);
        let History {
            conversation: c,
            recipient: r,
        } = &mut self.history;
        c.splice(..0, conversation.iter().map(yesterday));
        r.splice(..0, recipient.iter().map(yesterday));
    }

    fn allow(&mut self, from: &str, to: &str) {
        self.settings().quiet_hours.allowed = vec![Window {
            days: vec![],
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        }];
    }
}

type Change = fn(&mut Case);

/// Everything that can stand in the way, in the order in which it is asked.
#[rustfmt::skip]
const OBSTACLES: [(Decision, Change); 26] = [
    (Expire(Reason::TooLate), |c| c.deadline = c.now),
    (Cancel(Reason::NoRule), |c| c.rule = None),
    (Cancel(Reason::RuleOff), |c| c.rule.as_mut().unwrap().enabled = false),
    (Cancel(Reason::Gone), |c| c.record = None),
    (Cancel(Reason::Closed), |c| c.rewrite(|r| Record { open: false, ..r })),
    (Postpone(minute(13), Reason::Undecided), |c| c.rewrite(|r| Record { partial: true, ..r })),
    (Cancel(Reason::NoAgentMessage), |c| c.rewrite(|r| Record { messages: vec![], ..r })),
    (Cancel(Reason::Answered), |c| c.rewrite(|r| r.consumer(9, 12))),
    (Cancel(Reason::Read), |c| c.rewrite(|r| r.read(8))),
    (Cancel(Reason::NewEpisode), |c| c.episode = message_id(0)),
    (Postpone(minute(17), Reason::InQueue), |c| c.rewrite(|r| Record { queue: Queue::Waiting, ..r })),
    (Cancel(Reason::NoAddress), |c| c.contact = None),
    (Cancel(Reason::OptedOut), |c| c.suppression = Some(Suppression::OptedOut)),
    (Cancel(Reason::BadAddress), |c| c.suppression = Some(Suppression::BadAddress)),
    (Cancel(Reason::Complaint), |c| c.suppression = Some(Suppression::Complaint)),
    (Cancel(Reason::Blocked), |c| c.suppression = Some(Suppression::Blocked)),
    (Postpone(minute(13), Reason::NewerRule), |c| c.settings().newer.unreadable.push("steps".to_owned())),
    (Postpone(minute(22), Reason::Held), |c| c.held = true),
    (Postpone(minute(22), Reason::Paused), |c| c.paused = true),
    (Postpone(minute(13), Reason::Debounce), |c| c.rewrite(|r| r.agent(2, 11))),
    (Postpone(minute(13), Reason::Clicked), |c| c.clicked_at = Some(minute(11))),
    (Postpone(minute(20), Reason::Gap), |c| c.history.conversation.push(minute(-100))),
    (Postpone(minute(30), Reason::CapConversation), |c| c.wrote_yesterday(&[30, 40], &[])),
    (Postpone(minute(50), Reason::CapRecipient), |c| c.wrote_yesterday(&[], &[5, 50, 60])),
    (Postpone(minute(60), Reason::QuietHours), |c| c.allow("09:00:00", "20:00:00")),
    (Cancel(Reason::HeldOut), |c| c.settings().holdout_percent = 51),
];

/// For the debounce after the click, not at its end; in a rule without one not at all; and not past the deadline.
#[test]
fn a_click_holds_the_next_step_back_for_a_while() {
    let cases = [
        (12, 2, 70, Postpone(minute(14), Reason::Clicked)),
        (11, 2, 70, Postpone(minute(13), Reason::Clicked)),
        (10, 2, 70, Send(contact())),
        (-600, 2, 70, Send(contact())),
        (12, 0, 70, Send(contact())),
        (11, 5, 70, Postpone(minute(16), Reason::Clicked)),
        (12, 2, 14, Expire(Reason::Clicked)),
        // Another process's clock may be ahead.
        (13, 2, 70, Postpone(minute(15), Reason::Clicked)),
    ];
    for (clicked, debounce, deadline, answer) in cases {
        let case = Case::with(|c| {
            c.clicked_at = Some(minute(clicked));
            c.settings().debounce = TimeDelta::minutes(debounce);
            c.deadline = minute(deadline);
        });
        assert_eq!(case.decide(), answer, "{clicked}, {debounce}, {deadline}");
    }
    let read = Case::with(|c| {
        c.clicked_at = Some(minute(12));
        c.rewrite(|r| r.read(8));
    });
    assert_eq!(
        read.decide(),
        Cancel(Reason::Read),
        "LivePerson has said so"
    );
}

#[test]
fn with_nothing_in_the_way_it_is_sent() {
    assert_eq!(usual().decide(), Send(contact()));
}

#[test]
fn each_obstacle_alone_is_the_reason() {
    for (expected, obstacle) in OBSTACLES {
        assert_eq!(Case::with(obstacle).decide(), expected);
    }
}

#[test]
fn of_several_obstacles_the_first_in_the_order_of_the_design_is_the_reason() {
    for (i, (expected, _)) in OBSTACLES.iter().enumerate() {
        // The earlier ones last, so that what a later one set does not hide them.
        let case = Case::with(|c| OBSTACLES[i..].iter().rev().for_each(|(_, o)| o(c)));
        assert_eq!(case.decide(), *expected);
    }
}

#[test]
fn what_could_only_wait_past_its_deadline_expires_for_that_reason() {
    for (expected, obstacle) in OBSTACLES {
        let Postpone(until, reason) = expected else {
            continue;
        };
        // Held to the end: its own test below.
        if matches!(reason, Reason::Paused | Reason::Held) {
            continue;
        }
        let mut case = Case::with(obstacle);
        case.deadline = until;
        assert_eq!(
            case.decide(),
            Expire(reason),
            "waiting until the deadline is in vain"
        );
        case.deadline = until + TimeDelta::milliseconds(1);
        assert_eq!(case.decide(), Postpone(until, reason));
    }
}

#[test]
fn lots_at_or_above_the_hold_out_share_are_written_to() {
    let case = Case::with(|c| c.settings().holdout_percent = 50);
    assert_eq!(case.decide(), Send(contact()));
}

#[test]
fn what_a_person_must_end_keeps_a_reminder_until_just_before_its_deadline() {
    let kept: [(Reason, Change); 2] = [
        (Reason::Paused, |c| c.paused = true),
        (Reason::Held, |c| c.held = true),
    ];
    for (reason, keep) in kept {
        let decided = |now: DateTime<Utc>| {
            Case::with(|c| {
                keep(c);
                c.now = now;
            })
            .decide()
        };
        assert_eq!(decided(minute(60)), Postpone(minute(65), reason));
        let nearly = minute(70) - TimeDelta::seconds(31);
        let last_look = nearly + TimeDelta::seconds(30);
        assert_eq!(decided(nearly), Postpone(last_look, reason));
        assert_eq!(decided(last_look), Expire(reason));
    }
}

#[test]
fn a_rule_may_remind_in_the_queue() {
    let case = Case::with(|c| {
        c.rewrite(|r| Record {
            queue: Queue::Waiting,
            ..r
        });
        c.settings().remind_in_queue = true;
    });
    assert_eq!(case.decide(), Send(contact()));
}

#[test]
fn a_rule_may_drop_what_falls_into_quiet_hours() {
    let case = Case::with(|c| {
        c.allow("09:00:00", "20:00:00");
        c.settings().in_quiet_hours = InQuietHours::Drop;
    });
    assert_eq!(case.decide(), Cancel(Reason::QuietHours));
}

#[test]
fn hours_that_never_come_expire_it() {
    let case = Case::with(|c| c.allow("09:00:00", "09:00:00"));
    assert_eq!(case.decide(), Expire(Reason::QuietHours));
}

#[test]
fn quiet_hours_are_those_of_the_consumers_zone_then_of_the_rules() {
    // 08:12 in UTC is 09:12 in Berlin and 10:12 in Helsinki.
    let case = |of_rule, of_consumer: Option<Tz>| {
        Case::with(|c| {
            c.allow("09:00:00", "10:00:00");
            c.settings().time_zone = Some(Zone::Named(of_rule));
            c.record.as_mut().unwrap().time_zone = of_consumer.map(Zone::Named);
            c.contact = Some(Contact {
                address: Address::email("ana@example.com").unwrap(),
                first_name: None,
            });
        })
    };
    assert!(matches!(case(Berlin, None).decide(), Send(_)));
    assert!(matches!(case(Helsinki, Some(Berlin)).decide(), Send(_)));
    assert_eq!(
        case(Berlin, Some(Helsinki)).decide(),
        Expire(Reason::QuietHours)
    );
}

#[test]
fn quiet_hours_are_those_of_the_numbers_country() {
    let case = Case::with(|c| {
        c.allow("08:00:00", "20:00:00");
        let later = Window {
            from: "09:00:00".parse().unwrap(),
            ..c.settings().quiet_hours.allowed[0].clone()
        };
        c.settings()
            .quiet_hours
            .by_country
            .insert("US".to_owned(), vec![later]);
    });
    assert_eq!(case.decide(), Postpone(minute(60), Reason::QuietHours));
}

#[test]
fn a_cap_of_nothing_is_never_free() {
    let case = Case::with(|c| c.settings().caps.per_recipient_24h = 0);
    assert_eq!(case.decide(), Expire(Reason::CapRecipient));
}

#[test]
fn reminders_older_than_a_day_do_not_count() {
    let case = Case::with(|c| {
        c.history.conversation = vec![minute(-5000), minute(-4000), minute(12 - 24 * 60)];
        c.history.recipient = c.history.conversation.clone();
        c.settings().caps.per_conversation_24h = 1;
        c.settings().caps.per_recipient_24h = 1;
    });
    assert_eq!(case.decide(), Send(contact()));
}

#[test]
fn every_reason_is_read_back_from_its_word() {
    for reason in Reason::ALL {
        assert_eq!(Reason::parse(reason.as_str()), Some(reason));
    }
    assert_eq!(Reason::parse("why not"), None);
    for suppression in Suppression::ALL {
        assert_eq!(Reason::from(suppression).as_str(), suppression.as_str());
        assert_eq!(Suppression::parse(suppression.as_str()), Some(suppression));
    }
}

/// Minutes before now, in order.
fn sent_before() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(1..2000_i64, 0..6).prop_map(|mut minutes| {
        minutes.sort_unstable_by(|a, b| b.cmp(a));
        minutes
    })
}

prop_compose! {
    /// Cases in which up to three things stand in the way, and time, caps and windows are anything.
    fn cases()(
        obstacles in prop::sample::subsequence((0..OBSTACLES.len()).collect::<Vec<_>>(), 0..3),
        now in 0..3000_i64,
        left in -5..2000_i64,
        debounce in 0..30_i64,
        gap in 0..300_i64,
        per_day in (1..4_u32, 1..4_u32),
        conversation in sent_before(),
        recipient in sent_before(),
        window in prop::option::of((0..23_u32, 1..24_u32)),
        drop: bool,
    ) -> Case {
        let mut case = usual();
        case.now = minute(now);
        case.deadline = minute(now + left);
        let ago = |m: &i64| minute(now - m);
        case.history.conversation = conversation.iter().map(ago).collect();
        case.history.recipient = recipient.iter().map(ago).collect();
        let settings = case.settings();
        settings.steps = vec![Step { after: TimeDelta::minutes(1) }];
        settings.debounce = TimeDelta::minutes(debounce);
        settings.caps = Caps {
            gap: TimeDelta::minutes(gap),
            per_conversation_24h: per_day.0,
            per_recipient_24h: per_day.1,
        };
        if drop {
            settings.in_quiet_hours = InQuietHours::Drop;
        }
        if let Some((from, long)) = window {
            case.allow(&format!("{from:02}:00:00"), &format!("{:02}:00:00", (from + long).min(24) % 24));
        }
        for i in obstacles.into_iter().rev() {
            OBSTACLES[i].1(&mut case);
        }
        case.history.conversation.sort_unstable();
        case.history.recipient.sort_unstable();
        case
    }
}

/// The promises, spelled out independently of how `decide` goes about it.
fn may_be_sent(case: &Case) -> bool {
    let (Some(rule), Some(record), Some(_)) = (&case.rule, &case.record, &case.contact) else {
        return false;
    };
    let ReadState::Unread(Episode {
        first_message,
        last_at,
        ..
    }) = read_state(record, false)
    else {
        return false;
    };
    let s = &rule.settings;
    let within = |sent: &[DateTime<Utc>], span: TimeDelta| {
        u32::try_from(sent.iter().filter(|t| case.now - **t < span).count()).unwrap()
    };
    let next_allowed = case.local().hours(s).allowed_at(case.now);
    rule.enabled
        && case.now < case.deadline
        && first_message == case.episode
        && record.queue != Queue::Waiting
        && case.suppression.is_none()
        && !case.paused
        && !case.held
        && !s.newer.holds()
        && case.now - last_at >= s.debounce
        && case.clicked_at.is_none_or(|at| case.now - at >= s.debounce)
        && within(&case.history.conversation, s.caps.gap) == 0
        && within(&case.history.conversation, DAY) < s.caps.per_conversation_24h
        && within(&case.history.recipient, DAY) < s.caps.per_recipient_24h
        && next_allowed == Some(case.now)
        && case.holdout_bucket >= s.holdout_percent
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn it_is_sent_exactly_when_every_promise_allows(case in cases()) {
        prop_assert_eq!(matches!(case.decide(), Send(_)), may_be_sent(&case));
    }

    #[test]
    fn a_postponed_reminder_is_asked_again_later_and_in_time(case in cases()) {
        if let Postpone(until, _) = case.decide() {
            prop_assert!(case.now < until && until < case.deadline);
        }
    }

    #[test]
    fn the_same_reason_does_not_postpone_twice(case in cases()) {
        if let Postpone(until, reason) = case.decide() {
            let again = Case { now: until, ..case }.decide();
            // A partial record, a queue, a pause, a hold and an update end by themselves, not by waiting.
            let by_waiting = !matches!(
                reason,
                Reason::Undecided | Reason::InQueue | Reason::Paused | Reason::Held | Reason::NewerRule
            );
            if by_waiting {
                prop_assert!(!matches!(again, Postpone(_, r) | Expire(r) if r == reason), "{:?}", again);
            }
            prop_assert_ne!(again, Expire(Reason::TooLate));
        }
    }

    #[test]
    fn nothing_would_have_been_sent_while_it_waits_or_after_it_has_ended(case in cases(), part in 0.0..1.0_f64) {
        let end = match case.decide() {
            Send(_) | Cancel(Reason::QuietHours) => return Ok(()),
            Postpone(until, _) => until,
            Cancel(_) | Expire(_) => case.deadline.max(case.now) + TimeDelta::days(2),
        };
        let wait = (end - case.now).to_std().unwrap().mul_f64(part * 0.999_999);
        let meanwhile = Case { now: case.now + TimeDelta::from_std(wait).unwrap(), ..case };
        prop_assert!(!matches!(meanwhile.decide(), Send(_)), "{:?}", meanwhile.decide());
    }
}
