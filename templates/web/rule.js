// The rule editor as one writes: what it means is asked of the server, which knows; names are put where the cursor is; the mail is
// shown in its frame. Without this, saving shows the same.
"use strict";

const form = document.getElementById("rule");
const look = document.getElementById("look");
const sides = document.querySelector("[data-sides]");
let last = null;
let waiting = 0;
let asked = 0;
// The button of the language whose mail is shown.
let shown = sides?.querySelector("[data-preview]");

async function lookAgain() {
  const mine = ++asked;
  try {
    const answer = await fetch(form.dataset.look, {
      method: "POST", credentials: "same-origin", body: new URLSearchParams(new FormData(form)),
    });
    if (!answer.ok || mine !== asked) return;
    look.innerHTML = await answer.text();
    showTexts();
    showMail();
  } catch {
    // The next change asks again.
  }
}

// The texts beside the mail: those of the part of the page that says what the form means.
function showTexts() {
  if (!sides) return;
  for (const pane of sides.querySelectorAll("[data-language]")) {
    const sample = look.querySelector(`.sample[data-language="${CSS.escape(pane.dataset.language)}"]`);
    const words = sample?.querySelectorAll(":scope > p > strong, :scope > pre") ?? [];
    if (words.length) pane.replaceChildren(...[...words].map((word) => word.cloneNode(true)));
    pane.hidden = pane.dataset.language !== shown?.value;
  }
}

// The mail in its frame, which is a new one each time: else every change would be a step back for the browser's button.
function showMail() {
  if (!shown) return;
  const frame = form.querySelector("iframe.mail");
  frame.replaceWith(frame.cloneNode(false));
  form.requestSubmit(shown);
}

if (sides) {
  sides.addEventListener("click", (event) => {
    const button = event.target.closest("[data-preview]");
    if (!button) return;
    event.preventDefault();
    shown = button;
    for (const other of sides.querySelectorAll("[data-preview]")) other.setAttribute("aria-pressed", String(other === shown));
    showTexts();
    showMail();
  });
  shown?.click();
}

form.addEventListener("input", (event) => {
  // Where it goes and whom it is tried with says nothing of the rule.
  if (event.target.matches("[name=test_to], [name=test_code], [name=test_language], [name=conversation]")) return;
  clearTimeout(waiting);
  waiting = setTimeout(lookAgain, 400);
});

form.addEventListener("focusin", (event) => {
  if (event.target.matches("[data-words]")) last = event.target;
});

form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-insert]");
  if (!button || !last) return;
  last.setRangeText(`{{${button.dataset.insert}}}`, last.selectionStart, last.selectionEnd, "end");
  last.focus();
  last.dispatchEvent(new Event("input", { bubbles: true }));
});
