// The administration: models, keys, and how busy the server is.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { Chart } from "./chart.js";
import { Header, KeyForm, useLanguage } from "./frame.js";
import { figures, parsed } from "./metrics.js";
import { call, keyOf, modelPath } from "./server.js";

const POLL = 2000;
const KEPT = 300; // looks in the charts
const PATIENCE = 10_000; // milliseconds for an answer

const look = (path) => call(path, { signal: AbortSignal.timeout(PATIENCE) });

function useServer(key) {
  const [seen, setSeen] = useState({ models: [], keys: [], history: [], error: null });
  const last = useRef(null);
  const refresh = async () => {
    try {
      // the keys first: they ask for an operator
      const keys = (await look("v1/keys")).content.data;
      const models = (await look("v1/models")).content.data;
      const now = { at: Date.now() / 1000, samples: parsed((await look("metrics")).text) };
      const before = last.current;
      last.current = now;
      setSeen(({ history }) => ({
        models,
        keys,
        error: null,
        history: before
          ? [...history.slice(1 - KEPT), { at: now.at, ...figures(before.samples, now.samples, now.at - before.at) }]
          : history,
      }));
    } catch (error) {
      setSeen((old) => ({ ...old, error }));
    }
  };
  useEffect(() => {
    let over = false;
    const again = async () => {
      await refresh();
      if (!over) timer = setTimeout(again, POLL);
    };
    let timer = setTimeout(again, 0);
    return () => ((over = true), clearTimeout(timer));
  }, [key]);
  return [seen, refresh];
}

const bytes = (size) => (size >= 1e9 ? `${(size / 1e9).toFixed(1)}\u00a0GB` : `${(size / 1e6).toFixed(0)}\u00a0MB`);

function ago(words, unix) {
  if (!unix) return "–";
  const seconds = Math.max(0, Math.round(Date.now() / 1000 - unix));
  return words.ago(seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`);
}

const isElsewhere = (model) =>
  model.state === "absent" && !(model.local || model.download || model.upstream || model.members || model.family === "lexical");

function State({ words, model }) {
  if (model.download) {
    const { done, total } = model.download;
    return html`<progress value=${done} max=${total || 1} aria-label=${words.downloads(model.id)}></progress>
      <small>${bytes(done)} / ${bytes(total)}</small>`;
  }
  if (model.upstream)
    return html`${words.elsewhere(model.upstream.host)} <span class=${`breaker ${model.upstream.breaker}`}>
      ${words.breaker[model.upstream.breaker]}</span>`;
  if (model.members) return words.made(model.members.join(", "));
  if (isElsewhere(model)) return words.notHere;
  if (model.family === "lexical") return words.noWeights;
  return `${words.states[model.state]}${model.pinned ? `, ${words.pinned}` : ""}`;
}

function Actions({ words, model, ask }) {
  const own = !model.members && !model.upstream && model.family !== "lexical";
  const actions = [
    own && model.state === "absent" && "load",
    own && model.state === "ready" && "unload",
    own && (model.pinned ? "unpin" : "pin"),
  ].filter(Boolean);
  return actions.map((action) => html`<button type="button" key=${action} class="outline small"
    aria-label=${`${words.actions[action]}: ${model.id}`} onClick=${() => ask({ action, model })}>
    ${words.actions[action]}</button> `);
}

const Models = ({ words, models, ask }) => html`<div class="wide" tabindex="0" role="region" aria-label=${words.models}><table>
  <thead><tr>${words.columns.map((name) => html`<th scope="col" key=${name}>${name}</th>`)}</tr></thead>
  <tbody>${models.map((model) => html`<tr key=${model.id}>
    <th scope="row">${model.id}</th>
    <td><${State} words=${words} model=${model} /></td>
    <td>${model.bytes === null || model.upstream ? "–" : (model.bytes_measured ? "" : "≈ ") + bytes(model.bytes)}</td>
    <td>${model.device ?? "–"}</td>
    <td>${model.runtime ?? "–"}</td>
    <td>${ago(words, model.last_used)}</td>
    <td>${model.load_seconds === null ? "–" : `${model.load_seconds.toFixed(1)} s`}</td>
    <td><${Actions} words=${words} model=${model} ask=${ask} /></td>
  </tr>`)}</tbody>
</table></div>`;

const leftOf = (words, left, most) => (most === null ? words.unlimited : `${left} / ${most}`);

const Keys = ({ words, keys }) => html`<div class="wide" tabindex="0" role="region" aria-label=${words.keys}><table>
  <thead><tr>${words.keyColumns.map((name) => html`<th scope="col" key=${name}>${name}</th>`)}</tr></thead>
  <tbody>${keys.map((key) => html`<tr key=${key.name}>
    <th scope="row">${key.name}${key.admin ? ` (${words.operator})` : ""}</th>
    <td>${key.models?.join(", ") ?? words.allModels}</td>
    <td>${leftOf(words, key.requests_left, key.requests_per_minute)}</td>
    <td>${leftOf(words, key.tokens_left, key.tokens_per_minute)}</td>
  </tr>`)}</tbody>
</table></div>`;

const REQUESTS = {
  load: (id) => [`${modelPath(id)}/load`, undefined],
  unload: (id) => [`${modelPath(id)}/unload`, undefined],
  pin: (id) => [`${modelPath(id)}/pin`, { pinned: true }],
  unpin: (id) => [`${modelPath(id)}/pin`, { pinned: false }],
};

function Confirm({ words, wanted, close, done }) {
  const dialog = useRef(null);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    setTrouble("");
    if (wanted) dialog.current.showModal();
    else dialog.current.close();
  }, [wanted]);
  const act = async () => {
    const [path, body] = REQUESTS[wanted.action](wanted.model.id);
    try {
      const acting = call(path, { method: "POST", body });
      // a load takes its time, and the table shows it
      if (wanted.action === "load") acting.catch((error) => done(error.message));
      else await acting;
      close();
      done("");
    } catch (error) {
      setTrouble(error.status ? error.message : words.noAnswer);
    }
  };
  return html`<dialog ref=${dialog} onClose=${close} aria-labelledby="wanted"><article>
    <p id="wanted">${wanted && words.confirm(words.actions[wanted.action], wanted.model.id)}</p>
    ${trouble && html`<p role="alert">${trouble}</p>`}
    <div class="row">
      <button type="button" onClick=${act}>${wanted && words.actions[wanted.action]}</button>
      <button type="button" class="secondary" onClick=${close}>${words.cancel}</button>
    </div>
  </article></dialog>`;
}

const Charts = ({ words, history }) => html`<div class="charts">
  <${Chart} title=${words.charts.queue} history=${history} lines=${{ waiting: words.lines.waiting, inFlight: words.lines.inFlight }} />
  <${Chart} title=${words.charts.documents} history=${history} lines=${{ documents: words.lines.documents }} />
  <${Chart} title=${words.charts.tokens} history=${history} lines=${{ tokens: words.lines.tokens }} />
  <${Chart} title=${words.charts.latency} history=${history} lines=${{ half: words.lines.half, most: words.lines.most }} />
  <${Chart} title=${words.charts.cache} history=${history} lines=${{ hits: words.lines.hits }} />
</div>`;

export function Admin() {
  const [words, changeLanguage] = useLanguage();
  const [key, setKey] = useState(keyOf());
  const [{ models, keys, history, error }, refresh] = useServer(key);
  const [wanted, setWanted] = useState(null);
  const [trouble, setTrouble] = useState("");
  const done = (message) => (setTrouble(message), refresh());
  const refused = error?.status === 401 || error?.status === 403;

  return html`
    <${Header} words=${words} title=${words.admin} changeLanguage=${changeLanguage} wide />
    <main class="container-fluid">
      ${error && html`<p role="alert">${error.status ? error.message : words.noAnswer}</p>`}
      ${trouble && html`<p role="alert">${trouble}</p>`}
      ${refused && html`<${KeyForm} words=${words} done=${() => setKey(keyOf())} />`}
      ${!refused && html`
        <h2>${words.models}</h2>
        <${Models} words=${words} models=${models.filter((model) => !isElsewhere(model))} ask=${setWanted} />
        <h2>${words.load}</h2>
        <${Charts} words=${words} history=${history} />
        ${keys.length > 0 && html`<h2>${words.keys}</h2><${Keys} words=${words} keys=${keys} />`}
        <details><summary>${words.notHere}</summary>
          <${Models} words=${words} models=${models.filter(isElsewhere)} ask=${setWanted} />
        </details>`}
      <${Confirm} words=${words} wanted=${wanted} close=${() => setWanted(null)} done=${done} />
    </main>`;
}
