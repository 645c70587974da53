/* unread badge, v1. One script tag: <script src="…/badge/v1.js" data-account="…" data-target="#chat" async></script>
   Keeps nothing in the browser, needs nothing else, and is silent when anything fails. docs/badge.md tells how to use it. */
(() => {
  'use strict';
  const doc = document;
  const script = doc.currentScript || doc.querySelector('script[data-account]');
  const api = (window.unreadBadge = window.unreadBadge || {});
  if (!script || api.destroy) return;
  const { account, target = '[data-unread-badge]', push, title, appBadge, label, labelOne } = script.dataset;
  const base = (script.dataset.base || new URL('..', script.src).href).replace(/\/*$/, '/');
  const url = base + 'v1/badge/' + encodeURIComponent(account);
  const nothing = { unread: false, count: 0, since: null };
  const attempt = (work) => { try { return work(); } catch { return undefined; } };

  let state = nothing; // what is shown
  let token; // this page's, until it is refused
  let life; // aborts everything of a visible page
  let lead; // aborts what the leading page does; set while this page leads
  let channel;
  let timer;
  let failures = 0;
  let gone = false;

  // --- Showing ---------------------------------------------------------------------------------------------------------------

  const mark = doc.createElement('span');
  mark.className = 'unread-badge';
  mark.setAttribute('aria-hidden', 'true');
  const live = doc.createElement('span');
  live.className = 'unread-badge-live';
  live.setAttribute('role', 'status');
  // A sheet made by script needs no style-src; :where lets any rule of the page win.
  const sheet = attempt(() => {
    const made = new CSSStyleSheet();
    made.replaceSync(
      ':where(.unread-badge){display:inline-block;min-width:1.4em;margin-inline-start:.4em;padding:0 .4em;border-radius:1em;' +
      'box-sizing:border-box;background:#b3001b;color:#fff;font:bold .8em/1.4em sans-serif;text-align:center}' +
      '.unread-badge-live{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}');
    doc.adoptedStyleSheets = [...doc.adoptedStyleSheets, made];
    return made;
  });

  let button; // where the badge is
  let name; // the button's own aria-label
  const shown = (n) => (n > 99 ? '99+' : String(Math.max(1, n)));
  const words = (n) => (n > 1 ? (label || '{count} unread messages').replace('{count}', shown(n)) : labelOne || '1 unread message');
  const leave = () => {
    mark.remove();
    if (button) name === null ? button.removeAttribute('aria-label') : button.setAttribute('aria-label', name);
    button = undefined;
  };

  const show = () => {
    const place = state.unread && !gone ? doc.querySelector(target) : null;
    if (place !== button) leave();
    if (!place) return;
    // The space keeps the number apart from the button's own words, for whoever reads the page as text.
    const text = ' ' + shown(state.count);
    if (mark.textContent !== text) mark.textContent = text;
    if (button !== place) {
      button = place;
      name = place.getAttribute('aria-label');
    }
    if (mark.parentNode !== place) place.append(mark);
    const image = place.querySelector('img[alt]');
    const written = [...place.childNodes].filter((node) => node !== mark).map((node) => node.textContent).join('');
    const own = name || written.trim() || place.title || (image && image.alt) || '';
    const full = (own ? own + ', ' : '') + words(state.count);
    if (place.getAttribute('aria-label') !== full) place.setAttribute('aria-label', full);
  };

  const apply = (next) => {
    next = { unread: !!next.unread, count: next.unread ? next.count : 0, since: next.since, stale: !!next.stale };
    const was = state;
    if (was.unread === next.unread && was.count === next.count && was.since === next.since) return;
    state = api.state = next;
    show();
    const count = Math.max(1, next.count);
    if (!live.isConnected && doc.body) doc.body.append(live);
    if (!next.unread) live.textContent = '';
    else if (!was.unread || next.count > was.count) live.textContent = words(next.count);
    if (title !== undefined) doc.title = (next.unread ? '(' + count + ') ' : '') + doc.title.replace(/^\(\d+\) /, '');
    if (appBadge !== undefined) {
      attempt(() => (next.unread ? navigator.setAppBadge(count) : navigator.clearAppBadge()).catch(() => {}));
    }
    attempt(() => api.onChange && api.onChange(next));
    doc.dispatchEvent(new CustomEvent('unread:change', { detail: next }));
  };

  // What this page learns, its sister pages need not ask.
  const learn = (next) => {
    apply(next);
    attempt(() => channel.postMessage(next));
  };

  // --- Asking ----------------------------------------------------------------------------------------------------------------

  // getToken returns a token or a promise of one, or takes a callback, as LivePerson's own function does.
  const getToken = async () => {
    const ask = api.getToken || window[script.dataset.getToken || 'lpGetAuthenticationToken'];
    if (!token && ask) {
      token = await new Promise((done, failed) => {
        const told = ask((given) => done(given));
        if (told !== undefined) Promise.resolve(told).then(done, failed);
      });
    }
    return token;
  };

  const request = async (path, signal, headers = {}, fresh = !token) => {
    const bearer = await getToken();
    if (!bearer) return null;
    const answer = await fetch(url + path, {
      headers: { ...headers, Authorization: 'Bearer ' + bearer },
      signal, credentials: 'omit', referrerPolicy: 'no-referrer',
    });
    if (answer.status === 401) {
      token = undefined;
      if (!fresh) return request(path, signal, headers, true);
    }
    if (!answer.ok) throw Object.assign(new Error(), { wait: +answer.headers.get('Retry-After') });
    return answer;
  };

  const again = (seconds, signal) => {
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(() => poll(signal), seconds * 1000 * (0.9 + Math.random() * 0.2));
  };

  // Reads events until they end; whatever ends them, the page goes back to asking.
  let lastId = '';
  let listening = false;
  let brief = 0; // connections that did not last: something between us does not let events through
  const listen = async (signal) => {
    const answer = await request('/events', signal, lastId ? { 'Last-Event-ID': lastId } : {});
    if (!answer) return;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer); // asking is for when there are no events
      failures = 0;
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) {
        const data = /^data: ?(.*)$/m.exec(block);
        if (data) learn(JSON.parse(data[1]));
        const id = /^id: ?(.*)$/m.exec(block);
        if (id) lastId = id[1];
      }
    }
  };

  const poll = async (signal) => {
    try {
      const answer = await request('', signal);
      const next = answer ? await answer.json() : nothing;
      if (signal.aborted) return;
      failures = 0;
      learn(next);
      again(next.next_poll_s || 60, signal);
      if (!answer || listening || brief > 2 || push === 'false' || !lead || signal !== lead.signal) return;
      const began = Date.now();
      listening = true;
      try {
        await listen(signal);
      } finally {
        listening = false;
        brief = Date.now() - began < 15000 ? brief + 1 : 0;
      }
      again(2.5, signal);
    } catch (error) {
      failures = Math.min(failures + 1, 7);
      again(Math.max(error.wait || 0, 2.5 * 2 ** failures), signal);
    }
  };

  // --- Who asks: the visible page that holds the lock ---------------------------------------------------------------------------

  const stop = () => {
    clearTimeout(timer);
    if (life) life.abort();
    listening = false;
    if (channel) channel.close();
    life = lead = channel = undefined;
  };

  const start = () => {
    if (life || gone || doc.visibilityState !== 'visible') return;
    const own = (life = new AbortController());
    channel = attempt(() => new BroadcastChannel('unread-badge:' + account));
    if (channel) {
      channel.onmessage = ({ data }) => {
        if (data !== 'hello') apply(data);
        else if (lead) channel.postMessage(state);
      };
      channel.postMessage('hello');
    }
    const begin = () => new Promise((done) => {
      if (own.signal.aborted) return done();
      own.signal.addEventListener('abort', done);
      lead = own;
      poll(own.signal);
    });
    if (navigator.locks && channel) {
      navigator.locks.request('unread-badge:' + account, { signal: own.signal }, begin).catch(() => {});
    } else begin();
  };

  const seen = () => (doc.visibilityState === 'visible' ? start() : stop());
  const back = () => { stop(); start(); };
  const watch = new MutationObserver(() => state.unread && (mark.parentNode !== doc.querySelector(target) || !mark.isConnected) && show());

  /** Asks now, with a new token: after a login, a logout, or when the page knows better. */
  api.refresh = () => {
    token = undefined;
    failures = 0;
    lastId = '';
    brief = 0;
    if (lead) return back();
    if (life) request('', life.signal).then((a) => (a ? a.json() : nothing)).then(learn).catch(() => {});
  };

  /** Takes everything back. */
  api.destroy = () => {
    stop();
    gone = true;
    apply(nothing);
    leave();
    watch.disconnect();
    live.remove();
    doc.adoptedStyleSheets = doc.adoptedStyleSheets.filter((own) => own !== sheet);
    doc.removeEventListener('visibilitychange', seen);
    for (const [event, does] of events) removeEventListener(event, does);
    delete api.destroy;
  };
  api.state = state;

  // A page with open connections is not kept for the way back; they are made anew.
  const events = [['pagehide', stop], ['pageshow', start], ['online', back]];
  for (const [event, does] of events) addEventListener(event, does);
  doc.addEventListener('visibilitychange', seen);
  watch.observe(doc.documentElement, { childList: true, subtree: true });
  start();
})();
