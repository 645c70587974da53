// The rule editor as one writes: what it means is asked of the server, which knows; names are put where the cursor is; the mail is
// shown in its frame. Without this, saving shows the same.
"use strict";

const form = document.getElementById("rule");
const look = document.getElementById("look");
const preview = form.querySelector("[data-preview]");
let language = preview?.value;
let last = null;
let waiting = 0;
let asked = 0;

async function lookAgain() {
  const mine = ++asked;
  try {
    const answer = await fetch(form.dataset.look, {
      method: "POST", credentials: "same-origin", body: new URLSearchParams(new FormData(form)),
    });
    if (answer.ok && mine === asked) look.innerHTML = await answer.text();
  } catch {
    // The next change asks again.
  }
}

// The mail as it would be read now. A frame's first page is no step back for the browser; so each has a frame of its own.
function showMail() {
  const frame = form.querySelector("iframe");
  if (!frame || preview.matches(":disabled")) return;
  const fresh = frame.cloneNode(false);
  frame.replaceWith(fresh);
  const button = [...form.querySelectorAll("[data-preview]")].find((own) => own.value === language);
  form.requestSubmit(button ?? preview);
}

form.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    lookAgain();
    showMail();
  }, 400);
});

form.addEventListener("focusin", (event) => {
  if (event.target.matches("[data-words]")) last = event.target;
});

form.addEventListener("click", (event) => {
  const shown = event.target.closest("[data-preview]");
  if (shown) language = shown.value;
  const button = event.target.closest("[data-insert]");
  if (!button || !last) return;
  last.setRangeText(`{{${button.dataset.insert}}}`, last.selectionStart, last.selectionEnd, "end");
  last.focus();
  last.dispatchEvent(new Event("input", { bubbles: true }));
});

showMail();
