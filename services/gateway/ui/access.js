// Circles and keys: who may come in. For admins of the node.

import { ago, agreed, button, field, h, select, swap, table } from "./dom.js";
import { call, many } from "./rpc.js";

export default {
  path: /^\/ui\/access$/,
  home: "/ui/access",
  nav: "Circles and keys",
  letter: "c",
  admin: true,
  title: () => "Circles and keys",
  every: 5000,

  frame(ctx) {
    const made = h("div", { id: "made" });
    ctx.memory.made = made;
    const key = async (event) => {
      event.preventDefault();
      const { name, scope, circle } = Object.fromEntries(new FormData(event.target));
      await act(ctx, "create_key", [name, scope, ...(circle ? [circle] : [])], (created) => tell(made, created));
      event.target.reset();
    };
    const circle = async (event) => {
      event.preventDefault();
      const { public_key, members } = Object.fromEntries(new FormData(event.target));
      await act(ctx, "add_circle", [public_key, members.split(/[\s,]+/).filter(Boolean)]);
      event.target.reset();
    };
    return [h("h1", {}, "Circles and keys"), made,
      h("form", { onsubmit: key, "aria-label": "New key" }, field("New key: its name", h("input", { name: "name", required: true, maxlength: 64 })),
        field("Scope", select("scope", [["user", "user: jobs"], ["register", "register: runners"], ["admin", "admin: everything"]], "user")),
        field("Circle (or none)", h("input", { name: "circle", maxlength: 132 })), h("button", { class: "main" }, "Make the key")),
      h("form", { onsubmit: circle, "aria-label": "New circle" }, field("New circle: its public key", h("input", { name: "public_key", required: true, maxlength: 132 })),
        field("Members' public keys", h("input", { name: "members", maxlength: 2000 })), h("button", { class: "main" }, "Serve the circle"))];
  },

  async load() {
    const [circles, keys] = await many([["list_circles", []], ["list_keys", []]]);
    if (circles.error) throw circles.error;
    if (keys.error) throw keys.error;
    return { circles: circles.value, keys: keys.value };
  },

  show({ circles, keys }, ctx) {
    const forget = async (name) => await agreed(`Forget the key ${name}? Whoever uses it is refused.`, "Forget") && act(ctx, "remove_key", [name]);
    const rotate = async (name) => await agreed(`Replace the key ${name} by another one? The old one is over at once.`, "Replace")
      && act(ctx, "rotate_key", [name], (created) => tell(ctx.memory.made, created));
    const leave = async (key) => await agreed(`Serve the circle ${key} no more?`, "Serve no more") && act(ctx, "remove_circle", [key]);
    return [
      h("h2", {}, "Circles"),
      table(["Id", "Members", "Longest job", "Since", ""], circles.map((it) => [
        it.public_key, it.members.length ? it.members.map((key) => h("div", {}, key)) : "–", it.limits.max_timeout_s ? `${it.limits.max_timeout_s} s` : "–",
        it.is_configured ? "by configuration" : ago(it.created_at),
        !it.is_configured && button("Serve no more", () => leave(it.public_key), { "data-focus": `leave ${it.public_key}` }),
      ]), "No circles are served."),
      h("h2", {}, "Keys"),
      table(["Name", "Scope", "Circle", "Made by", "Made", "Used", ""], keys.map((it) => [
        it.name, it.scope, it.circle ?? "–", it.created_by, ago(it.created_at), ago(it.last_used_at) ?? "never",
        h("div", { class: "row" }, button("Replace", () => rotate(it.name), { "data-focus": `rotate ${it.name}` }),
          button("Forget", () => forget(it.name), { "data-focus": `forget ${it.name}` })),
      ]), "No keys; the secrets of the configuration are not listed."),
    ];
  },
};

async function act(ctx, method, params, done) {
  try {
    const answer = await call(method, params);
    ctx.say(null);
    done?.(answer);
  } catch (error) {
    ctx.say(error.message);
  }
  ctx.refresh();
}

// A key is shown once.
function tell(place, created) {
  swap(place, h("div", { class: "card", role: "status" }, h("p", {}, `The key ${created.name}, shown this once:`), h("pre", { id: "secret" }, created.secret),
    button("I have it", () => swap(place))));
}
