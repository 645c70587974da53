//! `badge.js` in headless Chromium against a service that the test plays: what pages, tokens, networks and services get wrong.

use axum::Router;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::stage::eventually;
use crate::chromium::Browser;

const PAGE: &str = r#"<!doctype html><html lang="en"><title>Shop</title><script src="/lab.js"></script>
<button id="chat">Chat</button> <button id="slot">Help <span data-unread-badge></span></button>"#;

struct Lab {
    browser: Browser,
    page: String,
}

impl Lab {
    async fn open() -> Option<Self> {
        let browser = Browser::start().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let page = format!("http://{}", listener.local_addr().unwrap());
        let script = |text: &'static str| {
            let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
            get(move || async move { (kind, text) })
        };
        let lab = include_str!("../../fixtures/badge/lab.js");
        let badge = include_str!("../../../templates/web/badge.js");
        let app = Router::new()
            .route("/", get(|| async { Html(PAGE) }))
            .route("/lab.js", script(lab))
            .route("/v1.js", script(badge));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let lab = Self { browser, page };
        lab.anew().await;
        Some(lab)
    }

    async fn anew(&self) {
        self.browser.open(&self.page).await;
    }

    async fn run(&self, script: &str) -> Value {
        self.browser.run(script).await
    }

    async fn eventually(&self, what: &str) {
        let script = format!("return ({what})");
        eventually(async || self.run(&script).await == true).await;
    }

    async fn no_error(&self) {
        assert_eq!(self.run("return errors").await, json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_dies_without_a_word_is_noticed_and_opened_anew() {
    let Some(lab) = Lab::open().await else { return };
    lab.run(
        "service = (path, options) => path.endsWith('/events') ? stream(':\\n\\n', options) : state(asked.length > 2 ? 2 : 0);
         return load()",
    )
    .await;
    lab.eventually("events() >= 2").await;
    lab.eventually("shown() === '2'").await;
    lab.no_error().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_away_for_a_moment_again_and_again_does_not_turn_events_off() {
    let Some(lab) = Lab::open().await else { return };
    lab.run(
        "service = (path, options) => path.endsWith('/events') ? stream(':\\n\\n', options) : state(0);
         return load()",
    )
    .await;
    for turn in 1..8 {
        lab.eventually(&format!("events() >= {turn}")).await;
        lab.run("seen(false)").await;
        let silent = "return asked.every(({ signal }) => signal.aborted)";
        assert_eq!(lab.run(silent).await, true, "who is hidden asks nothing");
        lab.run("seen(true)").await;
    }
    // Nor does the way back to a page that was kept.
    lab.run("dispatchEvent(new Event('pagehide'))").await;
    lab.run("dispatchEvent(new Event('pageshow'))").await;
    lab.eventually("events() >= 8").await;
    lab.no_error().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_do_not_come_through_are_given_up_after_three_tries() {
    let Some(lab) = Lab::open().await else { return };
    lab.run(
        "service = (path) => path.endsWith('/events') ? new Response('') : state(0);
         return load()",
    )
    .await;
    lab.eventually("asked.length - events() >= 6").await;
    assert_eq!(lab.run("return events()").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_with_a_new_token_too_sees_nothing_any_more() {
    let Some(lab) = Lab::open().await else { return };
    lab.run("service = () => state(2); return load({}, { push: 'false' })")
        .await;
    lab.eventually("shown() === '2'").await;
    // What a page takes for a token when its own backend answers with an error.
    lab.run("unreadBadge.getToken = () => 'Please log in'; service = () => refusal(401)")
        .await;
    lab.eventually("shown() === '' && asked.at(-1).token === 'Bearer Please log in'")
        .await;
    lab.no_error().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_long_it_is_told_to_wait_it_does_not_ask_at_once() {
    let Some(lab) = Lab::open().await else { return };
    for wait in ["99999999", "nonsense", "-1"] {
        lab.anew().await;
        lab.run(&format!(
            "service = () => refusal(429, {{ 'Retry-After': '{wait}' }}); return load()"
        ))
        .await;
        lab.eventually("delays.some((ms) => ms !== 60000)").await;
        let delays = lab.run("return delays.filter((ms) => ms !== 60000)").await;
        let delay = delays[0].as_f64().unwrap();
        assert!((1_000.0..2e9).contains(&delay), "{wait}: {delay}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_in_every_way_that_pages_know() {
    let Some(lab) = Lab::open().await else { return };
    for (get_token, token) in [
        ("() => 'x'", "x"),
        ("async () => 'x'", "x"),
        ("(done) => done('x')", "x"),
        ("(done) => { setTimeout(() => done('x'), 500) }", "x"),
        ("async (done) => { setTimeout(() => done('x'), 500) }", "x"),
        ("function () { return this.own }", "own"),
    ] {
        lab.anew().await;
        lab.run(&format!(
            "return load({{ own: 'own', getToken: {get_token} }})"
        ))
        .await;
        let came = format!("asked[0]?.token === 'Bearer {token}'");
        eventually(async || lab.run(&format!("return {came}")).await == true).await;
        lab.no_error().await;
    }
    // Nobody is logged in, or nobody can tell: nothing is asked of the service, and the page is asked again later.
    for get_token in [
        "() => undefined",
        "async () => null",
        "(done) => done()",
        "() => { throw new Error('no') }",
        "() => Promise.reject(new Error('no'))",
        "() => new Promise(() => {})",
    ] {
        lab.anew().await;
        lab.run(&format!(
            "window.times = 0; const ask = {get_token};
             return load({{ getToken: (...all) => {{ times += 1; return ask(...all) }} }})"
        ))
        .await;
        lab.eventually("times >= 2").await;
        assert_eq!(lab.run("return asked").await, json!([]), "{get_token}");
        lab.no_error().await;
    }
    // LivePerson's own function, wherever it comes from.
    lab.anew().await;
    lab.run(
        "window.lpGetAuthenticationToken = function () { arguments[0]('lp') };
         return load({ getToken: undefined })",
    )
    .await;
    lab.eventually("asked[0]?.token === 'Bearer lp'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_after_the_log_out_is_not_used() {
    let Some(lab) = Lab::open().await else { return };
    lab.run(
        "window.late = []; let turn = 0;
         return load({ getToken: () => new Promise((done) => late.push(done)) })",
    )
    .await;
    lab.eventually("late.length === 1").await;
    lab.run("unreadBadge.refresh()").await;
    lab.eventually("late.length === 2").await;
    lab.run("late[0]('old'); late[1]('new')").await;
    lab.eventually("asked.length >= 1").await;
    let tokens = "return [...new Set(asked.map(({ token }) => token))]";
    assert_eq!(lab.run(tokens).await, json!(["Bearer new"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_on_one_page_holds_on_the_other_which_asks_for_both() {
    let Some(lab) = Lab::open().await else { return };
    let load =
        "service = (path, { headers }) => state(headers.Authorization === 'Bearer old' ? 5 : 0);
                return load({ getToken: () => localStorage.who }, { push: 'false' })";
    lab.run("localStorage.who = 'old'").await;
    lab.run(load).await;
    lab.eventually("shown() === '5'").await;
    let first = lab.browser.window().await;
    let second = lab.browser.new_window().await;
    lab.anew().await;
    lab.run(load).await;
    lab.eventually("shown() === '5'").await;
    assert_eq!(lab.run("return asked").await, json!([]), "the other leads");

    lab.run("localStorage.who = 'new'; unreadBadge.refresh()")
        .await;
    let told = "asked.map(({ token }) => token)";
    lab.eventually(&format!("{told}.includes('Bearer new') && shown() === ''"))
        .await;
    lab.browser.switch_to(&first).await;
    lab.eventually("shown() === ''").await;
    // Nor does it come back with the next turn of the first.
    lab.browser.switch_to(&second).await;
    lab.run("unreadBadge.destroy()").await;
    lab.browser.switch_to(&first).await;
    lab.eventually(&format!("{told}.at(-1) === 'Bearer new'"))
        .await;
    assert_eq!(lab.run("return shown()").await, "");
    lab.no_error().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_taken_back_twice_and_put_on_again_and_is_not_there_twice() {
    let Some(lab) = Lab::open().await else { return };
    lab.run("service = () => state(1); chat.setAttribute('aria-label', 'Talk'); return load()")
        .await;
    lab.run("return load()").await;
    lab.eventually("shown() === '1'").await;
    assert_eq!(
        lab.run("return document.querySelectorAll('.unread-badge, .unread-badge-live').length")
            .await,
        2
    );
    assert_eq!(lab.browser.label("#chat").await, "Talk, 1 unread message");
    lab.run("unreadBadge.destroy(); unreadBadge.destroy(); unreadBadge.refresh()")
        .await;
    assert_eq!(lab.browser.label("#chat").await, "Talk");
    assert_eq!(lab.run("return shown()").await, "");
    lab.run("return load()").await;
    lab.eventually("shown() === '1'").await;
    lab.no_error().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_gets_wrong_is_passed_over_in_silence() {
    let Some(lab) = Lab::open().await else { return };
    for (what, own, data) in [
        ("a selector that is none", "{}", "{ target: '##' }"),
        ("no account", "{}", "{ account: '' }"),
        ("a function that throws", "{ onChange() { throw 1 } }", "{}"),
        ("no fetch", "(delete window.fetch, {})", "{}"),
        (
            "an answer that is none",
            "(service = () => new Response('<html>'), {})",
            "{}",
        ),
        (
            "a network that is none",
            "(service = () => Promise.reject(new TypeError()), {})",
            "{}",
        ),
    ] {
        lab.anew().await;
        lab.run(&format!(
            "service = () => state(1); return load({own}, {data})"
        ))
        .await;
        let run = "chat.textContent = 'Talk'; return new Promise((done) => requestAnimationFrame(() => setTimeout(done, 500)))";
        lab.run(run).await;
        assert_eq!(lab.run("return errors").await, json!([]), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_within_the_button_says_the_words_itself() {
    let Some(lab) = Lab::open().await else { return };
    lab.run("service = () => state(2); return load({}, { target: '[data-unread-badge]' })")
        .await;
    lab.eventually("shown() === '2'").await;
    assert_eq!(lab.browser.label("#slot").await, "Help 2 unread messages");
    let named = "return document.querySelector('[data-unread-badge]').hasAttribute('aria-label')";
    assert_eq!(lab.run(named).await, false, "it has no role to be named by");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_in_the_title_stays_and_goes_and_the_page_s_own_words_remain() {
    let Some(lab) = Lab::open().await else { return };
    lab.run("document.title = '(3) Offers'; service = () => state(2); return load({}, { title: '', push: 'false' })")
        .await;
    let title = |text: &str| format!("document.title === '{text}'");
    lab.eventually(&title("(2) (3) Offers")).await;
    lab.run("document.title = 'Basket'").await;
    lab.eventually(&title("(2) Basket")).await;
    lab.run("document.title = ''").await;
    lab.eventually(&title("(2)")).await;
    lab.run("document.title = '(4) Orders'").await;
    lab.eventually(&title("(2) (4) Orders")).await;
    lab.run("service = () => state(0)").await;
    lab.eventually(&title("(4) Orders")).await;
    lab.no_error().await;
}
