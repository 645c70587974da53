//! Logins: the first one, wrong ones, too many of them, and how long they last.

use std::time::Instant;

use chrono::TimeDelta;
use reqwest::Method;
use unread::control::users;
use unread::domain::access::Role;
use unread::secret::Secret;

use super::granted;
use crate::harness::{Setup, TestApp, run_test, run_test_with};
use crate::person::Answer;

const PASSWORD: &str = "correct horse battery";

/// Posts to a page without a session, as a browser does on that page.
async fn post(t: &TestApp, path: &str, fields: &[(&str, &str)], from: &str) -> Answer {
    let sent = t
        .http
        .post(format!("{}{path}", t.web))
        .header("sec-fetch-site", "same-origin")
        .header("x-forwarded-for", from)
        .form(fields)
        .send();
    Answer::of(sent.await.unwrap()).await
}

async fn log_in(t: &TestApp, name: &str, password: &str) -> Answer {
    let fields = [("name", name), ("password", password), ("to", "/activity")];
    post(t, "/login", &fields, "10.1.1.1").await
}

/// The session's cookie of an answer, as browsers send it back.
fn cookie(answer: &Answer) -> String {
    let set = answer.headers["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

async fn with_cookie(t: &TestApp, cookie: &str, path: &str) -> Answer {
    let asked = t
        .http
        .get(format!("{}{path}", t.web))
        .header("cookie", cookie);
    Answer::of(asked.send().await.unwrap()).await
}

async fn add(t: &TestApp, name: &str, role: Role) -> i64 {
    let password = Secret::new(PASSWORD);
    users::add_with_password(t.pool(), name, role, &password, "test", t.now())
        .await
        .unwrap()
}

fn behind_a_proxy() -> Setup {
    Setup {
        settings: vec![("UNREAD_TRUSTED_PROXIES", "127.0.0.1")],
        ..Setup::default()
    }
}

#[tokio::test]
async fn the_first_administrator_is_made_with_a_link_that_works_once_and_for_an_hour() {
    run_test(async |t| {
        let page = t.get("/login").await.1;
        assert!(page.contains("There are no users yet"), "{page}");
        let link = users::first_link(t.pool(), true, t.now())
            .await
            .unwrap()
            .unwrap();
        let path = format!("/setup/{}", link.token.expose());
        assert_eq!(t.get(&path).await.0, 200);
        let short = [("name", "Ann@Example.net"), ("password", "short")];
        let refused = post(t, &path, &short, "10.1.1.1").await;
        assert_eq!(refused.status, 422, "{refused:?}");
        assert!(refused.text.contains("too short"));
        let good = [("name", "Ann@Example.net"), ("password", PASSWORD)];
        let made = post(t, &path, &good, "10.1.1.1").await;
        assert_eq!((made.status.as_u16(), made.location()), (303, "/"));
        assert_eq!(with_cookie(t, &cookie(&made), "/team").await.status, 200);
        assert_eq!(post(t, &path, &good, "10.1.1.1").await.status, 404, "used");
        assert_eq!(log_in(t, "ann@example.net", PASSWORD).await.status, 303);
        let none = users::first_link(t.pool(), true, t.now()).await.unwrap();
        assert!(none.is_none(), "there is somebody");
        // A link that nobody used in time.
        let id = add(t, "ben", Role::Viewer).await;
        let link = users::new_link(t.pool(), id, "test", t.now())
            .await
            .unwrap();
        t.advance_by(TimeDelta::hours(48)).await;
        let path = format!("/setup/{}", link.token.expose());
        assert_eq!(t.get(&path).await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn two_who_use_the_first_link_at_once_make_one_administrator() {
    run_test(async |t| {
        let link = users::first_link(t.pool(), true, t.now())
            .await
            .unwrap()
            .unwrap();
        let accept = async |name: &str| {
            let password = Secret::new(PASSWORD);
            users::accept(t.pool(), link.token.expose(), name, &password, t.now()).await
        };
        let (one, other) = tokio::join!(accept("ann"), accept("ben"));
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        assert_eq!(users::list(t.pool()).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_answered_alike_and_a_good_login_leads_on() {
    run_test_with(behind_a_proxy(), async |t| {
        add(t, "ann", Role::Viewer).await;
        let wrong = log_in(t, "ann", "wrong horse battery").await;
        let unknown = log_in(t, "nobody", PASSWORD).await;
        assert_eq!((wrong.status.as_u16(), unknown.status.as_u16()), (401, 401));
        let told = |answer: &Answer, name| answer.text.replace(name, "NAME");
        assert_eq!(told(&wrong, "ann"), told(&unknown, "nobody"));
        let good = log_in(t, " ANN ", PASSWORD).await;
        assert_eq!((good.status.as_u16(), good.location()), (303, "/activity"));
        let set = good.headers["set-cookie"].to_str().unwrap();
        assert!(
            set.contains("HttpOnly") && set.contains("SameSite=Lax"),
            "{set}"
        );
        let elsewhere = [
            ("name", "ann"),
            ("password", PASSWORD),
            ("to", "//evil.example"),
        ];
        let led = post(t, "/login", &elsewhere, "10.1.1.1").await;
        assert_eq!(led.location(), "/");
    })
    .await;
}

#[tokio::test]
async fn over_https_the_cookie_is_for_this_host_and_https_alone() {
    let setup = Setup {
        settings: vec![("UNREAD_PUBLIC_URL", "https://unread.example.com")],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        add(t, "ann", Role::Viewer).await;
        let good = log_in(t, "ann", PASSWORD).await;
        let set = good.headers["set-cookie"].to_str().unwrap();
        assert!(set.starts_with("__Host-unread="), "{set}");
        assert!(
            set.contains("; Secure") && set.contains("Path=/") && !set.contains("Domain"),
            "{set}"
        );
    })
    .await;
}

#[tokio::test]
async fn tries_are_throttled_for_a_name_from_an_address_and_others_still_get_in() {
    run_test_with(behind_a_proxy(), async |t| {
        add(t, "ann", Role::Viewer).await;
        let attempt = async |password: &str, from: &str| {
            let fields = [("name", "ann"), ("password", password)];
            post(t, "/login", &fields, from).await
        };
        for _ in 0..5 {
            assert_eq!(attempt("wrong", "10.1.1.1").await.status, 401);
        }
        let refused = attempt(PASSWORD, "10.1.1.1").await;
        assert_eq!(refused.status, 429, "even with the right password");
        assert!(refused.headers.contains_key("retry-after"));
        assert_eq!(
            attempt(PASSWORD, "10.2.2.2").await.status,
            303,
            "the person is not locked out"
        );
        // One address that tries many names.
        let (asked, mut tried) = (Instant::now(), 0);
        loop {
            let fields = [("name", &*format!("name{tried}")), ("password", "wrong")];
            if post(t, "/login", &fields, "10.3.3.3").await.status == 429 {
                break;
            }
            tried += 1;
            assert!(tried <= granted((20, 10), asked), "{tried}");
        }
        assert!(tried >= 20, "{tried}");
        let kept: Vec<String> =
            sqlx::query_scalar("select key from limits where key like 'login:%'")
                .fetch_all(t.pool())
                .await
                .unwrap();
        assert!(
            !kept.is_empty()
                && !kept
                    .iter()
                    .any(|key| key.contains("ann") || key.contains("10."))
        );
    })
    .await;
}

#[tokio::test]
async fn a_login_gets_a_new_session_and_the_old_one_is_over() {
    run_test(async |t| {
        add(t, "ann", Role::Viewer).await;
        let first = cookie(&log_in(t, "ann", PASSWORD).await);
        let again = t
            .http
            .post(format!("{}/login", t.web))
            .header("cookie", &first);
        let fields = [("name", "ann"), ("password", PASSWORD)];
        let again = Answer::of(again.form(&fields).send().await.unwrap()).await;
        let second = cookie(&again);
        assert_ne!(first, second);
        assert_eq!(with_cookie(t, &first, "/activity").await.status, 303);
        assert_eq!(with_cookie(t, &second, "/activity").await.status, 200);
        let fixed = format!("unread={}", "a".repeat(22));
        assert_eq!(
            with_cookie(t, &fixed, "/activity").await.status,
            303,
            "not of ours"
        );
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_in_any_case_after_its_time() {
    run_test(async |t| {
        let idle = t.person(Role::Viewer).await;
        t.advance_by(TimeDelta::minutes(119)).await;
        assert_eq!(idle.get("/activity").await.status, 200);
        t.advance_by(TimeDelta::minutes(121)).await;
        let gone = idle.get("/activity?by=ann").await;
        assert_eq!(
            (gone.status.as_u16(), gone.location()),
            (303, "/login?to=%2Factivity%3Fby%3Dann")
        );
        assert_eq!(
            idle.ask(Method::GET, "/api/v1/accounts")
                .send()
                .await
                .unwrap()
                .status(),
            401
        );

        let busy = t.person(Role::Viewer).await;
        for _ in 0..11 {
            t.advance_by(TimeDelta::hours(1)).await;
            assert_eq!(busy.get("/activity").await.status, 200);
        }
        t.advance_by(TimeDelta::hours(1)).await;
        assert_eq!(
            busy.get("/activity").await.status,
            303,
            "twelve hours are over"
        );
    })
    .await;
}

#[tokio::test]
async fn changing_the_password_ends_the_other_sessions_and_logging_out_this_one() {
    run_test(async |t| {
        add(t, "ann", Role::Viewer).await;
        let other = cookie(&log_in(t, "ann", PASSWORD).await);
        let own = cookie(&log_in(t, "ann", PASSWORD).await);
        let page = with_cookie(t, &own, "/settings").await.text;
        let csrf = page.split("name=\"csrf\" content=\"").nth(1).unwrap();
        let csrf = csrf.split('"').next().unwrap().to_owned();
        let change = async |old: &str, new: &str| {
            let form = [
                ("csrf", csrf.as_str()),
                ("old_password", old),
                ("password", new),
            ];
            let sent = t
                .http
                .post(format!("{}/settings/password", t.web))
                .header("cookie", &own);
            Answer::of(sent.form(&form).send().await.unwrap()).await
        };
        let refused = change("wrong", "another good password").await;
        assert_eq!(refused.status, 422);
        assert!(
            refused.text.contains("not your password"),
            "{}",
            refused.text
        );
        assert_eq!(change(PASSWORD, "another good password").await.status, 303);
        assert!(
            with_cookie(t, &own, "/settings")
                .await
                .text
                .contains("Password changed"),
            "the flash"
        );
        assert!(
            !with_cookie(t, &own, "/settings")
                .await
                .text
                .contains("is changed"),
            "told once"
        );
        assert_eq!(with_cookie(t, &other, "/settings").await.status, 303);
        assert_eq!(log_in(t, "ann", PASSWORD).await.status, 401);
        let form = [("csrf", csrf.as_str())];
        let sent = t
            .http
            .post(format!("{}/logout", t.web))
            .header("cookie", &own);
        assert_eq!(sent.form(&form).send().await.unwrap().status(), 303);
        assert_eq!(with_cookie(t, &own, "/settings").await.status, 303);
    })
    .await;
}
