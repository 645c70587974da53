//! What happens between the decision to send and the first byte: an opt-out, a pause, a reader, another sender, a clock that is wrong.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;
use unread::db;
use unread::db::pauses::Pause;
use unread::domain::decide::Reason;
use unread::domain::ids::Channel::{Email, Sms};
use unread::domain::ids::SkillId;
use unread::domain::pause::Scope;
use unread::domain::rule::RuleKey;
use unread::sandbox::ACCOUNT;
use unread::sandbox::faults::{self, Endpoint, Fault};
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::sandbox::world::{CUSTOMER_CARE, ORDERS};

use crate::harness::{PATIENCE, Setup, TestApp, account, eventually, run_test, run_test_with};

const ANN: &str = "ann@example.net";
const BEN: &str = "ben@example.net";

async fn opts_out(t: &TestApp, conversation: &str) {
    let reminders = t.reminders().await;
    let of = reminders.iter().find(|r| r.conversation == conversation);
    let link = format!("{}/u/{}", t.web, of.unwrap().token);
    let answer = t.http.post(link).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "the opt-out is confirmed");
}

async fn pauses_everything(t: &TestApp) {
    let pause = Pause {
        scope: Scope::Everything,
        paused_by: "test".to_owned(),
        paused_at: t.now(),
        note: String::new(),
    };
    let mut conn = t.pool().acquire().await.unwrap();
    assert!(db::pauses::add(&mut conn, &pause).await.unwrap());
}

/// How the attempts ended, oldest first.
async fn attempts(t: &TestApp) -> Vec<String> {
    sqlx::query_scalar(
        "select coalesce(outcome, 'open') || coalesce(' ' || code, '') from attempts order by id",
    )
    .fetch_all(t.pool())
    .await
    .unwrap()
}

async fn has_begun(t: &TestApp, attempts: usize) {
    eventually("the attempts have begun", async || {
        self::attempts(t).await.len() == attempts
    })
    .await;
}

/// The wire holds the statement that begins the attempts, when everything has been decided; meanwhile `act` is committed.
async fn between_decision_and_beginning(t: &TestApp, act: impl AsyncFnOnce()) {
    let held = t.wire().hold_before("insert into attempts");
    tokio::join!(t.advance(10), async {
        held.reached().await;
        act().await;
        held.release();
    });
}

fn on_a_wire() -> Setup {
    Setup {
        lossy_wire: true,
        ..Setup::default()
    }
}

#[tokio::test]
async fn an_opt_out_between_the_decision_and_the_beginning_is_seen_by_the_statement_that_begins() {
    run_test_with(on_a_wire(), async |t| {
        let (ann, ben) = (t.answered(ANN), t.answered(BEN));
        t.tick().await;
        between_decision_and_beginning(t, async || opts_out(t, &ann).await).await;
        assert_eq!(t.story(&ann).await, ["cancelled (opted_out)", "scheduled"]);
        let log = t.decisions(&ann).await;
        assert!(
            log.contains(&"deliver cancel opted_out".to_owned()),
            "{log:?}"
        );
        assert!(!log.contains(&"deliver send due".to_owned()), "{log:?}");
        // The other one of the batch is none the worse.
        assert_eq!(t.story(&ben).await, ["sent"]);
        let mails = t.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].to, [BEN]);
        assert_eq!(attempts(t).await, ["accepted"]);
    })
    .await;
}

/// Two workers have one reminder in hand. The one asks LivePerson while the message is unread; the other begins an attempt, is told that it
/// has been read, and gives it up. What the first was told is older than that.
#[tokio::test]
async fn what_liveperson_said_before_another_worker_s_attempt_is_asked_anew() {
    run_test_with(on_a_wire(), async |t| {
        let ann = t.answered(ANN);
        t.tick().await;
        let held = t
            .wire()
            .hold_before("state = 'scheduled' order by id for update");
        tokio::join!(t.advance(10), async {
            held.reached().await;
            t.world().consumer_reads(&ann);
            given_up_by_another_worker(t, &ann).await;
            held.release();
        });
        t.tick_until("it is settled", async || {
            t.story(&ann).await != ["scheduled"]
        })
        .await;
        assert_eq!(t.story(&ann).await, ["cancelled (read)"]);
        assert!(t.mails().is_empty());
        assert_eq!(attempts(t).await, ["not_accepted no longer unread"]);
    })
    .await;
}

/// What is left of an attempt that another worker has begun and not made.
async fn given_up_by_another_worker(t: &TestApp, conversation: &str) {
    let statement = "with again as (
             update reminders set next_at = $2, reason = 'retry' where conversation = $1 returning id)
         insert into attempts (reminder, number, sender, started_at, lease_until, outcome, code, ended_at)
         select id, 1, 'smtp', $2, $2, 'not_accepted', 'no longer unread', $2 from again";
    let done = sqlx::query(statement)
        .bind(conversation)
        .bind(t.now() - TimeDelta::milliseconds(1))
        .execute(t.pool())
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
}

#[tokio::test]
async fn a_pause_between_the_decision_and_the_beginning_holds() {
    run_test_with(on_a_wire(), async |t| {
        let ann = t.answered(ANN);
        t.tick().await;
        between_decision_and_beginning(t, async || pauses_everything(t).await).await;
        assert_eq!(t.story(&ann).await, ["scheduled (paused)"]);
        assert!(attempts(t).await.is_empty());
    })
    .await;
}

/// Each pause holds in SQL what it holds in the domain.
#[tokio::test]
async fn every_scope_of_a_pause_holds_at_the_beginning() {
    for (scope, holds) in [
        (Scope::Everything, true),
        (Scope::Account(account()), true),
        (Scope::Account("87654321".parse().unwrap()), false),
        (Scope::Channel(account(), Email), true),
        (Scope::Channel(account(), Sms), false),
        (rule_scope(None), true),
        (rule_scope(Some(CUSTOMER_CARE)), false),
    ] {
        run_test_with(on_a_wire(), async |t| {
            let ann = t.answered(ANN);
            t.tick().await;
            sqlx::query("insert into accounts (id, created_at) values ('87654321', now())")
                .execute(t.pool())
                .await
                .unwrap();
            between_decision_and_beginning(t, async || {
                let pause = Pause {
                    scope: scope.clone(),
                    paused_by: "test".to_owned(),
                    paused_at: t.now(),
                    note: String::new(),
                };
                let mut conn = t.pool().acquire().await.unwrap();
                db::pauses::add(&mut conn, &pause).await.unwrap();
            })
            .await;
            let sent = t.mails().len();
            assert_eq!(sent, usize::from(!holds), "{scope}");
            let story = if holds { "scheduled (paused)" } else { "sent" };
            assert_eq!(t.story(&ann).await, [story], "{scope}");
        })
        .await;
    }
}

fn rule_scope(skill: Option<i64>) -> Scope {
    Scope::Rule(RuleKey {
        account: account(),
        skill: skill.map(SkillId),
    })
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Reads,
    OptsOut,
    Pauses,
}

/// Milliseconds that the mail server takes for a step: longer than what was looked at before it holds, and than somebody takes meanwhile to do
/// something about it, on a busy machine.
const SLOW: u64 = 4_000;

/// While the mail server takes its time about a step before the content, somebody does something about it.
#[tokio::test]
async fn what_happens_while_the_mail_server_is_slow_is_seen_before_the_content_leaves() {
    for (phase, deed, story, attempt) in [
        (
            Phase::Rcpt,
            Deed::OptsOut,
            "cancelled (opted_out)",
            "suppressed",
        ),
        (
            Phase::Data,
            Deed::OptsOut,
            "cancelled (opted_out)",
            "suppressed",
        ),
        (
            Phase::Mail,
            Deed::Reads,
            "cancelled (read)",
            "no longer unread",
        ),
        (
            Phase::Rcpt,
            Deed::Reads,
            "cancelled (read)",
            "no longer unread",
        ),
        (
            Phase::Data,
            Deed::Reads,
            "cancelled (read)",
            "no longer unread",
        ),
        (Phase::Rcpt, Deed::Pauses, "scheduled (paused)", "paused"),
    ] {
        run_test(async |t| {
            let slow = SmtpFault::slow(phase, When::next(1), SLOW);
            t.sandbox.smtp().faults().add(slow);
            let ann = t.answered(ANN);
            t.tick().await;
            tokio::join!(t.advance(10), async {
                has_begun(t, 1).await;
                match deed {
                    Deed::Reads => t.world().consumer_reads(&ann),
                    Deed::OptsOut => opts_out(t, &ann).await,
                    Deed::Pauses => pauses_everything(t).await,
                }
            });
            assert!(t.mails().is_empty(), "{phase:?} {deed:?}");
            // Nothing follows in the episode: it was being sent when they said no.
            assert_eq!(t.story(&ann).await, [story], "{phase:?} {deed:?}");
            let ended = format!("not_accepted {attempt}");
            assert_eq!(attempts(t).await, [ended], "{phase:?} {deed:?}");
            assert_eq!(t.reminders().await[0].tries, 0, "it cost no try");
        })
        .await;
    }
}

#[tokio::test]
async fn a_slow_mail_server_has_liveperson_asked_once_more_and_the_mail_goes_out() {
    run_test(async |t| {
        t.world().keep_checks();
        for phase in [Phase::Rcpt, Phase::Data] {
            let slow = SmtpFault::slow(phase, When::next(1), 2_100);
            t.sandbox.smtp().faults().add(slow);
        }
        let ann = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        let asked = t.world().checked_at(&ann).len();
        assert_eq!(asked, 3, "before it began, after RCPT, after DATA");
        assert_eq!(attempts(t).await, ["accepted"]);
    })
    .await;
}

#[tokio::test]
async fn liveperson_that_cannot_be_asked_once_more_stops_the_mail_and_costs_no_try() {
    run_test(async |t| {
        let slow = SmtpFault::slow(Phase::Rcpt, When::next(1), SLOW);
        t.sandbox.smtp().faults().add(slow);
        let ann = t.answered(ANN);
        t.tick().await;
        tokio::join!(t.advance(10), async {
            has_begun(t, 1).await;
            t.sandbox.faults().set(
                Endpoint::ById,
                Fault::ElasticSearch,
                faults::FaultSpan::UntilCleared,
            );
        });
        assert!(t.mails().is_empty());
        assert_eq!(attempts(t).await, ["not_accepted stalled"]);
        assert_eq!(t.story(&ann).await, ["scheduled (retry)"]);
        t.sandbox.faults().clear_all();
        // The next step may be scheduled by then.
        t.tick_until("it is sent", async || t.story(&ann).await[0] == "sent")
            .await;
        assert_eq!(t.mails().len(), 1);
        assert_eq!(t.reminders().await[0].tries, 1);
    })
    .await;
}

#[tokio::test]
async fn a_conversation_that_has_moved_to_another_skill_goes_out_by_that_skill_s_sender() {
    run_test(async |t| {
        let key = RuleKey {
            account: account(),
            skill: Some(SkillId(ORDERS)),
        };
        t.rule_for(&key, &[Email], |rule| {
            rule.channels[Email].sender = Some("orders@shop.example".to_owned());
            // A transfer puts it into that skill's queue.
            rule.remind_in_queue = true;
        })
        .await;
        let ann = t.answered(ANN);
        t.tick().await;
        t.world().transfer(&ann, ORDERS);
        t.advance(10).await;
        let mails = t.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].from, "orders@shop.example");
        assert_eq!(t.story(&ann).await, ["sent"]);
    })
    .await;
}

/// Ten a second, and forty due at once: some come back later, in the order of their due moments, and the log says so once.
#[tokio::test]
async fn who_gets_no_turn_waits_in_the_ledger_and_is_logged_once() {
    let slow = Setup {
        settings: vec![("SMTP_RATE_PER_SECOND", "10")],
        ..Setup::default()
    };
    run_test_with(slow, async |t| {
        let others_take_them = async |until: &str| {
            let sql = format!(
                "update limits set tat = clock_timestamp() + interval '{until}' where key not like '%liveperson:%'"
            );
            let taken = sqlx::query(AssertSqlSafe(sql)).execute(t.pool()).await;
            assert!(taken.unwrap().rows_affected() > 0, "a limit is known");
        };
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);

        others_take_them("2 minutes").await;
        let chats: Vec<String> = (0..40)
            .map(|n| t.answered(&format!("visitor{n}@example.net")))
            .collect();
        t.tick().await;
        t.advance(10).await;
        for chat in &chats {
            assert_eq!(t.story(chat).await, ["scheduled (rate_limit)"]);
            let log = t.decisions(chat).await;
            assert_eq!(log.iter().filter(|d| is_late(d)).count(), 1, "{log:?}");
        }
        assert!(t.mails().is_empty());

        others_take_them("0 s").await;
        let mut sent = 0;
        for _ in 0..200 {
            t.advance_by(TimeDelta::seconds(10)).await;
            sent += t.mails().len();
            if sent >= chats.len() {
                break;
            }
        }
        assert_eq!(sent, chats.len());
        for chat in &chats {
            assert_eq!(t.story(chat).await, ["sent"]);
            let log = t.decisions(chat).await;
            let again = log.windows(2).find(|two| two.iter().all(|d| is_late(d)));
            assert_eq!(again, None, "said again while nothing else was: {log:?}");
        }
    })
    .await;
}

fn is_late(decision: &str) -> bool {
    decision.ends_with(Reason::RateLimit.as_str())
}

/// Who went by a clock that is so slow would not send while anybody waits here.
#[tokio::test]
async fn a_worker_whose_clock_is_wrong_sends_neither_early_nor_late() {
    for error in [1, -1].map(TimeDelta::hours) {
        let setup = Setup {
            real_time: Some(error),
            ..Setup::default()
        };
        run_test_with(setup, async |t| {
            // Due ten minutes after the message, which is in three seconds.
            let then = t.world().minutes_from_now(-9.95);
            let ann = then.conversation(ACCOUNT, CUSTOMER_CARE).email(ANN).start();
            then.consumer_says(&ann, "Do you have it in green?");
            then.agent_says(&ann, "Yes, we do.");
            t.tick_until("it is scheduled", async || !t.reminders().await.is_empty())
                .await;
            let due: DateTime<Utc> = t.reminders().await[0].due_at;
            let mut mails = Vec::new();
            eventually("it is sent", async || {
                mails.extend(t.mails());
                !mails.is_empty()
            })
            .await;
            let late = mails[0].at - due;
            assert!(
                late >= TimeDelta::zero(),
                "with a clock {error} wrong: {late} after it was due"
            );
            eventually("it is recorded", async || t.story(&ann).await == ["sent"]).await;
            let stamped = t.reminders().await[0].sent_at.unwrap() - mails[0].at;
            assert!(stamped.abs() < error.abs() / 2, "recorded {stamped} off");
        })
        .await;
    }
}

/// The claim itself goes by the database's clock, also before a process has compared its own with it. Who went by a slow one would not claim
/// while anybody waits here.
#[tokio::test]
async fn what_is_due_is_claimed_by_the_database_s_clock() {
    use unread::clock::Clock;
    use unread::jobs::queue::{self, Job, QueueConfig, When as At, WorkerProcess};

    let database = crate::harness::migrated().await;
    for error in [86_400, 3_600, 1, 0, -3_600, -86_400] {
        let clock = Clock::of_database_on_a_wrong_machine(TimeDelta::seconds(error));
        let due = Clock::System.now() + TimeDelta::milliseconds(1_200);
        let mut conn = database.pool.acquire().await.unwrap();
        let job = [Job::new(format!("off by {error}"), due)];
        queue::schedule(&mut conn, &clock, "deliver", At::At, job)
            .await
            .unwrap();
        let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
        let handler = move |_| {
            ran.send(Clock::System.now()).unwrap();
            std::future::ready(Ok(()))
        };
        let host = WorkerProcess::start(
            database.pool.clone(),
            clock,
            "test",
            Duration::from_secs(30),
        );
        let stop = tokio_util::sync::CancellationToken::new();
        let working = host.run(QueueConfig::new("deliver"), handler, stop.clone());
        let watching = async {
            let run = tokio::time::timeout(PATIENCE, runs.recv()).await;
            stop.cancel();
            run.expect("it is claimed").unwrap() - due
        };
        let ((), late) = tokio::join!(working, watching);
        host.leave().await;
        assert!(late >= TimeDelta::zero(), "{error} s off: {late} early");
    }
}
