//! What people answer to text messages: each answer once, the doubtful ones, and what is reported twice.

use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use unread::db;
use unread::domain::access::{Permission, Role};
use unread::sandbox::rules::When;
use unread::sandbox::twilio;

use crate::harness::{TestApp, run_test};

const PHONE: &str = "+12025550143";

/// An inbound message as Twilio would post it, with an id of the test's choice.
async fn posts(t: &TestApp, sid: &str, body: &str) -> u16 {
    let endpoints = t.sandbox.endpoints();
    let url = format!("{}/twilio/inbound", t.web);
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let fields = vec![
        field("MessageSid", sid),
        field("AccountSid", &endpoints.twilio.account_sid),
        field("From", PHONE),
        field("To", "+15005550006"),
        field("Body", body),
    ];
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

pub fn sid(n: u32) -> String {
    format!("SM{n:032x}")
}

pub async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

pub const SUPPRESSED: &str = "select count(*) from suppressions";

#[tokio::test]
async fn an_answer_that_comes_again_changes_nothing_however_late() {
    run_test(async |t| {
        let suppressed = async || count(t.pool(), SUPPRESSED).await;
        posts(t, &sid(1), "STOP").await;
        posts(t, &sid(2), "START").await;
        assert_eq!(suppressed().await, 0);
        posts(t, &sid(1), "STOP").await;
        assert_eq!(
            suppressed().await,
            0,
            "a STOP from before the START is played again"
        );
        posts(t, &sid(3), "please stop texting me").await;
        for days in [0, 40, 500] {
            t.advance_by(TimeDelta::days(days)).await;
            db::upkeep::prune(t.pool(), keep(), t.now()).await.unwrap();
            assert_eq!(posts(t, &sid(2), "START").await, 200);
            assert_eq!(
                suppressed().await,
                1,
                "a START is played again after {days} days"
            );
        }
        posts(t, &sid(4), "START").await;
        assert_eq!(suppressed().await, 0, "a new one lifts");
    })
    .await;
}

fn keep() -> db::upkeep::Retention {
    let days = TimeDelta::days(30);
    db::upkeep::Retention {
        decisions: days,
        conversations: days,
        reminders: days,
        audit: days,
    }
}

#[tokio::test]
async fn a_doubtful_opt_out_holds_at_once_and_is_kept_or_undone_by_a_person() {
    run_test(async |t| {
        const SECRET_WORDS: &str = "stop the music";
        let boss = t.person(Role::Editor).await;
        let program = t.program(&[Permission::View, Permission::Operate]).await;
        let listed = async || program.get("/suppressions/review").await.json()["items"].clone();
        assert_eq!(listed().await, json!([]));
        posts(t, &sid(1), SECRET_WORDS).await;
        let items = listed().await;
        assert_eq!(items[0]["doubt"], "stop_word");
        assert_eq!(items[0]["channel"], "sms");
        assert_eq!(items[0]["language"], "en");
        let hash = items[0]["hash"].as_str().unwrap().to_owned();
        let chat = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&chat).await, ["cancelled (opted_out)", "scheduled"]);

        let page = boss.get("/opt-outs").await.text;
        assert!(
            page.contains("Opt-outs to review")
                && page.contains(&hash)
                && page.contains("Probably English."),
            "{page}"
        );
        assert!(!page.contains(SECRET_WORDS));
        let key = [
            ("hash", hash.as_str()),
            ("channel", "sms"),
            ("verdict", "undo"),
        ];
        let done = boss.form("/opt-outs/review", &key).await;
        assert_eq!(done.location(), "/opt-outs");
        assert_eq!(count(t.pool(), SUPPRESSED).await, 0);
        let again = boss.form("/opt-outs/review", &key).await;
        assert_eq!(
            again.location(),
            "/opt-outs",
            "somebody was quicker: no error"
        );

        posts(t, &sid(2), "fine").await;
        let verdict = json!({ "hash": hash, "channel": "sms", "verdict": "keep" });
        let review = async || {
            let path = "/suppressions/review";
            let answer = program.send(Method::POST, path, &verdict).await;
            answer.status
        };
        assert_eq!(review().await, StatusCode::NO_CONTENT);
        assert_eq!(review().await, StatusCode::NOT_FOUND);
        assert_eq!(listed().await, json!([]));
        assert_eq!(count(t.pool(), SUPPRESSED).await, 1, "it stays");

        let trail: Vec<(String, Value)> = sqlx::query_as(
            "select action, detail from audit where action like 'suppression.%' order by id",
        )
        .fetch_all(t.pool())
        .await
        .unwrap();
        let detail = json!({ "accounts": 1 });
        assert_eq!(
            trail,
            [
                ("suppression.undo".to_owned(), detail.clone()),
                ("suppression.keep".to_owned(), detail)
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_sure_no_is_not_made_doubtful_and_a_doubtful_one_becomes_sure() {
    run_test(async |t| {
        let to_review = "select count(*) from suppressions where doubt is not null";
        posts(t, &sid(1), "STOP").await;
        posts(t, &sid(2), "stop the music").await;
        assert_eq!(count(t.pool(), to_review).await, 0);
        posts(t, &sid(3), "yes").await;
        assert_eq!(
            count(t.pool(), SUPPRESSED).await,
            0,
            "it is still the keyword's"
        );
        posts(t, &sid(4), "stop the music").await;
        posts(t, &sid(5), "yes").await;
        assert_eq!(
            count(t.pool(), to_review).await,
            1,
            "an answer to something else"
        );
        posts(t, &sid(6), "leave me alone").await;
        assert_eq!(count(t.pool(), to_review).await, 0, "said clearly now");
        assert_eq!(count(t.pool(), SUPPRESSED).await, 1);
    })
    .await;
}

/// Twilio's word for a message's status, and its error code.
type Status = (&'static str, Option<&'static str>);

/// Reports of one message in the order in which they arrive, what the reminder ends as, and whether the number is suppressed.
#[tokio::test]
async fn of_two_ends_of_a_message_the_first_holds() {
    let delivered = ("delivered", "delivered", false);
    #[expect(clippy::type_complexity, reason = "the columns of a table")]
    let table: [(&[Status], (&str, &str, bool)); 10] = [
        (
            &[("delivered", None), ("undelivered", Some("30006"))],
            delivered,
        ),
        (&[("delivered", None), ("failed", Some("30005"))], delivered),
        (
            &[("delivered", None), ("undelivered", Some("30034"))],
            delivered,
        ),
        (&[("read", None), ("undelivered", Some("30006"))], delivered),
        (
            &[("delivered", None), ("read", None), ("delivered", None)],
            delivered,
        ),
        (
            &[
                ("sent", None),
                ("delivered", None),
                ("sent", None),
                ("undelivered", Some("30006")),
            ],
            delivered,
        ),
        (
            &[("undelivered", Some("30006")), ("delivered", None)],
            ("undelivered", "undelivered (30006)", true),
        ),
        (
            &[
                ("undelivered", Some("30006")),
                ("undelivered", Some("30006")),
            ],
            ("undelivered", "undelivered (30006)", true),
        ),
        (
            &[
                ("undelivered", Some("30008")),
                ("undelivered", Some("30006")),
            ],
            ("undelivered", "undelivered (30008)", false),
        ),
        (
            &[
                ("undelivered", Some("30036")),
                ("delivered", None),
                ("failed", Some("30006")),
            ],
            ("expired", "expired (too_late)", false),
        ),
    ];
    for (reports, (state, told, suppressed)) in table {
        run_test(async |t| {
            let mute = twilio::Delivery::delivered().calling_back(twilio::Callback::Missing);
            let faults = t.sandbox.twilio().faults();
            faults.add(twilio::TwilioFault::delivery(When::always(), mute));
            let chat = t.answered(PHONE);
            t.tick().await;
            t.advance(10).await;
            let sid = t.texts()[0].sid.clone();
            for (status, code) in reports {
                crate::opt_outs::reports(t, "", &sid, status, *code).await;
            }
            let story = t.story(&chat).await;
            assert!(
                story[0].starts_with(state) && story[0] == told,
                "{reports:?}: {story:?}"
            );
            assert_eq!(
                count(t.pool(), SUPPRESSED).await == 1,
                suppressed,
                "{reports:?}"
            );
            assert_eq!(
                count(t.pool(), "select count(*) from circuits").await,
                0,
                "{reports:?}"
            );
        })
        .await;
    }
}
