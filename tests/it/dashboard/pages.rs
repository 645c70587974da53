//! Every page there is, looked at in every dress: light and dark, at a desk and on a phone.
//!
//! The list of pages is the table of routes, so that none is forgotten; what only a form shows is asked for beside it.

use std::collections::BTreeSet;

use axum::http::Method;
use unread::control::users;
use unread::domain::access::Role;
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::sandbox::world::CUSTOMER_CARE;
use unread::web::access::RouteAccess;

use super::gallery::Gallery;
use crate::chromium::Browser;
use crate::harness::{TestApp, run_test};
use crate::person::Person;

const ANN: &str = "ann@example.net";
const WRONG: &str = "wrong@example.net";
const LOST: &str = "lost@example.net";
const PHONE: &str = "+12025550143";

fn rule() -> String {
    format!("/rules/12345678/{CUSTOMER_CARE}")
}

/// The pages of the table that need somebody to be logged in, each with a name for its pictures.
fn pages(t: &TestApp) -> Vec<(String, String)> {
    let routes = t.routes().into_iter();
    let own =
        routes.filter(|r| r.method == Method::GET && matches!(r.needs, RouteAccess::Person(_)));
    own.map(|route| {
        let path = route
            .path
            .replace("{account}/{skill}", &rule()["/rules/".len()..])
            .replace("{account}/{conversation}", "12345678/nobody")
            .replace("{id}", "1");
        assert!(!path.contains('{'), "how is {path} opened?");
        let name = route.path.replace(['/', '{', '}'], "-");
        (format!("page{}", name.trim_end_matches('-')), path)
    })
    .collect()
}

async fn log_in(t: &TestApp, b: &Browser, role: Role) -> Person {
    let person = t.person(role).await;
    b.open(&format!("{}/healthz", t.web)).await;
    b.take_cookie(&person.cookie).await;
    person
}

#[tokio::test]
async fn pages_of_an_empty_installation_are_for_everybody() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        let b = &browser;
        let mut gallery = Gallery::new(b);
        let at = |path: &str| format!("{}{path}", t.web);
        gallery.visit("login-nobody-yet", &at("/login")).await;
        let link = users::first_link(t.pool(), true, t.now()).await;
        let link = link.unwrap().unwrap();
        let first = format!("/setup/{}", link.token.expose());
        gallery.visit("first-administrator", &at(&first)).await;
        b.write("Name", "ann").await;
        b.write("Password", "correct horse battery").await;
        b.run("document.querySelector('#password').value = 'short'; document.querySelector('form').noValidate = true")
            .await;
        b.press("Create and log in").await;
        b.sees("too short").await;
        gallery.capture("first-administrator-refused").await;

        log_in(t, b, Role::Administrator).await;
        for (name, path) in pages(t) {
            gallery.visit(&format!("empty-{name}"), &at(&path)).await;
        }
        gallery
            .visit("empty-search", &at("/reminders/not-sent?state=failed"))
            .await;
        gallery.visit("empty-audit", &at("/activity?by=nobody")).await;
        gallery.close();
    })
    .await;
}

/// Days with a bit of everything.
async fn busy_days(t: &TestApp) {
    let faults = t.sandbox.smtp().faults();
    let unknown = "550 5.1.1 No such user here";
    faults.add(SmtpFault::reply(Phase::Rcpt, When::to(WRONG), unknown));
    faults.add(SmtpFault::close(Phase::Final, When::to(LOST), true));
    let read = t.answered(ANN);
    for address in [WRONG, LOST, PHONE, "not an address"] {
        t.answered(address);
    }
    t.tick().await;
    t.advance(10).await;
    t.world().consumer_reads(&read);
    t.tick().await;
    t.advance(26 * 60).await;
    t.tick().await;
    // The mail server does not let us in any more.
    let wrong = "535 5.7.8 Username and Password not accepted";
    faults.add(SmtpFault::reply(Phase::Auth, When::always(), wrong));
    t.answered("dana@example.net");
    t.tick().await;
    t.advance(10).await;
    t.answered("finn@example.net");
    t.tick().await;
    assert!(t.mails().len() >= 2 && !t.texts().is_empty());
}

#[tokio::test]
async fn pages_of_a_busy_installation_are_for_everybody() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        let b = &browser;
        let mut gallery = Gallery::new(b);
        busy_days(t).await;
        pages_of_strangers(t, &mut gallery).await;
        log_in(t, b, Role::Administrator).await;
        rules(t, &mut gallery).await;
        people_and_programs(t, &mut gallery).await;
        for (name, path) in pages(t) {
            let url = format!("{}{path}", t.web);
            gallery.visit(&format!("busy-{name}"), &url).await;
        }
        let mut states = BTreeSet::new();
        for reminder in t.reminders().await {
            if states.insert(reminder.told()) {
                let url = format!("{}/reminders/{}", t.web, reminder.id);
                let name = format!("reminder-{}", reminder.state);
                gallery.visit(&name, &url).await;
            }
        }
        assert!(states.len() > 4, "{states:?}");
        errors(t, &mut gallery).await;
        t.mails();
        gallery.close();
    })
    .await;
}

/// What people see who have no login: visitors with a link in a mail, and whoever looks into the sandbox's mailbox.
async fn pages_of_strangers(t: &TestApp, gallery: &mut Gallery<'_>) {
    let b = gallery.browser;
    let reminders = t.reminders().await;
    let sent = reminders.iter().find(|r| r.told() == "sent").unwrap();
    let out = format!("{}/u/{}", t.web, sent.token);
    gallery.visit("unsubscribe", &out).await;
    b.press("Stop reminders").await;
    b.sees("Reminders stopped").await;
    gallery.capture("unsubscribed").await;
    b.press("I did not mean that").await;
    b.sees("You get reminders again").await;
    gallery.capture("unsubscribed-undone").await;
    let back = format!("{}/r/{}", t.web, sent.token);
    gallery.visit("link-without-a-page", &back).await;
    gallery
        .visit("link-expired", &format!("{}/r/expired", t.web))
        .await;
    gallery
        .visit("link-of-a-password-used", &format!("{}/setup/used", t.web))
        .await;
    t.person(Role::Viewer).await;
    gallery.visit("login", &format!("{}/login", t.web)).await;
    b.write("Name", "nobody").await;
    b.write("Password", "wrong horse battery").await;
    b.press("Log in").await;
    b.sees("Wrong name or password").await;
    gallery.capture("login-refused").await;
    let mailbox = &t.sandbox.endpoints().mailbox_url;
    gallery.visit("mailbox", mailbox).await;
    b.follow(&format!("E-mail {ANN}")).await;
    b.sees("Plain text").await;
    gallery.capture("mailbox-mail").await;
    b.open(mailbox).await;
    b.follow(&format!("SMS {PHONE}")).await;
    b.sees("Text to").await;
    gallery.capture("mailbox-text").await;
}

async fn rules(t: &TestApp, gallery: &mut Gallery<'_>) {
    let b = gallery.browser;
    let editor = format!("{}{}", t.web, rule());
    b.open(&editor).await;
    b.write("Wait of step 1", "5").await;
    b.write("Subject", "{{brand}} has an answer for you").await;
    b.write(
        "Text",
        "Hello {{first_name}}: {{link}} {{unsubscribe_link}}",
    )
    .await;
    b.press("Publish").await;
    b.sees("Published.").await;
    gallery.capture("rule-published").await;
    b.open(&editor).await;
    b.write("Wait of step 1", "soon").await;
    b.press("Save draft").await;
    b.sees("Not saved").await;
    gallery.capture("rule-refused").await;
    b.write("Wait of step 1", "7").await;
    b.press("Save draft").await;
    b.sees("Draft saved.").await;
    // The mail server lets us in again.
    t.sandbox.smtp().faults().clear();
    b.write("Your e-mail address", "me@example.net").await;
    b.press("Send me a test").await;
    b.sees("Test message:").await;
    b.sees("The six digits").await;
    gallery.capture("rule-tested").await;
    b.write("The six digits from the message", "12345").await;
    b.press("Confirm").await;
    b.sees("That must be the six digits").await;
    gallery.capture("rule-tested-wrong").await;
    b.press("What would it do now?").await;
    b.sees("What it would do now").await;
    gallery.capture("rule-effect").await;
    // The same rule in two windows.
    let first = b.window().await;
    b.open(&editor).await;
    let second = b.new_window().await;
    b.open(&editor).await;
    b.write("Wait of step 1", "8").await;
    b.press("Save draft").await;
    b.sees("Draft saved.").await;
    b.switch_to(&first).await;
    b.write("Wait of step 1", "9").await;
    b.press("Save draft").await;
    b.sees("Someone else published a newer version").await;
    gallery.capture("rule-changed-meanwhile").await;
    assert_ne!(first, second);

    b.open(&editor).await;
    b.run("document.querySelector('#channel-email').open = false")
        .await;
    b.choose("SMS: more languages", "Czech").await;
    b.press("Add to SMS").await;
    // The new language is shown; what can be done with it is in its menu.
    b.sees("Your own text").await;
    b.press("Start from").await;
    b.sees("Remove Czech").await;
    b.write(
        "Text",
        "Dobrý den {{first_name}}, {{brand}} odpovídá: {{link}}",
    )
    .await;
    b.press("Save draft").await;
    b.sees("Draft saved.").await;
    gallery.capture("rule-sms").await;

    b.open(&format!("{}/", t.web)).await;
    b.press("Pause sending").await;
    b.write("Reason", "The shop moves house").await;
    b.press("Pause").await;
    b.agrees_to("Pause until someone resumes? Due reminders are put on hold.")
        .await;
    b.sees("The shop moves house").await;
    gallery.capture("overview-paused").await;
    gallery.visit("rule-paused", &editor).await;
    for page in ["rules", "reminders"] {
        let url = format!("{}/{page}", t.web);
        gallery.visit(&format!("{page}-paused"), &url).await;
    }
    b.press("Resume").await;
    b.sees("Resumed.").await;
}

async fn people_and_programs(t: &TestApp, gallery: &mut Gallery<'_>) {
    let b = gallery.browser;
    let at = |path: &str| format!("{}{path}", t.web);
    for (name, who) in [("found", ANN), ("no-match", "nobody@example.net")] {
        b.open(&at("/customers")).await;
        b.write("E-mail address, phone number", who).await;
        b.press("Look up").await;
        b.sees(if name == "found" {
            "What you can do"
        } else {
            "No match"
        })
        .await;
        gallery.capture(&format!("people-{name}")).await;
    }
    b.open(&at("/team")).await;
    b.write("Name", "ben@shop.example").await;
    b.press("Add and create link").await;
    b.sees("A link for ben@shop.example").await;
    gallery.capture("users-link").await;
    b.open(&at("/tokens")).await;
    b.write("Name", "reports").await;
    b.press("Create token").await;
    b.sees("must list at least one: view, edit, operate or administer")
        .await;
    gallery.capture("tokens-refused").await;
    b.tick("view").await;
    b.press("Create token").await;
    b.sees("Your new token").await;
    gallery.capture("tokens-made").await;
    b.open(&at("/settings")).await;
    b.write("Current password", "not my password").await;
    b.write("New password", "another good password").await;
    b.press("Change password").await;
    b.sees("is not your password").await;
    gallery.capture("settings-refused").await;
}

async fn errors(t: &TestApp, gallery: &mut Gallery<'_>) {
    let at = |path: &str| format!("{}{path}", t.web);
    gallery.visit("error-nowhere", &at("/nowhere")).await;
    gallery
        .visit("error-not-found", &at("/reminders/999999"))
        .await;
    log_in(t, gallery.browser, Role::Viewer).await;
    gallery.visit("error-not-allowed", &at("/team")).await;
    gallery.visit("viewer-rule", &at(&rule())).await;
}
