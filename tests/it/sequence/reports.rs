//! What comes back brings the next step forward, if it is in time, and whoever races, once.

use chrono::TimeDelta;
use futures_util::future::{join, join_all};
use serde_json::json;
use unread::domain::ids::Channel::{Email, Sms};
use unread::jobs::advance;

use super::{
    ANN, BOTH, PHONE, answered, answered_with_both, arrived, comes_back, pending, person,
    reports_nothing, steps,
};
use crate::harness::{TestApp, account, fallback, run_test, run_test_with, step};
use crate::opt_outs::{events, reports, with_mail_events};

#[tokio::test]
async fn a_bounce_brings_the_text_at_once_although_the_second_e_mail_was_scheduled_and_that_follows()
 {
    run_test_with(with_mail_events(), async |t| {
        let written = t.now();
        let chat = answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        let mail = t.mails().pop().unwrap();
        t.tick().await;
        assert_eq!(steps(t, &chat).await, ["1 sent", "3 scheduled"]);
        t.advance_by(written + TimeDelta::minutes(22) - t.now())
            .await;
        assert_eq!(arrived(t), (0, 0), "it may have arrived");
        comes_back(t, &mail, "soft").await;
        assert_eq!(arrived(t), (0, 1));
        let all = t.reminders().await;
        assert_eq!(
            (all.len(), all[1].step, all[1].due_at),
            (2, 2, t.now()),
            "the row that waited"
        );
        t.tick().await;
        assert_eq!(steps(t, &chat).await[2], "3 scheduled");
        t.advance_by(written + TimeDelta::hours(24) - t.now()).await;
        assert_eq!(
            arrived(t),
            (1, 0),
            "what came back does not forbid the next rung"
        );
        assert_eq!(steps(t, &chat).await.len(), 3);
    })
    .await;
}

/// After a while without a report it counts as arrived; a report that comes even later counts all the same, within the text's own bound.
#[tokio::test]
async fn a_bounce_that_comes_late_brings_the_text_only_within_its_bound() {
    for (minutes, texts) in [(16, 1), (60, 1), (71, 0), (300, 0)] {
        run_test_with(with_mail_events(), async |t| {
            let written = t.now();
            answered_with_both(t);
            t.tick().await;
            t.advance(10).await;
            let mail = t.mails().pop().unwrap();
            t.tick().await;
            t.advance_by(written + TimeDelta::minutes(minutes) - t.now())
                .await;
            comes_back(t, &mail, "soft").await;
            assert_eq!(arrived(t), (0, texts), "after {minutes} minutes");
        })
        .await;
    }
}

#[tokio::test]
async fn a_bounce_after_the_next_rung_has_begun_brings_nothing_of_the_one_before() {
    for (minutes, expected) in [(20, (0, 1)), (35, (0, 0))] {
        run_test_with(with_mail_events(), async |t| {
            let written = t.now();
            t.rule_over(&BOTH, |rule| {
                rule.caps.gap = TimeDelta::zero();
                rule.steps = vec![step(Email, 10), fallback(Sms, 10), step(Email, 30)];
            })
            .await;
            let chat = answered_with_both(t);
            t.tick().await;
            t.advance(10).await;
            let mail = t.mails().pop().unwrap();
            t.tick().await;
            t.advance_by(written + TimeDelta::minutes(minutes) - t.now())
                .await;
            let second = usize::from(minutes > 30);
            assert_eq!(arrived(t), (second, 0));
            comes_back(t, &mail, "soft").await;
            assert_eq!(arrived(t), expected, "after {minutes} minutes");
            let told = steps(t, &chat).await;
            assert_eq!(told[0], "1 undelivered (soft bounce)", "{told:?}");
            t.tick().await;
            t.advance(60).await;
            assert_eq!(arrived(t), (1 - second, 0), "the second rung, once");
        })
        .await;
    }
}

/// A text first, and an e-mail for whom it does not reach.
async fn text_first(t: &TestApp) {
    t.rule_over(&BOTH, |rule| {
        rule.steps = vec![step(Sms, 10), fallback(Email, 10)];
    })
    .await;
    reports_nothing(t);
}

#[tokio::test]
async fn a_text_that_is_reported_undelivered_brings_the_e_mail_at_once() {
    run_test(async |t| {
        text_first(t).await;
        let chat = answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        let sid = t.texts()[0].sid.clone();
        t.advance(20).await;
        t.tick().await;
        assert_eq!(t.reason(&chat).await.unwrap(), "awaiting_report");
        assert_eq!(pending(t, &chat).await, 0);
        assert_eq!(
            reports(t, "", &sid, "undelivered", Some("30008")).await,
            204
        );
        t.settle().await;
        assert_eq!(arrived(t), (1, 0));
        let told = steps(t, &chat).await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("undelivered (30008)") && told[1].ends_with("sent"),
            "{told:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_text_that_is_delivered_or_of_which_nobody_hears_is_followed_by_nothing() {
    for status in [Some("delivered"), Some("read"), None] {
        run_test(async |t| {
            text_first(t).await;
            let chat = answered_with_both(t);
            t.tick().await;
            t.advance(10).await;
            let sid = t.texts()[0].sid.clone();
            if let Some(status) = status {
                reports(t, "", &sid, status, None).await;
            }
            for _ in 0..5 {
                t.tick().await;
                t.advance(30).await;
            }
            t.tick().await;
            assert_eq!(arrived(t), (0, 0), "{status:?}");
            assert_eq!(t.reason(&chat).await.unwrap(), "all_steps_done");
        })
        .await;
    }
}

#[tokio::test]
async fn a_click_counts_as_reached_whatever_is_reported_afterwards() {
    run_test_with(with_mail_events(), async |t| {
        let chat = answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        let mail = t.mails().pop().unwrap();
        let token = t.reminders().await[0].token.clone();
        assert_eq!(t.get(&format!("/r/{token}")).await.0, 200);
        comes_back(t, &mail, "soft").await;
        t.tick().await;
        t.advance(60).await;
        assert_eq!(arrived(t), (0, 0), "{:?}", steps(t, &chat).await);
    })
    .await;
}

/// So many conversations in which a report meets scans and other looks at the same moment.
const RACES: usize = 12;

/// At most one waits, and nobody gets two.
async fn one_each(t: &TestApp, chats: &[String], expected: (usize, usize)) {
    for chat in chats {
        let waiting = pending(t, chat).await;
        assert!(waiting <= 1, "{:?}", steps(t, chat).await);
    }
    assert_eq!(arrived(t), expected);
    for chat in chats {
        let all = steps(t, chat).await;
        let mut each: Vec<&str> = all
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        each.sort_unstable();
        each.dedup();
        assert_eq!(each.len(), all.len(), "a row for each step: {all:?}");
    }
}

/// Many looks at conversations, asked for by as many transactions at once.
async fn looks(t: &TestApp, chats: &[String]) {
    let account = account();
    let looks = chats.iter().map(async |chat| {
        let mut conn = t.pool().acquire().await.unwrap();
        let of = [(&account, chat.as_str())];
        advance::schedule(&mut conn, &t.clock, of).await.unwrap();
    });
    join_all(looks).await;
}

#[tokio::test]
async fn bounces_that_race_with_scans_and_looks_bring_one_text_each() {
    run_test_with(with_mail_events(), async |t| {
        let customer = |n| {
            person(
                Some(&format!("ann{n}@example.net")),
                Some(&format!("+1202555{n:04}")),
            )
        };
        let chats: Vec<String> = (100..100 + RACES)
            .map(|n| answered(t, customer(n)))
            .collect();
        t.tick().await;
        t.advance(10).await;
        let mails = t.mails();
        assert_eq!(mails.len(), RACES);
        // The second rung waits for some of them, and is scheduled meanwhile for the others.
        let (_, later) = chats.split_at(RACES / 2);
        for chat in later {
            t.world()
                .partial(chat, unread::sandbox::world::Partial::Always);
        }
        t.tick().await;
        for chat in later {
            t.world()
                .partial(chat, unread::sandbox::world::Partial::Never);
        }
        let bounces = join_all(mails.iter().map(async |mail| {
            let list = json!([{ "kind": "soft", "message_id": mail.message_id() }]);
            let (status, _) = events(t, &list).await;
            assert_eq!(status, 200);
        }));
        let scans = async {
            for _ in 0..4 {
                t.tick_only().await;
                looks(t, &chats).await;
            }
        };
        join(bounces, scans).await;
        t.settle().await;
        t.tick().await;
        one_each(t, &chats, (0, RACES)).await;
    })
    .await;
}

#[tokio::test]
async fn reports_of_texts_that_race_with_scans_and_looks_bring_one_e_mail_each() {
    run_test(async |t| {
        text_first(t).await;
        let customer = |n| {
            person(
                Some(&format!("ann{n}@example.net")),
                Some(&format!("+1202555{n:04}")),
            )
        };
        let chats: Vec<String> = (100..100 + RACES)
            .map(|n| answered(t, customer(n)))
            .collect();
        t.tick().await;
        t.advance(10).await;
        let texts = t.texts();
        assert_eq!(texts.len(), RACES);
        // Each report twice, as Twilio may.
        let told = texts.iter().chain(&texts).map(async |text| {
            let status = reports(t, "", &text.sid, "undelivered", Some("30008")).await;
            assert_eq!(status, 204);
        });
        let scans = async {
            for _ in 0..4 {
                t.tick_only().await;
                looks(t, &chats).await;
            }
        };
        join(join_all(told), scans).await;
        t.settle().await;
        t.tick().await;
        one_each(t, &chats, (RACES, 0)).await;
    })
    .await;
}

/// A step in the middle of its attempt is not turned into another, whoever looks.
#[tokio::test]
async fn while_an_e_mail_is_being_sent_looks_change_nothing() {
    use unread::sandbox::rules::When;
    use unread::sandbox::smtp::{Phase, SmtpFault};
    run_test(async |t| {
        // Longer than the looks take.
        let slow = SmtpFault::slow(Phase::Final, When::next(1), 4_000);
        t.sandbox.smtp().faults().add(slow);
        let chat = answered(t, person(Some(ANN), Some(PHONE)));
        t.tick().await;
        let meanwhile = async {
            crate::harness::eventually("it is being sent", async || {
                steps(t, &chat).await == ["1 sending"]
            })
            .await;
            for _ in 0..3 {
                looks(t, std::slice::from_ref(&chat)).await;
                t.tick_only().await;
            }
        };
        join(t.advance(10), meanwhile).await;
        t.settle().await;
        assert_eq!(arrived(t), (1, 0));
        assert!(pending(t, &chat).await <= 1);
        assert_eq!(steps(t, &chat).await[0], "1 sent");
    })
    .await;
}
