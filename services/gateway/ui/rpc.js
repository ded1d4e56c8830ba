// Calls of the public API, the same as anybody's. The key is kept for this tab only and sent as a header, never as a
// cookie: no other page can make this one's browser call in its name.

const PLACE = "hero.session";

// Who is signed in: { key, circle }, both may be missing.
export function session() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE)) ?? {};
  } catch {
    return {};
  }
}

export function signIn(key, circle) {
  sessionStorage.setItem(PLACE, JSON.stringify({ key: key || undefined, circle: circle || undefined }));
}

export function signOut() {
  sessionStorage.removeItem(PLACE);
}

// What the node answered with instead of a result.
export class Refused extends Error {
  constructor(error) {
    super(error.data?.field ? `${error.data.field}: ${error.message}` : error.message ?? "the call failed");
    this.reason = error.data?.reason ?? "";
    this.data = error.data ?? {};
  }

  get isUnknown() {
    return this.reason === "AUTHENTICATION_REQUIRED";
  }
}

// No answer came.
export class Away extends Error {}

const TIMEOUT_MS = 30_000;
let ids = 0;

function request(method, params) {
  ids += 1;
  return { jsonrpc: "2.0", id: ids, method, params };
}

async function post(body, { key, circle } = session()) {
  const headers = { "content-type": "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(circle ? `/${encodeURIComponent(circle)}` : "/", {
      method: "POST", headers, body: JSON.stringify(body), credentials: "omit", redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    throw new Away(error.name === "TimeoutError" ? "the node does not answer" : "the node cannot be reached");
  }
  try {
    return await response.json();
  } catch {
    throw new Away(`the node answered ${response.status} without a reason`);
  }
}

function result(answer) {
  if (answer?.error && typeof answer.error === "object") throw new Refused(answer.error);
  if (answer?.error) throw new Refused({ message: answer.message ?? answer.error });
  return answer?.result;
}

export async function call(method, params = [], as) {
  return result(await post(request(method, params), as));
}

// Calls the node takes in one batch.
const AT_A_TIME = 50;

// Many calls at once; each answer is { value } or { error }.
export async function many(calls) {
  const answers = [];
  for (let from = 0; from < calls.length; from += AT_A_TIME) {
    answers.push(...await batch(calls.slice(from, from + AT_A_TIME)));
  }
  return answers;
}

async function batch(calls) {
  const one = async ([method, params]) => {
    try {
      return { value: await call(method, params) };
    } catch (error) {
      return { error };
    }
  };
  if (calls.length === 1) return [await one(calls[0])];
  const requests = calls.map(([method, params]) => request(method, params));
  const answer = await post(requests);
  // What does not fit into one answer is asked for one by one.
  if (!Array.isArray(answer)) {
    const answers = [];
    for (const it of calls) answers.push(await one(it));
    return answers;
  }
  const byId = new Map(answer.map((it) => [it.id, it]));
  return requests.map(({ id }) => {
    try {
      return { value: result(byId.get(id)) };
    } catch (error) {
      return { error };
    }
  });
}

// Who the node takes us for: { name, scope, circle }.
export async function whoami() {
  const text = await call("whoami");
  const [, name, scope, circle] = /^(.*) \((admin|user|register|no scope)\)(?: in circle ([0-9a-f]+))?$/s.exec(text) ?? [null, text, "no scope"];
  return { name, scope, circle };
}
