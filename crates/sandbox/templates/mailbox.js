// Keeps the list fresh while somebody looks at it. Without this script the page works, and is reloaded by hand.
'use strict';
(() => {
  const list = document.getElementById('list');
  const news = document.getElementById('news');
  const button = document.getElementById('pause');
  const label = document.getElementById('pause-label');
  const url = '/list?' + new URLSearchParams({ q: list.dataset.q, ...(list.dataset.open && { open: list.dataset.open }) });
  let paused = false;
  let shown = '';

  button.hidden = false;
  button.addEventListener('click', () => {
    paused = !paused;
    button.setAttribute('aria-pressed', String(paused));
    label.textContent = paused ? 'Paused' : 'Live';
    if (!paused) refresh();
  });

  async function refresh() {
    if (paused || document.hidden) return;
    try {
      const answer = await fetch(url, { cache: 'no-store' });
      if (!answer.ok) return;
      const html = await answer.text();
      if (html === shown) return;
      const first = shown === '';
      shown = html;
      if (first && html === list.innerHTML) return;
      replace(html, first);
      if (!first) await follow();
    } catch {
      // The sandbox is gone or not yet back; the next look will tell.
    }
  }

  // Swaps the list without taking the keyboard focus away.
  function replace(html, quietly) {
    const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    const before = list.querySelectorAll('li').length;
    list.innerHTML = html;
    if (focused) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    const arrived = list.querySelectorAll('li').length - before;
    if (!quietly && arrived > 0) news.textContent = arrived === 1 ? 'One new message' : `${arrived} new messages`;
  }

  // A text that is open goes on living: its status changes and answers arrive.
  async function follow() {
    if (!document.querySelector('.history')) return;
    const answer = await fetch(location.href, { cache: 'no-store' });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    for (const part of ['.history', '.talk']) {
      const fresh = page.querySelector(part);
      if (fresh) document.querySelector(part).replaceWith(fresh);
    }
  }

  document.addEventListener('visibilitychange', refresh);
  setInterval(refresh, 2000);
  refresh();
})();
