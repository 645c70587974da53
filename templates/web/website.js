// The badge's page: the real script at work, with the token that the page carries. Everything can be read without it.
"use strict";

const live = document.getElementById("live-badge");
if (live) {
  const told = document.getElementById("live-told");
  window.unreadBadge = {
    getToken: () => live.dataset.token,
    onChange: (state) => {
      told.textContent = state.unread ? `The script shows ${state.count}.` : "The script shows nothing: there are no unread messages.";
    },
  };
  const script = document.createElement("script");
  script.src = live.dataset.script;
  script.dataset.account = live.dataset.account;
  script.dataset.target = "#try-button";
  script.addEventListener("error", () => { told.textContent = "The script could not be loaded."; });
  document.head.append(script);
}
