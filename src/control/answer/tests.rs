use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::*;
use crate::domain::channel::PerChannel;
use crate::domain::decide::{Stage, Verdict};
use crate::domain::ids::{ReminderId, SkillId};

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

fn reminder(state: ReminderState, cause: &str) -> Reminder {
    Reminder {
        id: ReminderId(7),
        account: "12345678".parse().unwrap(),
        conversation: "c".to_owned(),
        skill: SkillId(1),
        skill_name: None,
        channel: Channel::Email,
        step: 1,
        state,
        reason: (!cause.is_empty()).then(|| Cause::parse(cause)),
        episode_since: at(0),
        due_at: at(10),
        deadline: at(370),
        time_zone: None,
        zone_source: None,
        sent_at: matches!(
            state,
            ReminderState::Sent | ReminderState::Delivered | ReminderState::Undelivered
        )
        .then(|| at(11)),
        next_at: matches!(state, ReminderState::Scheduled | ReminderState::Sending).then(|| at(20)),
        final_at: Some(at(12)),
        returned_at: None,
        clicked_at: None,
        suppressed_as: None,
        created_at: at(1),
    }
}

/// By text message nothing goes, for the second reason.
fn passed_over(sms: Option<&str>) -> PerChannel<Option<Cause>> {
    let mut passed_over = PerChannel::default();
    passed_over[Channel::Sms] = sms.map(Cause::parse);
    passed_over
}

fn conversation(reason: Option<&str>, sms: Option<&str>) -> Conversation {
    Conversation {
        account: "12345678".parse().unwrap(),
        id: "c".to_owned(),
        skill: SkillId(1),
        skill_name: Some("Orders".to_owned()),
        started_at: at(0),
        open: true,
        read_state: ReadStatus::Unread,
        unread_since: Some(at(0)),
        unread_count: 1,
        time_zone: None,
        language: None,
        reason: reason.map(Cause::parse),
        step: None,
        channel: None,
        passed_over: passed_over(sms),
        seen_at: at(30),
        closed_at: None,
    }
}

fn decision(minute: i64, cause: &str, sms: Option<&str>) -> LoggedDecision {
    LoggedDecision {
        id: minute,
        reminder: None,
        at: at(minute),
        account: "12345678".parse().unwrap(),
        conversation: "c".to_owned(),
        channel: None,
        step: None,
        passed_over: passed_over(sms),
        stage: Stage::Scan,
        verdict: Verdict::None,
        reason: Cause::parse(cause),
        until: None,
    }
}

fn known(event: HeadlineEvent<'_>) -> HeadlineFacts<'_> {
    HeadlineFacts {
        event,
        channel: Some(Channel::Email),
        skill: Some("Orders"),
        suppression: None,
        obstacle: None,
        set_up: true,
    }
}

fn is_a_sentence(text: &str) {
    let starts = text.starts_with(char::is_uppercase);
    assert!(
        starts && text.ends_with('.') && !text.contains(['_', '{']),
        "{text}"
    );
    assert!(!text.contains("..") && !text.contains("  "), "{text}");
}

#[test]
fn every_reason_has_a_sentence_of_its_own_however_it_came_up() {
    let mut decided = BTreeSet::new();
    let mut ended = BTreeSet::new();
    for reason in Reason::ALL {
        let told = headline(&known(HeadlineEvent::Decided(reason, at(5))));
        is_a_sentence(&told.text);
        assert_eq!(
            (told.reason.as_str(), told.when),
            (reason.as_str(), Some(at(5)))
        );
        assert!(decided.insert(told.text), "{reason}");
        for state in [ReminderState::Cancelled, ReminderState::Expired] {
            let it = reminder(state, reason.as_str());
            let told = headline(&known(HeadlineEvent::Reminder(&it)));
            is_a_sentence(&told.text);
            assert!(told.text.starts_with("No reminder was sent by e-mail: "));
            assert_eq!(told.reason, reason.as_str());
            ended.insert(told.text);
        }
        let waiting = reminder(ReminderState::Scheduled, reason.as_str());
        is_a_sentence(&headline(&known(HeadlineEvent::Reminder(&waiting))).text);
    }
    assert_eq!(ended.len(), Reason::ALL.len());
}

#[test]
fn every_state_has_a_sentence() {
    for state in ReminderState::ALL {
        for reason in ["", "read", "rcpt 550 5.1.1", "made up"] {
            let it = reminder(state, reason);
            is_a_sentence(&headline(&known(HeadlineEvent::Reminder(&it))).text);
        }
    }
}

#[test]
fn a_headline_says_what_the_customer_on_the_phone_wants_to_know() {
    let sent = reminder(ReminderState::Sent, "");
    let back = Reminder {
        returned_at: Some(at(15)),
        ..reminder(ReminderState::Delivered, "")
    };
    let waiting = reminder(ReminderState::Scheduled, "scheduled");
    let quiet = Reminder {
        time_zone: Some("America/New_York".to_owned()),
        ..reminder(ReminderState::Scheduled, "quiet_hours")
    };
    let opted_out = Some((Suppression::OptedOut, at(3)));
    let usual = known(HeadlineEvent::Nothing);
    #[rustfmt::skip]
    let cases = [
        (known(HeadlineEvent::Reminder(&sent)), "sent", "A reminder was sent by e-mail."),
        (known(HeadlineEvent::Reminder(&back)), "delivered", "A reminder was sent by e-mail, and it was delivered. The customer came back."),
        (known(HeadlineEvent::Reminder(&waiting)), "scheduled", "A reminder by e-mail is scheduled."),
        (known(HeadlineEvent::Reminder(&quiet)), "quiet_hours",
            "A reminder by e-mail is postponed. It waits for the allowed hours, until 19:20 on Wed, America/New_York time."),
        (HeadlineFacts { obstacle: Some(Reason::Paused), ..known(HeadlineEvent::Reminder(&waiting)) }, "paused",
            "The reminder by e-mail is on hold: your team has paused reminders."),
        (HeadlineFacts { obstacle: Some(Reason::Held), ..known(HeadlineEvent::Reminder(&waiting)) }, "held",
            "The reminder by e-mail is on hold, like all others: this may not be the database that sends. Your server administrator needs \
             to decide."),
        (HeadlineFacts { obstacle: Some(Reason::NotLive), ..known(HeadlineEvent::Reminder(&waiting)) }, "not_live",
            "The reminder by e-mail that is scheduled will not be sent: the channel is no longer live."),
        (HeadlineFacts { suppression: opted_out, obstacle: Some(Reason::Paused), ..known(HeadlineEvent::Reminder(&waiting)) }, "opted_out",
            "The reminder by e-mail that is scheduled will not be sent: the customer has opted out."),
        (known(HeadlineEvent::Decided(Reason::InQueue, at(5))), "in_queue",
            "No reminder was sent by e-mail: the conversation was waiting for an agent."),
        (known(HeadlineEvent::Decided(Reason::NoRule, at(5))), "no_rule",
            "No reminder was sent by e-mail: there was no rule for Orders."),
        (HeadlineFacts { set_up: false, ..known(HeadlineEvent::Decided(Reason::NoRule, at(5))) }, "channel_off",
            "No reminder was sent by e-mail: that channel is not set up here."),
        (HeadlineFacts { channel: None, ..known(HeadlineEvent::Decided(Reason::NoAddress, at(5))) }, "no_address",
            "No reminder was sent: no usable address was known."),
        (HeadlineFacts { suppression: opted_out, ..known(HeadlineEvent::Decided(Reason::Read, at(5))) }, "read",
            "No reminder was sent by e-mail: the customer had read the message. Besides, the customer has opted out."),
        (HeadlineFacts { suppression: opted_out, ..known(HeadlineEvent::Decided(Reason::OptedOut, at(5))) }, "opted_out",
            "No reminder was sent by e-mail: the customer had opted out."),
        (HeadlineFacts { suppression: opted_out, ..usual }, "opted_out",
            "No reminder goes to this address: the customer has opted out. It appears in no conversation."),
        (usual, "never_seen", "Never seen: there is no conversation with this customer."),
    ];
    for (known, reason, text) in cases {
        let told = headline(&known);
        assert_eq!((told.reason.as_str(), told.text.as_str()), (reason, text));
    }
}

#[test]
fn the_unread_conversation_counts_before_newer_ones() {
    let older = conversation(None, None);
    let newer = Conversation {
        started_at: at(50),
        read_state: ReadStatus::Read,
        unread_since: None,
        ..conversation(None, None)
    };
    let closed = Conversation {
        open: false,
        started_at: at(60),
        ..older.clone()
    };
    let of = |list: &[Conversation]| conversation_of(list).map(|c| c.started_at);
    assert_eq!(of(&[newer.clone(), older]), Some(at(0)));
    assert_eq!(of(&[newer, closed]), Some(at(60)), "the newest");
    assert_eq!(of(&[]), None);
}

/// What the answer is about, as text: a reminder's state or a decision's reason, and the channel.
fn told(
    channel: Option<Channel>,
    conversation: Option<&Conversation>,
    reminders: &[Reminder],
    decisions: &[LoggedDecision],
) -> String {
    let (event, channel) = event(channel, conversation, reminders, decisions);
    let channel = channel.map_or("none", Channel::as_str);
    match event {
        HeadlineEvent::Reminder(r) => format!("{channel} {}", r.state),
        HeadlineEvent::Decided(reason, at) => {
            let minute = (at - DateTime::UNIX_EPOCH).num_minutes();
            format!("{channel} {reason} at {minute}")
        }
        HeadlineEvent::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn the_answer_is_about_what_reached_the_customer_then_what_waits_then_what_was_decided() {
    let unread = conversation(Some("all_steps_done"), Some("no_address"));
    let cancelled = reminder(ReminderState::Cancelled, "opted_out");
    let by_text = Reminder {
        channel: Channel::Sms,
        ..reminder(ReminderState::Sent, "")
    };
    let second = Reminder {
        id: ReminderId(8),
        step: 2,
        ..reminder(ReminderState::Scheduled, "")
    };
    let earlier = Reminder {
        episode_since: at(-500),
        ..reminder(ReminderState::Sent, "")
    };
    let log = [
        decision(9, "all_steps_done", Some("no_address")),
        decision(4, "all_steps_done", None),
    ];
    let (email, sms) = (Some(Channel::Email), Some(Channel::Sms));
    let c = Some(&unread);
    #[expect(clippy::type_complexity, reason = "the columns of a table")]
    #[rustfmt::skip]
    let cases: [(&str, Option<Channel>, Option<&Conversation>, Vec<Reminder>, &[LoggedDecision], &str); 12] = [
        ("cancelled", email, c, vec![cancelled.clone()], &log, "email cancelled"),
        ("reached over another channel", email, c, vec![cancelled.clone(), by_text.clone()], &log, "sms sent"),
        ("the next step waits", email, c, vec![second.clone(), cancelled.clone()], &log, "email scheduled"),
        ("the first was sent, the next waits", None, c, vec![second.clone(), reminder(ReminderState::Sent, "")], &log, "email sent"),
        ("of an earlier episode", email, c, vec![earlier.clone()], &log, "email all_steps_done at 9"),
        ("the other channel's is cancelled", sms, c, vec![cancelled.clone()], &log, "sms no_address at 9"),
        ("the other channel's waits", sms, c, vec![second], &log, "email scheduled"),
        ("no channel asked for", None, c, vec![], &log, "none all_steps_done at 9"),
        ("nothing logged any more", sms, c, vec![], &[], "sms no_address at 30"),
        ("only the log is left", email, None, vec![], &log, "email all_steps_done at 9"),
        ("only a reminder is left", email, None, vec![earlier], &[], "email sent"),
        ("nothing", email, None, vec![], &[], "nothing"),
    ];
    for (what, channel, conversation, reminders, decisions, expected) in cases {
        assert_eq!(
            told(channel, conversation, &reminders, decisions),
            expected,
            "{what}"
        );
    }
    let gone = Conversation {
        open: false,
        ..conversation(None, None)
    };
    assert_eq!(told(email, Some(&gone), &[], &[]), "email gone at 30");
}
