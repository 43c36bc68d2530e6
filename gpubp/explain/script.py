"""The style and the script of the page of `gpubp explain`.

The script holds no numbers and no text of its own: it shows one stage at a time and fills the
numbers of a step into the places that the markup has for them.
"""

from __future__ import annotations

STYLE = """
main { padding: 20px 10px 40px; }
h3 { font-size: .95rem; margin: 16px 0 2px; }
.facts { color: var(--quiet); margin: 0 0 14px; max-width: none; }
.controls { display: none; }
.js .controls {
  display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: center; position: sticky; top: 0;
  z-index: 1; background: var(--ground); padding: 8px 0; margin-bottom: 14px;
  border-bottom: 1px solid var(--line);
}
.controls > div { display: flex; align-items: center; gap: 4px; }
button {
  font: inherit; color: var(--ink); background: var(--panel); border: 1px solid var(--faint);
  border-radius: 999px; min-width: 44px; height: 44px; padding: 0 10px; cursor: pointer;
}
.pills { flex-wrap: wrap; }
button:hover { border-color: var(--quiet); }
button[aria-current] { background: var(--ink); border-color: var(--ink); color: var(--ground); }
button[aria-disabled="true"] { color: var(--quiet); border-style: dashed; cursor: default; }
.heard { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.js { scroll-padding-top: 200px; }
.steps { flex: 1; min-width: min(100%, 300px); }
.steps input { flex: 1; height: 44px; min-width: 60px; max-width: 360px; accent-color: var(--ink); }
.steps output { white-space: nowrap; margin-left: 6px; }
.stage { margin-bottom: 40px; }
.stage figure { margin-bottom: 16px; min-width: 0; }
.stage svg { width: 100%; margin: 0 auto; }
figcaption { font-size: .85rem; color: var(--quiet); text-align: center; margin-top: 6px; }
p.law { font-size: 1.15rem; padding: 6px 0; }
p.aside { border-left: 3px solid var(--line); padding-left: 12px; color: var(--quiet); }
p.result { font-size: 1.15rem; font-weight: 600; }
.hint, .sideways { display: none; }
.js .hint { display: inline; }
small { color: var(--quiet); font-size: max(.85em, 12px); }
sub, sup { font-size: max(.75em, 12px); }
code { font-size: .9em; overflow-wrap: anywhere; }
.formula { padding: 2px 0 6px; }
.formula p { margin: 0; padding-left: 1.5em; text-indent: -1.5em; max-width: none; }
.formula .term { white-space: nowrap; }
details { margin: 14px 0; }
table { margin: 10px 0 14px; width: 100%; }
tbody th small { margin-left: 8px; font-weight: 400; }
td { text-align: right; }
thead th:not(:first-child) { text-align: right; }
th:last-child, td:last-child { padding-right: 0; }
th, td { overflow-wrap: anywhere; }
thead th { overflow-wrap: normal; }
td [data-n] { white-space: nowrap; }
svg text { font-size: 12px; text-anchor: middle; }
svg text.heading, svg text.others { fill: var(--quiet); }
svg text.forward { fill: var(--forward); }
svg text.backward { fill: var(--backward); }
svg text.target { fill: var(--quiet); }
.unit circle { fill: var(--panel); stroke: var(--quiet); stroke-width: 1.4; }
.unit rect { fill: var(--ground); stroke: var(--line); }
.unit .name { paint-order: stroke; stroke: var(--ground); stroke-width: 5px; }
.unit circle + .name { stroke-linejoin: round; }
.choice { cursor: pointer; }
.choice:hover circle, .chosen circle { stroke: var(--ink); stroke-width: 2.4; }
.choice:focus-visible circle { stroke: var(--forward); stroke-width: 4; }
.edges line { stroke: var(--faint); stroke-width: calc(var(--w) * 1px); }
.edges path { fill: var(--quiet); }
.edges .minus { stroke-dasharray: 9 3; }
.edges .others { --w: 1; stroke-dasharray: 1 3; }
.edges.active line { stroke: var(--quiet); }
.edges.forward line { stroke: var(--forward); }
.edges.backward line { stroke: var(--backward); }
.edges.forward path { fill: var(--forward); }
.edges.backward path { fill: var(--backward); }
.edges.still line, .edges.some line:not(.chosen) {
  stroke: var(--faint); stroke-width: max(.9px, calc(var(--w) * .5px));
}
.edges.still path, .edges.some path { fill: var(--faint); }
.labels text { paint-order: stroke; stroke: var(--ground); stroke-width: 7px; }
.labels text { stroke-linejoin: round; }
.labels.backward text { fill: var(--backward); }
.curves { display: grid; gap: 16px 40px; grid-template-columns: minmax(0, 1fr); }
.curves svg { width: 100%; max-width: 480px; cursor: pointer; }
.curves .axis { stroke: var(--line); fill: none; }
.curves .curve { stroke-linecap: round; stroke: var(--series-1); stroke-width: 1.6; fill: none; }
.curves .goal { stroke: var(--quiet); stroke-width: 1.2; stroke-dasharray: 4 3; fill: none; }
.curves .now { stroke: var(--backward); stroke-width: 3; stroke-linecap: round; }
.curves text.end { text-anchor: end; }
.curves text.title { text-anchor: start; }
.stage > div { container-type: inline-size; }
@container (max-width: 540px) {
  .cards thead { display: none; }
  .cards tr { display: block; padding: 6px 0; border-bottom: 1px solid var(--line); }
  .cards th, .cards td { display: block; border: 0; padding: 1px 0; }
  .cards td { display: flex; justify-content: space-between; gap: 12px; }
  .cards td::before { content: attr(data-label); color: var(--quiet); white-space: nowrap; }
  .cards td > span { min-width: 0; }
}
@media (max-width: 529px) {
  .controls > .pills {
    display: grid; grid-template-columns: repeat(5, minmax(44px, 1fr)); width: 100%;
  }
  .js .controls { padding: 4px 0; }
  .sideways { display: inline; }
}
@media (min-width: 620px) { .curves { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@media (max-width: 959px) {
  svg.wide { display: none; }
  button span {
    position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  }
}
@media (min-width: 960px) {
  svg.narrow { display: none; }
  main { padding: 28px 24px 48px; }
  .js { scroll-padding-top: 110px; }
  .stage:not(.deep) {
    display: grid; grid-template-columns: minmax(0, 11fr) minmax(0, 9fr); gap: 0 44px;
  }
  .stage h2 { grid-column: 1 / -1; }
  .stage:not(.deep) figure { position: sticky; top: 94px; align-self: start; }
  .stage:not(.deep) figure:has(details[open]) { position: static; }
  .deep > div { columns: 2; column-gap: 44px; }
  .deep .formula, .deep tr { break-inside: avoid; }
  .stage svg { max-height: calc(100vh - 245px); }
}
@media screen { .js .stage:not(.on) { display: none; } }
@media print { .js .controls { display: none; } }
"""

SCRIPT = """
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const data = JSON.parse(document.getElementById("trace").textContent);
  const stages = all(".stage"), pills = all(".pills button[value]");
  const [back, next] = all(".move"), slider = document.getElementById("step");
  let step = 0, stage = 0;
  document.documentElement.classList.add("js");

  const special = { nan: NaN, inf: Infinity, "-inf": -Infinity };
  const valueOf = (place) => {
    const value = data.steps[step].values[place];
    return typeof value === "string" ? special[value] : value;
  };
  function format(value, digits) {
    if (Number.isNaN(value)) return "NaN";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    if (value === 0) return "0";
    let [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    if (exponent >= -4 && exponent < digits) [mantissa, exponent] = [value.toPrecision(digits), 0];
    if (mantissa.includes(".")) mantissa = mantissa.replace(/0+$/, "").replace(/[.]$/, "");
    return (mantissa + (+exponent ? "e" + +exponent : "")).replaceAll("-", "−");
  }

  function fill(section) {
    for (const place of all("[data-n]", section)) {
      const value = valueOf(place.dataset.n), text = format(value, +place.dataset.d || 6);
      const bracketed = "f" in place.dataset && value < 0 ? `(${text})` : text;
      place.textContent = (place.dataset.word || "") + bracketed;
    }
    for (const group of all(".edges", section)) {
      const lines = all("[data-w]", group);
      const sizes = lines.map((line) => Math.abs(valueOf(line.dataset.w)));
      const scale = +group.dataset.scale || Math.max(...sizes.filter(Number.isFinite), 0);
      lines.forEach((line, k) => {
        const part = scale > 0 ? Math.min(sizes[k] / scale, 1) || 0 : 0;
        line.style.setProperty("--w", 1 + 4 * part);
        line.classList.toggle("minus", valueOf(line.dataset.w) < 0);
      });
    }
    for (const plate of all(".unit rect", section)) {
      const texts = all("text:not(.name)", plate.parentNode);
      const width = Math.max(...texts.map((text) => text.getComputedTextLength())) + 8;
      if (width === 8) continue;  // the drawing is for screens of another width
      plate.setAttribute("x", texts[0].getAttribute("x") - width / 2);
      plate.setAttribute("width", width);
    }
    for (const result of all("[data-when]", section))
      result.hidden = result.dataset.when !== data.steps[step].outcome;
  }

  // Where not all edges have room for their numbers, those of one unit are shown.
  function choose(section, unit) {
    const groups = all("[data-for]", section), chosen = new Set();
    for (const drawing of all("svg", section)) {
      const own = groups.filter((group) => drawing.contains(group));
      for (const group of own.filter((group) => group.dataset.for === unit))
        for (const other of own)
          if (other.dataset.gap === group.dataset.gap)
            other.toggleAttribute("hidden", other !== group);
      for (const { dataset } of own.filter((group) => !group.hasAttribute("hidden"))) {
        chosen.add(dataset.for);
        const [layer, number] = dataset.for.split("."), end = layer === dataset.gap ? 0 : 1;
        const edges = drawing.querySelector(`.edges[data-gap="${dataset.gap}"]`);
        edges.classList.add("some");
        for (const line of all("[data-ends]", edges))
          line.classList.toggle("chosen", line.dataset.ends.split(".")[end] === number);
      }
    }
    const choices = new Set(groups.map((group) => group.dataset.for));
    for (const place of all("[data-unit]", section)) {
      const known = choices.has(place.dataset.unit), on = chosen.has(place.dataset.unit);
      if (place.matches(".formula")) place.hidden = known && !on;
      else if (known) {
        place.classList.toggle("chosen", on);
        place.setAttribute("aria-pressed", on);
      }
    }
  }
  for (const section of stages) {
    const units = new Set(all("[data-for]", section).map((group) => group.dataset.for));
    for (const place of all(".unit", section)) {
      const unit = place.dataset.unit;
      if (!units.has(unit)) continue;
      place.classList.add("choice");
      place.setAttribute("tabindex", "0");
      place.setAttribute("role", "button");
      place.addEventListener("click", () => choose(section, unit));
      place.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          choose(section, unit);
        }
      });
    }
    if (units.size) choose(section, "");
  }

  // A box that does not scroll needs no stop of the tab key.
  function reach() {
    for (const box of all(".scroll")) {
      const { scrollWidth, clientWidth, scrollHeight, clientHeight } = box;
      const scrolls = scrollWidth > clientWidth || scrollHeight > clientHeight;
      if (scrolls) box.setAttribute("tabindex", "0");
      else box.removeAttribute("tabindex");
    }
  }

  function show() {
    stages.forEach((section, k) => section.classList.toggle("on", k === stage));
    fill(stages[stage]);
    const key = stages[stage].dataset.key, { number, row, curves } = data.steps[step];
    for (const pill of pills)
      if (pill.value === key.split(".")[0]) pill.setAttribute("aria-current", "step");
      else pill.removeAttribute("aria-current");
    // Not the property disabled: that would take the focus away from the button.
    back.setAttribute("aria-disabled", stage === 0 && step === 0);
    const last = stage === stages.length - 1 && step === data.steps.length - 1;
    next.setAttribute("aria-disabled", last);
    const now = { number, row, title: stages[stage].querySelector("h2").textContent };
    for (const place of all("[data-now]")) place.textContent = now[place.dataset.now];
    if (slider) {
      slider.value = step;
      slider.setAttribute("aria-valuetext", slider.parentNode.querySelector("output").textContent);
    }
    reach();
    all(".now").forEach((line, k) => {
      line.style.display = curves[k] ? "" : "none";
      (curves[k] || []).forEach((at, n) => line.setAttribute(["x1", "y1", "x2", "y2"][n], at));
    });
  }
  function go(newStep, newStage) {
    step = Math.max(0, Math.min(newStep, data.steps.length - 1));
    stage = Math.max(0, Math.min(newStage, stages.length - 1));
    show();
    const { number } = data.steps[step];
    history.replaceState(null, "", `#step=${number}&stage=${stages[stage].dataset.key}`);
  }
  function forward() {
    if (stage < stages.length - 1) go(step, stage + 1);
    else if (step < data.steps.length - 1) go(step + 1, 0);
  }
  function backward() {
    if (stage > 0) go(step, stage - 1);
    else if (step > 0) go(step - 1, stages.length - 1);
  }
  function fromAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const number = +wanted.get("step"), key = wanted.get("stage") || "1";
    const later = data.steps.findIndex((record) => record.number >= number);
    step = later < 0 ? data.steps.length - 1 : later;
    const at = (test) => stages.findIndex((section) => test(section.dataset.key));
    const exact = at((known) => known === key);
    stage = Math.max(exact, exact < 0 ? at((known) => known.split(".")[0] === key) : 0, 0);
    show();
  }

  back.addEventListener("click", backward);
  next.addEventListener("click", forward);
  for (const pill of pills)
    pill.addEventListener("click", () => {
      const key = stages[stage].dataset.key;
      const same = stages.findIndex((s) => s.dataset.key.split(".")[0] === pill.value);
      // A second click goes on to the next layer.
      const more = key.split(".")[0] === pill.value && stages[stage + 1];
      go(step, more && more.dataset.key.split(".")[0] === pill.value ? stage + 1 : same);
    });
  if (slider) slider.addEventListener("input", () => go(+slider.value, stage));
  for (const chart of all(".curves svg"))
    chart.addEventListener("click", (event) => {
      const box = chart.getBoundingClientRect(), { x0, x1, first, last } = chart.dataset;
      const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
      const number = Math.ceil(+first + ((x - x0) / (x1 - x0)) * (last - first));
      const later = data.steps.findIndex((record) => record.number >= number);
      go(later < 0 ? data.steps.length - 1 : later, stage);
    });
  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target === slider) return;
    if (event.target.matches(".scroll")) return;  // where the arrows scroll
    const right = event.key === "ArrowRight";
    if (!right && event.key !== "ArrowLeft") return;
    event.preventDefault();
    if (event.shiftKey) go(step + (right ? 1 : -1), stage);
    else (right ? forward : backward)();
  });
  addEventListener("hashchange", fromAddress);
  addEventListener("resize", () => {
    fill(stages[stage]);
    reach();
  });
  document.addEventListener("toggle", reach, true);
  fromAddress();
})();
"""
