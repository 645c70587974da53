// A page that stays up to date: asks for itself now and then and takes over the parts marked data-live that have changed. It waits
// while the page is not looked at, while somebody is busy in a part, and while it is paused. Without it, reloading does the same.
"use strict";

const EVERY = 10_000;
const button = document.getElementById("live-pause");
let paused = sessionStorage.getItem("live") === "paused";
let timer = 0;
// What the server last said of each part: scripts change what is shown (times in the reader's zone).
const said = new Map();

function busy(part) {
  const marked = window.getSelection();
  return part.contains(document.activeElement) || (marked && !marked.isCollapsed && part.contains(marked.anchorNode));
}

function take(page) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh) continue;
    const before = said.get(part.id) ?? part.innerHTML;
    if (before === fresh.innerHTML || (busy(part) && part.id !== "as-of")) continue;
    said.set(part.id, fresh.innerHTML);
    const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
    part.replaceChildren(...document.adoptNode(fresh).childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    localTimes(part);
  }
}

async function refresh() {
  if (paused || document.hidden) return;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
    if (answer.ok && !paused) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // Logged out, or no connection: the page stays as it is, and says as of when.
  }
}

function show() {
  button.setAttribute("aria-pressed", String(paused));
  clearInterval(timer);
  if (!paused) timer = setInterval(refresh, EVERY);
}

button.addEventListener("click", () => {
  paused = !paused;
  sessionStorage.setItem("live", paused ? "paused" : "on");
  show();
  refresh();
});
document.addEventListener("visibilitychange", refresh);
button.hidden = false;
show();
