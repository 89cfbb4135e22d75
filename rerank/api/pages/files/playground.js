// The playground: one query, documents, one to three models side by side.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { LANGUAGES } from "./code.js";
import { EXAMPLES } from "./examples.js";
import { Header, KeyForm, useLanguage } from "./frame.js";
import { Ranking } from "./ranking.js";
import { RERANK, call, keyOf, modelPath } from "./server.js";
import { decoded, documentsOf, fromFile, fromFragment, joined, toFragment } from "./texts.js";

const MOST_BYTES = 5_000_000; // of a file
const MOST_ADDRESS = 30_000; // characters: browsers and messengers cut longer ones
const POLL = 1000;
const NUMBERS = ["top_n", "min_score", "max_chunks_per_doc", "budget_ms"];
const EMPTY = { query: "", text: "", models: ["", "", ""], options: {}, raw: false };

const isText = (value) => typeof value === "string";

// a link may hold anything
function stateOf(shared) {
  const { query, text, models, options, raw } = shared ?? {};
  const chosen = Array.isArray(models) && models.every(isText) ? models : [];
  const told = [...NUMBERS, "instruction"].filter((name) => isText(options?.[name]));
  return {
    query: isText(query) ? query : "",
    text: isText(text) ? text : "",
    models: EMPTY.models.map((none, at) => chosen[at] ?? none),
    options: Object.fromEntries(told.map((name) => [name, options[name]])),
    raw: raw === true,
  };
}

function bodyOf(state, model) {
  const body = { query: state.query, documents: documentsOf(state.text), model };
  for (const name of NUMBERS) if (state.options[name]) body[name] = Number(state.options[name]);
  if (state.options.instruction?.trim()) body.instruction = state.options.instruction;
  return body;
}

const milliseconds = (headers, name) => Number(headers.get(`X-${name}-Ms`) ?? NaN);

async function rankedBy(state, model, signal) {
  const body = bodyOf(state, model);
  const { content, headers } = await call(RERANK, { method: "POST", body, signal });
  const stages = ["model", "tokenise", "queue", "device"].map((name) => [name, milliseconds(headers, name)]);
  const answer = { ...content, stages: stages.filter(([, taken]) => taken >= 0), total: milliseconds(headers, "total") };
  if (!state.raw) return answer;
  const raw = await call(RERANK, { method: "POST", body: { ...body, use_activation: false }, signal });
  return { ...answer, raw: new Map(raw.content.results.map((row) => [row.index, row.relevance_score])) };
}

function useModels(key) {
  const [models, setModels] = useState([]);
  const [refused, setRefused] = useState(null);
  useEffect(() => {
    call("v1/models").then(
      ({ content }) => (setModels(content.data), setRefused(null)),
      (error) => setRefused(error),
    );
  }, [key]);
  return [models, refused];
}

function describe(words, model) {
  if (model.members) return words.made(model.members.join(", "));
  if (model.upstream) return words.elsewhere(model.upstream.host);
  if (model.family === "lexical") return words.noWeights;
  return model.state === "absent" && !model.local ? words.notHere : words.states[model.state];
}

// the last part of an id, unless another model has it too
const lastPart = (id) => id.split("/").pop();
function shortNames(models) {
  const count = new Map();
  for (const { id } of models) count.set(lastPart(id), (count.get(lastPart(id)) ?? 0) + 1);
  return new Map(models.map(({ id }) => [id, count.get(lastPart(id)) > 1 ? id : lastPart(id)]));
}

const ModelChoice = ({ words, models, names, chosen, number, choose }) => html`
  <label>${words.model(number + 1)}
    <select value=${chosen} onChange=${(event) => choose(event.target.value)}>
      ${number > 0 && html`<option value="">${words.none}</option>`}
      ${models.map((model) => html`<option value=${model.id} key=${model.id} title=${model.id}>
        ${names.get(model.id)} (${describe(words, model)})</option>`)}
    </select>
  </label>`;

function Documents({ words, text, change }) {
  const [trouble, setTrouble] = useState("");
  const take = async (file) => {
    if (!file) return;
    if (file.size > MOST_BYTES) return setTrouble(words.tooLarge(file.name));
    try {
      change(joined(fromFile(file.name, decoded(await file.arrayBuffer()))));
      setTrouble("");
    } catch (error) {
      setTrouble(words.badLine(file.name, error.message));
    }
  };
  const drop = (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  };
  return html`
    <label>${words.documents}
      <textarea id="documents" rows="8" value=${text} onInput=${(event) => change(event.target.value)} onDrop=${drop}
        onDragOver=${(event) => event.preventDefault()}></textarea>
      <small>${words.documentsHint(documentsOf(text).length)}</small>
    </label>
    <label>${words.file}
      <input type="file" accept=".txt,.jsonl,.csv" onChange=${(event) => take(event.target.files[0])} />
    </label>
    ${trouble && html`<p role="alert">${trouble}</p>`}`;
}

// a browser says what is wrong only with a field that is shown
const shown = (event) => (event.target.closest("details").open = true);

const Options = ({ words, state, change }) => html`
  <details>
    <summary>${words.options}</summary>
    <div class="grid">
      ${NUMBERS.map((name) => html`<label key=${name}>${words[name]}
        <input type="number" step=${name === "min_score" ? "any" : "1"} min=${name === "min_score" ? null : "1"}
          value=${state.options[name] ?? ""} onInvalid=${shown}
          onInput=${(event) => change({ options: { ...state.options, [name]: event.target.value } })} />
      </label>`)}
    </div>
    <label>${words.instruction}
      <input value=${state.options.instruction ?? ""}
        onInput=${(event) => change({ options: { ...state.options, instruction: event.target.value } })} />
    </label>
    <label><input type="checkbox" checked=${state.raw} onChange=${(event) => change({ raw: event.target.checked })} />
      ${words.raw}</label>
  </details>`;

function Code({ words, state }) {
  const [open, setOpen] = useState(false);
  const [language, setLanguage] = useState("curl");
  const [copied, setCopied] = useState(false);
  const guarded = Boolean(keyOf());
  // written only where it is seen: that of a large text takes longer than a keystroke may
  const code = useMemo(
    () => (open ? LANGUAGES[language](bodyOf(state, state.models[0]), guarded) : ""),
    [open, language, state, guarded],
  );
  const copy = async () => {
    // without TLS browsers let no page write there; the text can still be selected
    await navigator.clipboard?.writeText(code);
    setCopied(Boolean(navigator.clipboard));
  };
  const choose = (name) => (setLanguage(name), setCopied(false));
  return html`<details onToggle=${(event) => setOpen(event.target.open)}>
    <summary>${words.copyAs} curl / Python / JavaScript</summary>
    <div role="group">
      ${Object.keys(LANGUAGES).map((name) => html`<button type="button" key=${name} aria-pressed=${name === language}
        class=${name === language ? "" : "outline"} onClick=${() => choose(name)}>${name}</button>`)}
      <button type="button" class="secondary" onClick=${copy}>${copied ? words.copied : words.copy}</button>
    </div>
    <pre tabindex="0"><code>${code}</code></pre>
  </details>`;
}

function useProgress(words, pending) {
  const [line, setLine] = useState("");
  const waited = pending.join("\n");
  useEffect(() => {
    setLine(waited ? words.waiting : "");
    if (!waited) return;
    const look = async () => {
      const infos = await Promise.all(waited.split("\n").map((id) => call(modelPath(id)).catch(() => null)));
      const busy = infos.map((info) => info?.content).find((info) => info?.download || info?.state === "loading");
      if (busy?.download) {
        const { done, total } = busy.download;
        setLine(words.downloading(busy.id, total ? Math.floor((100 * done) / total) : 0));
      } else setLine(busy ? words.loading(busy.id) : words.waiting);
    };
    const timer = setInterval(look, POLL);
    return () => clearInterval(timer);
  }, [waited, words]);
  return line;
}

function useRanking() {
  const [answers, setAnswers] = useState([]);
  const abort = useRef(null);
  const rank = async (state) => {
    abort.current?.abort();
    const own = (abort.current = new AbortController());
    const names = [...new Set(state.models.filter(Boolean))];
    const documents = documentsOf(state.text);
    const put = (number, answer) =>
      abort.current === own && setAnswers((all) => all.map((old, at) => (at === number ? { ...old, ...answer } : old)));
    setAnswers(names.map((model) => ({ model, documents, pending: true })));
    const ask = (model, number) =>
      rankedBy(state, model, own.signal).then(
        (answer) => put(number, { answer, pending: false }),
        (error) => put(number, { error: error.name === "AbortError" ? null : error, pending: false }),
      );
    await Promise.all(names.map(ask));
  };
  return [answers, rank, () => abort.current?.abort()];
}

function trouble(words, state) {
  if (!state.query.trim()) return words.enterQuery;
  if (documentsOf(state.text).length === 0) return words.enterDocuments;
  return state.models.some(Boolean) ? "" : words.noModels;
}

function Share({ words, state }) {
  const [hint, setHint] = useState("");
  const share = async () => {
    const fragment = await toFragment(state);
    if (fragment.length > MOST_ADDRESS) return setHint(words.tooLong);
    history.replaceState(null, "", `#${fragment}`);
    await navigator.clipboard?.writeText(location.href);
    setHint(words.shareHint);
  };
  return html`<button type="button" class="secondary outline" onClick=${share}>${words.share}</button>
    <small aria-live="polite">${hint}</small>`;
}

export function Playground() {
  const [words, changeLanguage] = useLanguage();
  const [state, setState] = useState(EMPTY);
  const [key, setKey] = useState(keyOf());
  const [models, refused] = useModels(key);
  const names = shortNames(models);
  const [answers, rank, cancel] = useRanking();
  const [wrong, setWrong] = useState("");
  const pending = answers.filter((each) => each.pending).map((each) => each.model);
  const progress = useProgress(words, pending);
  const change = (part) => setState((old) => ({ ...old, ...part }));
  const choose = (number, model) =>
    setState((old) => ({ ...old, models: old.models.map((chosen, at) => (at === number ? model(chosen) : chosen)) }));

  useEffect(() => {
    const read = () => {
      if (location.hash.length > 1)
        fromFragment(location.hash.slice(1)).then(
          (shared) => setState(stateOf(shared)),
          () => history.replaceState(null, "", location.pathname),
        );
    };
    read();
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, []);
  useEffect(() => {
    // not what was chosen since this was drawn
    if (models.length && !state.models[0]) choose(0, (chosen) => chosen || models[0].id);
  }, [models, state.models]);

  const submit = (event) => {
    event.preventDefault();
    setWrong(trouble(words, state));
    if (!trouble(words, state)) rank(state);
  };
  // a keystroke draws no ranking again
  const rankings = useMemo(
    () => answers.map((each, number) => html`<${Ranking} key=${each.model} words=${words} shown=${each}
      first=${number > 0 ? answers[0].answer : null} />`),
    [words, answers],
  );
  const denied = [refused, ...answers.map((each) => each.error)].find((error) => error?.status === 401);

  return html`
    <${Header} words=${words} title=${words.playground} changeLanguage=${changeLanguage} />
    <main class="container">
      <p>${words.lead}</p>
      ${denied && html`<p role="alert">${keyOf() ? denied.message : words.needsKey}</p>
        <${KeyForm} words=${words} done=${() => setKey(keyOf())} />`}
      ${refused && !denied && html`<p role="alert">${refused.status ? refused.message : words.noAnswer}</p>`}
      <p class="row">${words.examples}:
        ${EXAMPLES.map(({ name, query, documents }) => html`<button type="button" key=${name} class="outline small"
          onClick=${() => change({ query, text: joined(documents) })}>${name}</button>`)}
      </p>
      <form onSubmit=${submit}>
        <label>${words.query}
          <input id="query" value=${state.query} onInput=${(event) => change({ query: event.target.value })} />
        </label>
        <${Documents} words=${words} text=${state.text} change=${(text) => change({ text })} />
        <div class="grid">
          ${[0, 1, 2].map((number) => html`<${ModelChoice} key=${number} words=${words} models=${models} names=${names} number=${number}
            chosen=${state.models[number]} choose=${(model) => choose(number, () => model)} />`)}
        </div>
        <${Options} words=${words} state=${state} change=${change} />
        <div class="row">
          <button type="submit" id="rank" aria-busy=${pending.length > 0}>${words.rank}</button>
          ${pending.length > 0 && html`<button type="button" class="secondary" onClick=${cancel}>${words.cancel}</button>`}
          <${Share} words=${words} state=${state} />
        </div>
        <p role="status">${wrong || progress}</p>
      </form>
      <div class="rankings">${rankings}</div>
      ${state.models[0] && html`<${Code} words=${words} state=${state} />`}
    </main>`;
}
