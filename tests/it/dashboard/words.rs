//! The texts of a rule as a marketer writes them: with names between the words and no code, and the message always beside them.

use serde_json::Value;
use unread::domain::access::Role;

use crate::chromium::Browser;
use crate::harness::{TestApp, eventually, run_test};
use crate::person::Person;

const EDITOR: &str = "/rules/12345678/default";

/// Somebody at work, whose clicks are counted; to write into a field is one.
struct Hand<'b> {
    browser: &'b Browser,
    clicks: usize,
}

impl Hand<'_> {
    async fn follow(&mut self, link: &str) {
        self.clicks += 1;
        self.browser.follow(link).await;
    }

    async fn press(&mut self, button: &str) {
        self.clicks += 1;
        self.browser.press(button).await;
    }

    async fn write(&mut self, field: &str, text: &str) {
        self.clicks += 1;
        self.browser.write(field, text).await;
    }

    /// One to open the list, and one in it.
    async fn choose(&mut self, field: &str, option: &str) {
        self.clicks += 2;
        self.browser.choose(field, option).await;
    }
}

async fn log_in(t: &TestApp, b: &Browser, role: Role) -> Person {
    let person = t.person(role).await;
    b.open(&format!("{}/healthz", t.web)).await;
    b.take_cookie(&person.cookie).await;
    person
}

/// What is seen of the page and of its fields.
const SEEN: &str =
    "return document.body.innerText + [...document.querySelectorAll('input, textarea')]
  .filter((field) => field.checkVisibility()).map((field) => field.value).join(' ')";

async fn source(b: &Browser, field: &str) -> String {
    let script = format!("return document.getElementById('{field}').value");
    b.run(&script).await.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_text_of_ones_own_is_live_after_twelve_clicks_and_no_code() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        let b = &browser;
        log_in(t, b, Role::Editor).await;
        b.open(&format!("{}/", t.web)).await;
        let mut hand = Hand {
            browser: b,
            clicks: 0,
        };
        hand.follow("Rules").await;
        b.arrives_at("/rules").await;
        hand.follow("All other skills").await;
        b.sees("What a customer would get").await;
        hand.follow("Message").await;
        // The standard text stands in the fields.
        b.sees("that you have not read yet.").await;
        hand.write("Subject", "We have an answer for you").await;
        hand.write("Text", "Hi ").await;
        hand.press("First name").await;
        hand.choose("If unknown, write", "these words:").await;
        hand.write("Words", "there").await;
        hand.press("Done").await;
        b.sees_in_frame("iframe[name=mail-email-en]", "Hi Dana")
            .await;
        let seen = b.run(SEEN).await;
        assert!(!seen.as_str().unwrap().contains("{{"), "{seen}");
        hand.press("Publish").await;
        b.sees("Published. This rule is live now.").await;
        assert!(hand.clicks <= 12, "{} clicks", hand.clicks);

        t.answered("dana@example.net");
        t.tick().await;
        t.advance(10).await;
        let mail = &t.mails()[0];
        assert_eq!(mail.subject(), "We have an answer for you");
        let text = mail.text.as_deref().unwrap();
        assert!(text.starts_with("Hi "), "{text}");
        assert!(text.contains("Stop these reminders: http"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_text_is_shown_as_it_will_be_read_in_every_language_and_as_code_for_who_wants_it() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        let b = &browser;
        let person = log_in(t, b, Role::Editor).await;
        b.open(&format!("{}{EDITOR}", t.web)).await;
        b.sees_in_frame("iframe[name=mail-email-en]", "Hi Dana")
            .await;
        // A piece is edited as a whole: by keyboard, too.
        b.run("document.querySelector('#email_t0_text ~ .pieces .chip').focus()")
            .await;
        b.keys([crate::chromium::ENTER]).await;
        b.write("Words", "Good day,").await;
        b.press("Done").await;
        let text = source(b, "email_t0_text").await;
        assert!(
            text.starts_with("{{#if first_name}}Hi {{first_name}},{{else}}Good day,{{/if}}\n\n"),
            "{text}"
        );
        // As code, and back.
        b.press("Code").await;
        b.write(
            "Text",
            "Bonjour {{#if agent}}{{agent}}{{else}}{{brand}}{{/if}}\n{{link}}",
        )
        .await;
        b.press("Code").await;
        b.sees("or Brand").await;
        // Conditions that are no pieces stay code.
        b.press("Code").await;
        b.write("Text", "{{#unless agent}}We{{/unless}} {{link}}")
            .await;
        b.press("Code").await;
        b.sees("This text has conditions that are edited as code.")
            .await;
        assert_eq!(
            source(b, "email_t0_text").await,
            "{{#unless agent}}We{{/unless}} {{link}}"
        );
        b.press("Start from").await;
        b.press("Standard text").await;
        b.sees("Standard text. Change it, and it is yours.").await;
        // Another language, by its name, begins with its own standard text.
        b.choose("E-mail: more languages", "German (standard text)")
            .await;
        b.press("Add to E-mail").await;
        b.sees_in_frame("iframe[name=mail-email-de]", "Guten Tag Dana")
            .await;
        b.press("Dark").await;
        b.sees_in_frame("iframe[name=mail-email-de]", "Guten Tag Dana")
            .await;
        b.write("Preheader", "Eine Antwort wartet").await;
        // It may say so of what was written before.
        b.sees("Saved").await;
        let mut templates = Value::Null;
        eventually("the preheader is in the draft", async || {
            let rule = person.get("/api/v1/rules/12345678/default").await.json();
            templates = rule["draft"]["settings"]["channels"]["email"]["templates"].clone();
            templates["de"]["preheader"] == "Eine Antwort wartet"
        })
        .await;
        assert!(templates.get("en").is_none(), "{templates}");
    })
    .await;
}
