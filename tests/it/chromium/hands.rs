//! What a person does with a mouse and a keyboard, in the person's words: the names of fields, buttons and links, and what stands on
//! the page. Whatever is not there yet is waited for.

use std::time::Duration;

use serde_json::{Value, json};

use super::Browser;
use crate::harness::PATIENCE;

/// Finds what is visible and has a name, or an option of it. A name that only begins so will do.
const NAMED: &str = r"
const [selector, wanted, option] = arguments;
const tidy = (text) => text.replace(/\s+/g, ' ').trim();
const name = (e) => tidy(e.getAttribute('aria-label') ?? (e.labels?.length ? e.labels[0] : e).textContent);
const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest('[aria-hidden=true]');
const all = [...document.querySelectorAll(selector)].filter(shown);
const found = all.find((e) => name(e) === wanted) ?? all.find((e) => name(e).startsWith(wanted));
// Into the middle of the window, where nothing covers it.
found?.scrollIntoView({ block: 'center', behavior: 'instant' });
return (option ? [...found?.options ?? []].find((o) => tidy(o.textContent) === option) : found) ?? null;
";

const BUTTONS: &str = "button, summary";
const FIELDS: &str = "input, textarea, select, [role=textbox]";

impl Browser {
    /// Tries until it is done, or until anybody would have given up.
    pub(super) async fn patiently<T>(
        &self,
        what: &str,
        mut attempt: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let tried = async {
            loop {
                if let Some(done) = attempt().await {
                    break done;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let Ok(done) = tokio::time::timeout(PATIENCE, tried).await else {
            panic!("{what}: not on this page: {}", self.page().await);
        };
        done
    }

    /// The address and the words of the page.
    pub async fn page(&self) -> String {
        let script = "return location.href + '\\n' + (document.body?.innerText ?? '')";
        let script = json!({ "script": script, "args": [] });
        match self.ask("execute/sync", Some(script)).await {
            Ok(page) => page.as_str().unwrap_or_default().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Waits until the page says so.
    pub async fn sees(&self, words: &str) {
        self.patiently(words, async || {
            self.page().await.contains(words).then_some(())
        })
        .await;
    }

    /// Waits until this page of the site is shown.
    pub async fn arrives_at(&self, path: &str) {
        let script = json!({ "script": "return document.readyState === 'complete' && location.pathname", "args": [] });
        self.patiently(path, async || {
            let at = self.ask("execute/sync", Some(script.clone())).await;
            at.is_ok_and(|at| at == path).then_some(())
        })
        .await;
    }

    /// Does something to the element of this kind that has this name, as soon as there is one and it can be done.
    async fn with_named(&self, kind: &str, name: &str, command: &str, body: &Value) {
        self.with_found(&json!([kind, name]), command, body).await;
    }

    async fn with_found(&self, wanted: &Value, command: &str, body: &Value) {
        let look = json!({ "script": NAMED, "args": wanted });
        self.patiently(&wanted.to_string(), async || {
            let found = self.ask("execute/sync", Some(look.clone())).await.ok()?;
            let element = found.as_object()?.values().next()?.as_str()?;
            let command = format!("element/{element}/{command}");
            self.ask(&command, Some(body.clone())).await.ok()
        })
        .await;
    }

    /// Clicks on a button, or on what unfolds a part of the page.
    pub async fn press(&self, name: &str) {
        self.with_named(BUTTONS, name, "click", &json!({})).await;
    }

    /// Clicks on a link.
    pub async fn follow(&self, name: &str) {
        self.with_named("a[href]", name, "click", &json!({})).await;
    }

    /// Ticks a box, or takes the tick away.
    pub async fn tick(&self, label: &str) {
        self.with_named(FIELDS, label, "click", &json!({})).await;
    }

    /// Writes into a field, in place of what it says.
    pub async fn write(&self, label: &str, text: &str) {
        self.with_named(FIELDS, label, "clear", &json!({})).await;
        let text = json!({ "text": text });
        self.with_named(FIELDS, label, "value", &text).await;
    }

    /// Chooses from a list.
    pub async fn choose(&self, label: &str, option: &str) {
        let wanted = json!(["select", label, option]);
        self.with_found(&wanted, "click", &json!({})).await;
    }

    /// Says yes to the question that the page asks.
    pub async fn agrees_to(&self, question: &str) {
        let asked = self
            .patiently(question, async || self.ask("alert/text", None).await.ok())
            .await;
        assert_eq!(asked, question);
        self.post("alert/accept", json!({})).await;
    }

    /// Goes back, as with the browser's button.
    pub async fn go_back(&self) {
        self.post("back", json!({})).await;
    }

    /// Waits until a frame of the page says so. Returns all that it says.
    pub async fn sees_in_frame(&self, selector: &str, words: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": selector });
        let read = json!({ "script": "return document.body?.innerText", "args": [] });
        let said = self
            .patiently(words, async || {
                // The page may have put another in its place.
                self.post("frame", json!({ "id": null })).await;
                let frame = self.ask("element", Some(wanted.clone())).await.ok()?;
                self.ask("frame", Some(json!({ "id": frame }))).await.ok()?;
                let said = self.ask("execute/sync", Some(read.clone())).await.ok()?;
                let said = said.as_str()?.to_owned();
                said.contains(words).then_some(said)
            })
            .await;
        self.post("frame", json!({ "id": null })).await;
        said
    }
}
