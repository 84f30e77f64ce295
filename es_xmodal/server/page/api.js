// Calls of the service. Whatever goes wrong becomes a Failure, which a person can be told about.

export class Failure extends Error {
  constructor(kind, { detail = "", seconds = 0, id = "", limit = "", field = "" } = {}) {
    super(detail || kind);
    Object.assign(this, { kind, detail, seconds, id, limit, field });
  }
}

const KINDS = { 401: "key", 403: "key", 413: "large", 429: "often", 504: "slow" };

async function failure(answer) {
  let told = {};
  try { told = await answer.json(); } catch { /* a proxy's own page */ }
  const type = String(told.type || "");
  let kind = KINDS[answer.status] || "other";
  if (answer.status === 422) kind = type.endsWith(":picture") ? "picture" : "query";
  if (answer.status === 503) kind = type.endsWith(":queue-full") ? "busy" : "unready";
  if (answer.status === 502) kind = "down";
  const seconds = Number.parseInt(answer.headers.get("retry-after") || "0", 10) || 0;
  return new Failure(kind, {
    detail: String(told.detail || ""), id: String(told.request_id || ""), field: String(told.field || ""), seconds,
  });
}

async function call(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(navigator.onLine ? "down" : "offline");
  }
  if (!answer.ok) throw await failure(answer);
  try { return await answer.json(); } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("down");
  }
}

/** Ask with a body, and pictures where there are any: path is /search, /explain or /plan. */
export function ask(path, asked, pictures, signal) {
  if (!pictures.length) {
    return call(path, {
      method: "POST", signal, headers: { "content-type": "application/json" }, body: JSON.stringify(asked),
    });
  }
  const form = new FormData();
  form.append("query", JSON.stringify(asked));
  for (const one of pictures) form.append("image", one.blob, "picture");
  return call(path, { method: "POST", signal, body: form });
}

export const config = () => call("/page/config.json", {});
export const product = (id) => call(`/products/${encodeURIComponent(id)}`, {});
