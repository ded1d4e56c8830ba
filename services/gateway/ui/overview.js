// The overview: what a node does, in one look. One call of `stats`, whose cost does not grow with the jobs.

import { ago, button, bytes, card, count, h, jobLink, span, status, table } from "./dom.js";
import { call } from "./rpc.js";

export default {
  path: /^\/ui$/,
  home: "/ui",
  nav: "Overview",
  letter: "o",
  title: () => "Overview",
  every: 2000,

  load: () => call("stats"),

  show({ jobs, lanes, runners, flow, failures, store }, ctx) {
    const last = flow.at(-1);
    const rate = (value) => (value === undefined ? "–" : value.toFixed(1));
    return [
      h("dl", { class: "cards" },
        card("Jobs in, a second", rate(last?.created)),
        card("Jobs out, a second", rate(last?.ended)),
        card("Queued", count(jobs.queued)),
        card("Running", count(jobs.started)),
        card("Waiting for jobs", count(jobs.waiting)),
        card("Waiting for a time", count(jobs.delayed)),
        card("In error", count(jobs.failed), null, jobs.failed ? "bad" : null),
        card("Kept", count(jobs.kept))),
      chart(flow),
      h("h2", {}, "Queues"),
      table(["Type", "Circle", "Waiting", "Oldest waits", "Runners"], lanes.map((lane) => [
        lane.script_type, lane.circle ? short(lane.circle) : "–", count(lane.waiting), span(lane.oldest_ms),
        lane.runners > 0 || lane.waiting === 0 ? count(lane.runners) : h("span", { class: "bad" }, "none serves it"),
      ]), "No queues."),
      h("h2", {}, "Runners"),
      h("dl", { class: "cards" },
        card("Alive", count(runners.alive), null, runners.alive ? "good" : "bad"),
        card("Draining", count(runners.draining)),
        card("Lost", count(runners.lost), null, runners.lost ? "bad" : null),
        card("Busy slots", `${count(runners.busy)} / ${count(runners.slots)}`)),
      h("h2", {}, "Latest failures"),
      table(["Job", "Type", "Why", "Error", "Ended", ""], failures.map((it) => [
        jobLink(it.job_id), it.script_type, status(it.error_kind ?? "Error"), it.error, ago(it.finished_at),
        ctx.admin && button("Retry", () => retry(it.job_id, ctx), { "data-focus": `retry ${it.job_id}`, "aria-label": `Retry ${it.job_id}` }),
      ]), "Nothing has failed."),
      store && [h("h2", {}, "Store"), storeCards(store)],
    ];
  },
};

function short(key) {
  return h("span", { title: key }, `${key.slice(0, 12)}…`);
}

async function retry(id, ctx) {
  try {
    await call("retry_job", [id]);
    ctx.refresh();
  } catch (error) {
    ctx.say(error.message);
  }
}

// The picture is drawn by the server from the numbers that are here already.
function chart(flow) {
  if (flow.length < 2) return h("p", { class: "soft" }, "Rates are drawn once there are some seconds of them.");
  const list = (name) => flow.map((it) => +it[name].toFixed(1)).join(",");
  const seconds = Math.round((Date.parse(flow.at(-1).at) - Date.parse(flow[0].at)) / 1000);
  return [
    h("h2", {}, "Jobs a second"),
    h("img", { class: "chart", width: 960, height: 200, alt: `Jobs in and out over the last ${seconds} seconds`,
      src: `/ui/chart.svg?seconds=${seconds}&in=${list("created")}&out=${list("ended")}` }),
    h("p", { class: "legend soft" }, h("span", { class: "in" }, h("i", {}), "in"), h("span", { class: "out" }, h("i", {}), "out")),
  ];
}

function storeCards(store) {
  const budget = store.max_bytes ?? store.machine_bytes;
  const share = budget ? store.used_bytes / budget : 0;
  const words = { log: "append-only file", snapshots: "snapshots", off: "off" }[store.persistence] ?? store.persistence;
  const of = store.max_bytes ? `of ${bytes(store.max_bytes)}` : `no limit; the machine has ${bytes(store.machine_bytes)}`;
  return [
    h("dl", { class: "cards" },
      card("Memory", bytes(store.used_bytes), of, share > 0.8 ? "bad" : null),
      card("Persistence", words, store.is_saved ? "the last write went well" : "the last write FAILED, or there is none",
        store.is_saved ? "good" : "bad"),
      card("Redis", store.version)),
    budget > 0 && h("meter", { min: 0, max: 1, value: share.toFixed(3), high: 0.8, "aria-label": "Memory that is used" }),
    store.warnings.map((words) => h("p", { class: "bad" }, words)),
  ];
}
