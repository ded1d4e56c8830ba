// Signing in: with a key, or with the signature of a key of a circle.

import { button, field, h, swap } from "./dom.js";
import { call, signIn } from "./rpc.js";

export default {
  path: /^\/ui\/signin$/,
  title: () => "Sign in",
  open: true,

  frame(ctx) {
    return [h("h1", {}, "Sign in"),
      h("p", { class: "soft" }, "What you enter is kept for this tab only, until you close it or sign out."),
      h("h2", {}, "With a key"), byKey(ctx), h("h2", {}, "With a signature, to a circle"), bySignature(ctx)];
  },
};

function byKey(ctx) {
  const submit = async (event) => {
    event.preventDefault();
    const { key, circle } = Object.fromEntries(new FormData(event.target));
    await enter(ctx, key.trim(), circle.trim());
  };
  return h("form", { onsubmit: submit, id: "by-key" },
    field("Key, secret or token", h("input", { name: "key", type: "password", autocomplete: "current-password", maxlength: 4096 })),
    field("Circle (its public key, or nothing)", h("input", { name: "circle", maxlength: 132, spellcheck: "false" })),
    h("button", { class: "main" }, "Sign in"));
}

async function enter(ctx, key, circle) {
  try {
    await call("whoami", [], { key, circle });
    signIn(key, circle);
    ctx.go("/ui");
  } catch (error) {
    ctx.say(error.message);
  }
}

// The node gives a line, the owner of the key signs it (EIP-191), the node gives a token for a while.
function bySignature(ctx) {
  const proof = h("div", {});
  const submit = async (event) => {
    event.preventDefault();
    const { circle, pubkey } = Object.fromEntries(new FormData(event.target));
    try {
      const nonce = await call("fetch_nonce", [pubkey.trim()], { circle: circle.trim() });
      ctx.say(null);
      swap(proof, sign(ctx, circle.trim(), pubkey.trim(), nonce));
    } catch (error) {
      ctx.say(error.message);
    }
  };
  return [h("form", { onsubmit: submit, id: "by-signature" },
    field("Circle (its public key)", h("input", { name: "circle", required: true, maxlength: 132, spellcheck: "false" })),
    field("Your public key", h("input", { name: "pubkey", required: true, maxlength: 132, spellcheck: "false" })),
    h("button", {}, "Get a line to sign")), proof];
}

function sign(ctx, circle, pubkey, nonce) {
  const signature = h("input", { name: "signature", required: true, maxlength: 132, spellcheck: "false", autofocus: true });
  const submit = async (event) => {
    event.preventDefault();
    try {
      const token = await call("login", [pubkey, signature.value.trim(), nonce], { circle });
      await enter(ctx, token, circle);
    } catch (error) {
      ctx.say(error.message);
    }
  };
  const wallet = async () => {
    try {
      const [account] = await window.ethereum.request({ method: "eth_requestAccounts" });
      const text = [...new TextEncoder().encode(nonce)].map((it) => it.toString(16).padStart(2, "0")).join("");
      signature.value = await window.ethereum.request({ method: "personal_sign", params: [`0x${text}`, account] });
    } catch (error) {
      ctx.say(error.message);
    }
  };
  return h("form", { class: "tall", onsubmit: submit, id: "proof" },
    h("p", {}, "Sign this line with your wallet (EIP-191), soon and once:"), h("pre", { id: "nonce" }, nonce),
    field("The signature, in hex", signature),
    h("div", { class: "row" }, h("button", { class: "main" }, "Sign in"), window.ethereum && button("Let the wallet of this browser sign", wallet)));
}
