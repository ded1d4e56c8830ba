// The frame around the pages: which page an address is, who looks at it, and looking again and again.

import { h, swap, tick, button } from "./dom.js";
import { Away, Refused, session, signOut, whoami } from "./rpc.js";
import { watch } from "./events.js";
import overview from "./overview.js";
import jobs from "./jobs.js";
import job from "./job.js";
import runners from "./runners.js";
import nodes from "./nodes.js";
import schedules from "./schedules.js";
import access from "./access.js";
import audit from "./audit.js";
import attempt from "./try.js";
import signin from "./signin.js";

// A page: { path, title, every, frame?(ctx), load(ctx), show(data, ctx), watches?(ctx) }. `nav` is its place among the
// pages, with the letter that leads there.
const PAGES = [overview, jobs, job, runners, nodes, schedules, access, audit, attempt, signin];
const $ = (id) => document.getElementById(id);

// The least time between two looks.
const LEAST_MS = 250;

let who = null;
let current = 0;
let wake = () => {};

export function go(path) {
  if (path !== location.pathname + location.search) history.pushState(null, "", path);
  open();
}

function find() {
  const path = location.pathname.replace(/\/+$/, "") || "/ui";
  for (const page of PAGES) {
    const match = page.path.exec(path);
    if (match) return [page, match.slice(1).map(decodeURIComponent)];
  }
  return [null, []];
}

function seen(page) {
  return page.nav && (!page.admin || (who?.scope === "admin" && !who.circle)) && (!page.root || !who?.circle);
}

function frame(active) {
  const letter = (page) => {
    const at = page.nav.toLowerCase().indexOf(page.letter);
    return [page.nav.slice(0, at), h("u", {}, page.nav[at]), page.nav.slice(at + 1)];
  };
  swap($("nav"), PAGES.filter(seen).map((page) =>
    h("a", { href: page.home, "aria-current": page === active ? "page" : null, "data-focus": page.nav }, letter(page))));
  const signed = session();
  swap($("who"), who && h("span", { id: "name" }, `${who.name} (${who.scope})`),
    who && who.scope !== "admin" && h("span", { title: "Changes are for keys of scope admin" }, "read-only"),
    signed.key || signed.circle ? button("Sign out", leave)
      : who ? null : h("a", { href: "/ui/signin" }, "Sign in"),
    button("Light or dark", theme, { title: "Light or dark", "aria-label": "Light or dark" }));
}

function leave() {
  signOut();
  who = null;
  go("/ui/signin");
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("hero.theme", root.dataset.theme);
}

function say(words) {
  $("banner").hidden = !words;
  $("banner").textContent = words ?? "";
}

// Opens the page that the address names, and leaves the one before.
async function open() {
  const turn = ++current;
  wake();
  const [page, params] = find();
  if (!page) {
    frame(null);
    swap($("main"), h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "/ui" }, "To the overview")));
    return;
  }
  say(null);
  if (!page.open) {
    try {
      who = await whoami();
      if (who.scope === "no scope") throw new Refused({ message: "prove a key of this circle first", data: { reason: "AUTHENTICATION_REQUIRED" } });
    } catch (error) {
      if (turn !== current) return;
      who = null;
      if (error instanceof Refused && error.isUnknown) return go("/ui/signin");
      say(words(error));
    }
  }
  if (turn !== current) return;
  frame(page);
  document.title = `${page.title(params)} – Hero`;
  const live = h("div", { id: "live-part" });
  const ctx = { params, query: new URLSearchParams(location.search), who, live, go, say, memory: {}, admin: who?.scope === "admin",
    refresh: () => wake(), isCurrent: () => turn === current };
  const top = page.frame ? page.frame(ctx) : h("h1", {}, page.title(params));
  swap($("main"), top, live);
  $("main").focus({ preventScroll: true });
  scrollTo(0, 0);
  if (page.load) await look(page, ctx, turn);
}

// Looks, shows, waits; until another page is opened. While nobody sees the tab it rests.
async function look(page, ctx, turn) {
  let shown;
  let failures = 0;
  let looked = 0;
  const hear = ctx.watched = page.watches ? watch(page.watches(ctx), () => wake()) : null;
  try {
    while (turn === current) {
      // However much happens, the node is asked a few times a second at most.
      await rest(looked + LEAST_MS - performance.now());
      looked = performance.now();
      if (turn !== current) return;
      try {
        const data = await page.load(ctx);
        if (turn !== current) return;
        const text = JSON.stringify(data);
        if (text !== shown) {
          shown = text;
          swap(ctx.live, page.show(data, ctx));
        }
        if (failures > 0) say(null);
        failures = 0;
        $("live").textContent = hear?.isOpen() ? "live" : "";
      } catch (error) {
        if (turn !== current) return;
        failures += 1;
        if (error instanceof Refused && error.isUnknown) return go("/ui/signin");
        if (!(error instanceof Refused || error instanceof Away)) console.error(error);
        say(words(error));
        if (error instanceof Refused && !shown) swap(ctx.live, h("p", { class: "soft" }, words(error)));
      }
      if (turn !== current) return;
      await pause(failures > 0 ? Math.min(2000 * failures, 15_000) : (hear?.isOpen() ? page.rests ?? page.every : page.every));
    }
  } finally {
    hear?.close();
    ctx.leave?.();
  }
}

const rest = (ms) => (ms > 0 ? new Promise((done) => setTimeout(done, ms)) : null);

function words(error) {
  return error instanceof Refused && error.reason ? `${error.message} (${error.reason})` : error.message;
}

function pause(ms) {
  return new Promise((done) => {
    let timer;
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      done();
    };
    const wait = () => { timer = setTimeout(() => (document.hidden ? (timer = null) : end()), ms); };
    const seen = () => { if (!document.hidden && timer === null) end(); };
    document.addEventListener("visibilitychange", seen);
    wake = end;
    wait();
  });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/ui']");
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});

let prefix = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  if (event.key === "/") {
    const filter = document.querySelector("main input, main select");
    if (filter) {
      event.preventDefault();
      filter.focus();
    }
  } else if (prefix) {
    const page = PAGES.find((it) => seen(it) && it.letter === event.key);
    if (page) go(page.home);
  }
  prefix = event.key === "g";
});

const kept = localStorage.getItem("hero.theme");
if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
addEventListener("popstate", open);
setInterval(tick, 1000);
open();
