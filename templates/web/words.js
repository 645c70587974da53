// The texts of a rule: names and numbers as pieces between the words, a tab for each language, the mail in its frame. What a text is in
// the end stands in its field, whose source the pieces write; a field that has no pieces is edited as code. Without this, all are, and
// the languages stand one below the other.
"use strict";

const messages = (() => {
  const form = document.getElementById("rule");
  const mayEdit = !form.querySelector("fieldset").disabled;
  const BRAND = "{{brand}}";
  // The brand's name within words, as it is read and written in fields.
  const BRAND_SAID = "[Brand]";
  const DESKTOP = 720;
  // Keys of languages whose text is shown as code.
  const asCode = new Set();
  let view = mayEdit ? "desktop" : "text";
  // Where the next piece goes: an editor with a range, or a field.
  let last = null;

  // Pieces

  const labels = Object.fromEntries([...form.querySelectorAll("[data-insert]")].map((button) => [button.dataset.insert, button.dataset.label]));

  function written(piece) {
    const rest = (words) => (words ? `{{else}}${words}` : "");
    if (piece.words !== undefined) return piece.words;
    if (piece.value) return `{{${piece.value}}}`;
    if (piece.name) return `{{#if ${piece.name}}}${piece.before}{{${piece.name}}}${piece.after}${rest(piece.otherwise)}{{/if}}`;
    return `{{#if several}}${piece.several.replace("#", "{{count}}")}${rest(piece.one)}{{/if}}`;
  }

  const canBeUnknown = (name) => ["first_name", "agent", "skill"].includes(name);
  const read = (chip) => JSON.parse(chip.dataset.piece);

  const toSay = (words) => words.replaceAll(BRAND, BRAND_SAID);
  const toKeep = (words) => words.replace(/[{}\n]/g, "").replaceAll(BRAND_SAID, BRAND);

  function said(piece) {
    if (piece.value) return [labels[piece.value] ?? piece.value, ""];
    if (!piece.name) return [piece.one, piece.several].filter(Boolean);
    return [labels[piece.name], piece.otherwise === BRAND ? labels.brand : toSay(piece.otherwise)];
  }

  function draw(chip, piece) {
    chip.dataset.piece = JSON.stringify(piece);
    const [first, second] = said(piece);
    const part = (name, text) => Object.assign(document.createElement("span"), { className: name, textContent: text });
    const parts = [part("chip-name", first)];
    if (piece.before) parts.unshift(part("chip-words", toSay(piece.before)));
    if (piece.after) parts.push(part("chip-words", toSay(piece.after)));
    if (second) parts.push(part("chip-or", `or ${second}`));
    chip.replaceChildren(...parts);
    const spoken = second ? `${first}, or ${second}` : first;
    chip.setAttribute("aria-label", spoken);
    chip.classList.toggle("bare", canBeUnknown(piece.value));
  }

  function node(piece) {
    if (piece.words !== undefined) return document.createTextNode(piece.words);
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.contentEditable = "false";
    draw(chip, piece);
    const isEdited = !piece.value || canBeUnknown(piece.value);
    chip.setAttribute("role", isEdited && mayEdit ? "button" : "img");
    if (isEdited && mayEdit) chip.tabIndex = 0;
    return chip;
  }

  function source(editor) {
    let text = "";
    for (const child of editor.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) text += child.data;
      else if (child.dataset?.piece) text += written(read(child));
      else if (child.nodeName === "BR") text += "\n";
      else text += `${text && !text.endsWith("\n") ? "\n" : ""}${source(child)}`;
    }
    return text;
  }

  const areaOf = (editor) => editor.parentElement.querySelector("[data-words]");

  function take(editor) {
    const area = areaOf(editor);
    const text = source(editor);
    area.value = editor.classList.contains("line") ? text.replace(/\s*\n\s*/g, " ").trim() : text;
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function setUpField(field) {
    const editor = field.querySelector(".pieces");
    if (!editor) return;
    editor.replaceChildren(...JSON.parse(editor.dataset.pieces).map(node));
    editor.setAttribute("role", "textbox");
    editor.setAttribute("aria-multiline", String(!editor.classList.contains("line")));
    if (mayEdit) editor.contentEditable = "plaintext-only";
    else editor.setAttribute("aria-readonly", "true");
  }

  // Pieces or code, field by field: what has no pieces is code.
  function showFields(panel) {
    const code = asCode.has(panel.dataset.key);
    let lacking = false;
    for (const field of panel.querySelectorAll(".words-field")) {
      const [editor, area] = [field.querySelector(".pieces"), field.querySelector("[data-words]")];
      const isHtml = Boolean(field.closest(".own-html"));
      lacking ||= !editor && !isHtml;
      if (!editor) continue;
      editor.hidden = code;
      area.hidden = !code;
    }
    const button = panel.querySelector("[data-code]");
    if (!button) return;
    button.hidden = lacking;
    button.setAttribute("aria-pressed", String(code));
    panel.querySelector(".as-code").hidden = !lacking;
  }

  function remember() {
    const selection = getSelection();
    const range = selection.rangeCount ? selection.getRangeAt(0) : null;
    const editor = range?.startContainer.parentElement?.closest?.(".pieces") ?? null;
    if (editor && form.contains(editor) && editor.isContentEditable) last = { editor, range: range.cloneRange() };
  }

  function begun(name, language) {
    if (name === "several") return language === "en" ? { one: "a message", several: "# messages" } : { one: "1", several: "#" };
    if (!canBeUnknown(name)) return { value: name };
    return { name, before: "", after: "", otherwise: name === "agent" ? BRAND : "" };
  }

  function insert(name, block) {
    const panel = block.querySelector(".language:not([hidden])");
    const place = last?.editor ?? last?.area;
    const isHere = place && !place.hidden && panel.contains(place);
    const fields = [...panel.querySelectorAll(":scope > .write > .words-field")];
    const target = isHere ? last : { editor: fields.at(-1).querySelector(".pieces:not([hidden])"), area: fields.at(-1).querySelector("[data-words]") };
    const piece = begun(name, panel.dataset.key.split("/")[1]);
    if (!target.editor) {
      const { area } = target;
      area.setRangeText(written(piece), area.selectionStart, area.selectionEnd, "end");
      area.focus();
      area.dispatchEvent(new Event("input", { bubbles: true }));
      return;
    }
    const { editor } = target;
    const range = target.range ?? document.createRange();
    if (!target.range) {
      range.selectNodeContents(editor);
      range.collapse(false);
    }
    const chip = node(piece);
    range.deleteContents();
    range.insertNode(chip);
    editor.focus();
    getSelection().setPosition(chip.parentNode, [...chip.parentNode.childNodes].indexOf(chip) + 1);
    remember();
    take(editor);
    if (piece.name) edit(chip);
  }

  // The card with what a piece says.

  function input(label, value, change) {
    const field = document.createElement("label");
    field.className = "piece-field";
    const text = Object.assign(document.createElement("input"), { value: toSay(value), autocomplete: "off" });
    text.addEventListener("input", (event) => {
      event.stopPropagation();
      change(toKeep(text.value));
    });
    field.append(label, text);
    return field;
  }

  function instead(piece, change) {
    const field = document.createElement("label");
    field.className = "piece-field";
    const choice = document.createElement("select");
    const now = piece.otherwise === BRAND ? "brand" : piece.otherwise ? "words" : "nothing";
    for (const [value, label] of [["nothing", "nothing"], ["brand", "the brand's name"], ["words", "these words:"]]) {
      choice.append(new Option(label, value, value === now, value === now));
    }
    field.append("If unknown, write", choice);
    const words = input("Words", now === "words" ? piece.otherwise : "", (text) => change(text));
    words.hidden = now !== "words";
    choice.addEventListener("input", (event) => event.stopPropagation());
    choice.addEventListener("change", () => {
      words.hidden = choice.value !== "words";
      change(choice.value === "brand" ? BRAND : choice.value === "words" ? toKeep(words.querySelector("input").value) : "");
    });
    return [field, words];
  }

  function button(label, look, act) {
    const made = Object.assign(document.createElement("button"), { type: "button", className: `quiet small ${look}`, textContent: label });
    made.addEventListener("click", act);
    return made;
  }

  function edit(chip) {
    getSelection().removeAllRanges();
    const editor = chip.closest(".pieces");
    const card = editor.closest(".language").querySelector(".piece");
    const first = read(chip);
    const piece = canBeUnknown(first.value) ? { name: first.value, before: "", after: "", otherwise: "" } : first;
    const change = (name) => (text) => {
      piece[name] = name === "several" ? text.replace(/#(?=.*#)/g, "") : text;
      draw(chip, piece);
      take(editor);
    };
    const close = () => {
      card.hidden = true;
      (chip.isConnected ? chip : editor).focus();
    };
    const title = Object.assign(document.createElement("strong"), { textContent: piece.name ? labels[piece.name] : labels.several });
    const fields = piece.name
      ? [...instead(piece, change("otherwise")), input("Before, if known", piece.before, change("before")), input("After, if known", piece.after, change("after"))]
      : [input("One message", piece.one, change("one")), input("Several (# is the number)", piece.several, change("several"))];
    const actions = Object.assign(document.createElement("div"), { className: "actions" });
    actions.append(button("Done", "", close), button("Remove", "danger", () => {
      chip.remove();
      take(editor);
      close();
    }));
    card.replaceChildren(title, ...fields, actions);
    card.onkeydown = (event) => {
      if (event.key === "Escape") close();
      if (event.key === "Enter" && event.target.matches("input")) {
        event.preventDefault();
        close();
      }
    };
    card.hidden = false;
    editor.parentElement.after(card);
    card.querySelector("select, input").focus();
  }

  // Languages

  function select(block, panel, focus) {
    for (const other of block.querySelectorAll(".language")) {
      const tab = document.getElementById(`${other.id}-tab`);
      other.hidden = other !== panel;
      tab.setAttribute("aria-selected", String(other === panel));
      tab.tabIndex = other === panel ? 0 : -1;
      if (other === panel && focus) tab.focus();
    }
    showMail(panel);
  }

  function setUp(block, key) {
    const panels = [...block.querySelectorAll(".language")];
    for (const panel of panels) {
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", `${panel.id}-tab`);
      for (const field of panel.querySelectorAll(".words-field")) setUpField(field);
      showFields(panel);
      for (const hidden of panel.querySelectorAll(".views > [hidden]")) hidden.hidden = false;
    }
    const list = block.querySelector("[role=tablist]");
    list.hidden = false;
    const palette = block.querySelector(".palette");
    palette.hidden = !mayEdit;
    block.classList.add("tabbed");
    const wrong = panels.find((panel) => panel.querySelector("[aria-invalid=true]"));
    const kept = panels.find((panel) => panel.dataset.key === key);
    select(block, wrong ?? kept ?? panels.find((panel) => panel.matches("[data-chosen]")) ?? panels[0]);
  }

  // The mail

  const visible = () => [...form.querySelectorAll(".language:not([hidden])")];

  // In a frame that is a new one each time: else every change would be a step back for the browser's button.
  function showMail(panel) {
    const beside = panel.querySelector(".beside[data-mail]");
    if (!beside || !panel.checkVisibility()) return;
    beside.dataset.view = view;
    for (const button of beside.querySelectorAll("[data-show]")) button.setAttribute("aria-pressed", String(button.dataset.show === view));
    const button = beside.querySelector(`[data-show="${view}"]`);
    const frame = beside.querySelector("iframe");
    frame.replaceWith(frame.cloneNode(false));
    fit(beside);
    if (view !== "text") form.requestSubmit(button);
  }

  function fit(beside) {
    const room = beside.querySelector(".frame").clientWidth;
    beside.style.setProperty("--scale", String(Math.min(1, room / DESKTOP)));
  }

  const widths = new ResizeObserver((entries) => entries.forEach((entry) => fit(entry.target)));

  // Events

  form.addEventListener("input", (event) => {
    if (!event.target.matches(".pieces")) return;
    event.stopPropagation();
    take(event.target);
  }, true);

  document.addEventListener("selectionchange", remember);
  form.addEventListener("focusin", (event) => {
    if (event.target.matches("[data-words]")) last = { area: event.target };
  });

  form.addEventListener("pointerdown", (event) => {
    if (event.target.closest("[data-insert]")) event.preventDefault();
  });

  form.addEventListener("keydown", (event) => {
    const chip = event.target.closest(".chip");
    if (chip && ["Enter", " "].includes(event.key)) {
      event.preventDefault();
      edit(chip);
    } else if (chip && ["Delete", "Backspace"].includes(event.key)) {
      event.preventDefault();
      const editor = chip.closest(".pieces");
      chip.remove();
      take(editor);
      editor.focus();
    } else if (event.key === "Enter" && event.target.matches(".pieces.line")) {
      event.preventDefault();
    } else if (event.target.matches("[role=tab]")) {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const block = event.target.closest(".message");
      const panels = [...block.querySelectorAll(".language")];
      const at = panels.findIndex((panel) => `${panel.id}-tab` === event.target.id);
      if (step) select(block, panels[(at + step + panels.length) % panels.length], true);
    }
  });

  form.addEventListener("click", (event) => {
    const block = event.target.closest(".message");
    const insertion = event.target.closest("[data-insert]");
    const chip = event.target.closest(".chip[role=button]");
    const tab = event.target.closest("[role=tab]");
    const show = event.target.closest("[data-show]");
    if (insertion) insert(insertion.dataset.insert, block);
    else if (chip) edit(chip);
    else if (tab) select(block, document.getElementById(tab.getAttribute("aria-controls")));
    else if (show) {
      event.preventDefault();
      view = show.dataset.show;
      visible().forEach(showMail);
    }
  });

  // A label leads to the field that is seen.
  form.addEventListener("click", (event) => {
    const label = event.target.closest("label[for]");
    const area = label && document.getElementById(label.htmlFor);
    if (area?.matches("[data-words][hidden]")) area.parentElement.querySelector(".pieces").focus();
  });

  for (const block of form.querySelectorAll(".message")) {
    setUp(block);
    block.closest("details").addEventListener("toggle", () => visible().forEach(showMail));
  }
  for (const beside of form.querySelectorAll(".beside[data-mail]")) widths.observe(beside);

  return {
    // Shows the texts of a channel as the server has sent them.
    replace(channel, content, keep) {
      const block = document.getElementById(`${channel}-texts`);
      const before = block.querySelector(".language:not([hidden])")?.dataset.key;
      const adding = block.querySelector(".another select")?.value;
      widths.disconnect();
      block.replaceChildren(content);
      // A language that was chosen, and not added yet, stays chosen.
      const still = [...block.querySelectorAll(".another option")].find((option) => option.value === adding);
      if (still) still.selected = true;
      setUp(block, keep ? before : undefined);
      for (const beside of form.querySelectorAll(".beside[data-mail]")) widths.observe(beside);
    },
    // Shows a field, wherever it is.
    reveal(id) {
      const area = document.getElementById(id);
      const panel = area?.closest(".language");
      if (panel) select(panel.closest(".message"), panel);
      const editor = area?.parentElement.querySelector(".pieces:not([hidden])");
      (editor ?? area)?.focus();
    },
    showMails: () => visible().forEach(showMail),
    // Whether a language's text is to be shown as pieces again, which the server makes.
    toggleCode(panel) {
      const { key } = panel.dataset;
      const wasCode = asCode.delete(key);
      if (!wasCode) asCode.add(key);
      showFields(panel);
      return wasCode;
    },
  };
})();
