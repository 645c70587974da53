// The rule editor as one writes: what it means and what customers would get is asked of the server, which knows; so are the rows of the
// steps, when they are moved, and the texts, when a language comes or goes; the draft saves itself. Without this, the buttons and saving
// show and do the same.
"use strict";

const form = document.getElementById("rule");
const look = document.getElementById("look");
const steps = document.getElementById("steps");
let waiting = 0;
let asked = 0;

// What the server makes of the form; with the wish of a button, after it, and what was chosen for that.
async function ask(wish, chosen = {}) {
  const body = new URLSearchParams(new FormData(form));
  if (wish) body.set("do", wish);
  for (const [name, value] of Object.entries(chosen)) body.set(name, value);
  const answer = await fetch(form.dataset.look, { method: "POST", credentials: "same-origin", redirect: "manual", body });
  return answer.ok ? answer.text() : null;
}

// Returns whether there was an answer.
async function lookAgain(wish, chosen) {
  const mine = ++asked;
  const before = stepsWritten();
  try {
    const answer = await ask(wish, chosen);
    if (answer === null || (mine !== asked && !wish)) return false;
    look.innerHTML = answer;
    for (const part of look.querySelectorAll("template[data-part]")) {
      if (part.dataset.part !== "steps" && !part.dataset.part.endsWith("-texts")) showPart(part.dataset.part);
    }
    if ((wish || inOrder) && before === stepsWritten()) showSteps();
    if (!wish?.startsWith("text_")) messages.showMails();
    return true;
  } catch {
    // The next change asks again.
    return false;
  }
}

// Parts of the answer that stand elsewhere: what the form promises and cannot do above the button that publishes it, and what customers
// would get under the steps.
function showPart(name) {
  const found = look.querySelector(`template[data-part="${name}"]`);
  const part = found && document.getElementById(name);
  if (!part) return;
  const wasOpen = part.querySelector(":scope > details")?.open;
  part.replaceChildren(found.content.cloneNode(true));
  if (wasOpen) part.querySelector(":scope > details")?.setAttribute("open", "");
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

// The texts of a channel, as a button has changed them: one button after the other, so that none is lost.
let changing = Promise.resolve();

function changeTexts(wish, chosen) {
  const next = () => changeNow(wish(), chosen);
  changing = changing.then(next, next);
}

async function changeNow(wish, chosen) {
  if (!wish) return;
  const [, what, channel] = wish.split("_");
  let before = null;
  // What was written meanwhile is not in the answer.
  while (before !== written()) {
    before = written();
    if (!(await lookAgain(wish, chosen))) return;
  }
  const found = look.querySelector(`template[data-part="${channel}-texts"]`);
  if (!found) return;
  messages.replace(channel, found.content.cloneNode(true), what !== "add");
  if (what === "show") return;
  document.querySelector(`#${channel}-texts [role=tab][aria-selected=true]`)?.focus();
  unsaved.add(form);
  saveSoon(SAVED_AFTER);
}

// What a button asks for. Its row may have another number since it was pressed.
function wishOf(button) {
  const key = button.closest(".language")?.dataset.key;
  if (button.isConnected || !key) return button.value;
  const now = form.querySelectorAll(`.language[data-key="${key}"] button[value^=text_]`);
  return [...now].find((other) => other.textContent === button.textContent)?.value ?? "";
}

form.addEventListener("click", (event) => {
  const button = event.target.closest("button[value^=text_]");
  const code = event.target.closest("[data-code]");
  if (code) {
    const panel = code.closest(".language");
    const [channel] = panel.dataset.key.split("/");
    if (messages.toggleCode(panel)) changeTexts(() => `text_show_${channel}`);
  }
  if (!button) return;
  event.preventDefault();
  const add = button.value.startsWith("text_add_") && button.parentElement.querySelector("select");
  if (add && !add.value) add.focus();
  else changeTexts(() => wishOf(button), add ? { [add.name]: add.value } : {});
});

// What was written before a login has come back into the fields.
form.addEventListener("input", (event) => {
  if (event.target !== form) return;
  for (const part of form.querySelectorAll("[data-message]")) changeTexts(() => `text_show_${part.dataset.message}`);
});

// A link into a part that is folded, or hidden by another language, opens it.
document.addEventListener("click", (event) => {
  const hash = event.target.closest("a[href^='#']")?.hash.slice(1);
  const target = hash && document.getElementById(hash);
  if (!target) return;
  for (let part = target; part; part = part.parentElement.closest("details")) part.open = true;
  if (target.closest(".words-field")) {
    event.preventDefault();
    messages.reveal(hash);
  }
});

// What is written beside the rule: whom it is tried with, and where a test goes.
const beside = new Set([...form.querySelectorAll("[data-beside] [name]")].map((field) => field.name));

form.addEventListener("input", (event) => {
  // Names and numbers of the preview change how the words read; where a test goes does not.
  if (event.target.matches("[name=test_to], [name=test_code], [name=test_language], [name=test_channel], [name=conversation]")) return;
  clearTimeout(waiting);
  waiting = setTimeout(() => lookAgain(), 400);
  if (!beside.has(event.target.name)) saveSoon(SAVED_AFTER);
});

// Hours: a spare row more as soon as the last one is used; a row that is removed says nothing.
form.addEventListener("toggle", (event) => {
  const spare = event.target;
  if (!spare.matches(".add[open]") || spare.nextElementSibling?.matches(".add")) return;
  const next = spare.cloneNode(true);
  next.open = false;
  for (const field of next.querySelectorAll("[name]")) {
    field.name = field.name.replace(/_w(\d+)_/, (_, row) => `_w${Number(row) + 1}_`);
    if (field.id) field.id = field.name;
    field.checked = false;
    if (field.type !== "checkbox") field.value = "";
  }
  spare.after(next);
}, true);

form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-clear]");
  if (!button) return;
  const row = button.closest(".window");
  for (const field of row.querySelectorAll("input:not([type=checkbox])")) field.value = "";
  row.hidden = true;
  (row.closest(".hours").querySelector(".add:last-of-type > summary") ?? form).focus();
  row.querySelector("input").dispatchEvent(new Event("input", { bubbles: true }));
});

for (const button of form.querySelectorAll("[data-clear]")) button.hidden = false;

// The index says which part one is at.
const index = new Map([...document.querySelectorAll(".parts a")].map((link) => [document.getElementById(link.hash.slice(1)).closest(".part"), link]));
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) index.get(target).setAttribute("aria-current", "true");
    else index.get(target).removeAttribute("aria-current");
  }
}, { rootMargin: "-30% 0px -69% 0px" });
for (const part of index.keys()) seen.observe(part);

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
