//! A commit that was made although its answer never came: nothing is sent twice, and nothing is given up that was never tried.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::PgPoolOptions;
use unread::db;
use unread::domain::ids::Channel;

use crate::harness::{Setup, TestApp, eventually, run_test_with};

const ANN: &str = "ann@example.com";

fn lossy() -> Setup {
    Setup {
        lossy_wire: true,
        ..Setup::default()
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_told_from_a_statement_that_is_wrong() {
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(200))
        .connect_lazy("postgres://nobody@127.0.0.1:1/nothing")
        .unwrap();
    let asked = sqlx::query("select 1").execute(&pool).await;
    assert!(db::is_away(&asked.context("asking").unwrap_err()));
    let there = crate::harness::migrated().await;
    for (sql, away) in [
        ("select no_such_column", false),
        ("select 1 / 0", false),
        ("select pg_terminate_backend(pg_backend_pid())", true),
    ] {
        let asked = sqlx::query(sql).execute(&there.pool).await;
        assert_eq!(
            db::is_away(&asked.context("asking").unwrap_err()),
            away,
            "{sql}"
        );
    }
}

async fn attempts(t: &TestApp) -> Vec<(Option<String>, Option<String>)> {
    sqlx::query_as("select outcome, code from attempts order by id")
        .fetch_all(t.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn an_attempt_whose_beginning_was_not_confirmed_is_taken_back_and_made_again() {
    run_test_with(lossy(), async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        t.wire().lose_commit_after("insert into attempts");
        t.advance(10).await;
        assert!(t.wire().has_broken());
        eventually("the attempt is taken back", async || {
            let stopped = (Some("not_accepted".to_owned()), Some("stopped".to_owned()));
            attempts(t).await == [stopped]
        })
        .await;
        assert!(t.mails().is_empty());
        t.advance(1).await;
        assert_eq!(t.mails().len(), 1);
        assert_eq!(t.story(&chat).await, ["sent"]);
        assert_eq!(attempts(t).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_outcome_whose_recording_was_not_confirmed_is_recorded_once() {
    run_test_with(lossy(), async |t| {
        let chat = t.answered("+12025550101");
        t.rule(Channel::Sms, |_| {}).await;
        t.tick().await;
        t.wire().lose_commit_after("update attempts a set ended_at");
        t.advance(10).await;
        assert!(t.wire().has_broken());
        assert_eq!(t.texts().len(), 1);
        assert_eq!(attempts(t).await, [(Some("accepted".to_owned()), None)]);
        t.advance(1).await;
        eventually("its delivery is reported", async || {
            t.story(&chat).await == ["delivered"]
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_opt_out_that_could_not_be_written_down_at_once_is_written_down_later() {
    run_test_with(lossy(), async |t| {
        let suppressed = async || -> Vec<(String, String)> {
            sqlx::query_as("select channel, source from suppressions order by channel desc")
                .fetch_all(t.pool())
                .await
                .unwrap()
        };
        t.wire().break_before("insert into suppressions");
        let twilio = t.sandbox.twilio().account();
        let (number, text) = (twilio.number(), "please stop texting me");
        let told = twilio.inbound("+12025550101", &number, text, None).await;
        assert_eq!(told.unwrap().0, 500);
        assert!(t.wire().has_broken());
        let by_text = ("sms".to_owned(), "sms text".to_owned());
        eventually("it is written down", async || {
            suppressed().await == [by_text.clone()]
        })
        .await;

        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        let token = &t.reminders().await[0].token;
        assert_eq!(t.mails().len(), 1);
        t.wire().break_before("from reminders where token");
        let post = t.http.post(format!("{}/u/{token}", t.web)).send();
        assert_eq!(post.await.unwrap().status().as_u16(), 500);
        let by_link = ("email".to_owned(), "unsubscribe link".to_owned());
        eventually("it is written down", async || {
            suppressed().await == [by_text.clone(), by_link.clone()]
        })
        .await;
    })
    .await;
}
