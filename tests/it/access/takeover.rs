//! Who becomes an existing person by single sign-on: whoever shows to be that person, and nobody else.

use serde_json::{Value, json};
use unread::control::users;
use unread::domain::access::Role;
use unread::secret::Secret;

use super::issuer::{Issuer, log_in, log_in_at, with_issuer, with_settings};
use crate::harness::TestApp;
use crate::person::Answer;

const ANN: &str = "ann@example.net";
const PASSWORD: &str = "correct horse battery";
const LOGIN: &str = "/login/sso?to=/activity";

async fn with_password(t: &TestApp, name: &str, role: Role) -> i64 {
    let password = Secret::new(PASSWORD);
    let added = users::add_with_password(t.pool(), name, role, &password, "test", t.now()).await;
    added.unwrap()
}

fn is_in(answer: &Answer) -> bool {
    let set = answer.headers.get_all("set-cookie").iter();
    set.filter_map(|line| line.to_str().ok())
        .any(|line| line.starts_with("unread="))
}

/// Who a session belongs to.
async fn me(t: &TestApp, answer: &Answer) -> String {
    let set = answer.headers.get_all("set-cookie").iter();
    let own = set.filter_map(|line| line.to_str().ok());
    let own = own.filter_map(|line| line.split(';').next());
    let cookie = own.collect::<Vec<_>>().join("; ");
    let asked = t.http.get(format!("{}/api/v1/me", t.web));
    let told = asked.header("cookie", cookie).send().await.unwrap();
    Answer::of(told).await.json()["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn subjects(t: &TestApp) -> Vec<(String, Option<String>)> {
    sqlx::query_as("select name, sso_subject from users order by name")
        .fetch_all(t.pool())
        .await
        .unwrap()
}

/// The cookie of what is asked next.
fn step(answer: &Answer) -> String {
    let set = answer.headers["set-cookie"].to_str().unwrap();
    assert!(
        set.starts_with("unread-step=") && set.contains("HttpOnly"),
        "{set}"
    );
    set.split(';').next().unwrap().to_owned()
}

async fn enter_password(t: &TestApp, cookie: &str, password: &str, from: &str) -> Answer {
    let sent = t
        .http
        .post(format!("{}/login/connect", t.web))
        .header("cookie", cookie)
        .header("x-forwarded-for", from)
        .form(&[("password", password)]);
    Answer::of(sent.send().await.unwrap()).await
}

/// What an attacker may have written into the own account at an issuer, against somebody who never came by single sign-on.
#[tokio::test]
async fn nobody_becomes_somebody_else_by_what_people_choose_at_the_issuer() {
    with_issuer("", async |t, issuer| {
        with_password(t, "root@corp.example", Role::Administrator).await;
        with_password(t, "ann", Role::Administrator).await;
        users::add(t.pool(), "ben@corp.example", Role::Administrator, "test", t.now())
            .await
            .unwrap();
        let root = "root@corp.example";
        let ben = "ben@corp.example";
        for chosen in [
            json!({ "email": root, "email_verified": false, "preferred_username": root }),
            json!({ "email": null, "email_verified": null, "preferred_username": root }),
            json!({ "email": null, "email_verified": null, "preferred_username": "ANN" }),
            json!({ "email": "ann", "email_verified": true }),
            json!({ "email": ben, "email_verified": null }),
            json!({ "email": ben, "email_verified": false }),
            json!({ "email": ben, "email_verified": "True" }),
            json!({ "email": ben, "email_verified": 1 }),
            json!({ "email": ben, "email_verified": null, "preferred_username": ben, "upn": ben, "name": ben }),
            json!({ "email": "\u{212a}en@corp.example", "email_verified": true }),
            json!({ "email": " ben@corp.example", "email_verified": true }),
            json!({ "email": "ben@corp.example@evil.example", "email_verified": true }),
            json!({ "email": "mallory@evil.example", "email_verified": true, "preferred_username": ben }),
        ] {
            let answer = log_in(t, issuer, |claims| {
                claims["sub"] = json!("attacker-9");
                for (claim, value) in chosen.as_object().unwrap() {
                    claims[claim] = value.clone();
                }
                claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            })
            .await;
            assert_eq!(answer.status, 403, "{chosen}: {answer:?}");
            assert!(!answer.headers.contains_key("set-cookie"), "{chosen}");
        }
        let bound = subjects(t).await.into_iter().filter_map(|(_, subject)| subject);
        assert_eq!(bound.count(), 0);
    })
    .await;
}

#[tokio::test]
async fn who_has_a_password_is_asked_for_it_once() {
    with_issuer("administrator", async |t, issuer| {
        with_password(t, ANN, Role::Viewer).await;
        let asked = log_in(t, issuer, |_| ()).await;
        assert_eq!(asked.location(), "/login/connect", "{asked:?}");
        assert!(!is_in(&asked));
        let cookie = step(&asked);
        assert_eq!(subjects(t).await, [(ANN.to_owned(), None)]);
        let page = t.http.get(format!("{}/login/connect", t.web));
        let page = page.header("cookie", &cookie).send().await.unwrap();
        assert!(page.text().await.unwrap().contains(ANN));

        let other = enter_password(t, "unread-step=0123456789", PASSWORD, "10.1.1.1").await;
        assert_eq!(other.status, 410, "another browser");
        let wrong = enter_password(t, &cookie, "wrong", "10.1.1.1").await;
        assert_eq!(wrong.status, 401);
        assert!(!is_in(&wrong));
        let done = enter_password(t, &cookie, PASSWORD, "10.1.1.1").await;
        assert_eq!((done.status.as_u16(), done.location()), (303, "/activity"));
        assert_eq!(me(t, &done).await, ANN);
        let again = enter_password(t, &cookie, PASSWORD, "10.1.1.1").await;
        assert_eq!(again.status, 410, "it works once");

        // From now on by subject, whatever the address; and whoever is given the address is not her.
        let renamed = log_in(t, issuer, |claims| {
            claims["email"] = json!("a@other.example");
        })
        .await;
        assert_eq!(me(t, &renamed).await, ANN);
        let heir = log_in(t, issuer, |claims| claims["sub"] = json!("43")).await;
        assert_eq!(heir.status, 403, "{heir:?}");
        assert!(
            heir.text.contains("another single sign-on login"),
            "{}",
            heir.text
        );
        assert_eq!(subjects(t).await.len(), 1, "nobody was added either");
    })
    .await;
}

#[tokio::test]
async fn the_password_on_the_way_back_is_limited_like_a_login_and_ends_in_time() {
    with_issuer("", async |t, issuer| {
        with_password(t, ANN, Role::Viewer).await;
        let cookie = step(&log_in(t, issuer, |_| ()).await);
        for _ in 0..5 {
            let wrong = enter_password(t, &cookie, "wrong", "10.1.1.1").await;
            assert_eq!(wrong.status, 401);
        }
        let held = enter_password(t, &cookie, PASSWORD, "10.1.1.1").await;
        assert_eq!(held.status, 429, "even with the right password");
        assert!(held.headers.contains_key("retry-after"));
        let login = t
            .http
            .post(format!("{}/login", t.web))
            .header("x-forwarded-for", "10.1.1.1");
        let login = login
            .form(&[("name", ANN), ("password", PASSWORD)])
            .send()
            .await;
        assert_eq!(login.unwrap().status(), 429, "the tries count there too");

        let late = step(&log_in(t, issuer, |_| ()).await);
        t.advance(11).await;
        assert_eq!(
            enter_password(t, &late, PASSWORD, "10.2.2.2").await.status,
            410
        );

        // A new password ends what is under way.
        let before = step(&log_in(t, issuer, |_| ()).await);
        let id = users::named(t.pool(), ANN).await.unwrap().id;
        let link = users::new_link(t.pool(), id, "test", t.now())
            .await
            .unwrap();
        let new = Secret::new("another good password");
        users::accept(t.pool(), link.token.expose(), "", &new, t.now())
            .await
            .unwrap();
        let answer = enter_password(t, &before, "another good password", "10.3.3.3").await;
        assert_eq!(answer.status, 410, "{answer:?}");
        assert_eq!(subjects(t).await, [(ANN.to_owned(), None)]);
    })
    .await;
}

/// Whose link is followed by whom.
async fn invited(t: &TestApp, issuer: &Issuer, link: &users::Link, sub: &str) -> Answer {
    let path = format!("/setup/{}/sso", link.token.expose());
    log_in_at(t, issuer, &path, |claims| {
        claims["sub"] = json!(sub);
        claims.as_object_mut().unwrap().remove("email");
    })
    .await
}

#[tokio::test]
async fn an_invitation_makes_the_binding_for_whoever_comes_back_with_it() {
    with_issuer("", async |t, issuer| {
        let add =
            async |name: &str| users::add(t.pool(), name, Role::Editor, "boss", t.now()).await;
        let (_, link) = add("ann").await.unwrap();
        let page = t.get(&format!("/setup/{}", link.token.expose())).await.1;
        assert!(page.contains("single sign-on"), "{page}");
        let refused = log_in(t, issuer, |claims| {
            claims.as_object_mut().unwrap().remove("email");
        })
        .await;
        assert_eq!(refused.status, 403, "nobody is known by nothing");
        let came = invited(t, issuer, &link, "42").await;
        assert_eq!(me(t, &came).await, "ann", "{came:?}");
        let late = t.get(&format!("/setup/{}/sso", link.token.expose())).await;
        assert_eq!(late.0, 404, "it is used up");

        // Another's link does nothing for who is known already, and stays good for whom it is for.
        let (_, bens) = add("ben").await.unwrap();
        let refused = invited(t, issuer, &bens, "42").await;
        assert_eq!(refused.status, 403);
        assert!(
            refused.text.contains("you are ann here"),
            "{}",
            refused.text
        );
        assert_eq!(me(t, &invited(t, issuer, &bens, "43").await).await, "ben");

        // A person who is known by one subject is not taken over with a link by another.
        let id = users::named(t.pool(), "ann").await.unwrap().id;
        let link = users::new_link(t.pool(), id, "boss", t.now())
            .await
            .unwrap();
        assert_eq!(invited(t, issuer, &link, "44").await.status, 403);

        // Nobody is sent there unawares from another site.
        let (_, link) = add("cat").await.unwrap();
        let page = format!("/setup/{}", link.token.expose());
        // Neither with a link in a mail, which browsers call `none`: they land on the page that says whose it is.
        for site in [Some("cross-site"), Some("none"), None] {
            let mut sent = t.http.get(format!("{}{page}/sso", t.web));
            if let Some(site) = site {
                sent = sent.header("sec-fetch-site", site);
            }
            let answer = Answer::of(sent.send().await.unwrap()).await;
            assert_eq!(answer.location(), page, "{site:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_first_administrator_may_come_by_single_sign_on() {
    with_issuer("", async |t, issuer| {
        let link = users::first_link(t.pool(), true, t.now())
            .await
            .unwrap()
            .unwrap();
        let path = format!("/setup/{}/sso", link.token.expose());
        let unnamed = log_in_at(t, issuer, &path, |claims| {
            claims["email_verified"] = json!(false);
        })
        .await;
        assert_eq!(unnamed.status, 403, "under which name?");
        let came = log_in_at(t, issuer, &path, |_| ()).await;
        assert_eq!(me(t, &came).await, ANN);
        let users = users::list(t.pool()).await.unwrap();
        assert_eq!((users.len(), users[0].role), (1, Role::Administrator));
    })
    .await;
}

#[tokio::test]
async fn of_two_who_come_at_once_one_is_bound() {
    with_issuer("", async |t, issuer| {
        users::add(t.pool(), ANN, Role::Editor, "boss", t.now())
            .await
            .unwrap();
        let come = async |sub: &str| {
            let known = unread::control::sso::SsoIdentity {
                subject: format!("{} {sub}", issuer.url),
                email: Some(ANN.to_owned()),
                role: None,
            };
            let hasher = t.hasher().await;
            unread::control::sso::come(t.pool(), &hasher, &known, None, true, t.now())
                .await
                .unwrap()
        };
        let (one, other) = tokio::join!(come("1"), come("2"));
        let is_in = |came: &unread::control::sso::SsoOutcome| {
            matches!(came, unread::control::sso::SsoOutcome::In { .. })
        };
        assert!(is_in(&one) != is_in(&other), "{one:?} {other:?}");
    })
    .await;
}

#[tokio::test]
async fn an_issuer_that_is_trusted_need_not_say_that_it_has_verified_an_address() {
    let trusted = [("UNREAD_OIDC_TRUST_EMAIL", "true")];
    with_settings(&trusted, async |t, issuer| {
        users::add(t.pool(), ANN, Role::Viewer, "test", t.now())
            .await
            .unwrap();
        let says = async |verified: Value| {
            log_in(t, issuer, |claims| claims["email_verified"] = verified).await
        };
        assert_eq!(says(json!(false)).await.status, 403, "a no is a no");
        assert_eq!(
            says(Value::Null).await.status,
            403,
            "so is nothing, if it is said"
        );
        let silent = log_in(t, issuer, |claims| {
            claims.as_object_mut().unwrap().remove("email_verified");
        })
        .await;
        assert_eq!(me(t, &silent).await, ANN);
    })
    .await;
}

#[tokio::test]
async fn a_binding_is_on_record_and_an_administrator_can_undo_it() {
    with_issuer("", async |t, issuer| {
        users::add(t.pool(), ANN, Role::Viewer, "test", t.now()).await.unwrap();
        let came = log_in_at(t, issuer, LOGIN, |claims| claims["sub"] = json!("ann@issuer.example")).await;
        assert_eq!(me(t, &came).await, ANN);
        let boss = t.person(Role::Administrator).await;
        let id = users::named(t.pool(), ANN).await.unwrap().id;
        let page = boss.get("/team").await.text;
        assert!(page.contains(&format!("/team/{id}/disconnect")), "{page}");
        let done = boss.form(&format!("/team/{id}/disconnect"), &[]).await;
        assert_eq!(done.location(), "/team");
        assert_eq!(me(t, &came).await, "", "logged out");
        let none = boss.form(&format!("/team/{id}/disconnect"), &[]).await;
        assert_eq!(none.status, 303);
        assert!(boss.get("/team").await.text.contains("is not connected"));

        let trail: Vec<(String, String, String)> = sqlx::query_as(
            "select action, by, detail::text from audit where action in ('user.bind_sso', 'user.unbind_sso') order by id",
        )
        .fetch_all(t.pool())
        .await
        .unwrap();
        let told: Vec<_> = trail.iter().map(|(action, by, _)| (action.as_str(), by.as_str())).collect();
        assert_eq!(told, [("user.bind_sso", ANN), ("user.unbind_sso", boss.name.as_str())]);
        let hash = t.hasher().await.sso_subject(&format!("{} ann@issuer.example", issuer.url));
        for (_, _, detail) in &trail {
            assert!(detail.contains(&hash) && !detail.contains("issuer.example"), "{detail}");
        }
        let page = boss.get("/activity").await.text;
        assert!(page.contains("from single sign-on"), "{page}");

        // And so does the API, for whoever may.
        log_in(t, issuer, |_| ()).await;
        let path = format!("/users/{id}/single-sign-on");
        let answer = boss.api(reqwest::Method::DELETE, &path, None).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["has_sso"]), (200, &json!(false)));
        let answer = boss.api(reqwest::Method::DELETE, &path, None).await;
        assert_eq!(answer.status, 409);
    })
    .await;
}
