// A request as code to paste.

import { absolute } from "./server.js";

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export const LANGUAGES = {
  curl: (body, guarded) =>
    [
      `curl ${absolute("v1/rerank")}`,
      `-H 'Content-Type: application/json'`,
      ...(guarded ? [`-H "Authorization: Bearer $RERANK_API_KEY"`] : []),
      `-d ${shell(JSON.stringify(body))}`,
    ].join(" \\\n  "),
  Python: ({ query, documents, ...options }, guarded) =>
    [
      ...(guarded ? ["import os", ""] : []),
      "from rerank_client import SyncRerankClient",
      "",
      `with SyncRerankClient(${JSON.stringify(absolute(""))}${guarded ? `, os.environ["RERANK_API_KEY"]` : ""}) as client:`,
      "    results = client.rerank(",
      `        ${JSON.stringify(query)},`,
      `        ${JSON.stringify(documents)},`,
      ...Object.entries(options).map(([name, value]) => `        ${name}=${JSON.stringify(value)},`),
      "    )",
      "for result in results:",
      "    print(result.index, result.relevance_score)",
    ].join("\n"),
  JavaScript: (body, guarded) =>
    [
      `const answer = await fetch(${JSON.stringify(absolute("v1/rerank"))}, {`,
      `  method: "POST",`,
      `  headers: { "Content-Type": "application/json"${guarded ? ", Authorization: `Bearer ${process.env.RERANK_API_KEY}`" : ""} },`,
      `  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll("\n", "\n  ")}),`,
      "});",
      "const { results } = await answer.json();",
    ].join("\n"),
};
