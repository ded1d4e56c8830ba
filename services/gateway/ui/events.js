// Being told when something changes: subscriptions over one WebSocket of the same API. A browser's WebSocket carries no
// headers, so the key goes among the subprotocols that it offers. Where no WebSocket opens, the pages go on asking.

import { session } from "./rpc.js";

// The pause before another attempt, and the longest.
const PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;

// Follows `[method, params]`, once more after each lost connection; `heard` gets each notification's result. Whether
// it is open says isOpen().
export function watch(subscription, heard) {
  let socket = null;
  let isOpen = false;
  let isClosed = !subscription;
  let pause = PAUSE_MS;
  let timer;

  function connect() {
    const { key, circle } = session();
    const protocols = key ? ["hero", `hero.bearer.${encode(key)}`] : ["hero"];
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(`${scheme}//${location.host}/${circle ? encodeURIComponent(circle) : ""}`, protocols);
    const [method, params] = subscription;
    socket.onopen = () => socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.id === 1) {
        isOpen = !message.error;
        if (message.error) return leave(true);
        pause = PAUSE_MS;
        heard(null);
      } else if (message.params?.error) leave(false);
      else if (message.params) heard(message.params.result);
    };
    socket.onclose = () => again();
  }

  function again() {
    isOpen = false;
    if (isClosed) return;
    timer = setTimeout(connect, pause);
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }

  // A refusal will not become another answer.
  function leave(forGood) {
    isOpen = false;
    isClosed ||= forGood;
    socket.close();
  }

  if (!isClosed) connect();
  return {
    isOpen: () => isOpen,
    again: () => {
      if (isClosed) return;
      pause = 50;
      if (socket.readyState <= WebSocket.OPEN) socket.close();
    },
    close: () => {
      isClosed = true;
      isOpen = false;
      clearTimeout(timer);
      socket?.close();
    },
  };
}

function encode(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
