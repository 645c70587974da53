// What can be said of a page's accessibility without help: returns the faults, each as a sentence.
const faults = [];
const fault = (what, element) => faults.push(element ? `${what}: ${element.outerHTML.slice(0, 160).replace(/\s+/g, ' ')}` : what);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const visible = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
const words = (element) => (element?.textContent ?? '').trim();

// The frame of the page.
if (!document.documentElement.lang) fault('the language is not told');
if (!document.title.trim()) fault('no title');
if (all('main').filter(visible).length !== 1) fault('not exactly one main part');
if (all('h1').filter(visible).length !== 1) fault('not exactly one main heading');
const viewport = document.querySelector('meta[name=viewport]')?.content ?? '';
if (/user-scalable=no|maximum-scale/.test(viewport)) fault('the page cannot be zoomed');
let level = document.querySelector('main h1') ? 0 : 1;
for (const heading of all('main h1, main h2, main h3, main h4').filter(visible)) {
  const own = Number(heading.localName[1]);
  if (own > level + 1) fault('a heading skips a level', heading);
  if (!words(heading)) fault('an empty heading', heading);
  level = own;
}

// Names and references.
const ids = new Map();
for (const element of all('[id]')) ids.set(element.id, (ids.get(element.id) ?? 0) + 1);
for (const [id, times] of ids) if (times > 1) fault(`the id ${id} is there ${times} times`);
for (const attribute of ['for', 'aria-labelledby', 'aria-describedby', 'aria-controls', 'list']) {
  for (const element of all(`[${attribute}]`)) {
    for (const id of element.getAttribute(attribute).split(/\s+/)) if (!ids.has(id)) fault(`${attribute} names nothing`, element);
  }
}
const named = (element) => {
  const by = element.getAttribute('aria-labelledby');
  return Boolean(element.getAttribute('aria-label')?.trim() || (by && by.split(/\s+/).some((id) => words(document.getElementById(id)))));
};
for (const field of all('input:not([type=hidden]), select, textarea').filter(visible)) {
  if (!named(field) && ![...field.labels].some((label) => words(label))) fault('a field without a label', field);
}
for (const control of all('a[href], button, summary').filter(visible)) {
  if (!named(control) && !words(control)) fault('a control without a name', control);
}
for (const part of all('[role=region], [role=img], [role=search], nav, iframe, meter, svg[role]').filter(visible)) {
  if (!named(part) && !part.title && part.getAttribute('role') !== 'search') fault('a part without a name', part);
}
const landmarks = new Map();
for (const part of all('main section[aria-label], main section[aria-labelledby], [role=region]').filter(visible)) {
  const by = part.getAttribute('aria-labelledby');
  const name = part.getAttribute('aria-label') ?? words(document.getElementById(by));
  landmarks.set(name, (landmarks.get(name) ?? 0) + 1);
}
for (const [name, times] of landmarks) if (times > 1) fault(`${times} parts of the page are called ${name}`);
for (const group of all('fieldset').filter(visible)) if (!words(group.querySelector('legend')) && !named(group)) fault('a group without a legend', group);
for (const image of all('img')) if (!image.hasAttribute('alt')) fault('an image without a text', image);
for (const cell of all('th')) if (!cell.scope) fault('a heading cell without its scope', cell);
for (const table of all('table').filter(visible)) if (!table.querySelector('th')) fault('a table without headings', table);
for (const time of all('time')) if (!time.dateTime) fault('a time that machines cannot read', time);

// The keyboard.
for (const element of all('[tabindex]')) if (element.tabIndex > 0) fault('an order of its own for the keyboard', element);
for (const box of all('main *').filter(visible)) {
  const look = getComputedStyle(box);
  const scrolls = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(look.overflowX);
  const canFocus = box.tabIndex >= 0 || /^(textarea|input|select|iframe)$/.test(box.localName);
  if (scrolls && !canFocus && !box.querySelector('a[href], button, input, select')) fault('scrolls, but not with the keyboard', box);
}

// Sizes: nothing is lost beside a narrow window; fingers find every control (24 px, links in a text excepted).
if (document.documentElement.scrollWidth > innerWidth + 1) {
  const widest = all('body *').filter((e) => visible(e) && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll'));
  fault(`the page is ${document.documentElement.scrollWidth} px wide in a window of ${innerWidth}`, widest[0]);
}
for (const control of all('button, input:not([type=hidden]), select, textarea, summary, nav a, a.button').filter(visible)) {
  const box = (control.labels?.length && /checkbox|radio/.test(control.type) ? control.labels[0] : control).getBoundingClientRect();
  if (box.width > 1 && (box.width < 24 || box.height < 24)) fault(`a control of ${Math.round(box.width)} × ${Math.round(box.height)}`, control);
}

// Contrast of every text with what is behind it.
const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
const behind = (element) => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour[3] > 0) layers.push(colour);
    if (colour[3] === 1) break;
  }
  return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
};
const light = (colour) => {
  const [r, g, b] = colour.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const looked = new Set();
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.data && !texts.currentNode.data.trim()) continue;
  if (looked.has(element) || !visible(element) || element.closest('option, datalist, svg, script, :disabled, fieldset:disabled')) continue;
  looked.add(element);
  const look = getComputedStyle(element);
  const size = parseFloat(look.fontSize);
  const needed = size >= 24 || (size >= 18.66 && Number(look.fontWeight) >= 700) ? 3 : 4.5;
  const ground = behind(element);
  const found = contrast(over(rgba(look.color), ground), ground);
  if (found < needed) fault(`a contrast of ${found.toFixed(2)}`, element);
}
return faults;
