// Runners: who they are, what they serve, and whether they take jobs.

import { ago, agreed, button, h, status, table } from "./dom.js";
import { call } from "./rpc.js";

export default {
  path: /^\/ui\/runners$/,
  home: "/ui/runners",
  nav: "Runners",
  letter: "r",
  title: () => "Runners",
  every: 2000,

  load: () => call("list_runners"),

  show(runners, ctx) {
    const act = async (method, params) => {
      try {
        await call(method, params);
        ctx.say(null);
      } catch (error) {
        ctx.say(error.message);
      }
      ctx.refresh();
    };
    const forget = async (id) => await agreed(`Forget the runner ${id}? What it held goes back to its queues.`, "Forget") && act("remove_runner", [id]);
    const buttons = (it) => ctx.admin && !ctx.who.circle && [
      it.state === "alive" && button("Drain", () => act("drain_runner", [it.id, true]), { "data-focus": `drain ${it.id}`, "aria-label": `Drain ${it.id}` }),
      it.state === "draining" && button("Take jobs again", () => act("drain_runner", [it.id, false]), { "data-focus": `undrain ${it.id}` }),
      it.state === "lost" && button("Forget", () => forget(it.id), { "data-focus": `forget ${it.id}` }),
    ];
    return table(["Id", "State", "Types", "Circles", "Busy", "Host", "Version", "Sandbox", "Seen", ""], runners.map((it) => [
      it.id, status(it.state), it.script_types.join(", "), it.circles.length ? it.circles.map((key) => h("div", { title: key }, `${key.slice(0, 12)}…`)) : "–",
      `${it.busy} / ${it.slots}`, it.host, it.version, it.sandbox, ago(it.last_seen_at), buttons(it),
    ]), "No runner has signed in; jobs wait.");
  },
};
