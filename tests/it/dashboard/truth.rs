//! Pages say what is so: times go on, a page that is not fed any more does not look well, what was seen is dismissed, and nothing
//! that somebody has written is lost.

use serde_json::{Value, json};
use unread::control::users;
use unread::domain::access::Role;
use unread::sandbox::world::CUSTOMER_CARE;
use unread::secret::Secret;
use unread::web::dashboard::labels;

use super::gallery::Gallery;
use crate::chromium::Browser;
use crate::harness::{TestApp, run_test};

const ANN: &str = "ann@shop.example";
const BEN: &str = "ben@shop.example";
const PASSWORD: &str = "correct horse battery";

fn rule(t: &TestApp) -> String {
    format!("{}/rules/12345678/{CUSTOMER_CARE}", t.web)
}

async fn known(t: &TestApp, name: &str) {
    let password = Secret::new(PASSWORD);
    users::add_with_password(
        t.pool(),
        name,
        Role::Administrator,
        &password,
        "test",
        t.now(),
    )
    .await
    .unwrap();
}

/// On the login page.
async fn logs_in(b: &Browser, name: &str) {
    b.write("Name", name).await;
    b.write("Password", PASSWORD).await;
    b.press("Log in").await;
}

async fn sessions_end(t: &TestApp) {
    sqlx::query("delete from sessions")
        .execute(t.pool())
        .await
        .unwrap();
}

async fn value(b: &Browser, id: &str) -> Value {
    b.run_with(
        "return document.getElementById(arguments[0]).value",
        json!([id]),
    )
    .await
}

/// Whether the browser would ask before it leaves the page.
async fn asks_before_leaving(b: &Browser) -> bool {
    let leaving = "const leaving = new Event('beforeunload', { cancelable: true }); \
                   window.dispatchEvent(leaving); return leaving.defaultPrevented";
    b.run(leaving).await == true
}

async fn kept(b: &Browser) -> Value {
    b.run("return sessionStorage.getItem('kept-form')").await
}

#[tokio::test]
async fn times_are_told_in_the_browser_as_the_service_tells_them() {
    let Some(b) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        known(t, ANN).await;
        b.open(&format!("{}/login", t.web)).await;
        logs_in(&b, ANN).await;
        b.arrives_at("/").await;
        let now = t.now();
        let seconds: [i64; 20] = [
            0, 1, 4, 5, 59, 60, 119, 120, 121, 3_599, 3_600, 7_199, 7_200, 7_201, 86_400, 172_799,
            172_800, 172_801, 864_000, 31_536_000,
        ];
        let both = seconds.into_iter().flat_map(|s| [s, -s]);
        for seconds in both {
            let at = now + chrono::TimeDelta::seconds(seconds);
            let script = "return relative(Date.parse(arguments[0]), Date.parse(arguments[1]))";
            let times = json!([at.to_rfc3339(), now.to_rfc3339()]);
            let told = b.run_with(script, times).await;
            assert_eq!(told, labels::relative(at, now), "{seconds} s");
        }
        // By the service's clock, which here stands years apart from the browser's, and goes on.
        b.sees("As of just now").await;
        b.sees(" s ago").await;
    })
    .await;
}

async fn offline(b: &Browser, is: bool) {
    b.command("Network.enable", json!({})).await;
    let conditions =
        json!({ "offline": is, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    b.command("Network.emulateNetworkConditions", conditions)
        .await;
}

#[tokio::test]
async fn a_page_that_is_not_fed_does_not_look_well() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        let b = &browser;
        let mut gallery = Gallery::new(b);
        known(t, ANN).await;
        b.open(&format!("{}/login", t.web)).await;
        logs_in(b, ANN).await;
        b.sees("All is well: reminders go out on time.").await;

        offline(b, true).await;
        b.sees("no connection.").await;
        let page = b.page().await;
        assert!(page.contains("Not updated since"), "{page}");
        assert!(!page.contains("All is well"), "{page}");
        gallery.capture("overview-offline").await;
        offline(b, false).await;
        b.sees("All is well").await;
        assert!(!b.page().await.contains("Not updated since"));

        b.press("Pause updates").await;
        b.sees("updates are paused.").await;
        assert!(!b.page().await.contains("All is well"));
        b.press("Pause updates").await;
        b.sees("All is well").await;

        sessions_end(t).await;
        b.sees("You have been logged out.").await;
        assert!(!b.page().await.contains("All is well"));
        gallery.capture("overview-logged-out").await;
        b.follow("Log in").await;
        b.arrives_at("/login").await;
        b.sees("You have been logged out. Log in to continue where you left off.")
            .await;
        gallery.capture("login-after-the-end").await;
        logs_in(b, ANN).await;
        b.arrives_at("/").await;
        b.sees("All is well").await;
        gallery.close();
    })
    .await;
}

#[tokio::test]
async fn a_draft_saves_itself_and_comes_back_after_the_session_has_ended() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        let b = &browser;
        known(t, ANN).await;
        known(t, BEN).await;
        let drafts = async || -> Vec<String> {
            sqlx::query_scalar("select settings::text from rule_drafts")
                .fetch_all(t.pool())
                .await
                .unwrap()
        };
        b.open(&rule(t)).await;
        logs_in(b, ANN).await;
        b.sees("This skill has no rule of its own").await;
        assert!(!asks_before_leaving(b).await && drafts().await.is_empty());

        b.write("Wait of step 1", "7").await;
        assert!(asks_before_leaving(b).await);
        b.sees("Saved ").await;
        assert!(!asks_before_leaving(b).await);
        assert!(
            drafts().await[0].contains("\"after_minutes\": 7")
                || drafts().await[0].contains("\"after_minutes\":7")
        );
        // Where a test goes is no part of the draft.
        b.write("Your e-mail address", "me@example.net").await;
        assert!(!asks_before_leaving(b).await);

        b.write("Wait of step 1", "soon").await;
        b.sees("Not saved: ").await;
        assert!(asks_before_leaving(b).await);
        b.write("Wait of step 1", "8").await;
        b.sees("Saved ").await;
        assert!(
            b.run("return !document.querySelector('[data-draft]').hidden")
                .await
                == true
        );
        let noted: i64 =
            sqlx::query_scalar("select count(*) from audit where action = 'rule.draft'")
                .fetch_one(t.pool())
                .await
                .unwrap();
        assert_eq!(noted, 1, "once a sitting");

        // What is published is what was written last, whatever was under way.
        b.write("Wait of step 1", "9").await;
        b.press("Publish").await;
        b.sees("Published. This rule is live now.").await;

        b.write("Wait of step 1", "11").await;
        b.sees("Saved ").await;
        sessions_end(t).await;
        b.write("Wait of step 1", "12").await;
        b.sees("Not saved: you have been logged out.").await;
        b.follow("Log in").await;
        b.arrives_at("/login").await;
        b.sees("Your changes are kept in this tab.").await;
        logs_in(b, ANN).await;
        b.sees("Your changes are back.").await;
        assert_eq!(value(b, "step-0-wait").await, "12");
        b.sees("Saved ").await;
        assert_eq!(kept(b).await, Value::Null);
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_after_the_end_comes_back_to_the_same_person_only() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        let b = &browser;
        known(t, ANN).await;
        known(t, BEN).await;
        let pauses = async || {
            b.press("Pause sending").await;
            b.write("Reason", "The shop moves house").await;
            sessions_end(t).await;
            b.press("Pause").await;
            b.agrees_to("Pause until someone resumes? Due reminders are put on hold.")
                .await;
            b.arrives_at("/login").await;
            b.sees("Your changes are kept in this tab.").await;
        };
        let address = async || b.run("return location.href").await.to_string();
        b.open(&format!("{}/?days=30", t.web)).await;
        logs_in(b, ANN).await;
        pauses().await;
        assert!(!address().await.contains("moves"), "{}", address().await);
        logs_in(b, ANN).await;
        b.sees("Your changes are back.").await;
        assert!(address().await.contains("/?days=30"), "{}", address().await);
        assert_eq!(value(b, "note").await, "The shop moves house");
        assert_eq!(kept(b).await, Value::Null);

        // Somebody else at the same desk.
        b.open(&format!("{}/?days=30", t.web)).await;
        pauses().await;
        logs_in(b, BEN).await;
        b.sees("Overview").await;
        assert_eq!(value(b, "note").await, "");
        assert_eq!(kept(b).await, Value::Null);

        // Once it is answered, or somebody has logged out, nothing is kept.
        b.press("Pause sending").await;
        b.write("Reason", "The shop moves house").await;
        b.press("Pause").await;
        b.agrees_to("Pause until someone resumes? Due reminders are put on hold.")
            .await;
        b.sees("All sending is paused").await;
        assert_eq!(kept(b).await, Value::Null);
        b.press("Log out").await;
        b.arrives_at("/login").await;
        assert_eq!(kept(b).await, Value::Null);

        // Passwords never.
        b.open(&format!("{}/settings", t.web)).await;
        logs_in(b, BEN).await;
        b.arrives_at("/settings").await;
        sessions_end(t).await;
        b.write("Current password", PASSWORD).await;
        b.write("New password", "another good password").await;
        b.press("Change password").await;
        b.arrives_at("/login").await;
        assert_eq!(kept(b).await, Value::Null);
    })
    .await;
}
