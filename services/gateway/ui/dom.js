// Elements are made here and nowhere else. What stands between them is always a text node, so that nothing which
// a job, a node or a person has written can become an element: there is no innerHTML in these pages, and the
// content security policy would refuse it.

const ATTRIBUTES = new Set(["class", "id", "title", "type", "name", "value", "placeholder", "for", "role", "disabled",
  "checked", "selected", "hidden", "rows", "cols", "min", "max", "maxlength", "required", "autocomplete", "spellcheck",
  "tabindex", "alt", "width", "height", "colspan", "datetime", "open", "low", "high", "optimum", "autofocus", "label",
  "inputmode", "pattern", "list"]);

// An element. Attributes that begin with `on` are functions; links lead to these pages only.
export function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "href" || key === "src") {
      if (!/^\/ui(\/|\?|$)|^#/.test(value)) throw new Error(`${value} leads out of these pages`);
      element.setAttribute(key, value);
    } else if (ATTRIBUTES.has(key) || key.startsWith("aria-") || key.startsWith("data-")) {
      element.setAttribute(key, value === true ? "" : String(value));
    } else throw new Error(`${key} is not an attribute of these pages`);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return element;
}

// Puts nodes into an element in place of what is there, and keeps the focus and what was scrolled.
export function swap(element, ...nodes) {
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  const scrolled = [...element.querySelectorAll("[data-scroll]")].map((it) => [it.dataset.scroll, it.scrollTop]);
  element.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
  if (focused) element.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  for (const [name, top] of scrolled) {
    const it = element.querySelector(`[data-scroll="${CSS.escape(name)}"]`);
    if (it) it.scrollTop = top;
  }
}

export function status(name) {
  return h("span", { class: `status ${/^[A-Za-z]+$/.test(name) ? name : ""}` }, name);
}

// A table; each row is an array of cells. On a phone the rows become cards.
export function table(head, rows, nothing) {
  if (rows.length === 0) return h("p", { class: "soft" }, nothing);
  const cell = (value, index) => {
    const label = typeof head[index] === "string" ? head[index] : "";
    return h("td", { "data-label": label, class: /^(job|id)$/i.test(label) ? "id" : null }, value);
  };
  return h("div", { class: "scroll" }, h("table", { class: "stack" },
    h("thead", {}, h("tr", {}, head.map((name) => h("th", {}, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
}

// Names with values; those without a value are left out.
export function facts(list) {
  return h("dl", { class: "facts" }, list.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function card(name, value, note, kind) {
  return h("div", { class: "card" }, h("dt", {}, name), h("dd", { class: kind ?? null }, value ?? "–", note && h("small", {}, note)));
}

export function button(words, act, more = {}) {
  return h("button", { type: "button", onclick: act, "data-focus": words, ...more }, words);
}

export function field(words, control) {
  return h("label", {}, words, control);
}

export function select(name, options, value) {
  return h("select", { name }, options.map(([key, words]) => h("option", { value: key, selected: key === (value ?? "") }, words)));
}

export const jobLink = (id) => h("a", { href: `/ui/jobs/${encodeURIComponent(id)}`, "data-focus": id }, id);

// Asks before what cannot be undone.
export function agreed(question, words) {
  return new Promise((answer) => {
    const close = (yes) => { dialog.close(); dialog.remove(); answer(yes); };
    const dialog = h("dialog", { oncancel: () => close(false) }, h("p", {}, question),
      h("div", { class: "row" }, h("button", { type: "button", class: "main", onclick: () => close(true) }, words),
        h("button", { type: "button", onclick: () => close(false) }, "Cancel")));
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function count(number) {
  return number === null || number === undefined ? "–" : number.toLocaleString("en");
}

export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; number >= 1024 && unit < units.length - 1; unit += 1) number /= 1024;
  return `${number.toFixed(unit === 0 || number >= 100 ? 0 : 1)} ${units[unit]}`;
}

export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  const s = Math.floor(ms / 1000);
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (s < 60) return `${(ms / 1000).toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}

// How long ago; it goes on counting.
export function ago(time) {
  if (!time) return null;
  return h("time", { datetime: time, title: time, "data-ago": "" }, agoWords(time));
}

function agoWords(time) {
  const ms = Date.now() - Date.parse(time);
  if (Number.isNaN(ms)) return time;
  if (Math.abs(ms) < 1000) return "now";
  const words = span(Math.floor(Math.abs(ms) / 1000) * 1000).replace(".0 s", " s");
  return ms < 0 ? `in ${words}` : `${words} ago`;
}

export function tick() {
  for (const it of document.querySelectorAll("time[data-ago]")) {
    const words = agoWords(it.getAttribute("datetime"));
    if (it.textContent !== words) it.textContent = words;
  }
}

export function took(from, to) {
  return from ? span((to ? Date.parse(to) : Date.now()) - Date.parse(from)) : null;
}

export const firstLine = (text) => (text ?? "").trim().split("\n", 1)[0].slice(0, 160);
