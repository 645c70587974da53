//! Whose fault a refusal is: the recipient's, this mail's, or ours; and what becomes of everybody else's mail meanwhile.

use chrono::TimeDelta;
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};

use crate::harness::{TestApp, run_test};

const ANN: &str = "ann@example.net";

fn refuse(t: &TestApp, to: &str, reply: &str) {
    refuse_at(t, Phase::Rcpt, When::to(to), reply);
}

fn refuse_at(t: &TestApp, phase: Phase, when: When, reply: &str) {
    let fault = SmtpFault::reply(phase, when, reply);
    t.sandbox.smtp().faults().add(fault);
}

/// Codes of open circuits.
async fn circuits(t: &TestApp) -> Vec<String> {
    sqlx::query_scalar("select code from circuits order by code")
        .fetch_all(t.pool())
        .await
        .unwrap()
}

async fn suppressed(t: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from suppressions")
        .fetch_one(t.pool())
        .await
        .unwrap()
}

/// The recipients of the mails that came since the last look.
fn reached(t: &TestApp) -> Vec<String> {
    let mut to: Vec<String> = t.mails().iter().flat_map(|mail| mail.to.clone()).collect();
    to.sort();
    to
}

#[tokio::test]
async fn what_is_about_us_pauses_the_sender_and_silences_nobody() {
    for (phase, reply, code) in [
        (Phase::Rcpt, "550 relay not permitted", "rcpt 550 relay"),
        (
            Phase::Rcpt,
            "550 5.7.1: Relaying denied",
            "rcpt 550 5.7.1 relay",
        ),
        (
            Phase::Rcpt,
            "550-Verification failed for <a@acme.example>\n550-No Such User Here\n550 Sender verify failed",
            "rcpt 550 sender",
        ),
        (
            Phase::Rcpt,
            "550 Domain acme.example has exceeded the max emails per hour (151/150 (100%)) allowed. Message discarded.",
            "rcpt 550 quota",
        ),
        (
            Phase::Rcpt,
            "530 #5.7.1 Authentication required",
            "rcpt 530 5.7.1",
        ),
        (
            Phase::Rcpt,
            "554 Your IP is listed at zen.spamhaus.org",
            "rcpt 554 block list",
        ),
        (
            Phase::Final,
            "550 5.7.515 Access denied, sending domain does not meet the required authentication level",
            "final 550 5.7.515",
        ),
        (
            Phase::Final,
            "421-4.7.26 Your email has been rate limited because it is unauthenticated.\n421 4.7.26 See the guidelines",
            "final 421 4.7.26",
        ),
    ] {
        run_test(async |t| {
            refuse_at(t, phase, When::always(), reply);
            let chat = t.answered(ANN);
            t.tick().await;
            t.advance(10).await;
            assert_eq!(circuits(t).await, [code]);
            assert_eq!(
                t.story(&chat).await,
                ["scheduled (circuit_open)"],
                "{reply}"
            );
            assert_eq!(suppressed(t).await, 0, "{reply}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_refusal_that_does_not_name_the_mailbox_ends_one_reminder_and_no_more() {
    for reply in [
        "550",
        "554 Denied",
        "550 Requested action not taken: mailbox unavailable",
        "550 5.4.1 Recipient address rejected: Access denied",
    ] {
        run_test(async |t| {
            refuse_at(t, Phase::Rcpt, When::to(ANN).and_next(1), reply);
            let first = t.answered(ANN);
            t.tick().await;
            t.advance(10).await;
            assert!(
                t.story(&first).await[0].starts_with("failed (rcpt 55"),
                "{reply}"
            );
            assert_eq!((suppressed(t).await, circuits(t).await), (0, vec![]));
            let second = t.answered(ANN);
            t.tick().await;
            t.advance(10).await;
            assert_eq!(t.story(&second).await, ["sent"], "{reply}");
            assert_eq!(reached(t), [ANN]);
        })
        .await;
    }
}

#[tokio::test]
async fn one_closed_group_holds_nobody_else_up_and_ends_by_itself() {
    run_test(async |t| {
        let group = "group@closed.example";
        refuse(
            t,
            group,
            "550 5.7.124 Sender not in the list of allowed senders",
        );
        let closed = t.answered(group);
        let others: Vec<String> = (0..20)
            .map(|n| t.answered(&format!("visitor{n}@example.net")))
            .collect();
        t.tick().await;
        t.advance(10).await;
        assert_eq!(reached(t).len(), 20, "at once");
        for chat in &others {
            assert_eq!(t.story(chat).await, ["sent"]);
        }
        assert_eq!(t.story(&closed).await, ["scheduled (retry)"]);
        for _ in 0..40 {
            t.advance(1).await;
        }
        assert_eq!(
            t.story(&closed).await,
            ["failed (rcpt 550 5.7.124)", "scheduled"]
        );
        assert_eq!((suppressed(t).await, circuits(t).await), (0, vec![]));
        assert_eq!(t.reminders().await.iter().map(|r| r.tries).max(), Some(8));
    })
    .await;
}

#[tokio::test]
async fn two_closed_groups_with_others_reached_between_them_are_two_closed_groups() {
    run_test(async |t| {
        refuse(t, "*@closed.example", "550 5.7.124 not an allowed sender");
        for n in 0..4 {
            t.answered(&format!("group{n}@closed.example"));
            t.tick().await;
            t.advance(10).await;
            t.answered(&format!("visitor{n}@example.net"));
            t.tick().await;
            t.advance(10).await;
            assert_eq!(reached(t).len(), 1);
            assert_eq!(circuits(t).await, Vec::<String>::new());
        }
    })
    .await;
}

#[tokio::test]
async fn what_two_recipients_in_a_row_meet_is_ours_and_a_third_one_tries() {
    run_test(async |t| {
        refuse(t, "*", "550 5.7.1 Access denied");
        let first = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&first).await, ["scheduled (retry)"]);
        assert_eq!(circuits(t).await, Vec::<String>::new(), "it may be Ann's");
        let second = t.answered("ben@example.org");
        t.tick().await;
        t.advance(10).await;
        assert_eq!(circuits(t).await, ["rcpt 550 5.7.1"]);
        assert_eq!(suppressed(t).await, 0);

        // Two that nobody has refused yet; the server's trouble is over for them, and would not be for the two that met it.
        t.sandbox.smtp().faults().clear();
        refuse(t, ANN, "550 5.7.1 Access denied");
        refuse(t, "ben@example.org", "550 5.7.1 Access denied");
        t.answered("cleo@example.net");
        t.answered("dan@example.net");
        t.tick().await;
        t.advance(10).await;
        for _ in 0..6 {
            t.advance_by(TimeDelta::seconds(70)).await;
        }
        assert_eq!(reached(t), ["cleo@example.net", "dan@example.net"]);
        assert_eq!(circuits(t).await, Vec::<String>::new());
        // From now on it is the two recipients' own matter.
        for _ in 0..60 {
            t.advance(1).await;
        }
        for chat in [&first, &second] {
            assert_eq!(
                t.story(chat).await,
                ["failed (rcpt 550 5.7.1)", "scheduled"]
            );
        }
        assert_eq!(circuits(t).await, Vec::<String>::new());
    })
    .await;
}

/// Four people of one domain are answered and, five minutes later, one of another: their reminders are due five minutes apart.
/// Returns when the first four have been refused.
async fn four_and_then_one(t: &TestApp) -> Vec<String> {
    refuse(t, "*", "550 5.1.1 User unknown");
    let mut chats = Vec::new();
    for n in 0..4 {
        chats.push(t.answered(&format!("visitor{n}@one.example")));
    }
    t.tick().await;
    t.advance(5).await;
    chats.push(t.answered("visitor4@two.example"));
    t.tick().await;
    t.advance(5).await;
    assert_eq!(suppressed(t).await, 4, "four are believed");
    for chat in &chats[..4] {
        assert_eq!(
            t.story(chat).await,
            ["failed (rcpt 550 5.1.1)", "scheduled"]
        );
    }
    chats
}

#[tokio::test]
async fn five_bad_addresses_in_a_row_are_about_us_and_are_free_again() {
    run_test(async |t| {
        let chats = four_and_then_one(t).await;
        t.advance(5).await;
        assert_eq!(circuits(t).await, ["rcpt unknown addresses in a row"]);
        assert_eq!(suppressed(t).await, 0, "all of them are free again");
        for chat in &chats {
            // The one that was next for who had failed waits for its turn again.
            assert_eq!(t.story(chat).await[0], "scheduled (circuit_open)");
            let last = t.decisions(chat).await.pop().unwrap();
            assert!(last.contains("circuit_open"), "{last}");
        }

        // While nobody gets through, nobody is struck off.
        for _ in 0..4 {
            t.advance(2).await;
        }
        assert_eq!(suppressed(t).await, 0);
        t.sandbox.smtp().faults().clear();
        for _ in 0..8 {
            t.advance(2).await;
        }
        assert_eq!(reached(t).len(), 5);
        assert_eq!(circuits(t).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn what_is_suppressed_for_another_reason_stays_when_a_run_is_taken_back() {
    run_test(async |t| {
        four_and_then_one(t).await;
        // Of the four, one says no meanwhile, and one's mail has come back.
        for (reason, source) in [
            ("opted_out", "unsubscribe link"),
            ("bad_address", "mail event"),
        ] {
            let change = "update suppressions set reason = $1, source = $2
                 where ctid = (select ctid from suppressions where source = 'provider' limit 1)";
            let change = sqlx::query(change).bind(reason).bind(source);
            change.execute(t.pool()).await.unwrap();
        }
        t.advance(5).await;
        assert_eq!(circuits(t).await, ["rcpt unknown addresses in a row"]);
        assert_eq!(suppressed(t).await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_batch_of_bad_addresses_is_looked_at_as_a_whole() {
    run_test(async |t| {
        refuse(t, "*", "550 5.1.1 User unknown");
        for n in 0..12 {
            t.answered(&format!("visitor{n}@shop{}.example", n % 3));
        }
        t.tick().await;
        t.advance(10).await;
        assert_eq!(circuits(t).await, ["rcpt unknown addresses in a row"]);
        assert_eq!(suppressed(t).await, 0);
        assert!(t.reminders().await.iter().all(|r| r.tries == 0));
    })
    .await;
}

#[tokio::test]
async fn really_bad_addresses_end_as_such_once_the_sender_is_shown_to_work() {
    run_test(async |t| {
        refuse(t, "*@gone*.example", "550 5.1.1 User unknown");
        let gone: Vec<String> = (0..6)
            .map(|n| t.answered(&format!("visitor{n}@gone{}.example", n % 2)))
            .collect();
        t.tick().await;
        t.advance(10).await;
        assert_eq!(circuits(t).await, ["rcpt unknown addresses in a row"]);
        for n in 0..3 {
            t.answered(&format!("visitor{n}@example.net"));
        }
        t.tick().await;
        for _ in 0..15 {
            t.advance(2).await;
        }
        assert_eq!(reached(t).len(), 3);
        assert_eq!(circuits(t).await, Vec::<String>::new());
        for chat in &gone {
            assert_eq!(
                t.story(chat).await,
                ["failed (rcpt 550 5.1.1)", "scheduled"]
            );
        }
        assert_eq!(suppressed(t).await, 6);
    })
    .await;
}

#[tokio::test]
async fn bad_addresses_with_others_reached_between_them_are_bad() {
    run_test(async |t| {
        refuse(t, "*@gone*.example", "550 5.1.1 User unknown");
        for n in 0..6 {
            t.answered(&format!("visitor{n}@gone{}.example", n % 2));
            t.tick().await;
            t.advance(1).await;
            if n % 3 == 0 {
                t.answered(&format!("visitor{n}@example.net"));
                t.tick().await;
            }
            t.advance_by(TimeDelta::seconds(10)).await;
        }
        for _ in 0..12 {
            t.advance(1).await;
        }
        assert_eq!(reached(t).len(), 2);
        assert_eq!(circuits(t).await, Vec::<String>::new());
        assert_eq!(suppressed(t).await, 6);
    })
    .await;
}
