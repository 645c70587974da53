//! `badge.js` on a brand's page in headless Chromium, under the strictest policy that the documentation promises.

use std::time::Instant;

use axum::Router;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use unread::sandbox::{Options, Sandbox};

use super::stage::{ACCOUNT, BadgeStage, Conversations, SECRET, eventually, token};
use crate::chromium::Browser;
use crate::harness::{free_port, migrated};
use crate::process::Process;
use crate::roles::settings_for;

const PAGE: &str = r##"<!doctype html><html lang="en"><title>Shop</title>
<script src="/own.js"></script>
<script src="{base}badge/v1.js" data-account="{account}" data-target="#chat" data-title async></script>
<button id="chat">Chat</button>"##;

/// Takes note of what a visitor, a screen reader or the brand's developer would notice.
const OWN: &str = r"
window.violations = [];
addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective + ' ' + e.blockedURI));
window.errors = [];
addEventListener('error', (e) => errors.push(e.message));
addEventListener('unhandledrejection', (e) => errors.push(String(e.reason)));
window.announced = [];
new MutationObserver((changes) => {
  const live = document.querySelector('.unread-badge-live');
  if (live?.textContent && changes.some((change) => live.contains(change.target))) announced.push(live.textContent);
}).observe(document, { subtree: true, childList: true, characterData: true });
window.failed = 0;
const ask = fetch;
window.fetch = (...what) => ask(...what).catch((error) => { failed += 1; throw error; });
window.unreadBadge = { getToken: () => fetch('/token').then((answer) => answer.text()) };
";

const CONSUMER: &str = "44eefca3-3b86-5eb2-b379-3bda9ddcfb50";
const CUSTOMER: &str = "CUST-1";

const BADGE: &str =
    "return document.querySelector('#chat .unread-badge')?.textContent.trim() ?? ''";

/// A brand's website, which must have its address before the service may know it.
struct Website {
    listener: TcpListener,
    origin: String,
}

impl Website {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, origin }
    }

    /// Shows the badge of the service at `base` under a strict policy. Returns the page's address.
    fn serve(self, base: &str) -> String {
        let service = base.trim_end_matches('/');
        let policy = format!(
            "default-src 'none'; script-src 'self' {service}; connect-src 'self' {service}"
        );
        let page = PAGE.replace("{base}", base).replace("{account}", ACCOUNT);
        let script = [(header::CONTENT_TYPE, "text/javascript")];
        let app = Router::new()
            .route(
                "/",
                get(|| async { ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)) }),
            )
            .route("/own.js", get(move || async move { (script, OWN) }))
            .route("/token", get(|| async { token(CUSTOMER) }));
        tokio::spawn(async move { axum::serve(self.listener, app).await });
        self.origin
    }
}

/// The page has asked, and listens to events from here on: what follows is pushed.
async fn listens(browser: &Browser) {
    let events = format!(
        "return performance.getEntriesByType('resource').some((r) => r.name.endsWith('{ACCOUNT}'))"
    );
    eventually(async || browser.run(&events).await == true).await;
}

/// How often the page has asked, streams of events aside.
async fn asked(browser: &Browser) -> u64 {
    let asked = format!(
        "return performance.getEntriesByType('resource').filter((r) => r.name.endsWith('{ACCOUNT}')).length"
    );
    browser.run(&asked).await.as_u64().unwrap()
}

/// Nothing that the page's policy forbids, no error, nothing kept in the browser.
async fn nothing_was_noticed(browser: &Browser) {
    assert_eq!(browser.run("return violations").await, json!([]));
    assert_eq!(browser.run("return errors").await, json!([]));
    let kept = "return [document.cookie, localStorage.length, sessionStorage.length]";
    assert_eq!(browser.run(kept).await, json!(["", 0, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_badge_is_pushed_and_announced_once_and_goes_when_the_message_is_read() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let website = Website::new().await;
    let stage = BadgeStage::start(&[("UNREAD_BADGE_ORIGINS", &website.origin)]).await;
    let page = website.serve(&stage.base());
    let conversations = &stage.conversations;
    conversations
        .store("c1", &[CONSUMER], Some(CUSTOMER), 0)
        .await;

    browser.open(&page).await;
    listens(&browser).await;
    assert_eq!(browser.run(BADGE).await, "");
    let before = asked(&browser).await;
    conversations
        .store_at("c1", &[], Some(CUSTOMER), 2, 1)
        .await;
    let known = Instant::now();
    eventually(async || browser.run(BADGE).await == "2").await;
    println!(
        "appeared {:.1?} after the message was known",
        known.elapsed()
    );
    assert_eq!(browser.label("#chat").await, "Chat, 2 unread messages");
    // What is seen is part of the name, for who speaks to the machine (WCAG 2.5.3).
    let seen = "return document.querySelector('#chat').textContent";
    assert_eq!(browser.run(seen).await, "Chat 2");
    assert_eq!(browser.run("return document.title").await, "(2) Shop");

    // A page that is drawn anew keeps its badge, and says nothing twice.
    browser
        .run("document.querySelector('#chat').outerHTML = '<button id=\"chat\">Chat</button>'")
        .await;
    eventually(async || browser.run(BADGE).await == "2").await;
    assert_eq!(browser.label("#chat").await, "Chat, 2 unread messages");
    let announced = "return announced";
    let once = json!(["2 unread messages"]);
    eventually(async || browser.run(announced).await == once).await;

    conversations
        .store_at("c1", &[], Some(CUSTOMER), 0, 2)
        .await;
    eventually(async || browser.run(BADGE).await == "").await;
    // It was told, both times: the page has asked for nothing meanwhile.
    assert_eq!(asked(&browser).await, before);
    assert_eq!(browser.label("#chat").await, "Chat");
    assert_eq!(browser.run("return document.title").await, "Shop");
    assert_eq!(browser.run(announced).await, json!(["2 unread messages"]));
    nothing_was_noticed(&browser).await;

    browser.run("unreadBadge.destroy()").await;
    let left = "return document.querySelectorAll('[class^=unread-badge]').length";
    assert_eq!(browser.run(left).await, 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pages_one_asks_and_both_show() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let website = Website::new().await;
    let stage = BadgeStage::start(&[("UNREAD_BADGE_ORIGINS", &website.origin)]).await;
    let page = website.serve(&stage.base());
    let conversations = &stage.conversations;
    conversations
        .store("c1", &[CONSUMER], Some(CUSTOMER), 1)
        .await;

    let first = browser.window().await;
    browser.open(&page).await;
    eventually(async || browser.run(BADGE).await == "1").await;
    let second = browser.new_window().await;
    browser.open(&page).await;
    eventually(async || browser.run(BADGE).await == "1").await;
    let leaders = "return navigator.locks.query().then((locks) => locks.held.length)";
    assert_eq!(browser.run(leaders).await, 1);

    conversations
        .store_at("c1", &[], Some(CUSTOMER), 3, 1)
        .await;
    let mut asked = Vec::new();
    for window in [&first, &second] {
        browser.switch_to(window).await;
        eventually(async || browser.run(BADGE).await == "3").await;
        let requests = "return performance.getEntriesByType('resource').filter((r) => r.name.includes('/v1/badge/')).length";
        asked.push(browser.run(requests).await.as_u64().unwrap());
        nothing_was_noticed(&browser).await;
    }
    assert!(
        asked.contains(&0),
        "one of them has asked nothing: {asked:?}"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_outlives_an_outage_of_the_service_in_silence_and_then_shows_what_is_new() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let database = migrated().await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let website = Website::new().await;
    let port = free_port().to_string();
    let settings = settings_for(
        &sandbox,
        &database.url,
        &[
            ("PORT", &port),
            ("UNREAD_BADGE_ORIGINS", &website.origin),
            ("UNREAD_BADGE_SECRET", SECRET),
        ],
    );
    let base = format!("http://127.0.0.1:{port}/");
    let start = async || {
        let service = Process::start(&["web"], &settings);
        eventually(async || reqwest::get(format!("{base}healthz")).await.is_ok()).await;
        service
    };
    let conversations = Conversations::new(&database.pool);
    conversations
        .store("c1", &[CONSUMER], Some(CUSTOMER), 1)
        .await;

    let service = start().await;
    let page = website.serve(&base);
    browser.open(&page).await;
    eventually(async || browser.run(BADGE).await == "1").await;

    // It is killed.
    drop(service);
    eventually(async || browser.run("return failed > 0").await == true).await;
    assert_eq!(browser.run(BADGE).await, "1", "the last that was known");
    conversations
        .store_at("c1", &[], Some(CUSTOMER), 3, 1)
        .await;

    let _service = start().await;
    eventually(async || browser.run(BADGE).await == "3").await;
    let both = json!(["1 unread message", "3 unread messages"]);
    eventually(async || browser.run("return announced").await == both).await;
    nothing_was_noticed(&browser).await;
    sandbox.stop().await;
}
