// One job: where it is and why, its log as it comes, what came out.

import { ago, button, facts, h, jobLink, status, took } from "./dom.js";
import { watch } from "./events.js";
import { call, many } from "./rpc.js";

// Characters of a log that are kept on the page.
const LOG_KEPT = 1_000_000;

const isEnded = (job) => job.status === "Finished" || job.status === "Error";

export default {
  path: /^\/ui\/jobs\/([^/]{1,64})$/,
  title: ([id]) => `Job ${id}`,
  every: 1000,
  rests: 5000,
  watches: (ctx) => ["subscribe_job", [ctx.params[0]]],

  frame(ctx) {
    const log = h("pre", { id: "log", tabindex: 0, "aria-label": "Log", role: "log" });
    ctx.memory.log = { element: log, text: "", follows: true };
    log.addEventListener("scroll", () => {
      ctx.memory.log.follows = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    });
    ctx.memory.feed = watch(["subscribe_logs", [ctx.params[0]]], (news) => hear(ctx.memory.log, news));
    ctx.leave = () => ctx.memory.feed.close();
    return [h("h1", {}, `Job ${ctx.params[0]}`)];
  },

  async load(ctx) {
    const id = ctx.params[0];
    const job = await call("get_job", [id]);
    // What is subscribed to ends with the job; it has been started again.
    if (ctx.memory.wasEnded && !isEnded(job)) {
      ctx.memory.isWhole = false;
      ctx.memory.feed.again();
      ctx.watched.again();
    }
    ctx.memory.wasEnded = isEnded(job);
    const isTold = ctx.memory.feed.isOpen() || ctx.memory.isWhole;
    const asks = [];
    if (!isEnded(job)) asks.push(["explain_job", [id]]);
    if (!isTold) asks.push(["get_job_logs", [id]]);
    const answers = asks.length ? await many(asks) : [];
    const why = isEnded(job) ? null : answers[0].value ?? null;
    // While somebody tells us, what was asked meanwhile is older than what was told.
    if (!isTold && !ctx.memory.feed.isOpen()) {
      const logs = answers.at(-1);
      if (logs.value) write(ctx.memory.log, logs.value.logs ?? "");
      ctx.memory.isWhole = isEnded(job) && Boolean(logs.value);
    }
    return { job, why, asked: ctx.memory.asked ?? null };
  },

  show({ job, why }, ctx) {
    return [
      h("div", { class: "row" }, status(job.status), job.error_kind && h("span", { class: "bad" }, job.error_kind), actions(job, ctx)),
      truth(job, ctx),
      progress(job),
      why && !isEnded(job) && [h("h2", {}, job.status === "Started" ? "What it does" : "Why it is waiting"), h("ul", {}, why.reasons.map((it) => h("li", {}, it)))],
      job.error && [h("h2", {}, "Error"), h("pre", { id: "error" }, job.error)],
      job.output && [h("h2", {}, "Output"), h("pre", { id: "output", tabindex: 0, "data-scroll": "output" }, job.output)],
      job.result !== null && [h("h2", {}, "Result"), h("pre", {}, JSON.stringify(job.result, null, 2))],
      h("h2", {}, "Log"), ctx.memory.log.element,
      h("h2", {}, "Timeline"), timeline(job),
      h("h2", {}, "Script"), h("pre", { id: "script", tabindex: 0, "data-scroll": "script" }, job.script),
      h("h2", {}, "About it"), about(job),
    ];
  },
};

// Lines that the node has sent; null: from here on they come from the beginning.
function hear(log, news) {
  if (news === null) write(log, "");
  else write(log, log.text + news.lines.map((line) => `${line.text}\n`).join(""));
}

// Adds what is new, and stays at the end unless somebody has scrolled up.
function write(log, text) {
  if (text.startsWith(log.text)) log.element.append(document.createTextNode(text.slice(log.text.length)));
  else log.element.textContent = text;
  log.text = text;
  if (text.length > LOG_KEPT) log.element.textContent = text.slice(-LOG_KEPT);
  if (log.follows) requestAnimationFrame(() => { log.element.scrollTop = log.element.scrollHeight; });
}

function actions(job, ctx) {
  if (!ctx.admin) return null;
  return [
    !isEnded(job) && button("Stop", () => act(ctx, "stop_job", job.id)),
    job.status === "Error" && button("Retry", () => act(ctx, "retry_job", job.id)),
  ];
}

async function act(ctx, method, id) {
  try {
    await call(method, [id]);
    ctx.memory.asked = method === "stop_job" ? "stop" : null;
    ctx.say(null);
  } catch (error) {
    ctx.say(error.message);
  }
  ctx.refresh();
}

// A stop is asked for at once, and true once the runner has ended the process and said so.
function truth(job, ctx) {
  if (job.error_kind === "stopped") {
    const ran = job.started_at ? "its runner has killed the whole process tree and reported the end" : "it had not begun";
    return h("p", { id: "truth", class: "soft" }, `Stopped: ${ran}.`);
  }
  if (ctx.memory.asked === "stop" && !isEnded(job)) {
    return h("p", { id: "truth", class: "bad" }, "A stop was asked for. The process still runs until its runner reports the end.");
  }
  return null;
}

function progress(job) {
  if (!job.progress) return null;
  return h("p", {}, h("progress", { max: 1, value: job.progress.fraction, "aria-label": "Progress" }), `${Math.round(job.progress.fraction * 100)} % ${job.progress.text}`);
}

function timeline(job) {
  const item = (kind, words, at) => h("li", { class: kind }, words, at && h("time", { datetime: at, title: at }, at.replace("T", " ")), at && [" ", h("span", { class: "soft" }, ago(at))]);
  const links = (ids) => ids.slice(0, 20).map((id) => [" ", jobLink(id)]);
  return h("ol", { class: "timeline" },
    item("good", `created by ${job.caller_id}`, job.created_at),
    job.prerequisites.length > 0 && item(job.status === "WaitingForPrerequisites" ? "now" : "good", ["waits for", links(job.prerequisites)]),
    job.run_at && item("good", "not before", job.run_at),
    job.queued_at && item(job.status === "Dispatched" ? "now" : "good", job.attempt > 1 ? `queued, for attempt ${job.attempt} at least` : "queued", job.queued_at),
    job.started_at && item(job.status === "Started" ? "now" : "good", `attempt ${job.attempt} started on ${job.runner_id ?? "a runner"}`, job.started_at),
    job.finished_at && item(job.status === "Finished" ? "good" : "bad", [job.status === "Finished" ? "finished" : `ended: ${job.error_kind ?? "error"}`, job.started_at && ` after ${took(job.started_at, job.finished_at)}`], job.finished_at),
    job.dependents.length > 0 && item("", ["then", links(job.dependents)]));
}

function about(job) {
  const env = Object.entries(job.env_vars).map(([name, value]) => h("div", {}, h("code", {}, `${name}=${value}`)));
  return facts([["Type", job.script_type], ["Context", job.context_id], ["Caller", job.caller_id], ["Circle", job.circle], ["Priority", job.priority],
    ["Timeout", `${job.timeout} s`], ["Attempts", job.attempt], ["Retries left", job.retries], ["Deliveries at most", job.max_deliveries],
    ["Runner", job.runner_id], ["Idempotency key", job.idempotency_key], ["Kept for", job.retention ? `${job.retention} s after its end` : "ever"],
    ["Variables", env.length ? env : null], ["Trace", job.traceparent]]);
}
