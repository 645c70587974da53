//! What is left of those who are not let in: counts by outcome, an entry when a name is locked, and no row for a name that nobody has.

use std::time::Instant;

use reqwest::Method;
use serde_json::json;
use unread::control::users;
use unread::domain::access::{Permission, Role};
use unread::secret::Secret;

use super::granted;
use crate::harness::{Setup, TestApp, run_test, run_test_with};
use crate::person::Answer;

const PASSWORD: &str = "correct horse battery";

fn behind_a_proxy() -> Setup {
    Setup {
        settings: vec![("UNREAD_TRUSTED_PROXIES", "127.0.0.1")],
        ..Setup::default()
    }
}

async fn add(t: &TestApp, name: &str) {
    let password = Secret::new(PASSWORD);
    users::add_with_password(t.pool(), name, Role::Viewer, &password, "test", t.now())
        .await
        .unwrap();
}

async fn log_in(t: &TestApp, name: &str, password: &str, from: &str) -> u16 {
    let sent = t
        .http
        .post(format!("{}/login", t.web))
        .header("x-forwarded-for", from)
        .form(&[("name", name), ("password", password)])
        .send();
    sent.await.unwrap().status().as_u16()
}

async fn counted(t: &TestApp, outcome: &str) -> u64 {
    let told = t.http.get(&t.metrics).send().await.unwrap();
    let told = told.text().await.unwrap();
    let name = format!("unread_access_total{{outcome=\"{outcome}\"}} ");
    let line = told.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {outcome}: {told}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn every_refusal_is_counted_by_its_outcome() {
    run_test_with(behind_a_proxy(), async |t| {
        for outcome in [
            "logged_in",
            "wrong_password",
            "wrong_code",
            "too_many_tries",
            "sso_refused",
            "sso_failed",
            "wrong_token",
            "missing_permission",
        ] {
            assert_eq!(
                counted(t, outcome).await,
                0,
                "{outcome} is there from the start"
            );
        }
        add(t, "ann").await;
        assert_eq!(log_in(t, "ann", PASSWORD, "10.1.1.1").await, 303);
        assert_eq!(log_in(t, "ann", "wrong", "10.1.1.1").await, 401);
        assert_eq!(log_in(t, "nobody", "wrong", "10.1.1.1").await, 401);
        for token in ["unread_wrong", "nonsense", ""] {
            let asked = t
                .http
                .get(format!("{}/api/v1/accounts", t.web))
                .header("authorization", format!("Bearer {token}"));
            assert_eq!(asked.send().await.unwrap().status(), 401);
        }
        let program = t.program(&[Permission::View]).await;
        let body = json!({ "account": "12345678" });
        let answer = program.send(Method::POST, "/pauses", &body).await;
        assert_eq!(answer.status, 403);
        let viewer = t.person(Role::Viewer).await;
        assert_eq!(viewer.get("/team").await.status, 403);
        for (outcome, times) in [
            ("logged_in", 1),
            ("wrong_password", 2),
            ("wrong_token", 3),
            ("missing_permission", 2),
            ("too_many_tries", 0),
        ] {
            assert_eq!(counted(t, outcome).await, times, "{outcome}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_locked_name_is_on_record_once_and_a_made_up_one_never() {
    run_test_with(behind_a_proxy(), async |t| {
        add(t, "ann").await;
        for (name, from) in [("ann", "10.1.1.1"), ("correct horse battery", "10.2.2.2")] {
            for _ in 0..5 {
                assert_eq!(log_in(t, name, "wrong", from).await, 401, "{name}");
            }
            for _ in 0..3 {
                assert_eq!(log_in(t, name, PASSWORD, from).await, 429, "{name}");
            }
        }
        assert_eq!(counted(t, "too_many_tries").await, 6);
        let trail: Vec<(String, String)> = sqlx::query_as(
            "select subject, audit::text from audit where action = 'user.locked_out'",
        )
        .fetch_all(t.pool())
        .await
        .unwrap();
        assert_eq!(trail.len(), 1, "{trail:?}");
        assert_eq!(trail[0].0, "ann");
        let ed = t.person(Role::Editor).await;
        let page = ed.get("/activity").await.text;
        assert!(
            page.contains("had to wait") && page.contains("after too many login attempts"),
            "{page}"
        );
    })
    .await;
}

/// An address is counted first, and in memory first; names that exist have a row each.
#[tokio::test]
async fn a_made_up_name_costs_no_row_of_its_own() {
    run_test_with(behind_a_proxy(), async |t| {
        add(t, "ann").await;
        for from in ["10.1.1.1", "10.2.2.2"] {
            let (asked, mut tried) = (Instant::now(), 0);
            for n in 0..40 {
                let status = log_in(t, &format!("invented{n}"), "wrong", from).await;
                assert!(status == 401 || n >= 20 && status == 429, "{n}: {status}");
                tried += u64::from(status == 401);
            }
            assert!(tried <= granted((20, 10), asked), "{tried}");
        }
        let rows = async || -> i64 {
            sqlx::query_scalar("select count(*) from limits where key like 'login:%'")
                .fetch_one(t.pool())
                .await
                .unwrap()
        };
        assert_eq!(rows().await, 3, "two addresses, and all who do not exist");
        assert_eq!(log_in(t, "ann", "wrong", "10.3.3.3").await, 401);
        assert_eq!(rows().await, 5, "a third address, and a name that exists");
    })
    .await;
}

/// As `a_made_up_name…` counts in memory alike, nothing tells a name that exists from one that does not, of one process.
#[tokio::test]
async fn tries_end_at_the_same_count_whether_the_name_exists_or_not() {
    run_test_with(behind_a_proxy(), async |t| {
        add(t, "ann").await;
        for (name, network) in [("ann", 1), ("nobody", 2)] {
            let (asked, mut tried) = (Instant::now(), 0);
            // From many addresses: the limit of the name alone.
            loop {
                let from = format!("10.{network}.0.{}", tried / 4);
                let status = log_in(t, name, "wrong", &from).await;
                if status == 429 {
                    break;
                }
                assert_eq!(status, 401);
                tried += 1;
                let most = granted((50, 20), asked);
                assert!(tried <= most, "{name}: {tried} tries, not {most}");
            }
            assert!(tried >= 50, "{name}: {tried} tries");
        }
    })
    .await;
}

#[tokio::test]
async fn an_idempotency_key_keeps_nothing_of_questions_and_no_long_answer() {
    run_test(async |t| {
        let program = t
            .program(&[Permission::View, Permission::Edit, Permission::Operate])
            .await;
        let account = "12345678";
        let keyed = async |method: Method, path: &str, key: &str, body: &serde_json::Value| {
            let ask = program
                .ask(method, path)
                .header("idempotency-key", key)
                .header("if-match", "\"v1-d0\"");
            Answer::of(ask.json(body).send().await.unwrap()).await
        };
        for (path, body) in [
            ("/texts/preview", json!({ "channel": "email" })),
            (
                "/rules/check",
                json!({ "account": account, "enabled": true, "settings": {} }),
            ),
            (
                "/consumers/look-up",
                json!({ "account": account, "consumer": "CUST-1" }),
            ),
            (
                "/accounts/12345678/badge/look-up",
                json!({ "consumer": "CUST-1" }),
            ),
        ] {
            for _ in 0..2 {
                let answer = keyed(Method::POST, path, "q", &body).await;
                assert_eq!(answer.status, 200, "{path}: {answer:?}");
                assert!(
                    !answer.headers.contains_key("idempotent-replayed"),
                    "{path}"
                );
            }
        }
        let kept = async || -> Vec<Option<i32>> {
            sqlx::query_scalar("select octet_length(body) from idempotency")
                .fetch_all(t.pool())
                .await
                .unwrap()
        };
        assert!(kept().await.is_empty());

        // A rule whose text is long is published; the answer has it all.
        let rule = "/rules/12345678/default";
        let html = format!("<p>{}</p>{{{{link}}}}", "long ".repeat(14_000));
        let text =
            json!({ "subject": "s", "text": "t {{link}} {{unsubscribe_link}}", "html": html });
        let draft = json!({ "enabled": true, "settings": { "channels": { "email": { "templates": { "en": text } } } } });
        let saved = keyed(Method::PUT, &format!("{rule}/draft"), "d", &draft).await;
        assert_eq!(saved.status, 200, "{}", saved.text);
        let etag = saved.headers["etag"].to_str().unwrap().to_owned();
        let publish = async || {
            let ask = program
                .ask(Method::POST, &format!("{rule}/publish"))
                .header("idempotency-key", "p")
                .header("if-match", &etag);
            Answer::of(ask.send().await.unwrap()).await
        };
        let first = publish().await;
        assert_eq!(first.status, 200, "{}", first.text);
        assert!(first.text.len() > 64 << 10);
        let again = publish().await;
        assert_eq!(again.status, 409, "{}", again.text);
        assert!(again.text.contains("already done"), "{}", again.text);
        let kept = kept().await;
        assert!(
            kept.len() == 1 && kept[0].is_some_and(|n| n < 1_000),
            "{kept:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn who_may_not_see_addresses_cannot_try_them_out_nor_make_a_token_for_the_badge() {
    run_test(async |t| {
        let ids = ["ann@example.net", "+12025550143"];
        let chat = t.answered(ids[0]);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1, "so that the address is known");
        let account = "12345678";
        let viewer = t.person(Role::Viewer).await;
        let editor = t.person(Role::Editor).await;
        let sees = t.program(&[Permission::View]).await;
        let operates = t.program(&[Permission::View, Permission::Operate]).await;
        for id in ids {
            for named in [
                json!({ "account": account, "address": id }),
                json!({ "account": account, "consumer": id }),
            ] {
                let path = "/consumers/look-up";
                let answer = sees.send(Method::POST, path, &named).await;
                assert_eq!(answer.status, 403, "{named}");
                assert!(answer.text.contains("operate"), "{}", answer.text);
                let answer = viewer.api(Method::POST, path, Some(&named)).await;
                assert_eq!(answer.status, 403, "{named}");
                let answer = operates.send(Method::POST, path, &named).await;
                assert_eq!(answer.status, 200, "{named}");
            }
            let id = id.replace('+', "%2B");
            let path = format!("/reminders?consumer={id}");
            assert_eq!(sees.get(&path).await.status, 403);
            assert_eq!(operates.get(&path).await.status, 200);
        }
        // A number is one without its plus as well: the page takes it for one.
        let path = "/reminders?consumer=12025550143";
        assert_eq!(sees.get(path).await.status, 403);
        assert_eq!(operates.get(path).await.status, 200);
        let digits = json!({ "account": account, "consumer": "12025550143" });
        let answer = sees.send(Method::POST, "/consumers/look-up", &digits).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        let answer = viewer.form("/customers", &[("who", "12025550143")]).await;
        assert_eq!(answer.status, 403);
        let by_chat = json!({ "account": account, "conversation": chat });
        let answer = sees
            .send(Method::POST, "/consumers/look-up", &by_chat)
            .await;
        assert_eq!(answer.status, 200, "a conversation confirms no address");

        for (path, field, value) in [
            ("/customers", "who", ids[0]),
            ("/opt-outs", "address", ids[0]),
            ("/website", "consumer", "CUST-1"),
        ] {
            let answer = viewer.form(path, &[(field, value)]).await;
            assert_eq!(answer.status, 403, "{path}");
            let answer = editor.form(path, &[(field, value)]).await;
            assert_eq!(answer.status, 200, "{path}");
        }
        assert_eq!(
            viewer.form("/customers", &[("who", &chat)]).await.status,
            200
        );
        for (path, hidden) in [
            ("/website", "Customer ID (LivePerson"),
            ("/opt-outs", "E-mail address or phone number"),
            ("/customers", "E-mail address, phone number"),
        ] {
            let page = viewer.get(path).await;
            assert_eq!(page.status, 200);
            assert!(!page.text.contains(hidden), "{path}: {}", page.text);
            assert!(editor.get(path).await.text.contains(hidden), "{path}");
        }
        let path = "/accounts/12345678/badge/look-up";
        let whose = json!({ "consumer": "CUST-1" });
        assert_eq!(sees.send(Method::POST, path, &whose).await.status, 403);
        assert_eq!(operates.send(Method::POST, path, &whose).await.status, 200);
    })
    .await;
}
