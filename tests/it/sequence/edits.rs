//! A rule that is edited while episodes are under way: nothing is repeated, nothing that was still to come is skipped, and what waits
//! follows the edit. Steps are known by their ids.

use chrono::TimeDelta;
use unread::domain::ids::Channel::{Email, Sms};
use unread::domain::rule::{RuleSettings, Step};

use super::{BOTH, answered_with_both, arrived, pending, steps};
use crate::harness::{TestApp, fallback, run_test, step};

/// E-mails after 10 minutes, an hour and a day, and nothing that keeps them apart.
async fn three_e_mails(t: &TestApp) {
    t.rule_over(&BOTH, |rule| {
        rule.caps.gap = TimeDelta::zero();
        rule.caps.per_conversation_24h = 10;
        rule.caps.per_consumer_24h = 10;
        for channel in BOTH {
            rule.channels[channel].per_address_24h = 10;
        }
        rule.steps = vec![
            Step {
                id: 11,
                ..step(Email, 10)
            },
            Step {
                id: 12,
                ..step(Email, 60)
            },
            Step {
                id: 13,
                ..step(Email, 24 * 60)
            },
        ];
    })
    .await;
}

/// The first is sent, the second waits, and the rule is edited; a scan sees it.
async fn edited(t: &TestApp, edit: impl FnOnce(&mut RuleSettings)) -> String {
    three_e_mails(t).await;
    let chat = answered_with_both(t);
    t.tick().await;
    t.advance(10).await;
    assert_eq!(arrived(t), (1, 0));
    t.tick().await;
    assert_eq!(steps(t, &chat).await, ["11 sent", "12 scheduled"]);
    t.edit_rule(edit).await;
    t.tick().await;
    assert!(pending(t, &chat).await <= 1);
    chat
}

fn without_the_second(rule: &mut RuleSettings) {
    rule.steps.remove(1);
}

/// Two days pass, with scans, an hour at a time.
async fn two_days(t: &TestApp) {
    for _ in 0..48 {
        t.advance(60).await;
        t.tick().await;
    }
}

/// What was sent, in its order.
async fn sent(t: &TestApp, chat: &str) -> Vec<i16> {
    let mut sent = t.reminders().await;
    sent.retain(|reminder| reminder.conversation == chat && reminder.sent_at.is_some());
    sent.sort_by_key(|reminder| reminder.sent_at);
    sent.into_iter().map(|reminder| reminder.step).collect()
}

#[tokio::test]
async fn a_step_that_is_put_in_between_comes_next_and_all_that_were_to_come_follow() {
    run_test(async |t| {
        let chat = edited(t, |rule| rule.steps.insert(1, step(Email, 30))).await;
        assert_eq!(
            steps(t, &chat).await,
            ["11 sent", "14 scheduled"],
            "the row that waited"
        );
        two_days(t).await;
        assert_eq!(sent(t, &chat).await, [11, 14, 12, 13]);
        assert_eq!(arrived(t), (3, 0));
    })
    .await;
}

#[tokio::test]
async fn a_step_that_is_put_before_the_one_that_was_sent_is_not_gone_back_to() {
    run_test(async |t| {
        let chat = edited(t, |rule| rule.steps.insert(0, step(Email, 5))).await;
        assert_eq!(steps(t, &chat).await, ["11 sent", "12 scheduled"]);
        two_days(t).await;
        assert_eq!(sent(t, &chat).await, [11, 12, 13]);
        assert_eq!(arrived(t), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn a_step_that_is_removed_gives_way_to_the_next() {
    run_test(async |t| {
        let chat = edited(t, without_the_second).await;
        assert_eq!(steps(t, &chat).await, ["11 sent", "13 scheduled"]);
        two_days(t).await;
        assert_eq!(sent(t, &chat).await, [11, 13]);
        assert_eq!(arrived(t), (1, 0));
    })
    .await;
}

/// No scan sees it in time: the look before sending does.
#[tokio::test]
async fn a_step_that_is_removed_right_before_its_moment_is_not_sent() {
    run_test(async |t| {
        three_e_mails(t).await;
        let chat = answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (1, 0));
        t.tick().await;
        t.edit_rule(without_the_second).await;
        t.advance(60).await;
        assert_eq!(
            steps(t, &chat).await,
            ["11 sent", "12 cancelled (step_removed)", "13 scheduled"],
            "what follows is asked for at once"
        );
        assert_eq!(arrived(t), (0, 0));
        two_days(t).await;
        assert_eq!(sent(t, &chat).await, [11, 13]);
        assert_eq!(arrived(t), (1, 0));
    })
    .await;
}

/// The last one that is to come: what waits for it ends.
#[tokio::test]
async fn when_nothing_is_left_what_waits_is_not_sent() {
    run_test(async |t| {
        let chat = edited(t, |rule| rule.steps.truncate(1)).await;
        two_days(t).await;
        assert_eq!(sent(t, &chat).await, [11]);
        assert_eq!(
            steps(t, &chat).await,
            ["11 sent", "12 cancelled (step_removed)"]
        );
        assert_eq!(arrived(t), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn steps_that_change_places_are_each_sent_once() {
    run_test(async |t| {
        let chat = edited(t, |rule| {
            rule.steps.swap(1, 2);
            rule.steps[1].after = TimeDelta::minutes(60);
            rule.steps[2].after = TimeDelta::hours(24);
        })
        .await;
        assert_eq!(steps(t, &chat).await, ["11 sent", "13 scheduled"]);
        two_days(t).await;
        assert_eq!(sent(t, &chat).await, [11, 13, 12]);
        assert_eq!(arrived(t), (2, 0));
    })
    .await;
}

/// The one that was sent moves to the end: it is not sent again, and those that stand before it now, and were not due when it was sent, follow.
#[tokio::test]
async fn a_step_that_was_sent_and_moves_is_not_sent_again() {
    run_test(async |t| {
        let chat = edited(t, |rule| {
            let mut first = rule.steps.remove(0);
            first.after = TimeDelta::hours(30);
            rule.steps.push(first);
        })
        .await;
        two_days(t).await;
        assert_eq!(sent(t, &chat).await, [11, 12, 13]);
        let once = steps(t, &chat).await;
        assert_eq!(
            once.iter().filter(|line| line.starts_with("11 ")).count(),
            1,
            "{once:?}"
        );
        t.mails();
    })
    .await;
}

#[tokio::test]
async fn what_waits_follows_a_wait_that_is_made_shorter_or_longer() {
    for minutes in [20, 180] {
        run_test(async |t| {
            let written = t.now();
            let chat = edited(t, |rule| rule.steps[1].after = TimeDelta::minutes(minutes)).await;
            assert_eq!(steps(t, &chat).await, ["11 sent", "12 scheduled"]);
            let due = written + TimeDelta::minutes(minutes);
            assert_eq!(t.reminders().await[1].due_at, due);
            t.advance_by(due - t.now() - TimeDelta::seconds(1)).await;
            assert_eq!(arrived(t), (0, 0), "not before");
            t.advance_by(TimeDelta::seconds(1)).await;
            assert_eq!(arrived(t), (1, 0));
            two_days(t).await;
            assert_eq!(sent(t, &chat).await, [11, 12, 13]);
            assert_eq!(arrived(t), (1, 0));
        })
        .await;
    }
}

#[tokio::test]
async fn an_agent_who_goes_on_writing_does_not_move_what_waits() {
    run_test(async |t| {
        three_e_mails(t).await;
        let written = t.now();
        let chat = answered_with_both(t);
        t.tick().await;
        for _ in 0..3 {
            t.advance(2).await;
            t.world().agent_says(&chat, "And one more thing.");
            t.tick().await;
        }
        let due = t.reminders().await[0].due_at;
        assert_eq!(
            due,
            written + TimeDelta::minutes(10),
            "dated by the first message"
        );
        t.advance_by(due - t.now()).await;
        assert_eq!(arrived(t), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn an_always_step_that_becomes_a_fallback_is_not_sent_to_who_was_reached() {
    run_test(async |t| {
        let chat = edited(t, |rule| {
            rule.steps[1] = Step {
                id: 12,
                ..fallback(Email, 60)
            };
        })
        .await;
        assert_eq!(steps(t, &chat).await, ["11 sent", "13 scheduled"]);
        two_days(t).await;
        assert_eq!(sent(t, &chat).await, [11, 13]);
        assert_eq!(arrived(t), (1, 0));
    })
    .await;
}

/// An id belongs to one channel: a step whose channel is changed is another one.
#[tokio::test]
async fn a_step_that_goes_over_another_channel_is_another_step() {
    run_test(async |t| {
        let chat = edited(t, |rule| rule.steps[1].channel = Sms).await;
        assert_eq!(steps(t, &chat).await, ["11 sent", "14 scheduled"]);
        t.advance(60).await;
        assert_eq!(arrived(t), (0, 1));
        two_days(t).await;
        assert_eq!(sent(t, &chat).await, [11, 14, 13]);
        assert_eq!(arrived(t), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn a_rule_that_is_switched_off_and_on_goes_on_where_it_was() {
    run_test(async |t| {
        three_e_mails(t).await;
        let chat = answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (1, 0));
        t.tick().await;
        let switch = async |on: bool| {
            sqlx::query("update rules set enabled = $1")
                .bind(on)
                .execute(t.pool())
                .await
                .unwrap();
        };
        switch(false).await;
        t.advance(60).await;
        assert_eq!(
            steps(t, &chat).await,
            ["11 sent", "12 cancelled (rule_off)"]
        );
        switch(true).await;
        two_days(t).await;
        assert_eq!(
            sent(t, &chat).await,
            [11, 13],
            "what was cancelled is over, what was to come comes"
        );
        assert_eq!(arrived(t), (1, 0));
    })
    .await;
}
