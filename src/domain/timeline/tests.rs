use super::super::rule::{InQuietHours, Step, When};
use super::super::sample::minute;
use super::*;
use Channel::{Email, Sms};

/// Minute 0 is 09:00 on a Tuesday in Berlin: the hours of SMS begin.
struct Case {
    settings: RuleSettings,
    customer: Customer,
    of: Installation,
}

fn usual() -> Case {
    let berlin: Zone = "Europe/Berlin".parse().unwrap();
    Case {
        settings: RuleSettings::default_for(&[Email, Sms]),
        customer: Customer {
            addresses: PerChannel::of(|channel| match channel {
                Email => Address::email("ana@example.com"),
                Sms => Address::phone("+491701234567", None),
                #[cfg(feature = "test-channel")]
                Channel::Probe => None,
            }),
            comes_back: Vec::new(),
            time_zone: berlin,
            written_at: minute(0),
        },
        of: Installation::new(vec![Email, Sms], true),
    }
}

fn told(change: impl Fn(&mut Case)) -> Vec<String> {
    let mut case = usual();
    change(&mut case);
    let told = timeline(&case.settings, &case.of, &case.customer);
    let told = told.into_iter().map(|step| {
        let channel = step.channel;
        match step.became {
            Became::Sent {
                at,
                held_by,
                came_back,
            } => {
                let after = (at - case.customer.written_at).num_minutes();
                let held_by = held_by
                    .map(|reason| format!(" {reason}"))
                    .unwrap_or_default();
                let came_back = if came_back { " came back" } else { "" };
                format!("{channel} {after}{held_by}{came_back}")
            }
            Became::NotNeeded(by) => format!("{channel} not needed: {by}"),
            Became::NotSent(reason) => format!("{channel} not sent: {reason}"),
        }
    });
    told.collect()
}

fn steps(of: &[(Channel, i64, When)]) -> Vec<Step> {
    let steps = of.iter().map(|(channel, after, when)| Step {
        // As in a form that is not stored yet.
        id: 0,
        channel: *channel,
        after: TimeDelta::minutes(*after),
        when: *when,
    });
    steps.collect()
}

#[test]
fn what_a_customer_gets_and_when() {
    use When::{Always, IfNotReached};
    type Change = fn(&mut Case);
    const NIGHT: i64 = 13 * 60 + 30;
    #[rustfmt::skip]
    let cases: Vec<(&str, Change, &[&str])> = vec![
        ("one with both", |_| (), &["email 10", "sms not needed: email", "email 1440", "sms not needed: email"]),
        ("one without an e-mail address", |c| c.customer.addresses[Email] = None,
            &["email not sent: no_address", "sms 10", "email not sent: no_address", "sms 1440"]),
        ("one without a number", |c| c.customer.addresses[Sms] = None,
            &["email 10", "sms not needed: email", "email 1440", "sms not needed: email"]),
        ("one with nothing", |c| c.customer.addresses = PerChannel::default(), &["email not sent: no_address", "sms not sent: no_address", "email not sent: no_address", "sms not sent: no_address"]),
        ("one whose mail comes back: SMS at once", |c| c.customer.comes_back = vec![Email],
            &["email 10 came back", "sms 11", "email 1440 came back", "sms 1441"]),
        ("nobody tells what comes back", |c| { c.customer.comes_back = vec![Email]; c.of.waits[Email] = None; },
            &["email 10", "sms not needed: email", "email 1440", "sms not needed: email"]),
        ("a mail is out at any hour", |c| c.customer.written_at = minute(NIGHT),
            &["email 10", "sms not needed: email", "email 1440", "sms not needed: email"]),
        ("an SMS waits for the morning", |c| { c.customer.written_at = minute(NIGHT); c.customer.addresses[Email] = None; },
            &["email not sent: no_address", "sms 630 quiet_hours", "email not sent: no_address", "sms 2070 quiet_hours"]),
        ("or is not sent", |c| { c.customer.written_at = minute(NIGHT); c.customer.addresses[Email] = None; c.settings.in_quiet_hours = InQuietHours::Drop; },
            &["email not sent: no_address", "sms not sent: quiet_hours", "email not sent: no_address", "sms not sent: quiet_hours"]),
        ("without SMS", |c| c.of.channels = vec![Email],
            &["email 10", "sms not needed: email", "email 1440", "sms not needed: email"]),
        ("without SMS, for one who has only a number", |c| { c.of.channels = vec![Email]; c.customer.addresses[Email] = None; },
            &["email not sent: no_address", "sms not sent: not_configured", "email not sent: no_address", "sms not sent: not_configured"]),
        ("the gap holds the second back", |c| c.settings.steps = steps(&[(Email, 10, Always), (Email, 30, Always)]),
            &["email 10", "email 130 gap"]),
        ("over channels", |c| c.settings.steps = steps(&[(Email, 10, Always), (Sms, 100, Always)]), &["email 10", "sms 130 gap"]),
        ("and until it is too late", |c| { c.settings.steps = steps(&[(Email, 10, Always), (Sms, 30, Always)]); },
            &["email 10", "sms not sent: gap"]),
        ("one a day in a conversation", |c| { c.settings.steps = steps(&[(Email, 10, Always), (Email, 200, Always)]); c.settings.caps.per_conversation_24h = 1; },
            &["email 10", "email not sent: cap_conversation"]),
        ("one a day to an address", |c| { c.settings.steps = steps(&[(Sms, 10, Always), (Email, 200, Always), (Sms, 500, Always)]); c.settings.channels[Sms].per_address_24h = 1; c.settings.caps.per_conversation_24h = 3; },
            &["sms 10", "email 200", "sms not sent: cap_address"]),
        ("the agent may still be typing", |c| c.settings.debounce = TimeDelta::minutes(15),
            &["email 15", "sms not needed: email", "email 1440", "sms not needed: email"]),
        ("SMS first, and what it does not reach", |c| { c.settings.steps = steps(&[(Sms, 10, Always), (Email, 10, IfNotReached)]); c.customer.comes_back = vec![Sms]; },
            &["sms 10 came back", "email 11"]),
        ("three on one rung", |c| { c.settings.steps = steps(&[(Sms, 10, Always), (Email, 60, IfNotReached), (Sms, 300, IfNotReached)]); c.customer.comes_back = vec![Sms, Email]; },
            &["sms 10 came back", "email 60 came back", "sms 300 came back"]),
    ];
    for (what, change, expected) in cases {
        assert_eq!(told(change), expected, "{what}");
    }
}

#[test]
fn every_step_has_one_end_whenever_the_agent_writes() {
    for hour in 0..24 * 7 {
        let at = minute(hour * 60);
        let mut case = usual();
        case.customer.written_at = at;
        for lacks in [None, Some(Email), Some(Sms)] {
            let mut customer = case.customer.clone();
            if let Some(lacks) = lacks {
                customer.addresses[lacks] = None;
            }
            let told = timeline(&case.settings, &case.of, &customer);
            assert_eq!(told.len(), case.settings.steps.len());
            let sent = told.iter().filter_map(|step| match step.became {
                Became::Sent { at, .. } => Some(at),
                _ => None,
            });
            let sent: Vec<_> = sent.collect();
            assert_eq!(sent.len(), 2, "{at} without {lacks:?}: {told:?}");
            assert!(sent[1] - sent[0] >= case.settings.caps.gap);
        }
    }
}
