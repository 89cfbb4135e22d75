// What both pages share: language, theme, the key.

import { html, useState } from "./vendor/preact-htm.js";
import { keepKey, keyOf } from "./server.js";
import { chosenLanguage, keepLanguage, wordsIn } from "./words.js";

export function useLanguage() {
  const [language, setLanguage] = useState(chosenLanguage);
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  const change = () => {
    const other = language === "zh" ? "en" : "zh";
    keepLanguage(other);
    setLanguage(other);
  };
  return [wordsIn(language), change];
}

const THEME = "rerank-theme";
const dark = () => document.documentElement.dataset.theme === "dark";

export function applyTheme() {
  const wanted = localStorage.getItem(THEME) ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = wanted;
}

function changeTheme() {
  localStorage.setItem(THEME, dark() ? "light" : "dark");
  applyTheme();
}

export function Header({ words, title, changeLanguage, wide = false }) {
  document.title = title;
  return html`
  <header class=${`${wide ? "container-fluid" : "container"} head`}>
    <h1>${title}</h1>
    <nav>
      <a href=${wide ? "playground" : "admin"}>${wide ? words.playground : words.admin}</a>
      <button type="button" class="secondary outline small" lang=${words.language === "中文" ? "zh-CN" : "en"}
        onClick=${changeLanguage}>${words.language}</button>
      <button type="button" class="secondary outline small" onClick=${changeTheme} aria-label=${words.theme}
        title=${words.theme}>◐</button>
    </nav>
  </header>`;
}

export function KeyForm({ words, done }) {
  const [key, setKey] = useState(keyOf());
  const use = (event) => {
    event.preventDefault();
    keepKey(key.trim());
    done();
  };
  return html`<form class="key" onSubmit=${use}>
    <label>${words.key}
      <input type="password" autocomplete="off" value=${key} onInput=${(event) => setKey(event.target.value)} />
      <small>${words.keyHint}</small>
    </label>
    <button type="submit">${words.keyUse}</button>
  </form>`;
}
