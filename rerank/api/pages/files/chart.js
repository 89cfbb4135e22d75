// A small chart over the last minutes.

import { html, useEffect, useRef } from "./vendor/preact-htm.js";
import uPlot from "./vendor/uplot.js";

const HEIGHT = 150;
const SHOWN = 120; // seconds at least
const COLOURS = ["#2a7fb8", "#c2651b"];

const clock = (_, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString("en-GB"));

function options(width, lines) {
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--pico-color");
  const axis = { stroke: colour, grid: { stroke: "#8884", width: 1 }, ticks: { stroke: "#8884", width: 1 } };
  const series = Object.values(lines).map((label, at) => ({ label, stroke: COLOURS[at], width: 2, spanGaps: true }));
  // a single look would be drawn in the middle of years
  const x = { range: (_, first, last) => [Math.min(first ?? 0, (last ?? 0) - SHOWN), last ?? SHOWN] };
  const scales = { x, y: { range: (_, __, most) => [0, Math.max(1, most ?? 1) * 1.05] } };
  const axes = [{ ...axis, space: 90, values: clock }, { ...axis, size: 60 }];
  return { width, height: HEIGHT, cursor: { show: false }, series: [{}, ...series], axes, scales };
}

export function Chart({ title, history, lines }) {
  const place = useRef(null);
  const chart = useRef(null);
  useEffect(() => {
    chart.current = new uPlot(options(place.current.clientWidth, lines), [[]], place.current);
    const resize = new ResizeObserver(() => chart.current.setSize({ width: place.current.clientWidth, height: HEIGHT }));
    resize.observe(place.current);
    return () => (resize.disconnect(), chart.current.destroy());
  }, [Object.values(lines).join()]);
  useEffect(() => {
    const columns = Object.keys(lines).map((name) => history.map((look) => look[name]));
    chart.current.setData([history.map((look) => look.at), ...columns]);
  }, [history]);
  const last = history.at(-1);
  const told = Object.entries(lines).map(([name, label]) => `${label}: ${last?.[name]?.toFixed(0) ?? "–"}`).join(", ");
  return html`<figure><figcaption>${title}<small> ${told}</small></figcaption><div ref=${place} aria-hidden="true"></div></figure>`;
}
