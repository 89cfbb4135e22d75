// The page that the address names.

import { html, render } from "./vendor/preact-htm.js";
import { Admin } from "./admin.js";
import { applyTheme } from "./frame.js";
import { Playground } from "./playground.js";

applyTheme();
render(html`<${location.pathname.endsWith("/admin") ? Admin : Playground} />`, document.body);
