/* unread badge, v1. One script tag: <script src="…/badge/v1.js" data-account="…" data-target="#chat" async></script>
   Keeps nothing in the browser, needs nothing else, and is silent when anything fails. docs/badge.md tells how to use it. */
(() => {
  'use strict';
  const doc = document;
  const attempt = (work) => { try { return work(); } catch { return undefined; } };
  const script = doc.currentScript || doc.querySelector('script[data-account]');
  const { account, target = '[data-unread-badge]', push, title, appBadge, label, labelOne, getToken: named } = script ? script.dataset : {};
  const base = attempt(() => (script.dataset.base || new URL('..', script.src).href).replace(/\/*$/, '/'));
  const api = (window.unreadBadge = window.unreadBadge || {});
  if (!account || !base || api.state) return;
  const url = base + 'v1/badge/' + encodeURIComponent(account);
  const nothing = { unread: false, count: 0, since: null };

  let state = (api.state = nothing); // what is shown
  let known = false; // whether anybody has told us
  let token; // this page's, until it is refused
  let life; // aborts everything of a visible page
  let run; // aborts what the leading page does; set while this page leads
  let stream; // aborts its events
  let channel;
  let timer;
  let failures = 0;
  let heard = false; // whether anything has come through the stream
  let brief = 0; // streams that did not last: something between us does not let events through
  let lastId = '';
  let gone = false;

  // --- Showing ---------------------------------------------------------------------------------------------------------------

  const mark = doc.createElement('span');
  mark.className = 'unread-badge';
  const live = doc.createElement('span');
  live.className = 'unread-badge-live';
  live.setAttribute('role', 'status');
  Object.assign(live.style, {
    position: 'absolute', width: '1px', height: '1px', overflow: 'hidden', clipPath: 'inset(50%)', whiteSpace: 'nowrap',
  });
  // A sheet made by script needs no style-src; :where lets any rule of the page win. The border is for forced colours.
  const sheet = attempt(() => {
    const made = new CSSStyleSheet();
    made.replaceSync(
      ':where(.unread-badge){display:inline-block;min-width:1.4em;margin-inline-start:.4em;padding:0 .4em;border-radius:1em;' +
      'border:1px solid transparent;box-sizing:border-box;background:#b3001b;color:#fff;font:bold .8em/1.4em sans-serif;' +
      'text-align:center}');
    doc.adoptedStyleSheets = [...doc.adoptedStyleSheets, made];
    return made;
  });

  let button; // where the badge is
  let name; // the button's own aria-label
  let full; // and what we made of it
  const find = () => attempt(() => doc.querySelector(target)) || null;
  const shown = (n) => (n > 99 ? '99+' : String(Math.max(1, n)));
  const words = (n) => (n > 1 ? (label || '{count} unread messages').replace('{count}', shown(n)) : labelOne || '1 unread message');
  const rename = (to) => {
    if (to === null) button.removeAttribute('aria-label');
    else if (button.getAttribute('aria-label') !== to) button.setAttribute('aria-label', to);
  };
  const leave = () => {
    mark.remove();
    if (button && full && button.getAttribute('aria-label') === full) rename(name);
    button = full = undefined;
  };

  const show = () => {
    const place = state.unread && !gone ? find() : null;
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
    // What takes a name gets one of words. In all else, a slot within a button for one, the number says them itself.
    const takes = place.matches('a,button,summary,[role],[aria-label]');
    const [set, drop] = takes ? ['aria-hidden', 'role'] : ['role', 'aria-hidden'];
    mark.setAttribute(set, takes ? 'true' : 'img');
    mark.removeAttribute(drop);
    if (!takes) return mark.setAttribute('aria-label', words(state.count));
    mark.removeAttribute('aria-label');
    const image = place.querySelector('img[alt]');
    const written = [...place.childNodes].filter((node) => node !== mark).map((node) => node.textContent).join('');
    const own = name || written.trim() || place.title || (image && image.alt) || '';
    rename(full = (own ? own + ', ' : '') + words(state.count));
  };

  let prefix = ''; // what of the title is ours
  const entitle = () => {
    if (title === undefined) return;
    const own = doc.title.startsWith(prefix) ? doc.title.slice(prefix.length) : doc.title;
    prefix = state.unread ? '(' + Math.max(1, state.count) + ')' : '';
    const all = (prefix + ' ' + own.trim()).trim();
    if (doc.title !== all) doc.title = all;
  };

  // Assistive technology must have seen the empty place before the words come.
  const settle = () => { if (!live.isConnected && doc.body && !gone) doc.body.append(live); };
  const say = (text) => { settle(); setTimeout(() => { live.textContent = text; }, 150); };

  const apply = (next) => {
    known = true;
    next = { unread: !!next.unread, count: next.unread ? next.count : 0, since: next.since, stale: !!next.stale };
    const was = state;
    if (was.unread === next.unread && was.count === next.count && was.since === next.since) return;
    state = api.state = next;
    show();
    entitle();
    if (!next.unread) say('');
    else if (!was.unread || next.count > was.count) say(words(next.count));
    if (appBadge !== undefined) {
      attempt(() => (next.unread ? navigator.setAppBadge(Math.max(1, next.count)) : navigator.clearAppBadge()).catch(() => {}));
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
  const getToken = async (signal) => {
    const ask = api.getToken || window[named || 'lpGetAuthenticationToken'];
    if (token || !ask) return token;
    const given = await new Promise((done, failed) => {
      setTimeout(failed, 60000);
      const calls = ask.length || !api.getToken;
      const told = ask.call(api, done);
      const take = (value) => { if (value !== undefined || !calls) done(value); };
      told && told.then ? told.then(take, failed) : take(told);
    });
    // Who was asked before a log-in or log-out says nothing after it.
    if (signal.aborted) throw new Error();
    return (token = given);
  };

  const request = async (path, signal, headers = {}, fresh = !token) => {
    const bearer = await getToken(signal);
    if (!bearer) return null;
    const answer = await fetch(url + path, {
      headers: { ...headers, Authorization: 'Bearer ' + bearer },
      signal, credentials: 'omit', referrerPolicy: 'no-referrer',
    });
    if (answer.status === 401) {
      token = undefined;
      if (!fresh) return request(path, signal, headers, true);
      learn(nothing); // nobody can say any more whose it is
    }
    if (!answer.ok) throw Object.assign(new Error(), { wait: +answer.headers.get('Retry-After') });
    return answer;
  };

  // Browsers run a timer at once that is set for later than 24 days.
  const again = (seconds, signal) => {
    if (signal.aborted) return;
    clearTimeout(timer);
    timer = setTimeout(() => poll(signal), Math.min(seconds > 1 ? seconds : 1, 3600) * (900 + Math.random() * 200));
  };

  // Reads events until they end; whatever ends them, the page goes back to asking.
  const listen = async (own, signal) => {
    const answer = await request('/events', own, lastId ? { 'Last-Event-ID': lastId } : {});
    if (!answer) return;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard = true;
      again(50, signal); // asking is for when there are no events, nor the heartbeat of every 20 seconds
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
    let own;
    try {
      if (stream) {
        stream.abort(); // it has died without a word
        stream = undefined;
      }
      const answer = await request('', signal);
      const next = answer ? await answer.json() : nothing;
      if (signal.aborted) return;
      failures = 0;
      learn(next);
      again(next.next_poll_s || 60, signal);
      if (!answer || brief > 2 || push === 'false') return;
      own = stream = new AbortController();
      heard = false;
      const began = Date.now();
      try {
        await listen(own.signal, signal);
      } finally {
        if (stream === own) stream = undefined;
        if (!signal.aborted) brief = heard && Date.now() - began > 15000 ? 0 : brief + 1;
      }
      again(1 + Math.random() * 3, signal); // not all pages at once after a restart
    } catch (error) {
      if (signal.aborted || (own && own.signal.aborted)) return;
      failures = Math.min(failures + 1, 7);
      again(Math.max((error && error.wait) || 0, 2.5 * 2 ** failures), signal);
    }
  };

  // --- Who asks: the visible page that holds the lock ---------------------------------------------------------------------------

  const halt = () => {
    clearTimeout(timer);
    for (const what of [run, stream]) if (what) what.abort();
    run = stream = undefined;
  };
  const ask = () => {
    halt();
    run = new AbortController();
    poll(run.signal);
  };

  const stop = () => {
    halt();
    if (life) life.abort();
    if (channel) channel.close();
    life = channel = undefined;
    known = false;
  };

  const start = () => {
    if (life || gone || doc.visibilityState !== 'visible') return;
    settle();
    brief = 0;
    const own = (life = new AbortController());
    const id = 'unread-badge:' + account;
    channel = attempt(() => new BroadcastChannel(id));
    if (channel) {
      channel.onmessage = ({ data }) => {
        if (data === 'hello') {
          if (run && known) channel.postMessage(state);
        } else if (data === 'refresh') {
          token = undefined;
          if (run) back();
        } else if (data && data.count !== undefined) apply(data);
      };
      channel.postMessage('hello');
    }
    const begin = () => new Promise((done) => {
      if (own.signal.aborted) return done();
      own.signal.addEventListener('abort', done);
      ask();
    });
    if (navigator.locks && channel) navigator.locks.request(id, { signal: own.signal }, begin).catch(() => begin());
    else begin();
  };

  const back = () => { stop(); start(); };
  const seen = () => (doc.visibilityState === 'visible' ? start() : stop());
  const online = () => {
    failures = 0;
    run ? ask() : start();
  };
  const watch = new MutationObserver(() => {
    if (!state.unread) return;
    if (!mark.isConnected || mark.parentNode !== find()) show();
    entitle();
  });

  /** Asks now, with a new token: after a login, a logout, or when the page knows better. */
  api.refresh = () => {
    token = undefined;
    failures = brief = 0;
    lastId = '';
    // Another page's token may be the old one as well. If that page leads, it makes way for this one.
    attempt(() => channel.postMessage('refresh'));
    if (run) ask();
  };

  /** Takes everything back. */
  api.destroy = () => {
    if (gone) return;
    stop();
    apply(nothing);
    gone = true;
    leave();
    watch.disconnect();
    live.remove();
    if (sheet) doc.adoptedStyleSheets = doc.adoptedStyleSheets.filter((own) => own !== sheet);
    doc.removeEventListener('visibilitychange', seen);
    for (const [event, does] of events) removeEventListener(event, does);
    delete api.state;
  };

  // A page with open connections is not kept for the way back; they are made anew.
  const events = [['pagehide', stop], ['pageshow', start], ['online', online]];
  for (const [event, does] of events) addEventListener(event, does);
  doc.addEventListener('visibilitychange', seen);
  watch.observe(doc.documentElement, { childList: true, subtree: true });
  start();
})();
