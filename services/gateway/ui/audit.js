// The record of who did what to keys and circles, and who has logged in. For admins of the node.

import { ago, field, h, select, table } from "./dom.js";
import { call } from "./rpc.js";

const LIMITS = ["100", "500", "1000"];

export default {
  path: /^\/ui\/audit$/,
  home: "/ui/audit",
  nav: "Audit log",
  letter: "a",
  admin: true,
  title: () => "Audit log",
  every: 5000,

  frame(ctx) {
    const now = limit(ctx);
    const change = (event) => ctx.go(`/ui/audit?limit=${event.currentTarget.elements.limit.value}`);
    return [h("h1", {}, "Audit log"), h("form", { onchange: change }, field("Lines", select("limit", LIMITS.map((it) => [it, it]), now)))];
  },

  load: (ctx) => call("list_audit", [Number(limit(ctx))]),

  show: (lines) => table(["When", "", "Who", "What", "To whom or what"], lines.map((it) => [it.at, ago(it.at), it.actor, it.action, it.subject]), "Nothing has happened."),
};

const limit = (ctx) => (LIMITS.includes(ctx.query.get("limit")) ? ctx.query.get("limit") : LIMITS[0]);
