//! One's own logins: where they are, how they end, and what keeps them from ending.

use chrono::TimeDelta;
use reqwest::Method;
use unread::control::users;
use unread::domain::access::Role;
use unread::secret::Secret;

use crate::harness::{TestApp, run_test};
use crate::person::Answer;

const PASSWORD: &str = "correct horse battery";

/// A browser that is logged in.
struct LoggedInBrowser<'t> {
    t: &'t TestApp,
    cookie: String,
}

impl<'t> LoggedInBrowser<'t> {
    async fn log_in(t: &'t TestApp, agent: &str) -> Self {
        let sent = t
            .http
            .post(format!("{}/login", t.web))
            .header("user-agent", agent)
            .form(&[("name", "ann"), ("password", PASSWORD)]);
        let answer = Answer::of(sent.send().await.unwrap()).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let line = answer.headers["set-cookie"].to_str().unwrap();
        let cookie = line.split(';').next().unwrap().to_owned();
        Self { t, cookie }
    }

    async fn get(&self, path: &str) -> Answer {
        let asked = self.t.http.get(format!("{}{path}", self.t.web));
        Answer::of(asked.header("cookie", &self.cookie).send().await.unwrap()).await
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get("/settings").await.text;
        let (_, csrf) = page.split_once("name=\"csrf\" content=\"").expect("a page");
        let mut fields = fields.to_vec();
        fields.push(("csrf", csrf.split('"').next().unwrap()));
        let sent = self.t.http.post(format!("{}{path}", self.t.web));
        let sent = sent.header("cookie", &self.cookie).form(&fields);
        Answer::of(sent.send().await.unwrap()).await
    }
}

async fn add(t: &TestApp) {
    let password = Secret::new(PASSWORD);
    users::add_with_password(t.pool(), "ann", Role::Viewer, &password, "test", t.now())
        .await
        .unwrap();
}

const WINDOWS: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";
const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1";

#[tokio::test]
async fn people_see_where_they_are_logged_in_and_end_what_they_do_not_know() {
    run_test(async |t| {
        add(t).await;
        let phone = LoggedInBrowser::log_in(t, PHONE).await;
        t.advance(30).await;
        let strange = LoggedInBrowser::log_in(t, "<script>alert(1)</script>").await;
        let desk = LoggedInBrowser::log_in(t, WINDOWS).await;
        let others = t.person(Role::Viewer).await;
        let page = desk.get("/settings").await.text;
        let told = |what: &str| {
            page.find(what)
                .unwrap_or_else(|| panic!("no {what}: {page}"))
        };
        assert!(told("Firefox on Windows") < told("(this one)"));
        assert!(told("(this one)") < told("Safari on an iPhone"));
        assert!(
            page.contains("An unknown device") && !page.contains("alert(1)"),
            "{page}"
        );
        assert!(page.contains("30 min ago"), "{page}");

        let ids: Vec<i64> = sqlx::query_scalar("select id from sessions order by id")
            .fetch_all(t.pool())
            .await
            .unwrap();
        let path = format!("/settings/sessions/{}/end", ids[1]);
        assert_eq!(desk.form(&path, &[]).await.location(), "/settings");
        assert_eq!(strange.get("/settings").await.status, 303);
        assert_eq!(phone.get("/settings").await.status, 200);
        desk.form(&path, &[]).await;
        assert!(
            desk.get("/settings")
                .await
                .text
                .contains("had already ended")
        );
        // Nobody else's.
        let another = format!("/settings/sessions/{}/end", ids[3]);
        desk.form(&another, &[]).await;
        assert_eq!(others.get("/settings").await.status, 200);

        desk.form("/settings/sessions/end-others", &[]).await;
        assert_eq!(phone.get("/settings").await.status, 303);
        assert_eq!(desk.get("/settings").await.status, 200);
        assert_eq!(others.get("/settings").await.status, 200);
        let trail: Vec<String> = sqlx::query_scalar(
            "select detail::text from audit where action = 'user.end_sessions' order by id",
        )
        .fetch_all(t.pool())
        .await
        .unwrap();
        assert_eq!(trail, ["{\"sessions\": 1}", "{\"sessions\": 1}"]);
    })
    .await;
}

#[tokio::test]
async fn a_page_that_keeps_itself_up_to_date_keeps_no_login_alive() {
    run_test(async |t| {
        let person = t.person(Role::Viewer).await;
        let refresh = async || {
            let asked = person.ask(Method::GET, "/").header("x-refresh", "1");
            asked.send().await.unwrap().status().as_u16()
        };
        for _ in 0..11 {
            t.advance_by(TimeDelta::minutes(10)).await;
            assert_eq!(refresh().await, 200);
        }
        t.advance_by(TimeDelta::minutes(11)).await;
        assert_eq!(refresh().await, 401, "two hours without anybody there");
    })
    .await;
}

#[tokio::test]
async fn the_old_password_cannot_be_guessed_within_a_session() {
    run_test(async |t| {
        add(t).await;
        let browser = LoggedInBrowser::log_in(t, WINDOWS).await;
        let change = async |old: &str| {
            let fields = [("old_password", old), ("password", "another good password")];
            browser.form("/settings/password", &fields).await
        };
        for n in 0..5 {
            let answer = change("wrong").await;
            assert_eq!(answer.status, 422, "{n}");
            assert!(answer.text.contains("not your password"), "{}", answer.text);
        }
        let held = change(PASSWORD).await;
        assert_eq!(held.status, 429, "even the right one");
        assert!(held.headers.contains_key("retry-after"));
        assert!(held.text.contains("Too many attempts"), "{}", held.text);
        let locked: i64 = sqlx::query_scalar(
            "select count(*) from audit where action = 'user.locked_out' and subject = 'ann'",
        )
        .fetch_one(t.pool())
        .await
        .unwrap();
        assert_eq!(locked, 1);
    })
    .await;
}
