// Texts by characters as the server counts them (code points), documents from files, and state in the address.

export const cut = (text, start, end) => [...text].slice(start, end).join("");

// documents are lines; where there are empty lines, paragraphs
export function documentsOf(text) {
  const parts = /\n[ \t]*\n/.test(text.trim()) ? text.split(/\n[ \t]*\n+/) : text.split("\n");
  return parts.map((part) => part.trim()).filter(Boolean);
}

export function joined(documents) {
  const trimmed = documents.map((document) => document.trim());
  // its lines would be read as one document each
  if (trimmed.length === 1) return trimmed[0].replace(/\s*\n\s*/g, " ");
  const lined = trimmed.every((document) => !document.includes("\n"));
  return trimmed.map((document) => document.replace(/\n\s*\n+/g, "\n")).join(lined ? "\n" : "\n\n");
}

const TEXT_FIELDS = ["text", "document", "content", "passage", "body", "内容", "文本", "正文", "文档"];
const textOf = (row) =>
  typeof row === "string" ? row : TEXT_FIELDS.map((name) => row?.[name]).find((text) => typeof text === "string");

// UTF-8; what is not is taken for GBK, in which Chinese Windows and Excel write
export function decoded(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("gb18030").decode(bytes);
  }
}

// throws an Error with the line that holds no document
export function fromFile(name, content) {
  const text = content.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n");
  if (/\.jsonl$/i.test(name)) return text.split("\n").flatMap((line, at) => (line.trim() ? [fromLine(line, at)] : []));
  if (/\.csv$/i.test(name)) return fromTable(text);
  return documentsOf(text);
}

function fromLine(line, at) {
  let row;
  try {
    row = JSON.parse(line);
  } catch {
    throw new Error(`${at + 1}`);
  }
  const text = textOf(row);
  if (text === undefined) throw new Error(`${at + 1}`);
  return text;
}

function fromTable(text) {
  const [head = [], ...rows] = cells(text);
  const known = head.findIndex((name) => TEXT_FIELDS.includes(name.trim().toLowerCase()));
  const all = known < 0 ? [head, ...rows] : rows;
  return all.map((row) => row[Math.max(known, 0)] ?? "").filter((cell) => cell.trim());
}

// fields in quotes may hold commas, line ends and doubled quotes
function cells(text) {
  const rows = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^,\n"]*))(,|\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === "\n") rows.push([]);
    if (end === "") break;
  }
  return rows.filter((row) => row.some((cell) => cell.trim()));
}

const through = async (bytes, stream) =>
  new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());

export async function toFragment(state) {
  const packed = await through(new TextEncoder().encode(JSON.stringify(state)), new CompressionStream("deflate-raw"));
  let binary = "";
  for (let at = 0; at < packed.length; at += 8192) binary += String.fromCharCode(...packed.subarray(at, at + 8192));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export async function fromFragment(fragment) {
  const binary = atob(fragment.replaceAll("-", "+").replaceAll("_", "/"));
  const packed = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(await through(packed, new DecompressionStream("deflate-raw"))));
}
