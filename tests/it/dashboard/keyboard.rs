//! The same desk without a mouse: every stop is seen, nothing is a trap, and after each deed the focus is where one goes on.

use serde_json::json;
use unread::control::users;
use unread::domain::access::Role;
use unread::secret::Secret;

use crate::chromium::{Browser, ENTER, SPACE};
use crate::harness::{TestApp, run_test};

const NAME: &str = "ann@shop.example";
const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn everything_can_be_done_with_the_keyboard_alone() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        let b = &browser;
        let password = Secret::new(PASSWORD);
        users::add_with_password(
            t.pool(),
            NAME,
            Role::Administrator,
            &password,
            "test",
            t.now(),
        )
        .await
        .unwrap();
        logs_in(t, b).await;
        skips_what_is_on_every_page(b).await;
        publishes_a_rule(b).await;
        t.answered("dana@example.net");
        t.tick().await;
        cancels_a_reminder(b).await;
        for page in [
            "/",
            "/setup",
            "/rules",
            "/reminders",
            "/reminders/sent",
            "/find",
            "/customers",
            "/opt-outs",
            "/website",
            "/settings",
            "/team",
            "/tokens",
            "/api",
        ] {
            b.open(&format!("{}{page}", t.web)).await;
            goes_through(b).await;
        }
        logs_out(b).await;
    })
    .await;
}

/// Everything on the page that is open can be reached, and left again.
async fn goes_through(b: &Browser) {
    let page = b.page().await;
    assert_eq!(b.unreachable().await, json!([]), "{page}");
}

async fn logs_in(t: &TestApp, b: &Browser) {
    b.open(&format!("{}/login", t.web)).await;
    b.finds_the_focus_on("Name").await;
    b.keys(NAME.chars()).await;
    b.reach("Password").await;
    b.keys("wrong horse".chars()).await;
    b.keys([ENTER]).await;
    b.sees("Wrong name or password").await;
    b.finds_the_focus_on("Password").await;
    b.keys(PASSWORD.chars()).await;
    b.keys([ENTER]).await;
    b.arrives_at("/").await;
}

async fn skips_what_is_on_every_page(b: &Browser) {
    let first = b.tab().await.expect("a first stop");
    assert_eq!(first.name, "Skip to content");
    b.keys([ENTER]).await;
    let main = b.finds_the_focus_on("Overview").await;
    assert_eq!(main.tag, "main");
    // Back is the navigation: nothing is lost.
    let before = b.tab_back().await.expect("a stop before the content");
    assert_eq!(before.name, "Log out");
}

async fn publishes_a_rule(b: &Browser) {
    b.reach("Rules").await;
    b.keys([ENTER]).await;
    b.arrives_at("/rules").await;
    b.reach_one_of("Customer Care").await;
    b.keys([ENTER]).await;
    b.sees("This skill has no rule of its own").await;
    goes_through(b).await;

    b.reach("Wait of step 1").await;
    b.overwrite("soon").await;
    // Enter in a field saves, and does nothing that others notice.
    b.keys([ENTER]).await;
    b.sees("Not saved").await;
    // It is said once, and of the step: the one after it that follows at once has no wait of its own to fix.
    b.finds_the_focus_on("Not saved. Please fix these: Step 1: must be a whole number")
        .await;
    b.reach("Wait of step 1").await;
    b.overwrite("5").await;
    b.reach("First name").await;
    b.keys([ENTER]).await;
    b.reach("More").await;
    b.keys([ENTER]).await;
    b.reach("Remind while the conversation is waiting for an agent")
        .await;
    b.keys([SPACE]).await;
    b.reach("Publish").await;
    b.keys([ENTER]).await;
    b.sees("Version 1 is live").await;
    b.finds_the_focus_on("Published.").await;
}

async fn cancels_a_reminder(b: &Browser) {
    b.reach("Reminders").await;
    b.keys([ENTER]).await;
    b.arrives_at("/reminders").await;
    b.reach_one_of("Customer ").await;
    b.keys([ENTER]).await;
    b.sees("What happened").await;
    goes_through(b).await;
    b.reach("Cancel this reminder").await;
    b.keys([ENTER]).await;
    b.sees("Cancelled by your team").await;
    b.finds_the_focus_on("Reminder cancelled.").await;
}

async fn logs_out(b: &Browser) {
    b.reach("Log out").await;
    b.keys([ENTER]).await;
    b.arrives_at("/login").await;
}
