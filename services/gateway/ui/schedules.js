// Schedules: jobs that are started by the clock.

import { ago, agreed, button, field, h, jobLink, select, status, table } from "./dom.js";
import { call } from "./rpc.js";

export default {
  path: /^\/ui\/schedules$/,
  home: "/ui/schedules",
  nav: "Schedules",
  letter: "s",
  title: () => "Schedules",
  every: 3000,

  frame(ctx) {
    if (!ctx.admin) return h("h1", {}, "Schedules");
    const create = async (event) => {
      event.preventDefault();
      const { cron, time_zone, script, script_type } = Object.fromEntries(new FormData(event.target));
      try {
        await call("create_schedule", [{ cron, time_zone, job: { script, script_type } }]);
        event.target.reset();
        ctx.say(null);
        ctx.refresh();
      } catch (error) {
        ctx.say(error.message);
      }
    };
    return [h("h1", {}, "Schedules"), h("details", {}, h("summary", {}, "New schedule"), h("form", { class: "tall", onsubmit: create },
      field("Times (cron: minute hour day month weekday)", h("input", { name: "cron", required: true, maxlength: 200, placeholder: "0 3 * * *" })),
      field("Time zone", h("input", { name: "time_zone", value: "UTC", required: true, maxlength: 100 })),
      field("Type", select("script_type", ["OSIS", "SAL", "Python", "V"].map((it) => [it, it]), "OSIS")),
      field("Script", h("textarea", { name: "script", required: true, spellcheck: "false" })),
      h("div", { class: "row" }, h("button", { class: "main" }, "Create"))))];
  },

  load: () => call("list_schedules"),

  show(schedules, ctx) {
    const act = async (method, params) => {
      try {
        await call(method, params);
        ctx.say(null);
      } catch (error) {
        ctx.say(error.message);
      }
      ctx.refresh();
    };
    const run = async (id) => {
      try {
        ctx.go(`/ui/jobs/${await call("run_schedule", [id])}`);
      } catch (error) {
        ctx.say(error.message);
      }
    };
    const remove = async (id) => await agreed("Remove this schedule? The jobs that it started stay.", "Remove") && act("delete_schedule", [id]);
    const buttons = (it) => ctx.admin && [
      button(it.paused ? "Resume" : "Pause", () => act("pause_schedule", [it.id, !it.paused]), { "data-focus": `pause ${it.id}` }),
      button("Run now", () => run(it.id), { "data-focus": `run ${it.id}` }),
      button("Remove", () => remove(it.id), { "data-focus": `remove ${it.id}` }),
    ];
    return table(["Id", "State", "Cron", "Time zone", "Type", "Next", "Last", "Last job", "Started", "Skipped", ""], schedules.map((it) => [
      it.id, status(it.paused ? "paused" : "on"), it.cron, it.time_zone, it.job.script_type, ago(it.next_due), ago(it.last_due),
      it.last_job_id && jobLink(it.last_job_id), it.started, it.skipped, h("div", { class: "row" }, buttons(it)),
    ]), "No schedules.");
  },
};
