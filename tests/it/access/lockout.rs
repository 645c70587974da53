//! Strangers who try somebody's name: they are held up, and whoever comes from a place of their own is not.

use chrono::TimeDelta;
use unread::control::users;
use unread::domain::access::Role;
use unread::secret::Secret;

use crate::harness::{Setup, TestApp, run_test_with};
use crate::person::Answer;

const PASSWORD: &str = "correct horse battery";
const HOME: &str = "10.1.1.1";
const ELSEWHERE: &str = "10.2.2.2";

async fn with_ann(test: impl AsyncFnOnce(&TestApp)) {
    let setup = Setup {
        settings: vec![("UNREAD_TRUSTED_PROXIES", "127.0.0.1")],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        add(t, "ann").await;
        test(t).await;
    })
    .await;
}

async fn add(t: &TestApp, name: &str) -> i64 {
    let password = Secret::new(PASSWORD);
    let added = users::add_with_password(t.pool(), name, Role::Viewer, &password, "test", t.now());
    added.await.unwrap()
}

async fn log_in(t: &TestApp, name: &str, password: &str, from: &str, cookie: &str) -> Answer {
    let sent = t
        .http
        .post(format!("{}/login", t.web))
        .header("x-forwarded-for", from)
        .header("cookie", cookie)
        .form(&[("name", name), ("password", password)]);
    Answer::of(sent.send().await.unwrap()).await
}

async fn tried(t: &TestApp, password: &str, from: &str, cookie: &str) -> u16 {
    let answer = log_in(t, "ann", password, from, cookie).await;
    answer.status.as_u16()
}

/// The cookie by which a device is known, as it is set.
fn device_line(answer: &Answer) -> String {
    let set = answer.headers.get_all("set-cookie").iter();
    let mut set = set.map(|line| line.to_str().unwrap());
    let own = set.find(|line| line.starts_with("unread-device-"));
    own.unwrap_or_else(|| panic!("no device: {answer:?}"))
        .to_owned()
}

fn device(answer: &Answer) -> String {
    device_line(answer).split(';').next().unwrap().to_owned()
}

/// Logs in well; returns the device's cookie.
async fn known(t: &TestApp, from: &str, cookie: &str) -> String {
    let answer = log_in(t, "ann", PASSWORD, from, cookie).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    device(&answer)
}

/// Strangers with five tries each use up the limit of the name. None is granted again: on a slow machine some would be while a test goes on.
async fn strangers(t: &TestApp, name: &str) {
    let mut tries = 0;
    loop {
        let from = format!("10.9.{}.{}", tries / 1000, tries / 5 % 200);
        let answer = log_in(t, name, "wrong", &from, "").await;
        if answer.status == 429 {
            break;
        }
        assert_eq!(answer.status, 401, "{answer:?}");
        tries += 1;
        assert!(tries < 1000, "they are held up by nothing");
    }
    sqlx::query("update limits set tat = now() + interval '1 hour' where key like 'login:name:%'")
        .execute(t.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn who_comes_from_a_known_device_or_network_gets_in_while_strangers_are_at_it() {
    with_ann(async |t| {
        let first = log_in(t, "ann", PASSWORD, HOME, "").await;
        let line = device_line(&first);
        for part in ["HttpOnly", "SameSite=Lax", "Max-Age=7776000", "Path=/"] {
            assert!(line.contains(part), "{line}");
        }
        let own = device(&first);
        strangers(t, "ann").await;
        assert_eq!(
            tried(t, PASSWORD, ELSEWHERE, "").await,
            429,
            "from nowhere known"
        );
        assert_eq!(
            tried(t, PASSWORD, HOME, "").await,
            303,
            "from the own network"
        );
        let forged = format!("{}=0123456789ABCDEFGHIJab", own.split('=').next().unwrap());
        assert_eq!(
            tried(t, PASSWORD, ELSEWHERE, &forged).await,
            429,
            "a made-up device"
        );
        let next = known(t, ELSEWHERE, &own).await;
        assert_ne!(own, next, "its token changes at each login");
        assert_eq!(
            tried(t, PASSWORD, "10.3.3.3", &own).await,
            429,
            "the old one is good no more"
        );
        assert_eq!(tried(t, PASSWORD, "10.3.3.3", &next).await, 303);
    })
    .await;
}

#[tokio::test]
async fn a_device_is_one_person_s_and_knows_the_password_as_little_as_others() {
    with_ann(async |t| {
        add(t, "ben").await;
        let own = known(t, HOME, "").await;
        let bens = device(&log_in(t, "ben", PASSWORD, ELSEWHERE, "").await);
        let posing = format!(
            "{}={}",
            own.split('=').next().unwrap(),
            bens.split('=').nth(1).unwrap()
        );
        strangers(t, "ann").await;
        assert_eq!(
            tried(t, PASSWORD, ELSEWHERE, &posing).await,
            429,
            "another's device"
        );
        // A stolen device: five tries, then one a minute, wherever from.
        for n in 0..5 {
            assert_eq!(
                tried(t, "wrong", &format!("10.4.0.{n}"), &own).await,
                401,
                "{n}"
            );
        }
        assert_eq!(tried(t, PASSWORD, "10.4.1.1", &own).await, 429);
        assert_eq!(
            tried(t, PASSWORD, HOME, "").await,
            303,
            "it holds up nobody else"
        );
    })
    .await;
}

#[tokio::test]
async fn a_colleague_behind_the_same_address_holds_up_no_known_device() {
    with_ann(async |t| {
        let own = known(t, HOME, "").await;
        for _ in 0..5 {
            assert_eq!(tried(t, "wrong", HOME, "").await, 401);
        }
        assert_eq!(
            tried(t, PASSWORD, HOME, "").await,
            429,
            "a network is not a person"
        );
        assert_eq!(tried(t, PASSWORD, HOME, &own).await, 303);
    })
    .await;
}

#[tokio::test]
async fn what_others_use_up_of_a_shared_address_holds_up_no_known_device() {
    with_ann(async |t| {
        let own = known(t, HOME, "").await;
        for n in 0..25 {
            log_in(t, &format!("invented{n}"), "wrong", HOME, "").await;
        }
        assert_eq!(tried(t, PASSWORD, HOME, "").await, 429, "the address's");
        let own = known(t, HOME, &own).await;
        // What this process has not counted itself, the database has.
        let held = sqlx::query(
            "update limits set tat = now() + interval '1 hour' where key like 'login:address:%' returning key",
        );
        assert!(!held.fetch_all(t.pool()).await.unwrap().is_empty());
        let own = known(t, HOME, &own).await;
        // Its own limit bounds it.
        for n in 0..5 {
            assert_eq!(tried(t, "wrong", HOME, &own).await, 401, "{n}");
        }
        assert_eq!(tried(t, PASSWORD, HOME, &own).await, 429);
    })
    .await;
}

/// What one process has not counted itself, the database has.
#[tokio::test]
async fn the_limits_of_all_processes_together_let_the_same_people_through() {
    with_ann(async |t| {
        let own = known(t, HOME, "").await;
        let held = sqlx::query(
            "update limits set tat = now() + interval '1 hour' where key like 'login:name:%' returning key",
        );
        assert_eq!(held.fetch_all(t.pool()).await.unwrap().len(), 1);
        assert_eq!(tried(t, PASSWORD, ELSEWHERE, "").await, 429);
        assert_eq!(tried(t, PASSWORD, HOME, "").await, 303);
        assert_eq!(tried(t, PASSWORD, "10.3.3.3", &own).await, 303);
    })
    .await;
}

#[tokio::test]
async fn what_is_known_ends_with_the_password_and_with_time() {
    with_ann(async |t| {
        let old = known(t, HOME, "").await;
        let id = users::named(t.pool(), "ann").await.unwrap().id;
        let link = users::new_link(t.pool(), id, "test", t.now())
            .await
            .unwrap();
        let new = Secret::new("another good password");
        users::accept(t.pool(), link.token.expose(), "", &new, t.now())
            .await
            .unwrap();
        strangers(t, "ann").await;
        for (from, cookie) in [(HOME, ""), (ELSEWHERE, old.as_str())] {
            assert_eq!(tried(t, new.expose(), from, cookie).await, 429, "{from}");
        }
        // Known again, as of a login before the strangers came.
        sqlx::query("delete from limits where key not like 'login:name:%'")
            .execute(t.pool())
            .await
            .unwrap();
        let hasher = t.hasher().await;
        let network = hasher.login_network("ann", "10.1.1.1".parse().unwrap());
        let mut conn = t.pool().acquire().await.unwrap();
        unread::db::known::put_network(&mut conn, id, &network, t.now())
            .await
            .unwrap();
        t.advance_by(TimeDelta::days(29)).await;
        assert_eq!(tried(t, new.expose(), HOME, "").await, 303);
        t.advance_by(TimeDelta::days(31)).await;
        assert_eq!(tried(t, new.expose(), HOME, "").await, 429, "too long ago");
    })
    .await;
}

#[tokio::test]
async fn no_address_and_no_name_of_a_stranger_is_kept() {
    with_ann(async |t| {
        known(t, HOME, "").await;
        for n in 0..3 {
            log_in(t, &format!("invented{n}"), "wrong", &format!("10.5.0.{n}"), "").await;
        }
        let kept: Vec<String> = sqlx::query_scalar(
            "select known_networks::text from known_networks union all select known_devices::text from known_devices",
        )
        .fetch_all(t.pool())
        .await
        .unwrap();
        assert_eq!(kept.len(), 2, "{kept:?}");
        let bytes: Vec<u8> = sqlx::query_scalar("select network_hash from known_networks")
            .fetch_one(t.pool())
            .await
            .unwrap();
        let hasher = t.hasher().await;
        assert_eq!(bytes, hasher.login_network("ann", HOME.parse().unwrap()));
        assert_ne!(bytes, hasher.login_network("ben", HOME.parse().unwrap()));
        // Of many devices the latest stay.
        for n in 0..12 {
            known(t, &format!("10.6.0.{n}"), "").await;
        }
        let devices: i64 = sqlx::query_scalar("select count(*) from known_devices")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(devices, 10);
    })
    .await;
}
