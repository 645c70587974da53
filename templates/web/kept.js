// What somebody writes is not lost: it is kept in this tab until its form has been answered, and comes back after the login of the
// same person if their session had ended, or if no answer came. Never a password, a code or a file. Leaving a page with changes that
// are not saved asks first. Without it, the browser does what it does.
"use strict";

const KEPT = "kept-form";
const KEPT_FOR = 12 * 3_600_000;
const SECRET = "[type=password], [autocomplete=one-time-code]";
const reader = document.body.dataset.reader ?? "";

// Forms with changes that are not saved.
const unsaved = new Set();

function isKept(field) {
  return field.name && !field.disabled && (field.name === "seen" || !field.matches(`[type=hidden], [type=file], button, ${SECRET}`));
}

function isWritten(field) {
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.options) return [...field.options].some((option) => option.selected !== option.defaultSelected && option.index > 0);
  return field.value !== field.defaultValue;
}

// Forms with the same address are told apart by their order.
const withAction = (action) => [...document.querySelectorAll("main form")].filter((form) => (form.getAttribute("action") ?? "") === action);

function keep(form, ended) {
  const fields = [...form.elements].filter((field) => field.name !== "seen" && isKept(field));
  if (form.dataset.unkept !== undefined || form.querySelector("[type=password]") || !fields.length) return;
  const action = form.getAttribute("action") ?? "";
  const values = [...form.elements].filter(isKept).map((field) => [field.name, field.value, field.checked === true]);
  const kept = {
    reader, action, values, ended, nth: withAction(action).indexOf(form), page: location.pathname + location.search, at: Date.now(),
  };
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  } catch {
    // There is no room for it: then it is as without this script.
  }
}

function forget() {
  sessionStorage.removeItem(KEPT);
}

function found() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    if (kept && Date.now() - kept.at < KEPT_FOR) return kept;
  } catch {
    // Nothing of ours.
  }
  forget();
  return null;
}

function fill(form, values) {
  const left = [...form.elements].filter(isKept);
  for (const [name, value, checked] of values) {
    const choice = (field) => field.type === "checkbox" || field.type === "radio";
    const at = left.findIndex((field) => field.name === name && (!choice(field) || field.value === value));
    if (at < 0) continue;
    const [field] = left.splice(at, 1);
    if (choice(field)) field.checked = checked;
    else field.value = value;
    if (isWritten(field)) {
      for (let part = field.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
    }
  }
}

function comeBack(kept) {
  const form = withAction(kept.action)[kept.nth];
  if (!form) return;
  fill(form, kept.values);
  const note = document.createElement("p");
  note.className = "flash waiting";
  note.id = "came-back";
  note.tabIndex = -1;
  note.textContent = "Your changes are back. They are not saved yet.";
  note.setAttribute("role", "status");
  document.getElementById("main").prepend(note);
  note.focus();
  if (form.dataset.unsaved !== undefined) unsaved.add(form);
  form.dispatchEvent(new Event("input", { bubbles: true }));
}

// On a page of somebody who is logged in.
function onPage() {
  const kept = found();
  if (!kept) return;
  const here = kept.page === location.pathname + location.search;
  const [visit] = performance.getEntriesByType("navigation");
  const unanswered = here && visit && visit.type !== "navigate";
  if (kept.reader === reader && kept.ended && !here) return;
  forget();
  if (kept.reader === reader && ((kept.ended && here) || unanswered)) comeBack(kept);
}

// On the way in.
function onLogin() {
  const kept = found();
  if (!kept) return;
  sessionStorage.setItem(KEPT, JSON.stringify({ ...kept, ended: true }));
  document.getElementById("kept-note")?.removeAttribute("hidden");
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  const target = event.submitter?.formTarget || form.target;
  if (event.defaultPrevented || form.method !== "post" || target) return;
  if (!reader) return;
  unsaved.delete(form);
  if (/^\/(logout|settings\/log-out)$/.test(form.getAttribute("action") ?? "")) forget();
  else keep(form, false);
});

document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (form?.dataset.unsaved !== undefined && !event.target.closest("[data-beside]")) unsaved.add(form);
});

window.addEventListener("beforeunload", (event) => {
  if (unsaved.size) event.preventDefault();
});

document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.querySelectorAll("form[data-unsaved=now]")) unsaved.add(form);
  if (reader) onPage();
  else if (location.pathname.startsWith("/login")) onLogin();
});
