//! What the config API promises whatever the subject: pages of lists, problems, idempotency keys, tokens.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use unread::domain::access::{Permission, Role};
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};

use crate::harness::run_test;
use crate::person::Answer;

const ADMINISTER: &[Permission] = &[Permission::Administer];

#[tokio::test]
async fn a_list_comes_by_pages_that_neither_repeat_nor_lose_what_is_added_meanwhile() {
    run_test(async |t| {
        let administrator = t.program(&[Permission::View]).await;
        let ann = t.person(Role::Administrator).await;
        let add = async |name: String| {
            let new = json!({ "name": name, "role": "viewer" });
            ann.api(Method::POST, "/users", Some(&new)).await.status
        };
        for n in 0..7 {
            assert_eq!(add(format!("p{n}")).await, 201);
        }
        let mut seen = Vec::new();
        let mut path = "/audit?action=user&limit=3".to_owned();
        loop {
            let page = administrator.get(&path).await.json();
            let ids = page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["id"].as_i64().unwrap());
            seen.extend(ids);
            add(format!("late{}", seen.len())).await;
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("/audit?action=user&limit=3&after={next}");
        }
        assert_eq!(seen.len(), 7);
        assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=x", "limit"),
            ("after=nonsense", "after"),
            ("colour=red", "colour"),
        ] {
            let refused = administrator.get(&format!("/audit?{query}")).await;
            assert_eq!(refused.status, 400, "{query}");
            assert_eq!(refused.headers["content-type"], "application/problem+json");
            let fault = refused.json()["errors"][0].clone();
            assert_eq!(fault["field"], field, "{query}: {fault}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_body_is_told_with_its_place() {
    run_test(async |t| {
        let administrator = t.program(ADMINISTER).await;
        let ann = t.person(Role::Administrator).await;
        let send = async |body: Value| ann.api(Method::POST, "/tokens", Some(&body)).await;
        let both = send(json!({ "name": "", "scopes": [] })).await;
        assert_eq!(both.status, 422);
        let fields: Vec<Value> = both.json()["errors"].as_array().unwrap().clone();
        let fields: Vec<&str> = fields
            .iter()
            .map(|e| e["field"].as_str().unwrap())
            .collect();
        assert_eq!(fields, ["/name", "/scopes"]);
        let wrong = send(json!({ "name": "x", "scopes": ["view", "all"] })).await;
        assert_eq!(wrong.json()["errors"][0]["field"], "/scopes/1");
        for days in [0, 366] {
            let refused = send(json!({ "name": "x", "scopes": ["view"], "days": days })).await;
            assert_eq!(refused.json()["errors"][0]["field"], "/days", "{days}");
        }
        let text = ann
            .ask(Method::POST, "/api/v1/tokens")
            .header("x-csrf-token", ann.csrf().await)
            .body("name=x")
            .send()
            .await;
        assert_eq!(text.unwrap().status(), 415);
        assert_eq!(
            administrator
                .send(Method::DELETE, "/users/1x", &json!({}))
                .await
                .status,
            400
        );
        assert_eq!(
            administrator
                .send(Method::DELETE, "/users/999", &json!({}))
                .await
                .status,
            404
        );
    })
    .await;
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_is_done_once_and_its_answer_is_repeated() {
    run_test(async |t| {
        let administrator = t.program(ADMINISTER).await;
        let id = t.person(Role::Viewer).await.id;
        let end = async |path: &str, key: &str| {
            let ask = administrator
                .ask(Method::POST, path)
                .header("idempotency-key", key);
            Answer::of(ask.send().await.unwrap()).await
        };
        let path = format!("/users/{id}/log-out");
        let first = end(&path, "k1").await;
        assert_eq!(
            (first.status.as_u16(), first.json()),
            (200, json!({ "sessions": 1 }))
        );
        let again = end(&path, "k1").await;
        assert_eq!((again.status, &again.text), (first.status, &first.text));
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(
            end(&path, "k2").await.json(),
            json!({ "sessions": 0 }),
            "a new key is a new request"
        );
        let other = t.person(Role::Viewer).await.id;
        assert_eq!(
            end(&format!("/users/{other}/log-out"), "k1").await.status,
            422,
            "another request"
        );
        assert_eq!(end(&path, "with space").await.status, 400);
        t.advance_by(TimeDelta::hours(25)).await;
        assert_eq!(
            end(&path, "k1").await.json(),
            json!({ "sessions": 0 }),
            "forgotten"
        );

        // A secret is told once.
        let ann = t.person(Role::Administrator).await;
        let csrf = ann.csrf().await;
        let add_token = async || {
            let ask = ann
                .ask(Method::POST, "/api/v1/tokens")
                .header("x-csrf-token", &csrf)
                .header("idempotency-key", "k3");
            let body = json!({ "name": "export", "scopes": ["administer"] });
            Answer::of(ask.json(&body).send().await.unwrap()).await
        };
        let made = add_token().await;
        assert_eq!(made.status, 201, "{made:?}");
        let again = add_token().await;
        assert_eq!(again.status, 409);
        assert!(!again.text.contains("unread_"));
        let kept: Vec<Option<Vec<u8>>> = sqlx::query_scalar("select body from idempotency")
            .fetch_all(t.pool())
            .await
            .unwrap();
        let told = made.json()["token"].as_str().unwrap().to_owned();
        assert!(
            !kept
                .iter()
                .flatten()
                .any(|body| String::from_utf8_lossy(body).contains(&told))
        );
    })
    .await;
}

#[tokio::test]
async fn of_two_requests_with_one_key_at_once_one_is_done() {
    run_test(async |t| {
        let administrator = t.person(Role::Administrator).await;
        let csrf = administrator.csrf().await;
        let make = async || {
            let ask = administrator
                .ask(Method::POST, "/api/v1/users")
                .header("x-csrf-token", &csrf)
                .header("idempotency-key", "same");
            let body = json!({ "name": "ann", "role": "viewer" });
            ask.json(&body).send().await.unwrap().status().as_u16()
        };
        let (a, b, c) = tokio::join!(make(), make(), make());
        let mut statuses = [a, b, c];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409]);
        let anns: i64 = sqlx::query_scalar("select count(*) from users where name = 'ann'")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(anns, 1);
    })
    .await;
}

#[tokio::test]
async fn a_token_is_told_once_expires_is_noted_when_used_and_ends_when_removed() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        let new = json!({ "name": "export", "scopes": ["view"], "days": 1 });
        let made = ann.api(Method::POST, "/tokens", Some(&new)).await;
        assert_eq!(made.status, 201, "{made:?}");
        let token = made.json()["token"].as_str().unwrap().to_owned();
        assert!(token.starts_with("unread_") && token.len() > 40);
        let me = async |token: &str| {
            let ask = t.http.get(format!("{}/api/v1/me", t.web)).bearer_auth(token);
            Answer::of(ask.send().await.unwrap()).await
        };
        assert_eq!(me(&token).await.json(), json!({ "name": "token export", "scopes": ["view"], "accounts": null }));
        let listed = ann.api(Method::GET, "/tokens", None).await;
        assert!(!listed.text.contains(&token));
        assert!(listed.json()["items"][0]["last_used_at"].is_string(), "{}", listed.text);
        assert_eq!(me("unread_unknown").await.status, 401);
        assert_eq!(me(&token[..40]).await.status, 401);
        let twice = ann.api(Method::POST, "/tokens", Some(&new)).await;
        assert_eq!(twice.status, 409, "the name is taken");
        t.advance_by(TimeDelta::hours(24)).await;
        assert_eq!(me(&token).await.status, 401, "expired");

        let ann = t.person(Role::Administrator).await;
        let lasting = t.program(&[Permission::View]).await;
        assert_eq!(me(&lasting.token).await.status, 200);
        let path = format!("/tokens/{}", lasting.id);
        assert_eq!(ann.api(Method::DELETE, &path, None).await.status, 204);
        assert_eq!(me(&lasting.token).await.status, 401);
        let stored: i64 = sqlx::query_scalar(
            "select count(*) from audit where detail::text like '%unread\\_%' or subject like 'unread\\_%'",
        )
        .fetch_one(t.pool())
        .await
        .unwrap();
        assert_eq!(stored, 0, "no token in the audit trail");
    })
    .await;
}

#[tokio::test]
async fn the_last_administrator_can_neither_be_removed_nor_lose_the_role() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        let path = format!("/users/{}", ann.id);
        let lesser = json!({ "role": "editor" });
        assert_eq!(ann.api(Method::DELETE, &path, None).await.status, 409);
        assert_eq!(
            ann.api(Method::PATCH, &path, Some(&lesser)).await.status,
            409
        );
        let page = ann.form(&format!("/team/{}/remove", ann.id), &[]).await;
        assert_eq!(page.location(), "/team");
        assert!(
            ann.get("/team")
                .await
                .text
                .contains("is the last administrator")
        );

        let ben = t.person(Role::Administrator).await;
        // Each removes the other at once: one stays.
        let remove = async |by: &crate::person::Person, whom: i64| {
            by.api(Method::DELETE, &format!("/users/{whom}"), None)
                .await
                .status
                .as_u16()
        };
        tokio::join!(remove(&ann, ben.id), remove(&ben, ann.id));
        let left: i64 =
            sqlx::query_scalar("select count(*) from users where role = 'administrator'")
                .fetch_one(t.pool())
                .await
                .unwrap();
        assert_eq!(left, 1);
    })
    .await;
}

#[tokio::test]
async fn a_role_that_was_taken_away_no_longer_holds_in_the_session_that_is_open() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        let ben = t.person(Role::Editor).await;
        assert_eq!(ben.get("/team").await.status, 403);
        let path = format!("/users/{}", ben.id);
        let more = json!({ "role": "administrator" });
        assert_eq!(ann.api(Method::PATCH, &path, Some(&more)).await.status, 200);
        assert_eq!(ben.get("/team").await.status, 200);
        assert_eq!(ann.api(Method::DELETE, &path, None).await.status, 204);
        assert_eq!(ben.get("/activity").await.status, 303);
        let entries = ann
            .api(Method::GET, "/audit?action=user", None)
            .await
            .json();
        let actions = entries["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["action"].clone());
        assert_eq!(actions.collect::<Vec<_>>(), ["user.remove", "user.role"]);
        assert_eq!(entries["items"][0]["by"], ann.name);
    })
    .await;
}

#[tokio::test]
async fn people_and_tokens_can_be_looked_after_on_their_pages() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        let added = ann
            .form("/team", &[("name", "Ben@example.net"), ("role", "editor")])
            .await;
        assert_eq!(added.status, 200);
        assert!(added.text.contains("/setup/"), "the link is shown");
        assert!(
            added
                .text
                .contains("It was sent to ben@example.net by e-mail.")
        );
        let mails = t.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].to, ["ben@example.net"]);
        let text = mails[0].text.clone().unwrap();
        let link = text
            .split_whitespace()
            .find(|word| word.contains("/setup/"));
        assert!(added.text.contains(link.unwrap()), "the same link");
        let refused = ann
            .form("/team", &[("name", "ben@example.net"), ("role", "editor")])
            .await;
        assert_eq!(refused.status, 422);
        assert!(
            refused
                .text
                .contains("there is already a user named ben@example.net")
        );
        let made = ann
            .form(
                "/tokens",
                &[("name", "export"), ("scope", "view"), ("days", "30")],
            )
            .await;
        assert!(made.text.contains("unread_"), "{}", made.text);
        let page = ann.get("/tokens").await.text;
        assert!(page.contains("export") && !page.contains("unread_"));
        for path in ["/settings", "/api", "/activity?by=nobody"] {
            assert_eq!(ann.get(path).await.status, 200, "{path}");
        }
        // A mail server that does not take it, and a name that is no address: the link is on the page alone.
        let refused = SmtpFault::reply(Phase::Mail, When::always(), "451 4.3.0 Try later");
        t.sandbox.smtp().faults().add(refused);
        for name in ["eve@example.net", "eve"] {
            let added = ann
                .form("/team", &[("name", name), ("role", "viewer")])
                .await;
            assert!(added.text.contains("/setup/") && added.text.contains("Share it in person"));
        }
        assert!(t.mails().is_empty());
    })
    .await;
}
