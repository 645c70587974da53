// What every page of the dashboard needs of scripts: times in the reader's own zone, the menu on small screens, questions before
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

// <form data-confirm="…"> asks before it is sent.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

const menu = document.querySelector(".menu");
const narrow = window.matchMedia("(max-width: 60rem)");
function fold() {
  if (!menu) return;
  menu.open = !narrow.matches;
  // Beside the page, the menu is always open.
  menu.firstElementChild.tabIndex = narrow.matches ? 0 : -1;
}
menu?.firstElementChild.addEventListener("click", (event) => {
  if (!narrow.matches) event.preventDefault();
});
fold();
narrow.addEventListener("change", fold);
localTimes(document);

// The server begins its days where the reader does.
document.cookie = `zone=${Intl.DateTimeFormat().resolvedOptions().timeZone}; path=/; max-age=31536000; samesite=lax`;

// <input type="file" data-into="id">: puts a file's text into a field.
for (const input of document.querySelectorAll("[data-into]")) {
  input.closest("[hidden]")?.removeAttribute("hidden");
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) document.getElementById(input.dataset.into).value = await file.text();
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
