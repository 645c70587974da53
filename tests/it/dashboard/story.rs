//! The first day of whoever is in charge of the messaging: from an empty database, with nothing but a browser, to a customer who is
//! reminded, one who is not, one who wants no more of it, and one who is forgotten.

use unread::control::users;
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::web::dashboard::labels;

use crate::chromium::Browser;
use crate::harness::{Setup, TestApp, not_live, run_test_with};
use crate::rules::test_messages::code_in;

const NAME: &str = "ann@shop.example";
const PASSWORD: &str = "correct horse battery";
const DANA: &str = "dana@example.net";
const FINN: &str = "finn@example.net";
const GINA: &str = "gina@example.net";

#[tokio::test]
async fn from_an_empty_database_to_reminders_that_are_sent_cancelled_sent_again_and_stopped() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let setup = Setup {
        settings: vec![
            ("UNREAD_PAGE_URL", "https://www.shop.example/support"),
            ("UNREAD_PUBLIC_URL", "http://unread.shop.example"),
        ],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        let b = &browser;
        not_live(t.pool()).await;
        becomes_the_first_administrator(t, b).await;
        logs_in(t, b).await;
        follows_the_checklist_to_a_rule(b).await;
        t.answered(DANA);
        writes_and_tries_the_rule(t, b).await;
        publishes_it(b).await;
        goes_live(t, b).await;
        let finns = t.answered(FINN);
        t.tick().await;
        sees_who_is_next(b).await;
        cancels(b, &finns).await;
        t.advance(5).await;
        reads_the_mail(t, b).await;
        reads_the_story(t, b).await;
        sends_one_again_whose_fate_is_unknown(t, b).await;
        opts_somebody_out(t, b).await;
        erases_somebody(b).await;
        reads_what_was_done(b).await;
        logs_out(b).await;
    })
    .await;
}

async fn becomes_the_first_administrator(t: &TestApp, b: &Browser) {
    b.open(&t.web).await;
    b.sees("There are no users yet").await;
    let link = users::first_link(t.pool(), true, t.now()).await;
    let link = link.unwrap().unwrap();
    b.open(&format!("{}/setup/{}", t.web, link.token.expose()))
        .await;
    b.write("Name", NAME).await;
    b.write("Password", PASSWORD).await;
    b.press("Create and log in").await;
    b.arrives_at("/").await;
    b.press("Log out").await;
    b.arrives_at("/login").await;
}

async fn logs_in(t: &TestApp, b: &Browser) {
    // Led to the login, and then to where one wanted to go.
    b.open(&format!("{}/setup", t.web)).await;
    b.arrives_at("/login").await;
    b.write("Name", NAME).await;
    b.write("Password", "wrong horse battery").await;
    b.press("Log in").await;
    b.sees("Wrong name or password").await;
    b.write("Password", PASSWORD).await;
    b.press("Log in").await;
    b.arrives_at("/setup").await;
}

async fn follows_the_checklist_to_a_rule(b: &Browser) {
    b.sees("4 of 6 steps done").await;
    b.sees("No customer gets a message before you go live")
        .await;
    b.sees("Send yourself a test message from a rule's page")
        .await;
    b.follow("Send yourself a test").await;
    b.arrives_at("/rules").await;
    b.follow("Customer Care").await;
    b.sees("This skill has no rule of its own").await;
}

async fn writes_and_tries_the_rule(t: &TestApp, b: &Browser) {
    b.write("Wait of step 1", "5").await;
    // What it means follows by itself.
    b.sees("the customer gets an e-mail after 5 minutes, or a text message if that does not reach them; if it is still unread, an e-mail after 24 hours")
        .await;
    b.write("Subject", "{{brand}} has an answer for you").await;
    b.write("Text", "Hello ").await;
    b.press("First name").await;
    let written = b
        .run("return document.querySelector('#email_t0_text').value")
        .await;
    assert_eq!(written, "Hello {{#if first_name}}{{first_name}}{{/if}}");
    b.write(
        "Text",
        "Hello {{nobody}}, look: {{link}} {{unsubscribe_link}}",
    )
    .await;
    b.sees("Fix before saving").await;
    b.write(
        "Text",
        "Hello {{first_name}}, your answer is here: {{link}} No more of this: {{unsubscribe_link}}",
    )
    .await;
    b.press("Plain text").await;
    b.sees("your answer is here: http://unread.shop.example/")
        .await;
    // The mail follows too.
    b.press("Desktop").await;
    b.sees_in_frame("iframe[name=mail-email-en]", "your answer is here")
        .await;

    b.write("Your e-mail address", NAME).await;
    b.press("Send me a test").await;
    b.sees("Sent, with a six-digit code").await;
    let mails = t.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, [NAME]);
    b.write("The six digits from the message", &code_in(&mails[0]))
        .await;
    b.press("Confirm").await;
    b.sees("Code confirmed.").await;
    b.press("Send me a test").await;
    b.sees("Sent. Check your inbox or phone").await;
    let mails = t.mails();
    assert_eq!(mails.len(), 1);
    let words = mails[0].text.as_deref().unwrap();
    assert!(words.contains("your answer is here"), "{words}");

    b.press("What would it do now?").await;
    b.sees("Open conversations: 1, checked: 1, with an unread message: 1.")
        .await;
    b.sees("with your changes").await;
    b.press("1 Will be reminded").await;
    b.sees("(live now: This channel is not live yet, so nothing is sent.)")
        .await;
    b.sees("in 5 min, an e-mail to d…@example.net").await;
    assert!(!b.page().await.contains(DANA), "whom it is to is masked");
}

async fn publishes_it(b: &Browser) {
    b.press("Save draft").await;
    b.sees("Draft saved.").await;
    b.sees("There is a draft by ann@shop.example").await;
    b.press("Publish").await;
    b.sees("Published. This rule is live now.").await;
    b.sees("Version 1 is live, published by ann@shop.example")
        .await;
    b.follow("Set-up").await;
    b.sees("5 of 6 steps done").await;
}

async fn goes_live(t: &TestApp, b: &Browser) {
    t.tick().await;
    assert!(t.reminders().await.is_empty(), "nothing was asked for");
    // The last step leads there. A channel that was not tried says so, and how.
    b.follow("Go live").await;
    b.arrives_at("/live").await;
    b.open(&format!("{}/live?account=12345678&channel=sms", t.web))
        .await;
    b.sees("No test message by SMS has been confirmed yet.")
        .await;
    b.sees("Send yourself a test message from a rule's page")
        .await;
    b.follow("Review and go live").await;
    b.sees("What would happen").await;
    b.sees("1 customer would be reminded in the next hour, if messages that are unread now were included.")
        .await;
    b.tick("No").await;
    b.tick("Include the 1 customer with unread messages now")
        .await;
    b.press("Go live").await;
    b.agrees_to("Go live? Customers of The Example Shop will get reminders by E-mail from now on.")
        .await;
    b.sees("Live. Reminders are sent from now on.").await;
    b.sees("by ann@shop.example").await;
    // What leads to it is not needed any more.
    let menu = b
        .run("return document.querySelector('#menu').textContent")
        .await;
    assert!(!menu.as_str().unwrap().contains("Set-up"), "{menu}");
}

async fn sees_who_is_next(b: &Browser) {
    b.follow("Reminders").await;
    b.arrives_at("/reminders").await;
    let rows = b
        .run("return document.querySelectorAll('.rows[aria-label=Coming] > li').length")
        .await;
    assert_eq!(rows, 2, "{}", b.page().await);
}

/// How a row begins that is about a conversation.
fn customer(conversation: &str) -> String {
    format!("Customer {}", labels::short_id(conversation))
}

/// Opens the newest reminder of a conversation.
async fn opens_the_reminder_of(b: &Browser, conversation: &str) {
    b.follow("Find").await;
    b.write("E-mail address", conversation).await;
    b.press("Find").await;
    b.follow(&customer(conversation)).await;
    b.sees("What happened").await;
}

async fn cancels(b: &Browser, conversation: &str) {
    opens_the_reminder_of(b, conversation).await;
    b.sees("Scheduled").await;
    b.press("Cancel this reminder").await;
    b.sees("Reminder cancelled.").await;
    b.sees("Cancelled by your team").await;
}

async fn reads_the_mail(t: &TestApp, b: &Browser) {
    let mails = t.mails();
    assert_eq!(mails.len(), 1, "Dana's, and not Finn's");
    assert_eq!(mails[0].to, [DANA]);
    b.open(&t.sandbox.endpoints().mailbox_url).await;
    b.follow(&format!("E-mail {DANA}")).await;
    b.sees("The Example Shop has an answer for you").await;
    let mail = b
        .sees_in_frame("iframe.letter", "your answer is here")
        .await;
    assert!(!mail.contains("Yes, we do"), "the answer is not quoted");
}

/// What the page tells, line by line, without the times.
async fn story(b: &Browser) -> Vec<String> {
    let lines = "return [...document.querySelectorAll('#story ~ .timeline > li > strong')].map((e) => e.textContent)";
    let lines = b.run(lines).await;
    let lines = lines.as_array().unwrap().iter();
    lines
        .map(|line| line.as_str().unwrap().to_owned())
        .collect()
}

const WRITTEN: &str =
    "An agent wrote, and the customer had not read the message when the reminder was scheduled";
const PLANNED: &str = "An e-mail was scheduled";
const CHECKED: &str = "Checked again: still unread, cleared to send";
const HANDED_OVER: &str = "The e-mail was handed to the provider, from hello@shop.example";
const TAKEN: &str = "The provider accepted it";

async fn reads_the_story(t: &TestApp, b: &Browser) {
    b.open(&format!("{}/reminders?state=sent", t.web)).await;
    b.arrives_at("/reminders/sent").await;
    b.run("document.querySelector('.rows a').click()").await;
    b.sees("What happened").await;
    let told = story(b).await;
    assert_eq!(told, [WRITTEN, PLANNED, CHECKED, HANDED_OVER, TAKEN]);
    assert!(!b.page().await.contains(DANA));
}

async fn sends_one_again_whose_fate_is_unknown(t: &TestApp, b: &Browser) {
    let lost = SmtpFault::close(Phase::Final, When::next(1), true);
    t.sandbox.smtp().faults().add(lost);
    let ginas = t.answered(GINA);
    t.tick().await;
    t.advance(5).await;
    assert_eq!(t.mails().len(), 1, "it has arrived, but nobody knows");
    t.advance(1).await;
    opens_the_reminder_of(b, &ginas).await;
    b.sees("May have been sent").await;
    b.press("Send again").await;
    b.agrees_to("Send this reminder again? Everything is checked again before it is sent.")
        .await;
    b.sees("It will be sent again if the message is still unread.")
        .await;
    t.settle().await;
    assert_eq!(t.mails().len(), 1);
    opens_the_reminder_of(b, &ginas).await;
    let told = story(b).await;
    let again = "Sent again by your team";
    let unknown = "It is not known whether it was sent";
    assert_eq!(
        told,
        [
            WRITTEN,
            PLANNED,
            CHECKED,
            HANDED_OVER,
            unknown,
            again,
            CHECKED,
            HANDED_OVER,
            TAKEN
        ]
    );
}

async fn opts_somebody_out(t: &TestApp, b: &Browser) {
    b.press("Opt this customer out").await;
    b.agrees_to("Opt this customer's address out of reminders?")
        .await;
    b.sees("Opted out. This customer gets no more reminders at this address.")
        .await;
    t.answered(GINA);
    t.tick().await;
    t.advance(30).await;
    assert!(t.mails().is_empty(), "no means no");
    looks_up(b, GINA).await;
    b.sees("Opted out or blocked").await;
    b.sees("The customer has opted out.").await;
}

async fn looks_up(b: &Browser, address: &str) {
    b.follow("Customers").await;
    b.arrives_at("/customers").await;
    b.write("E-mail address, phone number", address).await;
    b.press("Look up").await;
}

async fn erases_somebody(b: &Browser) {
    looks_up(b, DANA).await;
    b.press("Erase this customer").await;
    b.agrees_to("Erase this customer's data? This cannot be undone.")
        .await;
    b.sees("Erased: 1 conversation,").await;
    looks_up(b, DANA).await;
    b.sees("No match").await;
    b.follow("Reminders").await;
    b.follow("Sent").await;
    b.arrives_at("/reminders/sent").await;
    // A choice counts at once.
    b.choose("Channel", "SMS").await;
    b.sees("Show all of this list").await;
}

async fn reads_what_was_done(b: &Browser) {
    b.follow("Activity").await;
    b.arrives_at("/activity").await;
    let page = b.page().await;
    for done in [
        "sent a test message",
        "published version 1 of Customer Care",
        "cancelled reminder ",
        " again",
        "erased a customer",
    ] {
        assert!(page.contains(done), "{done} is not in {page}");
    }
    for address in [DANA, FINN, GINA] {
        assert!(!page.contains(address), "{page}");
    }
}

async fn logs_out(b: &Browser) {
    b.press("Log out").await;
    b.arrives_at("/login").await;
    b.go_back().await;
    b.arrives_at("/login").await;
    assert!(!b.page().await.contains("Activity"));
}
