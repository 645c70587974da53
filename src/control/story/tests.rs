use chrono::TimeDelta;

use super::*;
use crate::domain::channel::PerChannel;
use crate::domain::ids::{Channel, ReminderId, SkillId};
use crate::domain::local_time::ZoneSource;

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

fn reminder(state: ReminderState) -> Reminder {
    Reminder {
        id: ReminderId(7),
        account: "12345678".parse().unwrap(),
        conversation: "c".to_owned(),
        skill: SkillId(1),
        skill_name: None,
        channel: Channel::Email,
        step: 1,
        state,
        reason: None,
        episode_since: at(0),
        due_at: at(10),
        deadline: at(370),
        time_zone: None,
        zone_source: None,
        sent_at: None,
        next_at: None,
        final_at: None,
        returned_at: None,
        clicked_at: None,
        suppressed_as: None,
        created_at: at(1),
    }
}

fn decision(minute: i64, verdict: Verdict, reason: Reason) -> LoggedDecision {
    LoggedDecision {
        id: 1,
        reminder: Some(ReminderId(7)),
        at: at(minute),
        account: "12345678".parse().unwrap(),
        conversation: "c".to_owned(),
        channel: Some(Channel::Email),
        step: Some(1),
        passed_over: PerChannel::default(),
        stage: Stage::Deliver,
        verdict,
        reason: reason.into(),
        until: Some(at(minute + 5)),
    }
}

#[test]
fn a_story_reads_from_the_agent_s_message_to_the_customer_s_return() {
    let mut sent = reminder(ReminderState::Sent);
    sent.returned_at = Some(at(40));
    let decisions = [
        decision(10, Verdict::Postpone, Reason::Unchecked),
        decision(15, Verdict::Send, Reason::Due),
    ];
    let attempt = |number, minute, outcome: OutcomeKind, code: Option<&str>| AttemptRow {
        reminder: ReminderId(7),
        number,
        sender: "hello@shop.example".to_owned(),
        started_at: at(minute),
        ended_at: Some(at(minute)),
        outcome: Some(outcome),
        code: code.map(str::to_owned),
    };
    let attempts = [
        attempt(1, 15, OutcomeKind::NotAccepted, Some("rcpt 451")),
        attempt(2, 20, OutcomeKind::Accepted, None),
    ];
    let story = story_lines(&sent, &[], &decisions, &attempts);
    let told: Vec<String> = story
        .iter()
        .map(|l| format!("{} {}", (l.at - at(0)).num_minutes(), l.what))
        .collect();
    assert_eq!(
        told,
        [
            "0 An agent wrote, and the customer had not read the message when the reminder was scheduled",
            "1 An e-mail was scheduled",
            "10 Postponed",
            "15 Checked again: still unread, cleared to send",
            "15 The e-mail was handed to the provider, from hello@shop.example",
            "15 The provider did not accept it yet",
            "20 The e-mail was handed to the provider, from hello@shop.example",
            "20 The provider accepted it",
            "40 The customer came back",
        ]
    );
    assert_eq!(story[2].until, Some(at(15)));
    assert_eq!(
        story[5].detail.as_deref(),
        Some("The mail server asks to try again later. (rcpt 451)")
    );
}

#[test]
fn what_became_of_the_steps_before_belongs_to_the_story() {
    let text = Reminder {
        id: ReminderId(8),
        step: 2,
        channel: Channel::Sms,
        sent_at: Some(at(20)),
        ..reminder(ReminderState::Sent)
    };
    let email = |state, reason: Option<Cause>, sent: bool| Reminder {
        state,
        reason,
        sent_at: sent.then(|| at(5)),
        final_at: Some(at(5)),
        ..reminder(state)
    };
    let before = |other: &Reminder| {
        let lines = story_lines(&text, &[other], &[], &[]);
        let line = lines.into_iter().find(|line| line.at == at(5));
        line.map(|line| (line.what, line.detail.is_some()))
    };
    let said = |what: &str, why| Some((what.to_owned(), why));
    for (other, expected) in [
        (
            email(ReminderState::Sent, None, true),
            said("An e-mail was sent earlier", false),
        ),
        (
            email(
                ReminderState::Undelivered,
                Some(Cause::parse("hard bounce")),
                true,
            ),
            said("An e-mail was sent earlier and did not arrive", true),
        ),
        (
            email(
                ReminderState::Cancelled,
                Some(Reason::NoAddress.into()),
                false,
            ),
            said("An e-mail before it was not sent", true),
        ),
        (email(ReminderState::Scheduled, None, false), None),
    ] {
        assert_eq!(before(&other), expected, "{other:?}");
    }
    let later = Reminder {
        sent_at: Some(at(500)),
        ..email(ReminderState::Sent, None, true)
    };
    let lines = story_lines(&text, &[&later], &[], &[]);
    assert!(lines.iter().all(|line| line.at != at(500)), "it came after");
}

#[test]
fn no_story_speaks_in_the_ledger_s_words() {
    for state in ReminderState::ALL {
        let mut it = reminder(state);
        it.final_at = Some(at(20));
        for reason in Reason::ALL {
            for verdict in Verdict::ALL {
                for line in story_lines(&it, &[], &[decision(12, verdict, reason)], &[]) {
                    let text = format!("{} {}", line.what, line.detail.unwrap_or_default());
                    assert!(!text.contains('_'), "{text}");
                }
            }
            assert!(!state_words(state, Some(&reason.into())).contains('_'));
        }
    }
}

#[test]
fn one_that_waits_for_somebody_who_said_no_says_so() {
    let mut said = Suppression::ALL.map(will_not_be_sent).to_vec();
    assert_eq!(said[0], "Will not be sent: opted out");
    said.dedup();
    assert_eq!(said.len(), 4);
}

#[test]
fn a_wait_for_the_rule_s_hours_is_told_by_the_clock_it_is_for() {
    let mut waiting = reminder(ReminderState::Scheduled);
    waiting.channel = Channel::Sms;
    waiting.reason = Some(Reason::QuietHours.into());
    waiting.next_at = Some(at(15));
    // 00:15 on Thursday, 1 January 1970, in UTC. Zones, what tells them, until when, and why.
    let zones = [
        (
            "America/New_York",
            ZoneSource::LivePerson,
            "19:15 on Wed, America/New_York time",
            "as reported by LivePerson",
        ),
        (
            "UTC+05:30",
            ZoneSource::LivePerson,
            "05:45 on Thu, UTC+05:30 time",
            "as reported by LivePerson",
        ),
        (
            "Pacific/Honolulu",
            ZoneSource::Number,
            "14:15 on Wed, Pacific/Honolulu time",
            "phone number",
        ),
        (
            "America/New_York America/Chicago",
            ZoneSource::Number,
            "18:15 on Wed, America/Chicago time",
            "all of them must allow",
        ),
        (
            "Europe/Berlin",
            ZoneSource::Rule,
            "01:15 on Thu, Europe/Berlin time",
            "the number belongs to no place",
        ),
        (
            "Asia/Tokyo",
            ZoneSource::Account,
            "09:15 on Thu, Asia/Tokyo time",
            "the number belongs to no place",
        ),
    ];
    for (time_zone, source, until, why) in zones {
        waiting.time_zone = Some(time_zone.to_owned());
        waiting.zone_source = Some(source);
        assert_eq!(waits_until(&waiting).as_deref(), Some(until));
        let story = story_lines(
            &waiting,
            &[],
            &[decision(10, Verdict::Postpone, Reason::QuietHours)],
            &[],
        );
        let line = story.last().unwrap();
        assert_eq!(line.what, format!("Postponed until {until}"));
        let detail = line.detail.as_deref().unwrap_or_default();
        assert!(detail.contains(why), "{detail}");
    }
    // Of before, or of a program that does not know zones.
    waiting.time_zone = None;
    waiting.zone_source = None;
    assert_eq!(waits_until(&waiting).as_deref(), Some("00:15 on Thu, UTC"));
    waiting.reason = Some(Reason::Gap.into());
    assert_eq!(waits_until(&waiting), None);
    assert_eq!(
        state_words(ReminderState::Scheduled, Some(&Reason::QuietHours.into())),
        "Waiting for allowed hours"
    );
    assert_eq!(
        state_words(ReminderState::Scheduled, Some(&Reason::Held.into())),
        "On hold: all sending"
    );
    assert_eq!(
        state_words(ReminderState::Scheduled, Some(&Reason::NotLive.into())),
        "Will not be sent: not live"
    );
}
