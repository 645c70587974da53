//! What becomes of reminders when the mail server or Twilio fail, lie or fall silent.

use chrono::{DateTime, TimeDelta, Utc};
use unread::domain::access::Permission;
use unread::domain::ids::Channel::Email;
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::sandbox::twilio::{Callback, Delivery, TwilioAnswer, TwilioFault};

use crate::harness::{TestApp, eventually, run_test};

const ANN: &str = "ann@example.net";
const PHONE: &str = "+12025550143";

fn mail_fault(t: &TestApp, fault: SmtpFault) {
    t.sandbox.smtp().faults().add(fault);
}

fn sms_fault(t: &TestApp, fault: TwilioFault) {
    t.sandbox.twilio().faults().add(fault);
}

/// When each attempt began, and how it ended.
async fn attempts(t: &TestApp) -> Vec<(DateTime<Utc>, Option<String>, Option<String>)> {
    sqlx::query_as("select started_at, outcome, code from attempts order by id")
        .fetch_all(t.pool())
        .await
        .unwrap()
}

/// How many reminders of a state the config API lists.
async fn listed(t: &TestApp, state: &str) -> usize {
    let program = t.program(&[Permission::View]).await;
    let page = program.get(&format!("/reminders?state={state}")).await;
    page.json()["items"].as_array().unwrap().len()
}

/// The time to look at the provider is the database's clock's, which nobody can move: so it has come.
async fn let_settlements_come(t: &TestApp) {
    sqlx::query("update attempts set settle_at = now() where settle_at is not null")
        .execute(t.pool())
        .await
        .unwrap();
    // Settling has a slot every ten seconds.
    t.advance_by(TimeDelta::seconds(10)).await;
    t.tick().await;
}

#[tokio::test]
async fn a_mail_server_that_is_busy_is_asked_again_after_growing_waits() {
    run_test(async |t| {
        let busy = "452 4.3.1 Insufficient system storage";
        mail_fault(t, SmtpFault::reply(Phase::Final, When::next(3), busy));
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&chat).await, ["scheduled (retry)"]);
        // Each wait is spread by a fifth to both sides.
        for (most, tries) in [(12, 2), (36, 3), (72, 4)] {
            assert!(t.mails().is_empty());
            t.advance_by(TimeDelta::seconds(most * 2 / 3) - TimeDelta::seconds(1))
                .await;
            assert_eq!(attempts(t).await.len(), tries - 1, "too early");
            t.advance_by(TimeDelta::seconds(most / 3 + 1)).await;
            assert_eq!(attempts(t).await.len(), tries, "too late");
        }
        assert_eq!(t.mails().len(), 1);
        assert_eq!(t.story(&chat).await, ["sent"]);
    })
    .await;
}

#[tokio::test]
async fn a_greylisted_mail_waits_a_minute_and_arrives() {
    run_test(async |t| {
        mail_fault(t, SmtpFault::greylist(When::always(), 60_000));
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert!(t.mails().is_empty());
        t.advance(1).await;
        assert_eq!(t.mails().len(), 1);
        assert_eq!(t.story(&chat).await, ["sent"]);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_mailbox_fails_for_good_and_is_not_written_to_again() {
    run_test(async |t| {
        let unknown = "550 5.1.1 No such user here";
        mail_fault(t, SmtpFault::reply(Phase::Rcpt, When::to(ANN), unknown));
        let first = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        // What comes next of the rule is asked for at once.
        assert_eq!(
            t.story(&first).await,
            ["failed (rcpt 550 5.1.1)", "scheduled"]
        );
        let second = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(
            t.story(&second).await,
            ["cancelled (bad_address)", "scheduled"]
        );
        assert_eq!(attempts(t).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_pauses_the_sender_costs_nobody_a_try_and_is_probed_until_it_is_mended() {
    run_test(async |t| {
        let wrong = "535 5.7.8 Username and Password not accepted";
        mail_fault(t, SmtpFault::reply(Phase::Auth, When::always(), wrong));
        let chats: Vec<String> = (0..4)
            .map(|n| t.answered(&format!("visitor{n}@example.net")))
            .collect();
        t.tick().await;
        t.advance(10).await;
        let open = async || -> i64 {
            let count = sqlx::query_scalar("select count(*) from circuits");
            count.fetch_one(t.pool()).await.unwrap()
        };
        assert_eq!(open().await, 1);
        for chat in &chats {
            assert_eq!(t.story(chat).await, ["scheduled (circuit_open)"]);
        }
        let before = attempts(t).await.len();
        t.advance(2).await;
        t.advance(2).await;
        let probes = attempts(t).await.len() - before;
        assert!((1..=2).contains(&probes), "{probes} probes in two looks");
        assert!(t.reminders().await.iter().all(|r| r.tries == 0));

        t.sandbox.smtp().faults().clear();
        for _ in 0..6 {
            t.advance(2).await;
        }
        assert_eq!(t.mails().len(), 4);
        assert_eq!(open().await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_mail_whose_final_answer_is_lost_is_unknown_and_not_sent_twice() {
    run_test(async |t| {
        mail_fault(t, SmtpFault::close(Phase::Final, When::next(1), true));
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1, "it had arrived");
        assert_eq!(t.story(&chat).await, ["unknown (final connection lost)"]);
        t.tick().await;
        t.advance(60).await;
        assert!(t.mails().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_rule_may_have_an_unknown_mail_sent_once_more_under_the_same_message_id() {
    run_test(async |t| {
        t.rule(Email, |rule| rule.channels[Email].resend_unknown = true)
            .await;
        mail_fault(t, SmtpFault::close(Phase::Final, When::next(1), true));
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        t.advance(1).await;
        let mails = t.mails();
        assert_eq!(mails.len(), 2);
        assert_eq!(mails[0].message_id(), mails[1].message_id());
        assert_eq!(t.story(&chat).await, ["sent"]);
    })
    .await;
}

#[tokio::test]
async fn a_mail_server_that_is_down_is_waited_for() {
    run_test(async |t| {
        t.sandbox.smtp().latch().shut();
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        t.advance(1).await;
        assert_eq!(t.story(&chat).await, ["scheduled (retry)"]);
        t.sandbox.smtp().latch().open();
        t.advance(2).await;
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_comes_too_late_after_an_outage_is_not_sent_any_more() {
    run_test(async |t| {
        t.sandbox.smtp().latch().shut();
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        t.advance(6 * 60).await;
        t.tick().await;
        t.sandbox.smtp().latch().open();
        t.advance(10).await;
        assert_eq!(t.story(&chat).await[0], "expired (too_late)");
    })
    .await;
}

#[tokio::test]
async fn an_sms_whose_answer_was_cut_off_is_found_in_the_list_and_not_sent_twice() {
    run_test(async |t| {
        let mute = Delivery::delivered().calling_back(Callback::Missing);
        sms_fault(
            t,
            TwilioFault {
                delivery: Some(mute),
                ..TwilioFault::answer(When::next(1), TwilioAnswer::CutBody)
            },
        );
        let chat = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.texts().len(), 1, "it had arrived");
        assert_eq!(t.story(&chat).await, ["sending"]);
        let_settlements_come(t).await;
        // The list says what has become of it meanwhile.
        assert_eq!(t.story(&chat).await[0], "delivered");
        t.advance(40).await;
        assert!(t.texts().is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_sms_whose_answer_was_cut_off_is_settled_by_its_callback_too() {
    run_test(async |t| {
        sms_fault(t, TwilioFault::answer(When::next(1), TwilioAnswer::CutBody));
        let chat = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.texts().len(), 1);
        t.advance(1).await;
        eventually("the SMS is delivered", async || {
            t.story(&chat).await == ["delivered"]
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_sms_whose_answer_never_comes_is_sent_once_and_settled() {
    run_test(async |t| {
        let mute = Delivery::delivered().calling_back(Callback::Missing);
        let silence = TwilioAnswer::Silence { accepted: true };
        sms_fault(
            t,
            TwilioFault {
                delivery: Some(mute),
                ..TwilioFault::answer(When::next(1), silence)
            },
        );
        let chat = t.answered(PHONE);
        t.tick().await;
        // Until the client gives up, which takes it twenty seconds.
        t.advance(10).await;
        assert_eq!(t.texts().len(), 1, "it had arrived");
        assert_eq!(t.story(&chat).await, ["sending"]);
        let of = async |state| listed(t, state).await;
        assert_eq!((of("sending").await, of("scheduled").await), (1, 0));
        let_settlements_come(t).await;
        assert_eq!(t.story(&chat).await[0], "delivered");
        assert_eq!((of("sending").await, of("delivered").await), (0, 1));
        t.advance(40).await;
        assert!(t.texts().is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_sms_that_never_arrived_is_sent_again_after_two_looks_at_the_list() {
    run_test(async |t| {
        let lost = TwilioAnswer::Close { accepted: false };
        sms_fault(t, TwilioFault::answer(When::next(1), lost));
        let chat = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        let_settlements_come(t).await;
        assert!(t.texts().is_empty(), "one look is not enough");
        assert_eq!(t.story(&chat).await, ["sending"]);
        let_settlements_come(t).await;
        // The retry policy's next wait.
        t.advance(1).await;
        assert_eq!(t.texts().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_attempt_is_settled_although_another_one_has_settled_the_reminder() {
    run_test(async |t| {
        let chat = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.texts().len(), 1);
        // As it is when an earlier attempt, which Twilio's list did not show for long, is reported after all.
        let second = "insert into attempts (reminder, number, sender, address, started_at, lease_until, ended_at, outcome, code, settle_at)
            select id, 2, '+15005550006', $1, $2, now(), $2, 'unknown', 'connection lost', now() from reminders";
        sqlx::query(second)
            .bind(PHONE)
            .bind(t.now())
            .execute(t.pool())
            .await
            .unwrap();
        for _ in 0..2 {
            let_settlements_come(t).await;
        }
        let (outcome, address): (String, Option<String>) =
            sqlx::query_as("select outcome, address from attempts where number = 2 and settle_at is null")
                .fetch_one(t.pool())
                .await
                .unwrap();
        assert_eq!((outcome.as_str(), address), ("not_accepted", None));
        t.advance(1).await;
        assert!(t.texts().is_empty());
        assert_eq!(t.story(&chat).await[0], "delivered");
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_died_while_it_sent_leaves_an_unknown_mail_that_nobody_sends_again() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        // As a worker leaves it that committed to an attempt and was killed.
        let died = "with r as (
                update reminders set state = 'sending', counted_at = now() returning id
            ), gone as (delete from apalis.jobs where job_type = 'deliver_email')
            insert into attempts (reminder, number, sender, started_at, lease_until)
            select id, 1, 'hello@shop.example', now(), now() from r";
        sqlx::query(died).execute(t.pool()).await.unwrap();
        t.advance(10).await;
        t.tick().await;
        assert_eq!(t.story(&chat).await[0], "unknown (lease)");
        t.advance(60).await;
    })
    .await;
}

#[tokio::test]
async fn a_reminder_whose_job_was_lost_is_found_by_the_sweep() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        sqlx::query("delete from apalis.jobs where job_type = 'deliver_email'")
            .execute(t.pool())
            .await
            .unwrap();
        t.advance(10).await;
        assert!(t.mails().is_empty());
        t.advance_by(TimeDelta::seconds(15)).await;
        t.tick().await;
        assert_eq!(t.mails().len(), 1);
        assert_eq!(t.story(&chat).await, ["sent"]);
    })
    .await;
}

#[tokio::test]
async fn twilio_s_errors_end_wait_or_pause_as_they_mean() {
    run_test(async |t| {
        // Who is written to, Twilio's error, what becomes of the reminder, and the next one where it has ended.
        let cases = [
            (
                "+12025550101",
                21610,
                &["cancelled (opted_out)", "scheduled"][..],
            ),
            (
                "+12025550102",
                21211,
                &["failed (http 400 21211)", "scheduled"],
            ),
            ("+12025550103", 20500, &["sending"]),
            ("+12025550104", 20429, &["scheduled (retry)"]),
            (
                "+12025550105",
                30640,
                &["cancelled (opted_out)", "scheduled"],
            ),
        ];
        for (number, code, _) in cases {
            sms_fault(t, TwilioFault::error(When::to(number), code));
        }
        let chats = cases.map(|(number, ..)| t.answered(number));
        t.tick().await;
        t.advance(10).await;
        for ((number, code, story), chat) in cases.iter().zip(&chats) {
            assert_eq!(t.story(chat).await, *story, "{number} {code}");
        }
        t.sandbox.twilio().faults().clear();
        // The pause that the 429 asked for is real time.
        sqlx::query("update limits set held_until = null")
            .execute(t.pool())
            .await
            .unwrap();
        t.advance(3).await;
        assert_eq!(t.texts().len(), 1, "the one that was too many");
        // An internal error does not say whether the SMS was made before it.
        let_settlements_come(t).await;
        let_settlements_come(t).await;
        // Certain now that it was not sent, it is tried again after the usual wait.
        t.advance(1).await;
        assert_eq!(t.texts().len(), 1, "the one that the list did not have");
    })
    .await;
}

#[tokio::test]
async fn wrong_credentials_at_twilio_do_not_hold_up_e_mail() {
    run_test(async |t| {
        sms_fault(t, TwilioFault::error(When::always(), 20003));
        let [mail, sms] = [ANN, PHONE].map(|address| t.answered(address));
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        assert_eq!(t.story(&mail).await, ["sent"]);
        assert_eq!(t.story(&sms).await, ["scheduled (circuit_open)"]);
        t.sandbox.twilio().faults().clear();
        t.advance(2).await;
        assert_eq!(t.texts().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_carrier_that_cannot_deliver_makes_the_reminder_undelivered_and_a_dead_number_is_left_alone()
 {
    run_test(async |t| {
        sms_fault(
            t,
            TwilioFault::delivery(When::always(), Delivery::undelivered(30005)),
        );
        let chat = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.texts().len(), 1);
        t.advance(1).await;
        eventually("the SMS is undelivered", async || {
            t.story(&chat).await == ["undelivered (30005)", "scheduled"]
        })
        .await;
        let again = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(
            t.story(&again).await,
            ["cancelled (bad_address)", "scheduled"]
        );
    })
    .await;
}
