//! The second factor: turning it on, logging in with it, and the ways out when the phone is lost. And logins without passwords.

use chrono::TimeDelta;
use serde_json::json;
use unread::control::{second_factor, users};
use unread::domain::access::Role;
use unread::hashing::Hasher;
use unread::secret::Secret;

use super::issuer::{log_in as log_in_by_sso, log_in_at, with_settings};
use crate::harness::{Setup, TestApp, run_test_with};
use crate::person::Answer;

const PASSWORD: &str = "correct horse battery";

/// A browser with its cookies.
struct CookieBrowser<'t> {
    t: &'t TestApp,
    from: String,
    cookies: Vec<(String, String)>,
}

impl<'t> CookieBrowser<'t> {
    fn new(t: &'t TestApp, from: &str) -> Self {
        Self {
            t,
            from: from.to_owned(),
            cookies: Vec::new(),
        }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let request = request
            .header("cookie", cookies.join("; "))
            .header("x-forwarded-for", &self.from)
            .header("sec-fetch-site", "same-origin");
        let answer = Answer::of(request.send().await.unwrap()).await;
        for line in answer.headers.get_all("set-cookie") {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.retain(|(own, _)| own != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        let request = self.t.http.get(format!("{}{path}", self.t.web));
        self.send(request).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self
            .t
            .http
            .post(format!("{}{path}", self.t.web))
            .form(fields);
        self.send(request).await
    }

    /// A form of a page of somebody who is in.
    async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get("/settings").await.text;
        let (_, csrf) = page.split_once("name=\"csrf\" content=\"").expect("a page");
        let csrf = csrf.split('"').next().unwrap().to_owned();
        let mut fields = fields.to_vec();
        fields.push(("csrf", &csrf));
        self.post(path, &fields).await
    }

    async fn log_in(&mut self, password: &str) -> Answer {
        let fields = [("name", "ann"), ("password", password), ("to", "/activity")];
        self.post("/login", &fields).await
    }

    async fn is_in(&mut self) -> bool {
        self.get("/settings").await.status == 200
    }
}

/// The code of a phone at the stage's time: an implementation that is not ours.
fn code_at(t: &TestApp, secret: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let step = t.now().timestamp() / 30;
    let hash = ring::hmac::sign(&key, &step.to_be_bytes());
    let hash = hash.as_ref();
    let at = usize::from(hash[19] & 15);
    let word = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap());
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(u8::is_ascii_alphanumeric) {
        let value = if letter >= b'A' {
            letter - b'A'
        } else {
            letter - b'2' + 26
        };
        held = (held << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).unwrap());
            held &= (1 << bits) - 1;
        }
    }
    bytes
}

fn between<'p>(page: &'p str, begin: &str, end: &str) -> &'p str {
    let (_, rest) = page
        .split_once(begin)
        .unwrap_or_else(|| panic!("no {begin}: {page}"));
    rest.split(end).next().unwrap()
}

async fn add(t: &TestApp, name: &str) {
    let password = Secret::new(PASSWORD);
    users::add_with_password(t.pool(), name, Role::Viewer, &password, "test", t.now())
        .await
        .unwrap();
}

/// Turns it on; returns the secret and the recovery codes.
async fn enrol(t: &TestApp, browser: &mut CookieBrowser<'_>) -> (Vec<u8>, Vec<String>) {
    let wrong = [("factor_password", "wrong")];
    assert_eq!(
        browser.form("/settings/second-factor", &wrong).await.status,
        422
    );
    let right = [("factor_password", PASSWORD)];
    let begun = browser.form("/settings/second-factor", &right).await;
    assert_eq!(begun.location(), "/settings/second-factor", "{begun:?}");
    let page = browser.get("/settings/second-factor").await.text;
    assert!(
        page.contains("<svg class=\"qr\"") && page.contains("h1v1h-1z"),
        "{page}"
    );
    let secret = decoded(between(&page, "<code class=\"secret\">", "</code>"));
    assert_eq!(secret.len(), 20);
    let wrong = browser
        .form("/settings/second-factor/confirm", &[("code", "000000")])
        .await;
    assert_eq!(wrong.status, 422);
    let code = code_at(t, &secret);
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    let done = browser
        .form("/settings/second-factor/confirm", &[("code", &spaced)])
        .await;
    assert_eq!(done.status, 200, "{done:?}");
    let told = between(&done.text, "id=\"recovery-codes\">", "</code>");
    let codes: Vec<String> = told
        .split("<br>")
        .map(str::trim)
        .filter(|c| !c.is_empty())
        .map(str::to_owned)
        .collect();
    assert_eq!(codes.len(), 10, "{told}");
    (secret, codes)
}

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

#[tokio::test]
async fn a_password_alone_lets_nobody_in_who_has_a_second_factor() {
    with_ann(async |t| {
        let mut desk = CookieBrowser::new(t, "10.1.1.1");
        desk.log_in(PASSWORD).await;
        let (secret, codes) = enrol(t, &mut desk).await;
        let mut other = CookieBrowser::new(t, "10.2.2.2");
        let asked = other.log_in(PASSWORD).await;
        assert_eq!(asked.location(), "/login/code");
        assert!(!other.is_in().await);
        assert!(
            other
                .get("/login/code")
                .await
                .text
                .contains("one-time-code")
        );
        let used = code_at(t, &secret);
        let again = other.post("/login/code", &[("code", &used)]).await;
        assert_eq!(again.status, 401, "the code that turned it on was used");
        t.advance_by(TimeDelta::seconds(30)).await;
        let code = code_at(t, &secret);
        let done = other.post("/login/code", &[("code", &code)]).await;
        assert_eq!((done.status.as_u16(), done.location()), (303, "/activity"));
        assert!(other.is_in().await);
        let mut third = CookieBrowser::new(t, "10.3.3.3");
        third.log_in(PASSWORD).await;
        assert_eq!(
            third.post("/login/code", &[("code", &code)]).await.status,
            401,
            "once"
        );
        // A recovery code, however it is written; once.
        let written = codes[3].to_lowercase().replace('-', " ");
        assert_eq!(
            third
                .post("/login/code", &[("code", &written)])
                .await
                .status,
            303
        );
        assert!(third.is_in().await);
        let mut fourth = CookieBrowser::new(t, "10.4.4.4");
        fourth.log_in(PASSWORD).await;
        assert_eq!(
            fourth
                .post("/login/code", &[("code", &codes[3])])
                .await
                .status,
            401
        );
        let page = third.get("/settings").await.text;
        assert!(page.contains("Recovery codes left: 9"), "{page}");
        let trail: Vec<String> = sqlx::query_scalar(
            "select detail ->> 'with' from audit where action = 'user.log_in' order by id",
        )
        .fetch_all(t.pool())
        .await
        .unwrap();
        assert_eq!(
            trail,
            [
                "password",
                "password and code",
                "password and recovery code"
            ]
        );
        // Nothing of it is kept as it is.
        let kept: Vec<u8> = sqlx::query_scalar("select secret from second_factors")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert!(!kept.windows(20).any(|part| part == secret));
        // A token is no login.
        let program = t.program(&[unread::domain::access::Permission::View]).await;
        assert_eq!(program.get("/me").await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_secret_of_an_older_key_is_sealed_anew_when_its_owner_logs_in() {
    const OLD: &str = "the-key-of-last-year-0123456789abcdef";
    const NEW: &str = "the-key-of-this-year-0123456789abcdef";
    let setup = Setup {
        settings: vec![("UNREAD_SECRET", NEW), ("UNREAD_SECRET_OLD", OLD)],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        add(t, "ann").await;
        let mut desk = CookieBrowser::new(t, "10.1.1.1");
        desk.log_in(PASSWORD).await;
        let (secret, _) = enrol(t, &mut desk).await;
        let id = users::named(t.pool(), "ann").await.unwrap().id;
        // As a process of last year has sealed it.
        let (old, new) = (Hasher::new(OLD.as_bytes()), Hasher::new(NEW.as_bytes()));
        let sealed = old.seal("second factor", &id.to_string(), &secret).unwrap();
        sqlx::query("update second_factors set secret = $1")
            .bind(sealed)
            .execute(t.pool())
            .await
            .unwrap();
        let found = async |hasher: &Hasher| {
            let found = second_factor::under_other_keys(t.pool(), hasher)
                .await
                .unwrap();
            (found.older, found.lost)
        };
        let both = Hasher::with_older(NEW.as_bytes(), &[OLD.as_bytes()]);
        assert_eq!((found(&both).await, found(&new).await), ((1, 0), (0, 1)));
        t.advance_by(TimeDelta::minutes(1)).await;
        desk.log_in(PASSWORD).await;
        let wrong = desk.post("/login/code", &[("code", "000000")]).await;
        assert_eq!((wrong.status.as_u16(), found(&both).await), (401, (1, 0)));
        let code = code_at(t, &secret);
        let done = desk.post("/login/code", &[("code", &code)]).await;
        assert_eq!(done.location(), "/activity", "{done:?}");
        assert_eq!(found(&new).await, (0, 0), "the old key may go");
    })
    .await;
}

#[tokio::test]
async fn codes_are_limited_like_a_login() {
    with_ann(async |t| {
        let mut desk = CookieBrowser::new(t, "10.1.1.1");
        desk.log_in(PASSWORD).await;
        let (secret, _) = enrol(t, &mut desk).await;
        t.advance_by(TimeDelta::minutes(2)).await;
        let mut other = CookieBrowser::new(t, "10.2.2.2");
        other.log_in(PASSWORD).await;
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(
                other
                    .post("/login/code", &[("code", "000000")])
                    .await
                    .status
                    .as_u16(),
            );
        }
        assert_eq!(statuses, [401; 5]);
        let code = code_at(t, &secret);
        let held = other.post("/login/code", &[("code", &code)]).await;
        assert_eq!(held.status, 429, "even the right one");
        // From many places: ten for the person, whatever the addresses.
        let mut held = 0;
        for n in 0..8 {
            let mut one = CookieBrowser::new(t, &format!("10.3.0.{n}"));
            one.log_in(PASSWORD).await;
            let status = one.post("/login/code", &[("code", "000000")]).await.status;
            held += usize::from(status == 429);
        }
        assert!(held >= 2, "{held}");
    })
    .await;
}

#[tokio::test]
async fn who_has_got_the_password_uses_up_no_codes_of_a_known_device() {
    with_ann(async |t| {
        let mut desk = CookieBrowser::new(t, "10.1.1.1");
        desk.log_in(PASSWORD).await;
        let (secret, _) = enrol(t, &mut desk).await;
        for n in 0..11 {
            let mut thief = CookieBrowser::new(t, &format!("10.3.0.{n}"));
            thief.log_in(PASSWORD).await;
            let answer = thief.post("/login/code", &[("code", "000000")]).await;
            let expected = if n < 10 { 401 } else { 429 };
            assert_eq!(answer.status, expected, "{n}: {answer:?}");
        }
        t.advance_by(TimeDelta::minutes(2)).await;
        let mut elsewhere = CookieBrowser::new(t, "10.2.2.2");
        elsewhere.log_in(PASSWORD).await;
        let code = code_at(t, &secret);
        let held = elsewhere.post("/login/code", &[("code", &code)]).await;
        assert_eq!(held.status, 429, "the right code, from nowhere known");
        desk.log_in(PASSWORD).await;
        let done = desk.post("/login/code", &[("code", &code)]).await;
        assert_eq!((done.status.as_u16(), done.location()), (303, "/activity"));
        // A stolen device has ten codes of its own.
        let key = "update limits set tat = now() + interval '1 hour' where key like 'login:codes %' returning key";
        t.advance_by(TimeDelta::minutes(1)).await;
        desk.log_in(PASSWORD).await;
        desk.post("/login/code", &[("code", "000000")]).await;
        assert_eq!(sqlx::query(key).fetch_all(t.pool()).await.unwrap().len(), 1);
        let code = code_at(t, &secret);
        let held = desk.post("/login/code", &[("code", &code)]).await;
        assert_eq!(held.status, 429);
    })
    .await;
}

#[tokio::test]
async fn a_link_for_a_password_does_not_stand_in_for_the_second_factor_and_an_administrator_resets_it()
 {
    with_ann(async |t| {
        let mut desk = CookieBrowser::new(t, "10.1.1.1");
        desk.log_in(PASSWORD).await;
        enrol(t, &mut desk).await;
        let id = users::named(t.pool(), "ann").await.unwrap().id;
        let link = users::new_link(t.pool(), id, "test", t.now())
            .await
            .unwrap();
        let mut other = CookieBrowser::new(t, "10.2.2.2");
        let path = format!("/setup/{}", link.token.expose());
        let fields = [("password", "another good password")];
        let asked = other.post(&path, &fields).await;
        assert_eq!(asked.location(), "/login/code", "{asked:?}");
        assert!(!other.is_in().await);

        let boss = t.person(Role::Administrator).await;
        let page = boss.get("/team").await.text;
        assert!(page.contains("password, second factor"), "{page}");
        let path = format!("/team/{id}/second-factor/reset");
        assert_eq!(boss.form(&path, &[]).await.location(), "/team");
        let by: Vec<String> =
            sqlx::query_scalar("select by from audit where action = 'user.second_factor_reset'")
                .fetch_all(t.pool())
                .await
                .unwrap();
        assert_eq!(by, [boss.name.as_str()]);
        let done = other.log_in("another good password").await;
        assert_eq!(done.location(), "/activity");
    })
    .await;
}

#[tokio::test]
async fn turning_it_off_takes_password_and_code() {
    with_ann(async |t| {
        let mut desk = CookieBrowser::new(t, "10.1.1.1");
        desk.log_in(PASSWORD).await;
        let (secret, codes) = enrol(t, &mut desk).await;
        t.advance_by(TimeDelta::minutes(1)).await;
        let code = code_at(t, &secret);
        let off = "/settings/second-factor/off";
        for (password, code) in [
            ("wrong", code.as_str()),
            (PASSWORD, "000000"),
            (PASSWORD, ""),
        ] {
            let fields = [("factor_password", password), ("code", code)];
            assert_eq!(desk.form(off, &fields).await.status, 422, "{password}");
        }
        let fields = [("factor_password", PASSWORD), ("code", codes[0].as_str())];
        let fresh = desk.form("/settings/second-factor/codes", &fields).await;
        assert_eq!(fresh.status, 200, "{fresh:?}");
        assert!(!fresh.text.contains(&codes[1]), "new ones");
        let fields = [("factor_password", PASSWORD), ("code", code.as_str())];
        assert_eq!(desk.form(off, &fields).await.location(), "/settings");
        let mut other = CookieBrowser::new(t, "10.2.2.2");
        assert_eq!(other.log_in(PASSWORD).await.location(), "/activity");
    })
    .await;
}

#[tokio::test]
async fn by_single_sign_on_alone_no_password_helps_and_the_command_line_lets_in_all_the_same() {
    let off = [("UNREAD_PASSWORDS", "false")];
    with_settings(&off, async |t, issuer| {
        add(t, "ann").await;
        add(t, "ann@example.net").await;
        let mut browser = CookieBrowser::new(t, "10.1.1.1");
        let page = browser.get("/login").await.text;
        assert!(
            page.contains("single sign-on") && !page.contains("type=\"password\""),
            "{page}"
        );
        let refused = browser.log_in(PASSWORD).await;
        assert_eq!(refused.status, 403);
        // The issuer alone says who somebody is.
        assert_eq!(
            log_in_by_sso(t, issuer, |_| ()).await.location(),
            "/activity"
        );

        let (_, link) = users::add(t.pool(), "ben", Role::Viewer, "test", t.now())
            .await
            .unwrap();
        let path = format!("/setup/{}", link.token.expose());
        let page = browser.get(&path).await.text;
        assert!(
            page.contains("/sso") && !page.contains("type=\"password\""),
            "{page}"
        );
        let chosen = browser
            .post(&path, &[("password", "another good password")])
            .await;
        assert_eq!(chosen.status, 403);
        let came = log_in_at(t, issuer, &format!("{path}/sso"), |claims| {
            claims["sub"] = json!("43");
        })
        .await;
        assert_eq!(came.location(), "/", "{came:?}");

        let id = users::named(t.pool(), "ann").await.unwrap().id;
        let link = users::login_link(t.pool(), id, "command line", t.now())
            .await
            .unwrap();
        let path = format!("/setup/{}", link.token.expose());
        let page = browser.get(&path).await.text;
        assert!(page.contains("Log in as ann"), "{page}");
        assert!(!browser.is_in().await, "looking is not using");
        assert_eq!(browser.post(&path, &[]).await.location(), "/");
        let page = browser.get("/settings").await.text;
        assert!(!page.contains("type=\"password\""), "{page}");
        assert_eq!(browser.post(&path, &[]).await.status, 404, "once");
    })
    .await;
}
