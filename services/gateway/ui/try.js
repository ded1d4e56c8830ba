// A page to try a script: it becomes a job like any other, and is followed on its own page.

import { field, h, select } from "./dom.js";
import { call } from "./rpc.js";

const DRAFT = "hero.draft";
const EXAMPLES = {
  OSIS: 'let total = 0;\nfor n in 1..=10 { total += n; }\ntotal',
  SAL: 'name_fix("Forty Two")',
  Python: 'import time\nfor n in range(5):\n    print("step", n, flush=True)\n    time.sleep(1)',
  V: "println(6 * 7)",
};

export default {
  path: /^\/ui\/try$/,
  home: "/ui/try",
  nav: "Try a script",
  letter: "t",
  title: () => "Try a script",

  frame(ctx) {
    if (!ctx.admin) return [h("h1", {}, "Try a script"), h("p", { class: "soft" }, "Running scripts from this page is for keys of scope admin; the API takes jobs of yours.")];
    const draft = read();
    const area = h("textarea", { name: "script", required: true, spellcheck: "false", rows: 14, autofocus: true });
    area.value = draft.script ?? EXAMPLES.Python;
    const types = select("script_type", Object.keys(EXAMPLES).map((it) => [it, it]), draft.script_type ?? "Python");
    types.addEventListener("change", () => {
      if (Object.values(EXAMPLES).includes(area.value) || area.value.trim() === "") area.value = EXAMPLES[types.value];
    });
    const submit = async (event) => {
      event.preventDefault();
      const given = Object.fromEntries(new FormData(form));
      sessionStorage.setItem(DRAFT, JSON.stringify({ script: given.script, script_type: given.script_type }));
      const job = { script: given.script, script_type: given.script_type };
      if (given.timeout) job.timeout = Number(given.timeout);
      if (given.context_id) job.context_id = given.context_id;
      try {
        ctx.go(`/ui/jobs/${await call("submit_job", [job])}`);
      } catch (error) {
        ctx.say(error.message);
      }
    };
    const form = h("form", { class: "tall", onsubmit: submit }, field("Type", types), field("Script (Ctrl-Enter runs it)", area),
      h("div", { class: "row" }, field("Timeout in seconds", h("input", { name: "timeout", type: "number", min: 1, max: 86400, placeholder: "60" })),
        ctx.who.circle ? null : field("Context", h("input", { name: "context_id", maxlength: 200, placeholder: "default" }))),
      h("div", { class: "row" }, h("button", { class: "main" }, "Run")));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    return [h("h1", {}, "Try a script"), form];
  },
};

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(DRAFT)) ?? {};
  } catch {
    return {};
  }
}
