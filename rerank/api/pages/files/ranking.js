// One model's ranking.

import { html, useMemo, useState } from "./vendor/preact-htm.js";
import { cut } from "./texts.js";

const FIRST = 100; // rows that are drawn unless all are wanted
const LONG = 100; // characters: shorter texts are shown whole
const AROUND = 120; // characters around the best chunk

const places = (answer) => new Map(answer.results.map((row, place) => [row.index, place]));

function Moved({ words, by, against }) {
  const told = by > 0 ? words.up(by) : by < 0 ? words.down(-by) : words.same;
  const sign = by > 0 ? `▲${by}` : by < 0 ? `▼${-by}` : "=";
  return html`<span class=${by > 0 ? "up" : by < 0 ? "down" : "same"} title="${told}, ${against}">
    <span aria-hidden="true">${sign}</span><span class="told">${told}, ${against}</span></span>`;
}

function Marked({ text, chunk, whole }) {
  const [before, best, after] = useMemo(
    () => [
      cut(text, whole ? 0 : Math.max(0, chunk.start - AROUND), chunk.start),
      cut(text, chunk.start, chunk.end),
      cut(text, chunk.end, whole ? undefined : chunk.end + AROUND),
    ],
    [text, chunk, whole],
  );
  return html`${!whole && chunk.start > AROUND && "… "}${before}<mark>${best}</mark>${after}`;
}

function Text({ text, chunk }) {
  const [whole, setWhole] = useState(false);
  const content = chunk ? html`<${Marked} text=${text} chunk=${chunk} whole=${whole} />` : text;
  if (!chunk && text.length < LONG) return html`<p class="text">${content}</p>`;
  const toggle = () => setWhole(!whole);
  const press = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault(); // a space would scroll
    toggle();
  };
  return html`<p class=${whole || chunk ? "text opens" : "text opens clamped"} role="button" tabindex="0"
    aria-expanded=${whole} onClick=${toggle} onKeyDown=${press}>${content}</p>`;
}

const Badge = ({ text, hint }) => html`<small class="badge" title=${hint}>${text}</small>`;

function Row({ words, row, place, text, share, raw, first }) {
  const scored = row.scored !== false;
  return html`<li>
    <div class="row">
      <strong>${place + 1}</strong>
      <${Moved} words=${words} by=${row.index - place} against=${words.againstInput} />
      ${first?.has(row.index) && html`<${Moved} words=${words} by=${first.get(row.index) - place} against=${words.againstFirst} />`}
      <span class="bar" aria-hidden="true"><span style=${{ width: `${100 * share}%` }}></span></span>
      <span class="score">${scored ? row.relevance_score.toFixed(4) : words.unscored}${raw !== undefined && ` (${raw.toFixed(3)})`}</span>
    </div>
    <${Text} text=${text} chunk=${row.best_chunk} />
    <div class="row">
      ${row.tokens > 0 && html`<${Badge} text=${words.tokens(row.tokens)} />`}
      ${row.truncated && html`<${Badge} text=${words.truncated} hint=${words.truncatedHint} />`}
      ${row.stage && html`<${Badge} text=${words.stage(row.stage)} />`}
    </div>
  </li>`;
}

// a share of the largest: not every model's relevance is within 0 and 1
function shares(results) {
  const most = Math.max(1, ...results.map((row) => row.relevance_score));
  return results.map((row) => Math.max(0, row.relevance_score) / most);
}

function Facts({ words, answer }) {
  const { meta = {}, stages, total } = answer;
  const parts = stages.map(([name, taken]) => `${words.stages[name]} ${taken.toFixed(1)}`);
  return html`
    <p><small>${words.milliseconds(total.toFixed(1))}${parts.length > 0 && ` (${parts.join(", ")})`}
      ${meta.cached > 0 && `; ${words.cached(meta.cached)}`}</small></p>
    ${meta.degraded && html`<p class="notice" role="note">${words.degraded(answer.model)}</p>`}
    ${meta.partial && html`<p class="notice" role="note">${words.partial}</p>`}
    <details><summary><small>${words.why}: ${answer.model}</small></summary><small>${meta.model_reason}</small>
      <ul>${(meta.route ?? []).map((step) => html`<li><small>${step.model}: ${step.outcome}, ${step.ms} ms</small></li>`)}</ul>
    </details>`;
}

export function Ranking({ words, shown, first }) {
  const [all, setAll] = useState(false);
  const { model, documents, answer, error, pending } = shown;
  const results = answer?.results ?? [];
  const widths = shares(results);
  const firsts = first && places(first);
  return html`<section aria-label=${words.ranking(model)} aria-busy=${pending}>
    <h2>${model}</h2>
    ${error && html`<p role="alert">${error.status ? error.message : words.noAnswer}</p>`}
    ${answer && html`<${Facts} words=${words} answer=${answer} />`}
    ${answer && !results.length && html`<p>${words.nothing}</p>`}
    <ol>
      ${results.slice(0, all ? undefined : FIRST).map((row, place) => html`<${Row} key=${row.index} words=${words} row=${row}
        place=${place} text=${documents[row.index]} share=${widths[place]} raw=${answer.raw?.get(row.index)} first=${firsts} />`)}
    </ol>
    ${!all && results.length > FIRST && html`<button type="button" class="outline" onClick=${() => setAll(true)}>
      ${words.showAll(results.length)}</button>`}
  </section>`;
}
