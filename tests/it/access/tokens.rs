//! Tokens belong to people: they may do no more than their owner may, end with the owner, and make no other way in.

use reqwest::Method;
use serde_json::{Value, json};
use unread::domain::access::{Permission, Role};
use unread::web::access::RouteAccess;

use crate::harness::{TestApp, run_test};
use crate::person::{Answer, Person};

/// A token that the person has made, and its id.
async fn made(person: &Person, name: &str, scopes: &[&str]) -> (String, Value) {
    let new = json!({ "name": name, "scopes": scopes });
    let made = person.api(Method::POST, "/tokens", Some(&new)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    (made["token"].as_str().unwrap().to_owned(), made)
}

async fn ask(t: &TestApp, token: &str, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let url = format!("{}/api/v1{path}", t.web);
    let mut ask = t.http.request(method, url).bearer_auth(token);
    if let Some(body) = body {
        ask = ask.json(body);
    }
    Answer::of(ask.send().await.unwrap()).await
}

async fn me(t: &TestApp, token: &str) -> Answer {
    ask(t, token, Method::GET, "/me", None).await
}

#[tokio::test]
async fn a_token_ends_with_its_owner_unless_an_administrator_takes_it_over_by_name() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        let ben = t.person(Role::Administrator).await;
        let (gone, _) = made(&ben, "forgotten", &["view", "administer"]).await;
        let (kept, _) = made(&ben, "nightly export", &["view", "administer"]).await;
        let (own, _) = made(&ann, "of ann", &["view"]).await;
        let path = format!("/users/{}", ben.id);

        let wrong = ann
            .api(Method::DELETE, &format!("{path}?take_over=of%20ann"), None)
            .await;
        assert_eq!(wrong.status, 422, "not a token of the person: {wrong:?}");
        assert_eq!(me(t, &gone).await.status, 200, "nothing was done");
        let by_token = format!("{path}?take_over=forgotten");
        let by_token = ask(t, &kept, Method::DELETE, &by_token, None).await;
        assert_eq!(by_token.status, 403, "a token takes nothing over");

        let page = ann.get(&format!("/team/{}/remove", ben.id)).await;
        assert!(
            page.text.contains("Take over nightly export"),
            "{}",
            page.text
        );
        let done = ann
            .form(
                &format!("/team/{}/remove", ben.id),
                &[("take_over", "nightly export")],
            )
            .await;
        assert_eq!(done.location(), "/team");
        assert_eq!(me(t, &gone).await.status, 401);
        assert_eq!(me(t, &kept).await.status, 200);
        assert_eq!(me(t, &own).await.status, 200);
        let listed = ann.api(Method::GET, "/tokens", None).await.json();
        let kept = &listed["items"][0];
        assert_eq!(kept["name"], "nightly export");
        assert_eq!(
            (&kept["owner"], &kept["created_by"]),
            (&json!(ann.name), &json!(ben.name))
        );

        let audit = ann.api(Method::GET, "/audit?limit=3", None).await.json();
        let actions: Vec<(&Value, &Value)> = audit["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (&entry["action"], &entry["subject"]))
            .collect();
        let expected = [
            (json!("user.remove"), json!(ben.name)),
            (json!("token.take_over"), json!("nightly export")),
            (json!("token.remove"), json!("forgotten")),
        ];
        assert_eq!(
            actions,
            expected.iter().map(|(a, s)| (a, s)).collect::<Vec<_>>()
        );
    })
    .await;
}

#[tokio::test]
async fn a_token_may_do_no_more_than_its_owner_may_at_the_moment() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        let ben = t.person(Role::Administrator).await;
        let (token, made) = made(&ben, "export", &["view", "operate", "administer"]).await;
        let scopes = async || me(t, &token).await.json()["scopes"].clone();
        assert_eq!(scopes().await, json!(["view", "operate", "administer"]));
        let set = async |role: &str| {
            let change = json!({ "role": role });
            let path = format!("/users/{}", ben.id);
            ann.api(Method::PATCH, &path, Some(&change)).await.status
        };
        assert_eq!(set("viewer").await, 200);
        assert_eq!(scopes().await, json!(["view"]));
        let users = ask(t, &token, Method::GET, "/users", None).await;
        assert_eq!(users.status, 403);
        let listed = ann.api(Method::GET, "/tokens", None).await.json();
        assert_eq!(listed["items"][0]["id"], made["id"]);
        assert_eq!(listed["items"][0]["effective_scopes"], json!(["view"]));
        assert_eq!(
            listed["items"][0]["scopes"],
            json!(["view", "operate", "administer"])
        );

        // What is taken over does not get back what was lost.
        let path = format!("/users/{}?take_over=export", ben.id);
        assert_eq!(ann.api(Method::DELETE, &path, None).await.status, 204);
        assert_eq!(scopes().await, json!(["view"]));
    })
    .await;
}

#[tokio::test]
async fn a_token_that_may_do_nothing_any_more_cannot_be_taken_over() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        let ben = t.person(Role::Administrator).await;
        let (token, _) = made(&ben, "people", &["administer"]).await;
        let viewer = json!({ "role": "viewer" });
        let path = format!("/users/{}", ben.id);
        ann.api(Method::PATCH, &path, Some(&viewer)).await;
        let path = format!("{path}?take_over=people");
        let refused = ann.api(Method::DELETE, &path, None).await;
        assert_eq!(refused.status, 422);
        assert!(
            refused.text.contains("create a new one instead"),
            "{}",
            refused.text
        );
        assert_eq!(
            ann.get(&format!("/team/{}/remove", ben.id)).await.status,
            200
        );
        assert_eq!(me(t, &token).await.status, 403, "it is still there");
    })
    .await;
}

#[tokio::test]
async fn no_token_gives_anybody_access() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        let ben = t.person(Role::Editor).await;
        let all = ["view", "edit", "operate", "administer"];
        let (token, _) = made(&ann, "everything", &all).await;
        let user = format!("/users/{}", ben.id);
        let password = format!("{user}/password-link");
        for (method, path, body) in [
            (
                Method::POST,
                "/users",
                Some(json!({ "name": "eve", "role": "administrator" })),
            ),
            (
                Method::PATCH,
                user.as_str(),
                Some(json!({ "role": "administrator" })),
            ),
            (Method::POST, password.as_str(), None),
            (
                Method::POST,
                "/tokens",
                Some(json!({ "name": "eve", "scopes": ["view"] })),
            ),
        ] {
            let refused = ask(t, &token, method.clone(), path, body.as_ref()).await;
            assert_eq!(refused.status, 403, "{method} {path}: {refused:?}");
            assert!(
                refused.text.contains("no token may do it"),
                "{}",
                refused.text
            );
            let row = t.routes().into_iter().find(|route| {
                let pattern = route.path.replace("{id}", &ben.id.to_string());
                route.method == method && pattern == format!("/api/v1{path}")
            });
            assert_eq!(
                row.unwrap().needs,
                RouteAccess::Session(Permission::Administer)
            );
        }
        // It may still end access.
        let out = ask(t, &token, Method::POST, &format!("{user}/log-out"), None).await;
        assert_eq!(out.status, 200);
        assert_eq!(
            ask(t, &token, Method::DELETE, &user, None).await.status,
            204
        );
    })
    .await;
}

#[tokio::test]
async fn every_new_token_ends_and_old_ones_that_do_not_are_marked() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        let (_, usual) = made(&ann, "usual", &["view"]).await;
        let expected = t.now() + chrono::TimeDelta::days(90);
        let expires: chrono::DateTime<chrono::Utc> =
            usual["expires_at"].as_str().unwrap().parse().unwrap();
        assert!((expected - expires).abs() < chrono::TimeDelta::minutes(1));
        let on_page = ann
            .form(
                "/tokens",
                &[("name", "page"), ("scope", "view"), ("days", "")],
            )
            .await;
        assert_eq!(on_page.status, 200, "{}", on_page.text);
        let endless: i64 =
            sqlx::query_scalar("select count(*) from access_tokens where expires_at is null")
                .fetch_one(t.pool())
                .await
                .unwrap();
        assert_eq!(endless, 0);
        assert!(!ann.get("/tokens").await.text.contains("No owner"));
        let old = t.program(&[Permission::View]).await;
        assert_eq!(me(t, &old.token).await.status, 200, "it keeps working");
        let page = ann.get("/tokens").await.text;
        assert!(
            page.contains("No owner") && page.contains(">Never</span>"),
            "{page}"
        );
    })
    .await;
}
