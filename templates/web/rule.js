// The rule editor as one writes: what it means is asked of the server, which knows; names are put where the cursor is; the mail is
// shown in its frame. Without this, saving shows the same.
"use strict";

const form = document.getElementById("rule");
const look = document.getElementById("look");
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

form.addEventListener("input", () => {
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
