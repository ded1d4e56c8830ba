// Nodes: this one, and those that its explorers know.

import { ago, agreed, button, facts, h, status, table } from "./dom.js";
import { call, many } from "./rpc.js";

export default {
  path: /^\/ui\/nodes$/,
  home: "/ui/nodes",
  nav: "Nodes",
  letter: "n",
  root: true,
  title: () => "Nodes",
  every: 5000,

  async load(ctx) {
    const cursor = ctx.query.get("cursor")?.slice(0, 200);
    const [own, page] = await many([["node_info", []], ["list_nodes", [{ limit: 50, ...(cursor && { cursor }) }]]]);
    return { own: own.value ?? null, page: page.value ?? null, why: page.error?.message ?? null };
  },

  show({ own, page, why }, ctx) {
    return [
      own && [h("h2", {}, "This node"), facts(about(own))],
      h("h2", {}, "Nodes that are known"),
      page ? table(["Id", "Name", "State", "Types", "Busy", "Load", "Version", "Heard of", ""], page.nodes.map((it) => [
        it.node_id, it.name, status(it.standing === "banned" ? "banned" : it.state), (it.script_types ?? []).join(", "),
        `${it.busy} / ${it.slots}`, it.machine ? it.machine.load.toFixed(2) : null,
        it.version, ago(it.last_seen), ctx.admin && buttons(it, ctx),
      ]), "None; a node alone needs none.") : h("p", { class: "soft" }, why),
      page?.next_cursor && h("a", { href: `/ui/nodes?cursor=${encodeURIComponent(page.next_cursor)}` }, "More nodes"),
    ];
  },
};

function buttons(node, ctx) {
  const act = async (method, words) => {
    if (words && !await agreed(`${words} ${node.node_id}?`, words)) return;
    try {
      await call(method, [node.node_id]);
      ctx.say(null);
    } catch (error) {
      ctx.say(error.message);
    }
    ctx.refresh();
  };
  return [
    node.standing === "banned" ? button("Allow", () => act("allow_node"), { "data-focus": `allow ${node.node_id}` })
      : button("Ban", () => act("ban_node", "Ban"), { "data-focus": `ban ${node.node_id}` }),
    button("Forget", () => act("remove_node", "Forget"), { "data-focus": `forget ${node.node_id}` }),
  ];
}

function about(node) {
  const text = (value) => (Array.isArray(value) ? value.map((it) => (typeof it === "object" ? JSON.stringify(it) : it)).join(", ")
    : typeof value === "object" && value !== null ? JSON.stringify(value) : value);
  return Object.entries(node).filter(([name]) => name !== "history").map(([name, value]) => [name.replaceAll("_", " "), text(value)]);
}
