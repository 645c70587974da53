// What every page of the dashboard needs of scripts: times in the reader's own zone that go on while one reads, questions before
// what cannot be undone. Without it everything can still be read and done.
"use strict";

const zone = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium", timeStyle: "short",
});
const zoneName = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime] .absolute")) {
    const at = new Date(time.parentElement.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const name = zoneName.formatToParts(at).find((part) => part.type === "timeZoneName");
    time.textContent = `${zone.format(at)} ${name ? name.value : ""}`;
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
