// What every page of the dashboard needs of scripts: times in the reader's own zone that go on while one reads, questions before
// what cannot be undone. Without it everything can still be read and done.
"use strict";

const zone = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium", timeStyle: "short",
});
const zoneName = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const name = zoneName.formatToParts(at).find((part) => part.type === "timeZoneName");
    const said = `${zone.format(at)} ${name ? name.value : ""}`;
    const shown = time.querySelector(".absolute");
    // One of both is read, the other is beside it when pointed at.
    if (shown) shown.textContent = said;
    else time.title = said;
  }
}

// The service's clock: "5 min ago" is by it, whatever the reader's machine believes.
let ahead = 0;

function setClock(told) {
  const at = Date.parse(told);
  if (!Number.isNaN(at)) ahead = at - Date.now();
}

const serverNow = () => Date.now() + ahead;

// As the service says it.
function span(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

function relative(at, now) {
  if (at > now) return `in ${span(at - now)}`;
  return now - at < 5_000 ? "just now" : `${span(now - at)} ago`;
}

function tick() {
  if (document.hidden) return;
  const now = serverNow();
  for (const words of document.querySelectorAll("time[datetime] > .relative")) {
    const at = Date.parse(words.parentElement.dateTime);
    const text = words.firstChild;
    if (Number.isNaN(at) || !text) continue;
    const said = relative(at, now);
    if (text.data !== said) text.data = said;
  }
}

// <form data-confirm="…"> asks before it is sent.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// <form data-at-once>: a choice counts as soon as it is made.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-at-once]");
  if (form) form.requestSubmit();
});

// A list is left with its filter and comes back with it: a link data-back="/path" leads to where below that path one was last.
const lists = document.querySelector("[data-list]");
if (lists) sessionStorage.setItem(`list ${lists.dataset.list}`, location.pathname + location.search);
for (const link of document.querySelectorAll("a[data-back]")) {
  const last = sessionStorage.getItem(`list ${link.dataset.back}`);
  if (last && last.startsWith(link.dataset.back)) link.href = last;
}

localTimes(document);
setClock(document.documentElement.dataset.now);
setInterval(tick, 1_000);
document.addEventListener("visibilitychange", tick);

// The server begins its days where the reader does.
document.cookie = `zone=${Intl.DateTimeFormat().resolvedOptions().timeZone}; path=/; max-age=31536000; samesite=lax`;

// The text of a file: UTF-8, UTF-16 by its mark or its zeros, else the 8-bit encoding of old spreadsheets.
function textOf(buffer) {
  const bytes = new Uint8Array(buffer);
  const zeros = (at) => bytes.subarray(0, 4096).filter((byte, i) => byte === 0 && i % 2 === at).length;
  const [first, second] = [zeros(0), zeros(1)];
  const marked = bytes[0] === 0xff && bytes[1] === 0xfe ? "le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "be" : "";
  const most = Math.min(bytes.length, 4096) / 4;
  const kind = marked || (second > most && first < most ? "le" : first > most && second < most ? "be" : "");
  if (kind) return new TextDecoder(`utf-16${kind}`).decode(buffer);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(buffer);
  } catch {
    return new TextDecoder("windows-1252").decode(buffer);
  }
}

// <input type="file" data-into="id">: puts a file's text into a field.
for (const input of document.querySelectorAll("[data-into]")) {
  input.closest("[hidden]")?.removeAttribute("hidden");
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) document.getElementById(input.dataset.into).value = textOf(await file.arrayBuffer());
  });
}

// <button data-copy="id">: copies the text of an element.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy)?.textContent ?? "";
  await navigator.clipboard.writeText(text);
  button.textContent = "Copied";
});

// Ctrl-K, and the link of the menu: the page that finds things, over the one that is open.
let finding = null;

function narrow(dialog, asked) {
  const words = asked.toLowerCase().trim();
  for (const place of dialog.querySelectorAll("nav li")) place.hidden = !place.textContent.toLowerCase().includes(words);
}

async function openFind() {
  document.getElementById("menu")?.hidePopover?.();
  if (!finding) {
    const answer = await fetch("/find", { credentials: "same-origin" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById("find");
    if (!found) {
      location.href = "/find";
      return;
    }
    finding = document.createElement("dialog");
    finding.className = "find";
    finding.setAttribute("aria-label", "Find");
    finding.append(document.adoptNode(found));
    document.body.append(finding);
    const asked = finding.querySelector("[name=who]");
    asked.addEventListener("input", () => narrow(finding, asked.value));
    finding.querySelector("form").addEventListener("submit", (event) => {
      const first = finding.querySelector("nav li:not([hidden]) a");
      if (!first) return;
      event.preventDefault();
      location.href = first.href;
    });
    finding.addEventListener("click", (event) => {
      if (event.target === finding) finding.close();
    });
  }
  if (!finding.open) finding.showModal();
  finding.querySelector("[name=who]").select();
}

document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
  event.preventDefault();
  openFind();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest("a[data-find]") || event.ctrlKey || event.metaKey || document.getElementById("find")?.closest("main")) return;
  event.preventDefault();
  openFind();
});
