//! `badge.js` in headless Chromium, driven through chromedriver's HTTP interface. Skipped, and said so, where they are missing.

use std::process::Stdio;
use std::time::Instant;

use axum::Router;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::stage::{ACCOUNT, Stage, eventually};

struct Browser {
    _driver: Child,
    session: String,
    http: reqwest::Client,
}

impl Browser {
    /// `None`: this machine has no Chromium with its driver.
    async fn start() -> Option<Self> {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut driver) = driver else {
            eprintln!("SKIPPED: no chromedriver (packages chromium and chromium-driver)");
            return None;
        };
        let mut lines = BufReader::new(driver.stdout.take()?).lines();
        let port: u16 = loop {
            let line = lines.next_line().await.ok()??;
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        let http = unread::liveperson::http_client();
        let arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"];
        let wanted =
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}});
        let url = format!("http://127.0.0.1:{port}/session");
        let session: Value = http
            .post(&url)
            .json(&wanted)
            .send()
            .await
            .ok()?
            .json()
            .await
            .ok()?;
        let Some(id) = session["value"]["sessionId"].as_str() else {
            eprintln!("SKIPPED: Chromium does not start: {session}");
            return None;
        };
        Some(Self {
            _driver: driver,
            session: format!("{url}/{id}"),
            http,
        })
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        let asked = self
            .http
            .post(format!("{}/{command}", self.session))
            .json(&body);
        let mut answer: Value = asked.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["value"].get("error"), None, "{command}: {answer}");
        answer["value"].take()
    }

    async fn open(&self, url: &str) {
        self.post("url", json!({ "url": url })).await;
    }

    async fn new_window(&self) {
        let window = self.post("window/new", json!({ "type": "window" })).await;
        self.post("window", json!({ "handle": window["handle"] }))
            .await;
    }

    async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] }))
            .await
    }

    async fn quit(self) {
        self.http.delete(&self.session).send().await.unwrap();
    }
}

const PAGE: &str = r##"<!doctype html><html lang="en"><title>Shop</title>
<script src="/own.js"></script>
<script src="{base}badge/v1.js" data-account="{account}" data-target="#chat" data-title async></script>
<button id="chat">Chat</button>"##;

const OWN: &str = r"
window.violations = [];
addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective + ' ' + e.blockedURI));
window.announced = [];
new MutationObserver(() => {
  const text = document.querySelector('.unread-badge-live')?.textContent;
  if (text && announced.at(-1) !== text) announced.push(text);
}).observe(document, { subtree: true, childList: true, characterData: true });
window.unreadBadge = { getToken: () => fetch('/token').then((answer) => answer.text()) };
";

/// Serves a brand's page under a strict policy.
fn serve(listener: TcpListener, base: &str, token: String) {
    let origin = base.trim_end_matches('/');
    let policy =
        format!("default-src 'none'; script-src 'self' {origin}; connect-src 'self' {origin}");
    let page = PAGE.replace("{base}", base).replace("{account}", ACCOUNT);
    let script = [(header::CONTENT_TYPE, "text/javascript")];
    let app = Router::new()
        .route(
            "/",
            get(|| async { ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)) }),
        )
        .route("/own.js", get(move || async move { (script, OWN) }))
        .route("/token", get(|| async { token }));
    tokio::spawn(async move { axum::serve(listener, app).await });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_announces_and_takes_back_the_badge_and_two_pages_make_one_poller() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let stage = Stage::start(&[("UNREAD_BADGE_ORIGINS", &origin)]).await;
    serve(listener, &stage.base(), stage.token("CUST-1"));
    stage
        .store(
            "c1",
            &["44eefca3-3b86-5eb2-b379-3bda9ddcfb50"],
            Some("CUST-1"),
            0,
        )
        .await;

    browser.open(&origin).await;
    eventually(async || browser.run("return !!window.unreadBadge.refresh").await == true).await;
    let badge = "return document.querySelector('#chat .unread-badge')?.textContent ?? ''";
    assert_eq!(browser.run(badge).await, "");

    // Wait for the page's event stream, so that what follows measures the push.
    eventually(async || {
        let held =
            "return performance.getEntriesByType('resource').some((r) => r.name.endsWith('CHECK'))";
        browser.run(&held.replace("CHECK", ACCOUNT)).await == true
    })
    .await;
    stage.store_at("c1", &[], Some("CUST-1"), 2, 1).await;
    let known = Instant::now();
    eventually(async || browser.run(badge).await == "2").await;
    println!("the badge appeared after {:?}", known.elapsed());
    let name = "return document.querySelector('#chat').getAttribute('aria-label')";
    assert_eq!(browser.run(name).await, "Chat, 2 unread messages");
    assert_eq!(browser.run("return document.title").await, "(2) Shop");
    assert_eq!(
        browser.run("return announced").await,
        json!(["2 unread messages"])
    );

    // A page that is drawn anew keeps its badge.
    browser
        .run("document.querySelector('#chat').outerHTML = '<button id=\"chat\">Chat</button>'")
        .await;
    eventually(async || browser.run(badge).await == "2").await;

    browser.new_window().await;
    browser.open(&origin).await;
    eventually(async || browser.run(badge).await == "2").await;
    let locks =
        "return navigator.locks.query().then((l) => [l.held.length, l.pending.length <= 1])";
    assert_eq!(browser.run(locks).await, json!([1, true]));

    stage.store_at("c1", &[], Some("CUST-1"), 0, 2).await;
    eventually(async || browser.run(badge).await == "").await;
    assert_eq!(browser.run(name).await, Value::Null);
    assert_eq!(browser.run("return document.title").await, "Shop");
    assert_eq!(browser.run("return violations").await, json!([]));
    let stored = "return [document.cookie, localStorage.length, sessionStorage.length]";
    assert_eq!(browser.run(stored).await, json!(["", 0, 0]));
    browser.run("unreadBadge.destroy()").await;
    browser.quit().await;
    stage.stop().await;
}
