//! A no on any channel ends this episode on all of them; the next one follows the reach of the no.

use super::{ANN, PHONE, answered_with_both, answers_again, arrived, steps};
use crate::harness::{TestApp, run_test};

async fn unsubscribes(t: &TestApp) {
    let token = t.reminders().await[0].token.clone();
    let out = t.http.post(format!("{}/u/{token}", t.web)).send().await;
    assert_eq!(out.unwrap().status(), 200);
}

async fn texts_stop(t: &TestApp) {
    let twilio = t.sandbox.twilio().account();
    let told = twilio.inbound(PHONE, &twilio.number(), "STOP", None).await;
    assert_eq!(told.unwrap().0, 200);
}

/// Reminded by e-mail, and the second rung waits.
async fn reminded(t: &TestApp) -> String {
    let chat = answered_with_both(t);
    t.tick().await;
    t.advance(10).await;
    let mails = t.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, [ANN]);
    t.tick().await;
    assert_eq!(steps(t, &chat).await, ["1 sent", "3 scheduled"]);
    chat
}

/// Days pass, with scans.
async fn nothing_more(t: &TestApp, chat: &str) {
    for _ in 0..26 {
        t.advance(60).await;
        t.tick().await;
    }
    assert_eq!(
        arrived(t),
        (0, 0),
        "no means no: {:?}",
        steps(t, chat).await
    );
    let told = steps(t, chat).await;
    assert!(
        told[1..]
            .iter()
            .all(|line| line.ends_with("cancelled (opted_out)")),
        "{told:?}"
    );
}

#[tokio::test]
async fn who_unsubscribes_gets_no_text_for_this_message_and_one_for_the_next() {
    run_test(async |t| {
        let chat = reminded(t).await;
        unsubscribes(t).await;
        nothing_more(t, &chat).await;
        assert_eq!(t.reason(&chat).await.unwrap(), "opted_out");
        // The link is in a mail, for one address: a text may go.
        answers_again(t, &chat);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn who_texts_stop_gets_no_e_mail_for_this_message_and_one_for_the_next() {
    run_test(async |t| {
        let chat = reminded(t).await;
        texts_stop(t).await;
        nothing_more(t, &chat).await;
        // The number is stopped; the address is not.
        answers_again(t, &chat);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (1, 0));
    })
    .await;
}

/// The no comes when the fallback is already due.
#[tokio::test]
async fn who_says_no_before_the_text_that_is_brought_forward_gets_none() {
    use crate::opt_outs::with_mail_events;
    crate::harness::run_test_with(with_mail_events(), async |t| {
        let chat = answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        let mail = t.mails().pop().unwrap();
        t.tick().await;
        unsubscribes(t).await;
        super::comes_back(t, &mail, "soft").await;
        nothing_more(t, &chat).await;
    })
    .await;
}

/// A no from before the message is no no to this one: what it reaches is passed over, the rest goes.
#[tokio::test]
async fn an_old_no_to_the_e_mail_leaves_the_text() {
    run_test(async |t| {
        reminded(t).await;
        unsubscribes(t).await;
        t.advance(3 * 60).await;
        let chat = answered_with_both(t);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (0, 1));
        let told = steps(t, &chat).await;
        assert_eq!(told[0], "1 cancelled (opted_out)");
        assert!(told[1].starts_with("2 "), "{told:?}");
    })
    .await;
}
