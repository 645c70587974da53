// The rule editor as one writes: what it means and what customers would get is asked of the server, which knows; so are the rows of the
// steps, when they are moved; names are put where the cursor is; the mail is shown in its frame; the draft saves itself. Without this, the
// buttons and saving show and do the same.
"use strict";

const form = document.getElementById("rule");
const look = document.getElementById("look");
const steps = document.getElementById("steps");
const sides = document.querySelector("[data-sides]");
let last = null;
let waiting = 0;
let asked = 0;
// The button of the channel and language whose mail is shown.
let shown = sides?.querySelector("[data-preview]");

// What the server makes of the form; with the wish of a button, after it.
async function ask(wish) {
  const body = new URLSearchParams(new FormData(form));
  if (wish) body.set("do", wish);
  const answer = await fetch(form.dataset.look, { method: "POST", credentials: "same-origin", redirect: "manual", body });
  return answer.ok ? answer.text() : null;
}

async function lookAgain(wish) {
  const mine = ++asked;
  const before = stepsWritten();
  try {
    const answer = await ask(wish);
    if (answer === null || (mine !== asked && !wish)) return;
    look.innerHTML = answer;
    showPart("contradictions");
    showPart("customers");
    if ((wish || inOrder) && before === stepsWritten()) showSteps();
    showTexts();
    showMail();
  } catch {
    // The next change asks again.
  }
}

// Parts of the answer that stand elsewhere: what the form promises and cannot do above the button that publishes it, and what customers
// would get under the steps.
function showPart(name) {
  const found = look.querySelector(`template[data-part="${name}"]`);
  if (found) document.getElementById(name).replaceChildren(found.content.cloneNode(true));
}

// A step may have got a new place: its rows are shown anew once its field is left, or a button was pressed.
let inOrder = false;

function stepsWritten() {
  return JSON.stringify([...steps.querySelectorAll("[name]:not(button)")].map((field) => [field.name, field.value]));
}

function showSteps() {
  const focused = steps.contains(document.activeElement) ? document.activeElement.id : "";
  showPart("steps");
  inOrder = false;
  if (focused) document.getElementById(focused)?.focus();
  showChannels();
}

// A channel that no step uses is folded away.
function showChannels() {
  const used = new Set([...steps.querySelectorAll("[name=step_channel]")].map((field) => field.value));
  for (const part of form.querySelectorAll("details[data-channel]")) {
    const isUsed = String(used.has(part.dataset.channel));
    if (part.dataset.used !== isUsed) part.open = isUsed === "true";
    part.dataset.used = isUsed;
  }
}

async function changeSteps(wish) {
  await lookAgain(wish);
  const [, what, at] = wish.split("_");
  const rows = steps.querySelectorAll("[name=step_channel]");
  const next = { up: at - 1, down: Number(at) + 1, add: rows.length - 1, remove: Math.min(at, rows.length - 1) };
  rows[next[what]]?.focus();
  unsaved.add(form);
  saveSoon(SAVED_AFTER);
}

steps.addEventListener("change", () => {
  inOrder = true;
  showChannels();
  lookAgain();
});

steps.addEventListener("click", (event) => {
  const button = event.target.closest("button[value^=step_]");
  if (!button) return;
  event.preventDefault();
  changeSteps(button.value);
});

// A link into a part that is folded opens it.
form.addEventListener("click", (event) => {
  const hash = event.target.closest("a[href^='#']")?.hash.slice(1);
  let part = hash && document.getElementById(hash);
  for (; part; part = part.parentElement.closest("details")) part.open = true;
});

// The texts beside the mail: those of the part of the page that says what the form means.
function showTexts() {
  if (!sides) return;
  for (const pane of sides.querySelectorAll("[data-text]")) {
    const sample = look.querySelector(`.sample[data-text="${CSS.escape(pane.dataset.text)}"]`);
    const words = sample?.querySelectorAll(":scope > p > strong, :scope > pre") ?? [];
    if (words.length) pane.replaceChildren(...[...words].map((word) => word.cloneNode(true)));
    pane.hidden = pane.dataset.text !== shown?.value;
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
  if (event.target.matches("[name=test_to], [name=test_code], [name=test_language], [name=test_channel], [name=conversation]")) return;
  clearTimeout(waiting);
  waiting = setTimeout(() => lookAgain(), 400);
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
    say("Not saved: you have been logged out. Your changes come back after you log in.", true);
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
  say(`Not saved: ${told.fault ?? "the service reported an error."}`);
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
