// The server's API as the pages use it. Paths are relative to the page, so that a prefix of a proxy does no harm.

const ROOT = new URL(".", location.href);
const KEY = "rerank-key";

// with every option and every detail in each RERANK_DIALECT, as v1/rerank is in the default one
export const RERANK = "v1/reranking";

export const absolute = (path) => new URL(path, ROOT).href;

// kept for the tab only
export const keyOf = () => sessionStorage.getItem(KEY) ?? "";
export const keepKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0: no answer
  }
}

export async function call(path, { method = "GET", body, signal } = {}) {
  const key = keyOf();
  const headers = key ? { Authorization: `Bearer ${asBytes(key)}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer, text;
  try {
    answer = await fetch(absolute(path), { method, headers, signal, body: body && JSON.stringify(body) });
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, error.message);
  }
  const content = parsed(text);
  if (!answer.ok) throw new ServerError(answer.status, messageOf(content) || text.slice(0, 300) || answer.statusText);
  return { content, text, headers: answer.headers };
}

// UTF-8, a character for each byte: fetch takes no others in a header
const asBytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not every answer is JSON
  }
}

const messageOf = (content) => content?.error?.message ?? content?.message ?? content?.detail;

// a model's id may hold slashes, which stand in the path as they are
export const modelPath = (id) => `v1/models/${id.split("/").map(encodeURIComponent).join("/")}`;
