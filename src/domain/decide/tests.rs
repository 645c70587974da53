use chrono_tz::Europe::{Berlin, Helsinki};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::Decision::{Cancel, Expire, Postpone, Send};
use super::*;
use crate::domain::contact::Address;
use crate::domain::ids::Channel;
use crate::domain::local_time::LocalTime;
use crate::domain::quiet::{QuietHours, Window};
use crate::domain::reached::Standing;
use crate::domain::read_state::Episode;
use crate::domain::rule::{ChannelSettings, RuleSettings};
use crate::domain::sample::{message_id, minute};
use crate::domain::zone::Zone;

/// Tuesday 08:12 UTC: an agent's message of 08:00 is owed a text message since 08:10, until 09:10, because there is no e-mail address. Nothing
/// stands in the way.
#[derive(Clone, Debug)]
struct Case {
    episode: String,
    step: StepId,
    others: Vec<DoneStep>,
    deadline: DateTime<Utc>,
    rule: Option<Rule>,
    record: Option<Record>,
    contact: Option<Contact>,
    suppression: Option<Suppression>,
    said_no: Option<Suppression>,
    paused: bool,
    held: bool,
    /// Messages about the conversation, about others of the consumer, and to the address.
    sent: Sent,
    clicked_at: Option<DateTime<Utc>>,
    holdout_bucket: u8,
    now: DateTime<Utc>,
}

#[derive(Clone, Debug, Default)]
struct Sent {
    same: Vec<DateTime<Utc>>,
    other: Vec<DateTime<Utc>>,
    address: Vec<DateTime<Utc>>,
}

fn usual() -> Case {
    let mut settings = RuleSettings::default_for(&[Channel::Email, Channel::Sms]);
    settings.channels[Channel::Sms].quiet_hours = QuietHours::default();
    Case {
        episode: message_id(1),
        step: 2,
        others: vec![],
        deadline: minute(70),
        rule: Some(Rule::sample(settings)),
        record: Some(Record {
            time_zone: Some(Zone::UTC),
            ..Record::sample().agent(1, 0)
        }),
        contact: Some(contact()),
        suppression: None,
        said_no: None,
        paused: false,
        held: false,
        sent: Sent::default(),
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
            Some(rule) => LocalTime::new(
                told,
                address,
                (&rule.settings, Channel::Sms),
                Zone::UTC,
                self.now,
            ),
            None => LocalTime::of_account(Zone::UTC),
        }
    }

    fn history(&self) -> History {
        let earlier = |same_conversation| {
            move |at: &DateTime<Utc>| Earlier {
                at: *at,
                same_conversation,
                came_back: false,
            }
        };
        let same = self.sent.same.iter().map(earlier(true));
        let mut consumer: Vec<Earlier> = same
            .chain(self.sent.other.iter().map(earlier(false)))
            .collect();
        consumer.sort_unstable();
        History {
            consumer,
            address: self.sent.address.clone(),
        }
    }

    fn decide(&self) -> Decision {
        self.decide_with(&self.history())
    }

    fn decide_with(&self, history: &History) -> Decision {
        decide(&Facts {
            local: &self.local(),
            episode: &self.episode,
            step: self.step,
            channel: Channel::Sms,
            other_steps: &self.others,
            asked_by: AskedBy::Rule,
            said_no: self.said_no,
            deadline: self.deadline,
            rule: self.rule.as_ref(),
            record: self.record.as_ref(),
            count_bots: false,
            contact: self.contact.clone(),
            suppression: self.suppression,
            paused: self.paused,
            held: self.held,
            history,
            clicked_at: self.clicked_at,
            holdout_bucket: self.holdout_bucket,
            now: self.now,
        })
    }

    fn settings(&mut self) -> &mut RuleSettings {
        &mut self.rule.as_mut().unwrap().settings
    }

    fn sms(&mut self) -> &mut ChannelSettings {
        &mut self.settings().channels[Channel::Sms]
    }

    /// The e-mail of the rung.
    fn email(&mut self, standing: Standing) {
        self.others.clear();
        self.others.push(DoneStep {
            step: 1,
            channel: Channel::Email,
            standing,
            sent: Some(minute(1)),
        });
    }

    fn rewrite(&mut self, change: impl FnOnce(Record) -> Record) {
        self.record = self.record.take().map(change);
    }

    /// Reminders at these minutes of the day before, earlier than all others.
    fn wrote_yesterday(&mut self, same: &[i64], other: &[i64], address: &[i64]) {
        let yesterday = |m: &i64| minute(m - 24 * 60);
        let sent = &mut self.sent;
        sent.same.splice(..0, same.iter().map(yesterday));
        sent.other.splice(..0, other.iter().map(yesterday));
        sent.address.splice(..0, address.iter().map(yesterday));
    }

    fn allow(&mut self, from: &str, to: &str) {
        self.sms().quiet_hours.allowed = vec![Window {
            days: vec![],
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        }];
    }
}

type Change = fn(&mut Case);

/// Everything that can stand in the way, in the order in which it is asked.
#[rustfmt::skip]
const OBSTACLES: [(Decision, Change); 31] = [
    (Expire(Reason::TooLate), |c| c.deadline = c.now),
    (Cancel(Reason::NoRule), |c| c.rule = None),
    (Cancel(Reason::RuleOff), |c| c.rule.as_mut().unwrap().enabled = false),
    (Cancel(Reason::StepRemoved), |c| c.step = 9),
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
    (Cancel(Reason::Complaint), |c| c.said_no = Some(Suppression::Complaint)),
    (Postpone(minute(13), Reason::NewerRule), |c| c.settings().newer.unreadable.push("steps".to_owned())),
    (Cancel(Reason::Reached), |c| c.email(Standing::Reached)),
    (Postpone(minute(14), Reason::AwaitingReport), |c| c.email(Standing::Open { until: minute(14) })),
    (Postpone(minute(22), Reason::Held), |c| c.held = true),
    (Postpone(minute(22), Reason::Paused), |c| c.paused = true),
    (Postpone(minute(13), Reason::Debounce), |c| c.rewrite(|r| r.agent(2, 11))),
    (Postpone(minute(13), Reason::Clicked), |c| c.clicked_at = Some(minute(11))),
    (Postpone(minute(20), Reason::Gap), |c| c.sent.other.push(minute(-100))),
    (Postpone(minute(30), Reason::CapConversation), |c| c.wrote_yesterday(&[30, 40], &[], &[])),
    (Postpone(minute(35), Reason::CapConsumer), |c| c.wrote_yesterday(&[], &[35, 40, 45], &[])),
    (Postpone(minute(50), Reason::CapAddress), |c| c.wrote_yesterday(&[], &[], &[5, 50, 60])),
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
            ..c.sms().quiet_hours.allowed[0].clone()
        };
        c.sms()
            .quiet_hours
            .by_country
            .insert("US".to_owned(), vec![later]);
    });
    assert_eq!(case.decide(), Postpone(minute(60), Reason::QuietHours));
}

#[test]
fn a_cap_of_nothing_is_never_free() {
    let case = Case::with(|c| c.sms().per_address_24h = 0);
    assert_eq!(case.decide(), Expire(Reason::CapAddress));
}

#[test]
fn reminders_older_than_a_day_do_not_count() {
    let case = Case::with(|c| {
        c.sent.same = vec![minute(-5000), minute(-4000), minute(12 - 24 * 60)];
        c.sent.other = c.sent.same.clone();
        c.sent.address = c.sent.same.clone();
        c.settings().caps.per_conversation_24h = 1;
        c.settings().caps.per_consumer_24h = 1;
        c.sms().per_address_24h = 1;
    });
    assert_eq!(case.decide(), Send(contact()));
}

/// Who did not get the e-mail may get the text at once; a step that is always sent keeps the gap all the same. What came back fills no
/// cap but that of its address.
#[test]
fn what_came_back_neither_fills_caps_nor_holds_back_the_step_that_is_there_for_it() {
    let came_back = |at| Earlier {
        at: minute(at),
        same_conversation: true,
        came_back: true,
    };
    let history = |at: &[i64]| History {
        consumer: at.iter().map(|at| came_back(*at)).collect(),
        address: vec![],
    };
    let case = Case::with(|c| {
        c.email(Standing::NotReached {
            since: Some(minute(11)),
        });
    });
    assert_eq!(case.decide_with(&history(&[11])), Send(contact()));
    assert_eq!(
        case.decide_with(&history(&[-900, -800, -700, -600, 11])),
        Send(contact())
    );
    let mut arrived = history(&[-105, 11]);
    arrived.consumer[0].came_back = false;
    assert_eq!(
        case.decide_with(&arrived),
        Postpone(minute(15), Reason::Gap)
    );
    let always = Case::with(|c| {
        c.settings().steps[1].when = When::Always;
        c.deadline = minute(200);
    });
    assert_eq!(
        always.decide_with(&history(&[11])),
        Postpone(minute(131), Reason::Gap)
    );
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
        per_day in (1..4_u32, 1..4_u32, 1..4_u32),
        (same, other, address) in (sent_before(), sent_before(), sent_before()),
        window in prop::option::of((0..23_u32, 1..24_u32)),
        drop: bool,
    ) -> Case {
        let mut case = usual();
        case.now = minute(now);
        case.deadline = minute(now + left);
        let ago = |m: &i64| minute(now - m);
        let ago = |sent: Vec<i64>| sent.iter().map(ago).collect();
        case.sent = Sent { same: ago(same), other: ago(other), address: ago(address) };
        case.sms().per_address_24h = per_day.2;
        let settings = case.settings();
        settings.debounce = TimeDelta::minutes(debounce);
        settings.caps = Caps {
            gap: TimeDelta::minutes(gap),
            per_conversation_24h: per_day.0,
            per_consumer_24h: per_day.1,
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
        case.sent.address.sort_unstable();
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
    let sms = &s.channels[Channel::Sms];
    let next_allowed = case.local().hours(sms).allowed_at(case.now);
    let sent = &case.sent;
    let consumer: Vec<_> = sent.same.iter().chain(&sent.other).copied().collect();
    rule.enabled
        && case.now < case.deadline
        && first_message == case.episode
        && record.queue != Queue::Waiting
        && case.step == 2
        && case.others.is_empty()
        && case.suppression.is_none()
        && case.said_no.is_none()
        && !case.paused
        && !case.held
        && !s.newer.holds()
        && case.now - last_at >= s.debounce
        && case.clicked_at.is_none_or(|at| case.now - at >= s.debounce)
        && within(&consumer, s.caps.gap) == 0
        && within(&sent.same, DAY) < s.caps.per_conversation_24h
        && within(&consumer, DAY) < s.caps.per_consumer_24h
        && within(&sent.address, DAY) < sms.per_address_24h
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
                Reason::Undecided | Reason::InQueue | Reason::AwaitingReport | Reason::Paused | Reason::Held | Reason::NewerRule
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

/// The schedule and the look before sending ask the same: what had been due when a later step was sent is over, what had not still goes.
#[test]
fn a_step_gives_way_to_a_later_one_only_if_it_had_been_due_when_that_was_sent() {
    let mut case = usual();
    let later = DoneStep {
        step: 99,
        channel: Channel::Email,
        standing: Standing::Reached,
        sent: None,
    };
    let place = case.settings().steps.len();
    let mut after = case.settings().steps[place - 1];
    (after.id, after.channel, after.when) = (99, Channel::Email, When::Always);
    case.settings().steps.push(after);
    for (sent, expected) in [(9, None), (11, Some(Reason::Superseded))] {
        case.others = vec![DoneStep {
            sent: Some(minute(sent)),
            ..later
        }];
        let answer = case.decide();
        match expected {
            None => assert!(!matches!(answer, Cancel(_)), "{sent}: {answer:?}"),
            Some(reason) => assert_eq!(answer, Cancel(reason), "{sent}"),
        }
    }
}
