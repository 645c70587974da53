// The rule editor as one writes: what it means is asked of the server, which knows; names are put where the cursor is; the mail is
// shown in its frame; the draft saves itself. Without this, saving shows and does the same.
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
      method: "POST", credentials: "same-origin", redirect: "manual", body: new URLSearchParams(new FormData(form)),
    });
    if (!answer.ok || mine !== asked) return;
    look.innerHTML = await answer.text();
    showContradictions();
    showTexts();
    showMail();
  } catch {
    // The next change asks again.
  }
}

// What the form promises and cannot do stands above the button that publishes it.
function showContradictions() {
  const found = look.querySelector("template[data-contradictions]");
  if (found) document.getElementById("contradictions").replaceChildren(found.content.cloneNode(true));
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

// What is written beside the rule: whom it is tried with, and where a test goes.
const beside = new Set([...form.querySelectorAll("[data-beside] [name]")].map((field) => field.name));

form.addEventListener("input", (event) => {
  // Names and numbers of the preview change how the words read; where a test goes does not.
  if (event.target.matches("[name=test_to], [name=test_code], [name=test_language], [name=conversation]")) return;
  clearTimeout(waiting);
  waiting = setTimeout(lookAgain, 400);
  if (!beside.has(event.target.name)) saveSoon(SAVED_AFTER);
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

const SAVED_AFTER = 1_500;
const TRIED_AGAIN_AFTER = 10_000;
const note = document.getElementById("saved");
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
let soon = 0;
let saving = null;
// Somebody else's change is there: only the person decides what becomes of both.
let stopped = !note;

function written() {
  const fields = [...new FormData(form)].filter(([name]) => !beside.has(name) && name !== "csrf" && name !== "seen");
  return JSON.stringify(fields);
}

function say(words, login) {
  note.textContent = words;
  note.classList.toggle("fault", !words.startsWith("Saved"));
  if (!login) return;
  const link = document.createElement("a");
  link.href = `/login?to=${encodeURIComponent(location.pathname)}`;
  link.textContent = "Log in";
  note.append(" ", link);
}

function saveSoon(wait) {
  if (stopped) return;
  clearTimeout(soon);
  soon = setTimeout(save, wait);
}

// Saves the draft. Returns after how long it is to be tried again, if it is.
async function saveNow(mine) {
  let answer;
  try {
    answer = await fetch(form.dataset.save, {
      method: "POST", credentials: "same-origin", redirect: "manual", body: new URLSearchParams(new FormData(form)),
    });
  } catch {
    say("Not saved: no connection.");
    return TRIED_AGAIN_AFTER;
  }
  if (answer.type === "opaqueredirect" || answer.status === 401) {
    keep(form, true);
    say("Not saved: you have been logged out. What you wrote comes back after the login.", true);
    return 0;
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) {
    for (const field of document.querySelectorAll("input[name=seen]")) field.value = told.seen;
    for (const part of document.querySelectorAll("[data-draft]")) part.hidden = false;
    say(`Saved ${clock.format(Date.parse(told.at))}`);
    if (written() !== mine) return SAVED_AFTER;
    unsaved.delete(form);
    return 0;
  }
  stopped = answer.status === 409;
  say(`Not saved: ${told.fault ?? "the service reports an error."}`);
  return told.fault ? 0 : TRIED_AGAIN_AFTER;
}

async function save() {
  if (saving || stopped) return;
  saving = saveNow(written());
  const again = await saving;
  saving = null;
  if (again) saveSoon(again);
}

// What is sent by hand must know what was saved by itself.
form.addEventListener("submit", (event) => {
  if (event.submitter?.formTarget) return;
  clearTimeout(soon);
  if (!saving) return;
  event.preventDefault();
  saving.finally(() => form.requestSubmit(event.submitter));
});

if (form.dataset.unsaved === "now") saveSoon(SAVED_AFTER);
