//! The keyboard alone: from stop to stop with Tab, each of which must show that the focus is there.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Browser;

pub const TAB: char = '\u{E004}';
pub const ENTER: char = '\u{E007}';
pub const SPACE: char = ' ';
const SHIFT: char = '\u{E008}';
const CONTROL: char = '\u{E009}';

/// More stops than any page has.
const MOST_STOPS: usize = 250;

/// More stops than one of them has parts.
const PARTS: usize = 12;

/// Where the focus is: what it is on, and whether one can see that.
const FOCUS: &str = r"
const e = document.activeElement;
if (!e || e === document.body) return null;
const tidy = (text) => text.replace(/\s+/g, ' ').trim();
const name = tidy(e.getAttribute('aria-label') ?? (e.labels?.length ? e.labels[0] : e).textContent);
const look = getComputedStyle(e);
const box = e.getBoundingClientRect();
const inside = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
const x = Math.min(Math.max(box.left + Math.min(box.width / 2, 20), 1), innerWidth - 2);
const y = Math.min(Math.max((Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2, 1), innerHeight - 2);
const top = document.elementFromPoint(x, y);
const covered = !top || !(e.contains(top) || top.contains(e));
window.stops ??= new Map();
if (!stops.has(e)) stops.set(e, stops.size);
return {
  name, tag: e.localName, stop: stops.get(e),
  // What is in a frame shows its own.
  ring: e.localName === 'iframe' || (look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) >= 2),
  seen: inside && !covered,
};
";

/// What can be used or scrolled, and was not among the stops.
const UNREACHABLE: &str = r"
const all = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]')];
const groups = new Set(all.filter((e) => e.type === 'radio' && stops.has(e)).map((e) => e.name));
return all.filter((e) => e.tabIndex >= 0 && !e.matches(':disabled') && e.checkVisibility({ visibilityProperty: true }))
  .filter((e) => !stops.has(e) && !(e.type === 'radio' && groups.has(e.name))).map((e) => e.outerHTML.slice(0, 120));
";

/// What the keyboard's focus is on.
#[derive(Clone, Debug)]
pub struct Focus {
    pub name: String,
    pub tag: String,
    stop: u64,
    ring: bool,
    seen: bool,
}

impl Browser {
    /// Presses keys one after the other.
    pub async fn keys(&self, keys: impl IntoIterator<Item = char>) {
        let strokes = keys.into_iter().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        self.strike(strokes.collect()).await;
    }

    /// A key while another is held down.
    async fn chord(&self, held: char, key: char) {
        let stroke = |kind: &str, key: char| json!({ "type": kind, "value": key.to_string() });
        let strokes = [
            ("keyDown", held),
            ("keyDown", key),
            ("keyUp", key),
            ("keyUp", held),
        ];
        self.strike(strokes.map(|(kind, key)| stroke(kind, key)).to_vec())
            .await;
    }

    async fn strike(&self, strokes: Vec<Value>) {
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.post("actions", json!({ "actions": [keyboard] })).await;
    }

    /// What the focus is on; nothing right after a page was opened.
    pub async fn focus(&self) -> Option<Focus> {
        let found = self.run(FOCUS).await;
        let word = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        Some(Focus {
            stop: found.as_object()?["stop"].as_u64()?,
            name: word("name"),
            tag: word("tag"),
            ring: found["ring"] == true,
            seen: found["seen"] == true,
        })
    }

    /// One stop further, where the focus must be seen. `None`: the page is through, and the browser's own buttons follow.
    pub async fn tab(&self) -> Option<Focus> {
        self.keys([TAB]).await;
        let focus = self.focus().await?;
        assert!(
            focus.ring && focus.seen,
            "the focus is not seen on {focus:?}"
        );
        Some(focus)
    }

    /// One stop back.
    pub async fn tab_back(&self) -> Option<Focus> {
        self.chord(SHIFT, TAB).await;
        self.focus().await
    }

    /// Goes on with Tab to the stop with this name.
    pub async fn reach(&self, name: &str) -> Focus {
        self.reach_where(name, |focus| focus == name).await
    }

    /// The same to the next whose name begins so.
    pub async fn reach_one_of(&self, begin: &str) -> Focus {
        self.reach_where(begin, |focus| focus.starts_with(begin))
            .await
    }

    async fn reach_where(&self, name: &str, is: impl Fn(&str) -> bool) -> Focus {
        let mut passed = Vec::new();
        for _ in 0..MOST_STOPS {
            if let Some(focus) = self.tab().await {
                if is(&focus.name) {
                    return focus;
                }
                passed.push(focus.name);
            }
        }
        panic!("no way to {name} with Tab: {passed:?}");
    }

    /// Waits until the focus is on what has this name, or begins with it.
    pub async fn finds_the_focus_on(&self, name: &str) -> Focus {
        self.patiently(name, async || {
            self.focus()
                .await
                .filter(|focus| focus.name.starts_with(name))
        })
        .await
    }

    /// Goes through the page from the first stop, the link to the content, to the last. Fails if one keeps the focus, or comes
    /// twice. Returns what can be used, but not be reached.
    pub async fn unreachable(&self) -> Value {
        self.run("window.stops = undefined; document.querySelector('.skip').focus()")
            .await;
        let first = self.focus().await.expect("a link to the content");
        let mut passed = HashSet::from([first.stop]);
        let mut last = (first.stop, 0);
        while let Some(focus) = self.tab().await {
            if focus.stop == first.stop {
                // This browser has nothing of its own after the last stop: the page begins anew.
                break;
            }
            // A time has its hours and its minutes, a frame its links.
            let within = if focus.stop == last.0 { last.1 + 1 } else { 0 };
            let caught = within > PARTS || (within == 0 && !passed.insert(focus.stop));
            assert!(!caught, "the keyboard is caught at {focus:?}");
            last = (focus.stop, within);
        }
        self.run(UNREACHABLE).await
    }

    /// Writes in place of what the field says.
    pub async fn overwrite(&self, text: &str) {
        self.chord(CONTROL, 'a').await;
        self.keys(text.chars()).await;
    }
}
