//! No means no, between tries too; what providers report; limits; operators and erasing.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};
use unread::channel::mail_events;
use unread::control;
use unread::control::consumers::ConsumerSelector;
use unread::control::suppressions::{BadLines, Imports};
use unread::db::limits::{self, WaitingLine};
use unread::domain::contact::Suppression;
use unread::domain::ids::{Channel, ReminderId};
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::sandbox::twilio::{self, TwilioAnswer, TwilioFault};
use unread::secret::Secret;
use unread::suppressions_file::{Defaults, HEADER};

use crate::harness::{
    Reminder, Setup, TestApp, account, eventually, everything, run_test, run_test_with,
};
use crate::tables::is_left;

const ANN: &str = "ann@example.net";
const PHONE: &str = "+12025550143";
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Whoever asks for what the tests ask for.
const BY: &str = "test";

async fn cancel(t: &TestApp, id: ReminderId) -> Result<(), control::ControlError> {
    control::reminders::cancel(t.pool(), &t.clock, BY, &everything(), id).await
}

async fn send_again(t: &TestApp, id: ReminderId) -> Result<(), control::ControlError> {
    control::reminders::send_again(t.pool(), &t.clock, BY, &everything(), id).await
}

fn sms_fault(t: &TestApp, answer: TwilioAnswer) {
    let fault = TwilioFault::answer(When::next(1), answer);
    t.sandbox.twilio().faults().add(fault);
}

fn greylisted(t: &TestApp) {
    let later = "451 4.7.1 Please try again later";
    let fault = SmtpFault::reply(Phase::Rcpt, When::next(1), later);
    t.sandbox.smtp().faults().add(fault);
}

/// The wait that a provider asked for is real time, on the database's clock: so it is over.
async fn let_holds_pass(t: &TestApp) {
    sqlx::query("update limits set held_until = null")
        .execute(t.pool())
        .await
        .unwrap();
}

async fn count(t: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(t.pool()).await.unwrap()
}

async fn says(t: &TestApp, text: &str) {
    writes(t, PHONE, text).await;
}

async fn writes(t: &TestApp, sender: &str, text: &str) {
    let twilio = t.sandbox.twilio().account();
    let (status, _) = twilio
        .inbound(sender, &twilio.number(), text, None)
        .await
        .unwrap();
    assert_eq!(status, 200);
}

/// A status callback as Twilio would post it.
pub async fn reports(
    t: &TestApp,
    attempt: &str,
    sid: &str,
    status: &str,
    code: Option<&str>,
) -> u16 {
    let endpoints = t.sandbox.endpoints();
    let url = format!("{}/twilio/status?rid={attempt}", t.web);
    let mut fields = vec![
        ("MessageSid".to_owned(), sid.to_owned()),
        ("MessageStatus".to_owned(), status.to_owned()),
        (
            "AccountSid".to_owned(),
            endpoints.twilio.account_sid.clone(),
        ),
    ];
    fields.extend(code.map(|code| ("ErrorCode".to_owned(), code.to_owned())));
    let signature = twilio::sign(&endpoints.twilio.auth_token, &url, &fields);
    let request = t.http.post(&url).header("X-Twilio-Signature", signature);
    request
        .form(&fields)
        .send()
        .await
        .unwrap()
        .status()
        .as_u16()
}

pub async fn events(t: &TestApp, events: &Value) -> (u16, Value) {
    let (time, body) = (t.now().timestamp(), events.to_string());
    let signature = mail_events::sign(&Secret::new(SECRET), time, body.as_bytes());
    let answer = t
        .http
        .post(format!("{}/mail/events", t.web))
        .header("X-Unread-Timestamp", time)
        .header("X-Unread-Signature", format!("v1={signature}"))
        .body(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub fn with_mail_events() -> Setup {
    Setup {
        settings: vec![("UNREAD_MAIL_WEBHOOK_SECRET", SECRET)],
        ..Setup::default()
    }
}

#[tokio::test]
async fn unsubscribing_while_a_retry_waits_cancels_it() {
    run_test(async |t| {
        greylisted(t);
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&chat).await, ["scheduled (retry)"]);
        let token = &t.reminders().await[0].token;
        let one_click = t
            .http
            .post(format!("{}/u/{token}", t.web))
            .form(&[("List-Unsubscribe", "One-Click")])
            .send()
            .await
            .unwrap();
        assert_eq!(one_click.status(), 200);
        t.advance(3).await;
        assert_eq!(t.story(&chat).await, ["cancelled (opted_out)"]);
    })
    .await;
}

/// The pause after a 429 is counted by the database's clock, which the stage does not move.
async fn twilio_s_pause_is_over(t: &TestApp) {
    sqlx::query("update limits set held_until = null")
        .execute(t.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn stop_in_whatever_words_while_a_retry_waits_cancels_it() {
    for words in ["STOP", "Please stop texting me"] {
        run_test(async |t| {
            sms_fault(t, TwilioAnswer::TooMany { retry_after: None });
            let chat = t.answered(PHONE);
            t.tick().await;
            t.advance(10).await;
            assert_eq!(t.story(&chat).await, ["scheduled (retry)"]);
            says(t, words).await;
            twilio_s_pause_is_over(t).await;
            t.advance(3).await;
            assert_eq!(t.story(&chat).await, ["cancelled (opted_out)"]);
            assert!(t.texts().is_empty());
        })
        .await;
    }
}

/// However the number is written at LivePerson and however the network names the sender, it is one phone.
#[tokio::test]
async fn a_stop_holds_for_the_number_that_is_texted() {
    for (written, sender) in [
        ("+52 55 1234 5678", "whatsapp:+5215512345678"),
        ("+54 11 15 2345-6789", "+541123456789"),
        ("+55 (0)31 98765-4321", "whatsapp:+553187654321"),
        ("+44 (0)20 7946 0123", "rcs:+442079460123"),
    ] {
        run_test(async |t| {
            sms_fault(t, TwilioAnswer::TooMany { retry_after: None });
            let chat = t.answered(written);
            t.tick().await;
            t.advance(10).await;
            assert_eq!(t.story(&chat).await, ["scheduled (retry)"], "{written}");
            writes(t, sender, "STOP").await;
            twilio_s_pause_is_over(t).await;
            t.advance(3).await;
            assert_eq!(t.story(&chat).await, ["cancelled (opted_out)"], "{sender}");
        })
        .await;
    }
}

#[tokio::test]
async fn yes_lifts_what_a_keyword_did_and_nothing_else() {
    run_test(async |t| {
        let suppressed = async || count(t, "select count(*) from suppressions").await;
        says(t, "STOP").await;
        says(t, "Yes").await;
        assert_eq!(suppressed().await, 0);
        says(t, "leave me alone").await;
        says(t, "Yes").await;
        assert_eq!(suppressed().await, 1, "an answer to something else");
        says(t, "START").await;
        assert_eq!(suppressed().await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_429_holds_everybody_back_and_costs_those_who_wait_no_try() {
    run_test(async |t| {
        // Longer than this test takes on any machine, since the pause passes in real time.
        let retry_after = Some(600);
        sms_fault(t, TwilioAnswer::TooMany { retry_after });
        let refused = async || {
            let sql = "select count(*) from attempts where code like '%429%'";
            count(t, sql).await
        };
        let first = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        t.advance_until("the first one is refused", async || refused().await == 1)
            .await;
        assert_eq!(t.story(&first).await, ["scheduled (retry)"]);
        let second = t.answered("+12025550144");
        t.tick().await;
        t.advance(10).await;
        t.advance_until("the second one waits", async || {
            t.story(&second).await == ["scheduled (rate_limit)"]
        })
        .await;
        assert_eq!(refused().await, 1);
        assert!(t.texts().is_empty());
        assert!(t.reminders().await.iter().all(|r| r.tries <= 1));
        let_holds_pass(t).await;
        t.advance(11).await;
        t.advance_until("both are sent", async || {
            let stories = [t.story(&first).await, t.story(&second).await];
            stories.concat() == ["sent", "sent"]
        })
        .await;
        assert_eq!(t.texts().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn reports_out_of_order_twice_and_of_strangers_do_no_harm() {
    run_test(async |t| {
        let chat = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        let sid = t.texts()[0].sid.clone();
        let token = t.reminders().await[0].token.clone();
        let ours = format!("1-{}", &token[..8]);
        let stranger = "SM99999999999999999999999999999999";
        for name in ["1", "1-AAAAAAAA", "999999-AAAAAAAA", "x", "%00"] {
            assert_eq!(reports(t, name, stranger, "delivered", None).await, 204);
        }
        assert_eq!(reports(t, &ours, stranger, "failed", Some("30005")).await, 204);
        assert_eq!(t.story(&chat).await, ["sent"]);
        for status in ["sent", "undelivered", "delivered", "queued", "undelivered"] {
            reports(t, &ours, &sid, status, Some("30005")).await;
        }
        t.settle().await;
        assert_eq!(t.story(&chat).await, ["undelivered (30005)", "scheduled"]);
        let kept = "select count(*) from suppressions where reason = 'bad_address' and expires_at is not null";
        assert_eq!(count(t, kept).await, 1);
    })
    .await;
}

#[tokio::test]
async fn an_sms_that_carriers_block_for_our_fault_pauses_the_sender_until_a_report_says_it_is_mended()
 {
    run_test(async |t| {
        // Of the first text we report ourselves.
        let mute = twilio::Delivery::delivered().calling_back(twilio::Callback::Missing);
        let faults = t.sandbox.twilio().faults();
        faults.add(TwilioFault::delivery(When::next(1), mute));
        t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        let sid = t.texts()[0].sid.clone();
        reports(t, "", &sid, "undelivered", Some("30034")).await;
        assert_eq!(
            count(t, "select count(*) from circuits where proof = 'report'").await,
            1
        );
        let second = t.answered("+12025550144");
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.texts().len(), 1, "it was the probe");
        assert_eq!(t.story(&second).await.len(), 1);
        // The carrier takes it and delivers it; the sandbox reports both.
        eventually("the circuit closes", async || {
            t.advance(1).await;
            count(t, "select count(*) from circuits").await == 0
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_bounce_is_noted_by_message_id_and_a_complaint_by_address() {
    run_test_with(with_mail_events(), async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        let mail = t.mails().pop().unwrap();
        let id = mail.message_id().unwrap();
        let list = json!([
            { "kind": "hard", "message_id": id },
            { "kind": "complaint", "address": "Ben@Example.net" },
            { "kind": "hard", "message_id": "<rem.1.AAAAAAAA@shop.example>" },
        ]);
        for _ in 0..2 {
            let (status, answer) = events(t, &list).await;
            assert_eq!(
                (status, answer),
                (200, json!({ "applied": 2, "unknown": 1 }))
            );
        }
        t.settle().await;
        assert_eq!(
            t.story(&chat).await,
            ["undelivered (hard bounce)", "scheduled"]
        );
        let (again, ben) = (t.answered(ANN), t.answered("ben@example.net"));
        t.tick().await;
        t.advance(10).await;
        assert_eq!(
            t.story(&again).await,
            ["cancelled (bad_address)", "scheduled"]
        );
        assert_eq!(t.story(&ben).await, ["cancelled (complaint)", "scheduled"]);
    })
    .await;
}

#[tokio::test]
async fn unsigned_mail_events_are_refused_and_without_a_secret_there_are_none() {
    run_test_with(with_mail_events(), async |t| {
        let url = format!("{}/mail/events", t.web);
        let answer = t.http.post(&url).body("[]").send().await.unwrap();
        assert_eq!(answer.status(), 403);
    })
    .await;
    run_test(async |t| assert_eq!(events(t, &json!([])).await.0, 404)).await;
}

#[tokio::test]
async fn a_link_counts_people_only_and_leads_nowhere_else() {
    run_test(async |t| {
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        let token = t.reminders().await[0].token.clone();
        let link = format!("{}/r/{token}?to=https://evil.example/", t.web);
        t.http.head(&link).send().await.unwrap();
        t.http
            .get(&link)
            .header("Sec-Purpose", "prefetch")
            .send()
            .await
            .unwrap();
        let bot = t.http.get(&link).header("User-Agent", "Mimecast scanner");
        bot.send().await.unwrap();
        assert_eq!(t.reminders().await[0].clicked_at, None);
        let answer = t.http.get(&link).send().await.unwrap();
        let to = answer
            .headers()
            .get("location")
            .map(|to| to.to_str().unwrap().to_owned());
        assert!(to.is_none_or(|to| !to.contains("evil")));
        assert!(
            t.reminders().await[0].returned_at.is_some(),
            "a click is a return"
        );
        t.advance(31 * 24 * 60).await;
        assert_eq!(t.get(&format!("/r/{token}")).await.0, 404, "it has expired");
        assert_eq!(
            t.get(&format!("/u/{token}")).await.0,
            200,
            "the way out lasts longer"
        );
    })
    .await;
}

#[tokio::test]
async fn an_unknown_mail_is_sent_again_only_by_a_person_and_only_if_it_is_still_owed() {
    run_test(async |t| {
        let silent = SmtpFault::close(Phase::Final, When::next(2), false);
        t.sandbox.smtp().faults().add(silent);
        let (ann, ben) = (t.answered(ANN), t.answered("ben@example.net"));
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&ann).await, ["unknown (final connection lost)"]);
        t.world().consumer_reads(&ben);
        for reminder in t.reminders().await {
            let id = ReminderId(reminder.id);
            send_again(t, id).await.unwrap();
        }
        t.advance(1).await;
        assert_eq!(t.mails().len(), 1);
        assert_eq!(t.story(&ann).await, ["sent"]);
        assert_eq!(t.story(&ben).await, ["cancelled (read)"]);
        assert!(
            t.decisions(&ann)
                .await
                .contains(&"operator schedule by_operator".to_owned())
        );
        let all = t.reminders().await;
        let id = ReminderId(all.iter().find(|r| r.conversation == ann).unwrap().id);
        let again = send_again(t, id).await.unwrap_err();
        assert!(matches!(again, control::ControlError::Conflict(why) if why.contains("is sent")));
        let nobody = cancel(t, ReminderId(0)).await.unwrap_err();
        assert!(matches!(nobody, control::ControlError::NotFound(_)));
    })
    .await;
}

#[tokio::test]
async fn a_person_cancels_what_waits() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        let id = ReminderId(t.reminders().await[0].id);
        cancel(t, id).await.unwrap();
        t.advance(20).await;
        assert_eq!(t.story(&chat).await, ["cancelled (by_operator)"]);
    })
    .await;
}

#[tokio::test]
async fn after_downtime_what_is_late_expires_and_the_rest_goes_out() {
    run_test(async |t| {
        let (late, text) = (t.answered(ANN), t.answered(PHONE));
        t.tick().await;
        // Nobody works for two hours: an e-mail may be that late, a text message may not.
        t.advance_by(TimeDelta::minutes(130)).await;
        assert_eq!(t.story(&text).await, ["expired (too_late)", "scheduled"]);
        assert_eq!(t.story(&late).await, ["sent"]);
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_backlog_goes_out_at_the_rate_oldest_first() {
    run_test(async |t| {
        // Before the transaction, whose beginning is its `now()`.
        let asked = Instant::now();
        let mut tx = t.pool().begin().await.unwrap();
        let take = async |tx: &mut sqlx::PgConnection, wanted| {
            let own = account();
            let ahead = limits::ahead(&mut *tx, ("p", "p:a"), &own).await.unwrap();
            let within = (ahead.held, Duration::from_secs(10));
            let taken = limits::take(tx, "p:a", wanted, 2.0, within).await;
            taken.unwrap()
        };
        let first = take(&mut tx, 100).await;
        assert_eq!(first.waits.len(), 21, "one now and two a second");
        assert!(first.waits.is_sorted());
        assert!(first.next >= Duration::from_secs(10));
        let second = take(&mut tx, 1).await;
        let at_the_end = |wait: &Duration| is_left(*wait, 10.5, asked);
        assert!(second.waits.iter().all(at_the_end), "{second:?}");
        limits::hold(&mut *tx, "p", Duration::from_mins(1))
            .await
            .unwrap();
        let held = take(&mut tx, 1).await;
        assert!(
            held.waits.is_empty(),
            "a pause of the provider holds every sender"
        );
        assert!(is_left(held.next, 60.0, asked), "{held:?}");
    })
    .await;
}

#[tokio::test]
async fn who_is_lined_up_comes_behind_the_others_and_who_came_back_before_the_new() {
    run_test(async |t| {
        let (pool, account) = (t.pool(), account());
        let neighbour = "87654321".parse().unwrap();
        let mut tx = pool.begin().await.unwrap();
        let line_up = async |tx: &mut sqlx::PgConnection, line, waiting, from| {
            let from = Duration::from_secs(from);
            let place = ("p:a", &account, line);
            let wait = limits::line_up(tx, place, waiting, 2.0, from).await;
            wait.unwrap()
        };
        let asked = Instant::now();
        let new = line_up(&mut tx, WaitingLine::New, 20, 1).await;
        assert!(is_left(new, 1.0, asked), "{new:?}");
        let new = line_up(&mut tx, WaitingLine::New, 4, 1).await;
        assert!(is_left(new, 11.0, asked), "{new:?}");
        let again = line_up(&mut tx, WaitingLine::Again, 2, 1).await;
        assert!(is_left(again, 1.0, asked), "a line of its own: {again:?}");
        let ahead = async |tx: &mut sqlx::PgConnection, of| {
            let ahead = limits::ahead(&mut *tx, ("p", "p:a"), of);
            ahead.await.unwrap()
        };
        let own = ahead(&mut tx, &account).await;
        assert!(is_left(own.line, 13.0, asked), "{own:?}");
        let others = ahead(&mut tx, &neighbour).await;
        assert_eq!(
            others,
            limits::QueueAhead::default(),
            "it is not in that line"
        );
        limits::disperse(&mut tx, "p:a", &neighbour).await.unwrap();
        assert!(ahead(&mut tx, &account).await.line > Duration::ZERO);
        limits::disperse(&mut tx, "p:a", &account).await.unwrap();
        assert_eq!(
            ahead(&mut tx, &account).await,
            limits::QueueAhead::default()
        );
    })
    .await;
}

#[tokio::test]
async fn an_erased_consumer_leaves_counts_and_opt_outs_only() {
    run_test(async |t| {
        t.rule(Channel::Email, |rule| rule.caps.gap = TimeDelta::zero())
            .await;
        let (sent, other) = (t.answered(ANN), t.answered(ANN));
        t.tick().await;
        t.advance(10).await;
        let mails = t.mails().len();
        assert_eq!(mails, 2);
        let token = t.reminders().await[0].token.clone();
        t.http
            .post(format!("{}/u/{token}", t.web))
            .send()
            .await
            .unwrap();
        t.world().close(&sent);
        t.world().close(&other);
        t.tick().await;
        let who = ConsumerSelector::address(t.pool(), &t.clock, &t.hasher().await, (ANN, None))
            .await
            .unwrap();
        let own = everything().named(account().as_str()).unwrap();
        let erased =
            control::consumers::erase(t.pool(), (&t.clock, &t.hasher().await), BY, &own, &who)
                .await
                .unwrap();
        assert_eq!(erased.conversations, u64::try_from(mails).unwrap());
        assert_eq!(erased.still_open, 0);
        assert!(t.decisions(&sent).await.is_empty());
        assert!(
            t.story(&sent).await.is_empty(),
            "no reminder names the conversation"
        );
        assert_eq!(
            count(
                t,
                "select count(*) from reminders where sent_at is not null"
            )
            .await,
            i64::try_from(mails).unwrap()
        );
        assert_eq!(count(t, "select count(*) from suppressions").await, 1);
        assert_eq!(t.get(&format!("/r/{token}")).await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn erasing_cancels_what_waits_even_while_the_conversation_is_open() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        let consumer = t.world().consumer_ids(&chat).pop().unwrap();
        let who = ConsumerSelector::Consumer(consumer);
        let own = everything().named(account().as_str()).unwrap();
        let erased =
            control::consumers::erase(t.pool(), (&t.clock, &t.hasher().await), BY, &own, &who)
                .await
                .unwrap();
        assert_eq!((erased.cancelled, erased.still_open), (1, 1));
        // LivePerson still has it open and unread, and shows it to every scan; the second step would be due tomorrow.
        t.tick().await;
        t.advance(25 * 60).await;
        t.world().agent_says(&chat, "Are you still there?");
        t.tick().await;
        t.advance(20).await;
        let told: Vec<String> = t.reminders().await.iter().map(Reminder::told).collect();
        assert_eq!(told, ["cancelled (erased)"], "nothing new is owed");
        assert!(t.story(&chat).await.is_empty() && t.decisions(&chat).await.is_empty());
        assert_eq!(count(t, "select count(*) from consumers").await, 0);
    })
    .await;
}

#[tokio::test]
async fn lists_of_opt_outs_come_in_and_go_out_as_hashes() {
    run_test(async |t| {
        let (hasher, account) = (t.hasher().await, account());
        let defaults = Defaults {
            accounts: vec![account.clone()],
            account,
            region: Some("US".to_owned()),
            reason: Suppression::OptedOut,
            now: t.now(),
        };
        let imports = Imports::default();
        let import = async |text: &str| {
            let list = (imports.begin()?, text.to_owned());
            let (pool, defaults, all) = (t.pool(), defaults.clone(), &everything());
            let bad = BadLines::Refuse;
            control::suppressions::import(pool, &hasher, BY, list, all, defaults, bad).await
        };
        let list = format!("{ANN}\r\n{PHONE}\r\n{ANN}\r\n");
        let outcome = import(&list).await.unwrap();
        assert_eq!((outcome.lines, outcome.changed), (3, 2));
        assert!(import("ben@example.net\nnonsense\n").await.is_err());
        let (out, end) = control::suppressions::export(t.pool(), &everything(), None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(out.lines().count(), 2);
        let rest = control::suppressions::export(t.pool(), &everything(), Some(&end))
            .await
            .unwrap();
        assert!(rest.is_none());
        let out = format!("{HEADER}{out}");
        assert!(!out.contains(ANN) && !out.contains("2025550143"), "{out}");
        assert_eq!(import(&out).await.unwrap().lines, 2);
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&chat).await, ["cancelled (opted_out)", "scheduled"]);
    })
    .await;
}

#[tokio::test]
async fn twilio_is_asked_to_forget_a_text_that_has_arrived() {
    let setup = Setup {
        settings: vec![("TWILIO_REDACT_BODIES", "true")],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        // Only the report below tells that it has arrived.
        let mute = twilio::Delivery::delivered().calling_back(twilio::Callback::Missing);
        let faults = t.sandbox.twilio().faults();
        faults.add(TwilioFault::delivery(When::always(), mute));
        t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        let sid = t.texts()[0].sid.clone();
        let redacted = async || {
            count(
                t,
                "select count(*) from attempts where redacted_at is not null",
            )
            .await
        };
        t.advance(2).await;
        t.tick().await;
        assert_eq!(redacted().await, 0, "it is still under way");
        reports(t, "", &sid, "delivered", None).await;
        t.tick_until("the text is redacted", async || redacted().await == 1)
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_rule_s_own_sender_that_is_refused_does_not_hold_up_the_others() {
    run_test(async |t| {
        let refused = "553 5.7.1 Sender address rejected: not owned by user";
        let fault = SmtpFault::reply(Phase::Mail, When::to("wrong@shop.example"), refused);
        t.sandbox.smtp().faults().add(fault);
        t.rule(Channel::Email, |rule| {
            rule.channels[Channel::Email].sender = Some("wrong@shop.example".to_owned());
        })
        .await;
        let broken = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&broken).await, ["scheduled (circuit_open)"]);
        t.rule(Channel::Email, |_| {}).await;
        let other = t.answered("ben@example.net");
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&other).await, ["sent"]);
        assert_eq!(t.story(&broken).await, ["sent"], "its rule was fixed, too");
        assert_eq!(t.mails().len(), 2);
        assert_eq!(
            count(t, "select count(*) from circuits").await,
            1,
            "it is the broken sender's"
        );
    })
    .await;
}
