//! Every route of the table, asked for by everybody.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use unread::domain::access::{Permission, Role};
use unread::web::access::{Route, RouteAccess};

use crate::harness::{Setup, TestApp, run_test, run_test_with};
use crate::person::Answer;

/// A path that fits the pattern.
fn example(pattern: &str) -> String {
    let parts = pattern.split('/').map(|part| match part {
        "{account}" => "12345678",
        part if part.starts_with('{') => "1",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Whether a guard has let the request through. What the handler then says of nonsense is its own business.
fn was_let_in(route: &Route, answer: &Answer) -> bool {
    let turned_away = match route.needs {
        RouteAccess::Nothing => false,
        RouteAccess::Person(_) => {
            let to_login = answer.status == 303 && answer.location().starts_with("/login");
            // Who has just logged out is led there too.
            answer.status == 403 || (to_login && !answer.headers.contains_key("set-cookie"))
        }
        RouteAccess::Caller(_) | RouteAccess::Session(_) => {
            matches!(answer.status.as_u16(), 401 | 403)
        }
    };
    !turned_away
}

async fn ask(
    t: &TestApp,
    route: &Route,
    dress: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
) -> Answer {
    let url = format!("{}{}", t.web, example(&route.path));
    let request = t.http.request(route.method.clone(), url);
    // From somewhere else each time: it is not the limits that are tried here.
    let [a, b, c, _] = rand::random::<[u8; 4]>();
    let request = request.header("x-forwarded-for", format!("10.{a}.{b}.{c}"));
    Answer::of(dress(request).send().await.unwrap()).await
}

#[tokio::test]
async fn every_route_lets_in_whom_it_names_and_nobody_else() {
    let setup = Setup {
        settings: vec![("UNREAD_TRUSTED_PROXIES", "127.0.0.1")],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        let routes = t.routes();
        assert!(routes.len() > 8, "the table was found");
        for route in &routes {
            let (method, path) = (&route.method, &route.path);
            let needs = match route.needs {
                RouteAccess::Nothing => {
                    let answer = ask(t, route, |r| r).await;
                    assert!(
                        !matches!(answer.status.as_u16(), 401 | 403),
                        "{method} {path}"
                    );
                    continue;
                }
                RouteAccess::Person(needs)
                | RouteAccess::Caller(needs)
                | RouteAccess::Session(needs) => needs,
            };
            let stranger = ask(t, route, |r| r).await;
            assert!(
                !was_let_in(route, &stranger),
                "{method} {path}: {stranger:?}"
            );
            for role in Role::ALL {
                // Anew for every route: some routes end the session.
                let person = t.person(role).await;
                let csrf = person.csrf().await;
                let own = |r: reqwest::RequestBuilder| {
                    r.header("cookie", &person.cookie)
                        .header("sec-fetch-site", "same-origin")
                };
                let answer = ask(t, route, |r| own(r).header("x-csrf-token", &csrf)).await;
                let allowed = role.may(needs);
                assert_eq!(
                    was_let_in(route, &answer),
                    allowed,
                    "{role}: {method} {path}: {answer:?}"
                );
            }
            refuses_foreign_forms(t, route, needs).await;
            for scope in Permission::ALL {
                let program = t.program(&[scope]).await;
                let answer = ask(t, route, |r| r.bearer_auth(&program.token)).await;
                let allowed = matches!(route.needs, RouteAccess::Caller(_)) && scope == needs;
                assert_eq!(
                    was_let_in(route, &answer),
                    allowed,
                    "{scope:?}: {method} {path}: {answer:?}"
                );
            }
        }
    })
    .await;
}

/// With an administrator's session, but not from a page of ours.
async fn refuses_foreign_forms(t: &TestApp, route: &Route, needs: Permission) {
    if route.method.is_safe() {
        return;
    }
    let (method, path) = (&route.method, &route.path);
    let person = t.person(Role::Administrator).await;
    assert!(Role::Administrator.may(needs));
    let csrf = person.csrf().await;
    for (why, site, word) in [
        ("another site", "cross-site", csrf.as_str()),
        ("no word", "same-origin", ""),
        ("a wrong word", "same-origin", "x7Jm0m8cG5m3cV2n"),
    ] {
        let answer = ask(t, route, |r| {
            let r = r
                .header("cookie", &person.cookie)
                .header("sec-fetch-site", site);
            r.header("x-csrf-token", word)
        })
        .await;
        assert_eq!(answer.status, 403, "{why}: {method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn the_api_s_document_and_the_table_name_the_same_operations() {
    run_test(async |t| {
        let (status, text) = t.get("/api/v1/openapi.json").await;
        assert_eq!(status, 200);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut described = BTreeSet::new();
        let mut ids = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let method: Method = method.to_uppercase().parse().unwrap();
                described.insert((path.clone(), method.to_string()));
                let id = operation["operationId"]
                    .as_str()
                    .expect("an operation has a name");
                assert_eq!(
                    ids.insert(id.to_owned(), path.clone()),
                    None,
                    "{id} names two"
                );
                let summary = operation["summary"].as_str().unwrap_or_default();
                assert!(!summary.is_empty(), "{method} {path} says what it does");
            }
        }
        let table: BTreeSet<_> = t
            .routes()
            .into_iter()
            .filter(|route| {
                matches!(
                    route.needs,
                    RouteAccess::Caller(_) | RouteAccess::Session(_)
                )
            })
            .map(|route| (route.path, route.method.to_string()))
            .collect();
        assert_eq!(described, table);
    })
    .await;
}
