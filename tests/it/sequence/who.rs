//! Who gets what: by the addresses that they have, by what is refused, and by what they read meanwhile.

use chrono::TimeDelta;
use unread::control;
use unread::domain::ids::Channel::{Email, Sms};
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};

use super::{
    ANN, PHONE, answered, answered_with_both, arrived, comes_back, pending, person, steps,
};
use crate::harness::{everything, run_test, run_test_with};
use crate::opt_outs::with_mail_events;

#[tokio::test]
async fn who_has_an_address_and_a_number_gets_the_e_mails_alone() {
    run_test(async |t| {
        let chat = answered_with_both(t);
        t.tick().await;
        assert_eq!(pending(t, &chat).await, 1, "only the next step is owed");
        t.advance(10).await;
        assert_eq!(arrived(t), (1, 0));
        for _ in 0..4 {
            t.tick().await;
            t.advance(60).await;
        }
        assert_eq!(
            arrived(t),
            (0, 0),
            "what is accepted where nothing is reported has reached them"
        );
        t.advance(20 * 60).await;
        assert_eq!(arrived(t), (1, 0));
        t.tick().await;
        t.advance(24 * 60).await;
        t.tick().await;
        assert_eq!(steps(t, &chat).await, ["1 sent", "3 sent"]);
        assert_eq!(t.reason(&chat).await.unwrap(), "all_steps_done");
        assert_eq!(arrived(t), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn who_has_no_e_mail_address_gets_the_texts_at_their_moments() {
    run_test(async |t| {
        let written = t.now();
        let chat = answered(t, person(None, Some(PHONE)));
        t.tick().await;
        let due = written + TimeDelta::minutes(10);
        assert_eq!(t.reminders().await[0].due_at, due);
        assert_eq!(t.passed_over(&chat, Email).await.unwrap(), "no_address");
        t.advance_by(due - t.now() - TimeDelta::seconds(1)).await;
        assert_eq!(arrived(t), (0, 0), "not before");
        t.advance_by(TimeDelta::seconds(1)).await;
        assert_eq!(arrived(t), (0, 1));
        t.tick().await;
        t.advance_by(written + TimeDelta::hours(24) - t.now()).await;
        assert_eq!(arrived(t), (0, 1));
        let told = steps(t, &chat).await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("2 ") && told[1].starts_with("4 "),
            "{told:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn who_has_neither_gets_nothing_and_is_told_why() {
    run_test(async |t| {
        let chat = answered(t, person(None, None));
        t.tick().await;
        t.advance(30).await;
        assert!(steps(t, &chat).await.is_empty());
        assert_eq!(t.reason(&chat).await.unwrap(), "no_address");
        for channel in [Email, Sms] {
            assert_eq!(t.passed_over(&chat, channel).await.unwrap(), "no_address");
        }
    })
    .await;
}

/// No scheduler ticks: what follows is found by the look that the failure asks for.
#[tokio::test]
async fn an_e_mail_that_is_refused_for_good_brings_the_text_at_once() {
    run_test(async |t| {
        let unknown = "550 5.1.1 No such user here";
        let fault = SmtpFault::reply(Phase::Rcpt, When::to(ANN), unknown);
        t.sandbox.smtp().faults().add(fault);
        let chat = answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (0, 1));
        let told = steps(t, &chat).await;
        assert_eq!(told[0], "1 failed (rcpt 550 5.1.1)");
        assert!(told[1].starts_with("2 "), "{told:?}");
        let due = t.reminders().await[1].due_at;
        assert_eq!(
            due,
            t.now(),
            "when it was known that the e-mail does not arrive"
        );
        let log = t.decisions(&chat).await;
        assert!(!log.iter().any(|line| line.contains("gap")), "{log:?}");
    })
    .await;
}

/// A mail server that is away is waited for; only what is over makes room.
#[tokio::test]
async fn while_an_e_mail_is_tried_again_no_text_goes() {
    run_test(async |t| {
        t.sandbox.smtp().latch().shut();
        let chat = answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        t.advance(1).await;
        t.tick().await;
        assert_eq!(steps(t, &chat).await, ["1 scheduled (retry)"]);
        t.sandbox.smtp().latch().open();
        t.advance(2).await;
        assert_eq!(arrived(t), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn whoever_reads_in_between_gets_nothing_more() {
    run_test_with(with_mail_events(), async |t| {
        let chat = answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        let mail = t.mails().pop().unwrap();
        t.tick().await;
        assert_eq!(steps(t, &chat).await, ["1 sent", "3 scheduled"]);
        t.world().consumer_reads(&chat);
        // The look that the report asks for sees it.
        comes_back(t, &mail, "soft").await;
        let told = ["1 undelivered (soft bounce)", "3 cancelled (read)"];
        assert_eq!(steps(t, &chat).await, told);
        t.advance(25 * 60).await;
        t.tick().await;
        assert_eq!(arrived(t), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn an_address_that_turns_up_before_the_text_is_sent_brings_the_e_mail_back() {
    run_test(async |t| {
        let chat = answered(t, person(None, Some(PHONE)));
        t.tick().await;
        assert_eq!(steps(t, &chat).await, ["2 scheduled"]);
        t.advance(5).await;
        t.world().tells(&chat, person(Some(ANN), Some(PHONE)));
        t.tick().await;
        assert_eq!(steps(t, &chat).await, ["1 scheduled"], "the same row");
        assert_eq!(t.passed_over(&chat, Email).await, None);
        t.advance(5).await;
        assert_eq!(arrived(t), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn an_address_that_turns_up_after_the_text_was_sent_counts_for_the_next_rung_only() {
    run_test(async |t| {
        let chat = answered(t, person(None, Some(PHONE)));
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (0, 1));
        t.world().tells(&chat, person(Some(ANN), Some(PHONE)));
        for _ in 0..3 {
            t.tick().await;
            t.advance(60).await;
        }
        assert_eq!(arrived(t), (0, 0));
        t.advance(21 * 60).await;
        assert_eq!(arrived(t), (1, 0));
        let told = steps(t, &chat).await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], "3 sent");
    })
    .await;
}

#[tokio::test]
async fn an_address_that_vanishes_passes_its_step_over() {
    run_test(async |t| {
        let chat = answered_with_both(t);
        t.tick().await;
        assert_eq!(steps(t, &chat).await, ["1 scheduled"]);
        // A search shows the newest attributes alone.
        t.world().tells(&chat, person(None, Some(PHONE)));
        t.tick().await;
        assert_eq!(steps(t, &chat).await, ["2 scheduled"]);
        assert_eq!(t.passed_over(&chat, Email).await.unwrap(), "no_address");
        t.advance(10).await;
        assert_eq!(arrived(t), (0, 1));
    })
    .await;
}

/// A person asks for the first message once more, while the second rung waits already: both come, and only once.
#[tokio::test]
async fn what_failed_is_sent_again_although_the_next_step_waits_and_that_comes_too() {
    run_test(async |t| {
        let unknown = "550 5.1.1 No such user here";
        let fault = SmtpFault::reply(Phase::Rcpt, When::next(1), unknown);
        t.sandbox.smtp().faults().add(fault);
        let chat = answered(t, person(Some(ANN), None));
        t.tick().await;
        t.advance(10).await;
        assert_eq!(
            steps(t, &chat).await,
            ["1 failed (rcpt 550 5.1.1)", "3 scheduled"]
        );
        // It was the mail server's mistake.
        sqlx::query("delete from suppressions")
            .execute(t.pool())
            .await
            .unwrap();
        let id = unread::domain::ids::ReminderId(t.reminders().await[0].id);
        control::reminders::send_again(t.pool(), &t.clock, "test", &everything(), id)
            .await
            .unwrap();
        t.settle().await;
        assert_eq!(arrived(t), (1, 0));
        t.tick().await;
        assert_eq!(pending(t, &chat).await, 1);
        t.advance(24 * 60).await;
        assert_eq!(arrived(t), (1, 0), "{:?}", steps(t, &chat).await);
    })
    .await;
}

/// What only the look before sending finds.
#[tokio::test]
async fn an_address_that_is_gone_at_the_moment_of_sending_makes_room_at_once() {
    run_test(async |t| {
        let chat = answered(t, person(None, Some(PHONE)));
        t.tick().await;
        // As if the scan had seen an e-mail address.
        sqlx::query("update reminders set step = 1, channel = 'email'")
            .execute(t.pool())
            .await
            .unwrap();
        t.advance(10).await;
        assert_eq!(arrived(t), (0, 1));
        let told = steps(t, &chat).await;
        assert_eq!(told[0], "1 cancelled (no_address)");
        assert!(told[1].starts_with("2 "), "{told:?}");
        assert_eq!(told.len(), 2);
    })
    .await;
}
