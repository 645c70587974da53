// A page that stays up to date: asks for itself now and then and takes over the parts marked data-live that have changed. It waits
// while the page is not looked at, while somebody is busy in a part, and while it is paused. What is not up to date does not look
// well: the sentence about the whole gives way to a grey one that says since when and why. Without it, reloading does the same.
"use strict";

const EVERY = 10_000;
const AFTER_A_FAILURE = 3_000;
const PATIENCE = 8_000;
const LOGGED_OUT = "logged out";
const button = document.getElementById("live-pause");
const health = document.getElementById("health");
const stale = document.getElementById("stale");
const hour = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
let paused = sessionStorage.getItem("live") === "paused";
let timer = 0;
let asking = false;
// Since the last answer.
let failures = 0;
let why = "";
let updated = serverNow();
// What the server last said of each part: scripts change what is shown (times in the reader's zone).
const said = new Map();

function busy(part) {
  if (part === health || part.id === "as-of") return false;
  const marked = window.getSelection();
  return part.contains(document.activeElement) || (marked && !marked.isCollapsed && part.contains(marked.anchorNode));
}

function take(page) {
  setClock(page.documentElement.dataset.now);
  // The word of the forms is written differently each time; that alone is no change.
  const word = document.querySelector("meta[name=csrf]").content;
  for (const field of page.querySelectorAll("input[name=csrf]")) field.setAttribute("value", word);
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh) continue;
    const before = said.get(part.id) ?? part.innerHTML;
    if (before === fresh.innerHTML || busy(part)) continue;
    said.set(part.id, fresh.innerHTML);
    const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
    part.replaceChildren(...document.adoptNode(fresh).childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    localTimes(part);
  }
  tick();
}

// Asks for this page and takes it over. Returns why that did not work.
async function ask() {
  try {
    const answer = await fetch(location.href, {
      credentials: "same-origin", redirect: "manual", signal: AbortSignal.timeout(PATIENCE),
      // Not a sign that somebody is there: the login ends as if the page were not open.
      headers: { "X-Refresh": "1" },
    });
    if (answer.status === 401 || answer.type === "opaqueredirect") return LOGGED_OUT;
    if (!answer.ok) return "the service reported an error";
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.getElementById("health")) return "something else answered";
    if (!paused) take(page);
    return "";
  } catch (error) {
    return error.name === "TimeoutError" ? "no answer" : "no connection";
  }
}

async function refresh() {
  clearTimeout(timer);
  if (asking || paused || document.hidden) return;
  asking = true;
  why = await ask();
  asking = false;
  failures = why ? failures + 1 : 0;
  if (!why) updated = serverNow();
  tell();
  if (!paused) timer = setTimeout(refresh, failures === 1 ? AFTER_A_FAILURE : EVERY);
}

// Why the sentence about the whole cannot be believed.
function doubt() {
  if (paused) return "updates are paused";
  if (why === LOGGED_OUT || failures > 1) return why;
  // After the machine has slept, or the page was not looked at.
  return serverNow() - updated > 3 * EVERY ? "trying again" : "";
}

function tell() {
  const now = doubt();
  const since = `Not updated since ${hour.format(updated)}`;
  const words = now === LOGGED_OUT ? `You have been logged out. ${since}.` : `${since}: ${now}.`;
  const text = stale.querySelector("[data-words]");
  if (now && text.textContent !== words) text.textContent = words;
  stale.querySelector("a").hidden = now !== LOGGED_OUT;
  stale.hidden = !now;
  health.hidden = Boolean(now);
}

button.addEventListener("click", () => {
  paused = !paused;
  sessionStorage.setItem("live", paused ? "paused" : "on");
  button.setAttribute("aria-pressed", String(paused));
  clearTimeout(timer);
  tell();
  refresh();
});

function wake() {
  tell();
  refresh();
}

document.addEventListener("visibilitychange", wake);
for (const event of ["online", "offline", "pageshow"]) window.addEventListener(event, wake);
button.setAttribute("aria-pressed", String(paused));
button.hidden = false;
timer = setTimeout(refresh, EVERY);
tell();
