// What a brand writes: where the visitor's token comes from.
window.unreadBadge = {
  getToken: () => fetch('/shop/token').then((answer) => (answer.ok ? answer.text() : undefined)),
};

document.addEventListener('DOMContentLoaded', () => {
  const told = document.getElementById('told');
  const does = (button, path, words) =>
    document.getElementById(button).addEventListener('click', async () => {
      const answer = await fetch(path, { method: 'POST' });
      told.textContent = answer.ok ? words : 'That did not work.';
    });
  does('answer', '/shop/answer', 'The agent has answered. Watch the chat button.');
  does('read', '/shop/read', 'You have read it. The badge goes when the service has seen that.');
  does('chat', '/shop/read', 'You have opened the chat and read it. The badge goes when the service has seen that.');
});
