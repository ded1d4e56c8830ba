// Jobs: filters in the address, a page at a time, stop and retry of many.

import { ago, agreed, button, field, firstLine, h, jobLink, select, status, table, took } from "./dom.js";
import { call, many } from "./rpc.js";

const STATUSES = ["Dispatched", "WaitingForPrerequisites", "Started", "Error", "Finished"];
const TYPES = ["OSIS", "SAL", "Python", "V"];
const KINDS = ["script_failed", "timeout", "stopped", "runner_lost", "prerequisite_failed", "invalid_script", "output_too_large"];
const FILTERS = ["status", "script_type", "error_kind", "context_id", "caller_id", "created_after", "created_before"];
const LIMITS = ["25", "50", "100"];
const LONGEST = 200;

// What the address asks for: only what is known, and of bounded length.
function filter(query) {
  const filter = {};
  for (const name of [...FILTERS, "cursor"]) {
    const value = query.get(name)?.slice(0, LONGEST);
    if (value) filter[name] = value;
  }
  filter.limit = LIMITS.includes(query.get("limit")) ? Number(query.get("limit")) : 25;
  return filter;
}

function address(filter) {
  const query = new URLSearchParams(Object.entries(filter).filter(([name, value]) => value && !(name === "limit" && `${value}` === "25")));
  return query.size ? `/ui/jobs?${query}` : "/ui/jobs";
}

export default {
  path: /^\/ui\/jobs$/,
  home: "/ui/jobs",
  nav: "Jobs",
  letter: "j",
  title: () => "Jobs",
  every: 2000,
  rests: 5000,
  watches: (ctx) => (ctx.query.get("cursor") ? null : ["subscribe_jobs", []]),

  frame(ctx) {
    const now = filter(ctx.query);
    ctx.memory.chosen = new Set();
    const text = (name, words) => field(words, h("input", { name, value: now[name] ?? "", maxlength: LONGEST }));
    const options = (all) => [["", "any"], ...all.map((it) => [it, it])];
    const submit = (event) => {
      event.preventDefault();
      ctx.go(address(Object.fromEntries(new FormData(event.target))));
    };
    return [h("h1", {}, "Jobs"), h("form", { onsubmit: submit, role: "search" },
      field("Status", select("status", options(STATUSES), now.status)),
      field("Type", select("script_type", options(TYPES), now.script_type)),
      field("Why it failed", select("error_kind", options(KINDS), now.error_kind)),
      text("context_id", "Context"), text("caller_id", "Caller"),
      text("created_after", "Created after (RFC 3339)"), text("created_before", "Created before"),
      field("A page", select("limit", LIMITS.map((it) => [it, it]), `${now.limit}`)),
      h("button", { class: "main" }, "Filter"), h("a", { href: "/ui/jobs" }, "all jobs"))];
  },

  async load(ctx) {
    const asked = filter(ctx.query);
    const ids = await call("list_jobs", [asked]);
    const answers = await many(ids.map((id) => ["get_job", [id]]));
    const jobs = answers.map(({ value }, index) => (value ? line(value) : { id: ids[index] })).filter((it) => it.status || it.id);
    return { jobs, next: ids.length === asked.limit ? ids.at(-1) : null };
  },

  show({ jobs, next }, ctx) {
    const chosen = ctx.memory.chosen;
    const here = new Set(jobs.map((job) => job.id));
    for (const id of chosen) if (!here.has(id)) chosen.delete(id);
    const box = (job) => h("input", { type: "checkbox", checked: chosen.has(job.id), "aria-label": `Choose ${job.id}`, "data-focus": `box ${job.id}`,
      onchange: (event) => { chosen[event.target.checked ? "add" : "delete"](job.id); } });
    const all = h("input", { type: "checkbox", "aria-label": "Choose all of this page", onchange: (event) => {
      for (const it of ctx.live.querySelectorAll("tbody input[type=checkbox]")) if (it.checked !== event.target.checked) it.click();
    } });
    const rows = jobs.map((job) => [...(ctx.admin ? [box(job)] : []), jobLink(job.id), status(job.status ?? "gone"), job.script_type, job.context_id,
      ago(job.created_at), took(job.started_at, job.finished_at ?? (job.status === "Started" ? null : job.started_at)), job.words]);
    const asked = filter(ctx.query);
    const head = ["Job", "Status", "Type", "Context", "Created", "Ran for", "Output or error"];
    return [
      ctx.admin && h("div", { class: "row" }, button("Stop chosen", () => each(ctx, "stop_job", "Stop")),
        button("Retry chosen", () => each(ctx, "retry_job", "Start again")),
        asked.status === "Error" && button("Retry all that match", () => retryAll(ctx, asked))),
      table(ctx.admin ? [all, ...head] : head, rows, "No jobs match."),
      h("div", { class: "row" },
        asked.cursor && h("a", { href: address({ ...asked, cursor: null }) }, "Newest"),
        next && h("a", { id: "older", href: address({ ...asked, cursor: next }), "data-focus": "older" }, "Older jobs")),
    ];
  },
};

// What a line shows of a job: no more of it is kept.
function line({ id, status, script_type, context_id, created_at, started_at, finished_at, error, output, error_kind }) {
  const words = firstLine(error ?? output);
  return { id, status, script_type, context_id, created_at, started_at, finished_at, words: error_kind ? `${error_kind}: ${words}` : words };
}

async function each(ctx, method, words) {
  const ids = [...ctx.memory.chosen];
  if (ids.length === 0) return ctx.say("Choose jobs first.");
  if (!await agreed(`${words} ${ids.length} job${ids.length === 1 ? "" : "s"}?`, words)) return;
  const failed = (await many(ids.map((id) => [method, [id]]))).filter(({ error }) => error);
  ctx.memory.chosen.clear();
  ctx.say(failed.length ? `${failed.length} of ${ids.length} were refused: ${failed[0].error.message}` : null);
  ctx.refresh();
}

async function retryAll(ctx, asked) {
  if (!await agreed("Start again all jobs in error that match the filter, up to a page of them?", "Start again")) return;
  try {
    const { cursor, ...filter } = asked;
    const ids = await call("retry_jobs", [filter]);
    ctx.say(ids.length === 0 ? "None was left to start again." : null);
    ctx.refresh();
  } catch (error) {
    ctx.say(error.message);
  }
}
