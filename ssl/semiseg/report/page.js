"use strict";
// Draws every figure <div data-plot> from the JSON beside it, in the colours of the page's theme, and again when the theme changes;
// makes tables sortable and filterable; follows the sections in the navigation; prepares printing.
const root = document.documentElement;
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const plots = [...document.querySelectorAll("[data-plot]")];

function made(tag, values = {}, ...children) {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...children);
  return element;
}

// ---- figures

function themed(layout) {
  const css = getComputedStyle(root);
  const colour = name => css.getPropertyValue(name).trim();
  const copy = structuredClone(layout);
  copy.font = { ...copy.font, color: colour("--ink") };
  copy.hoverlabel = { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } };
  for (const name of Object.keys(copy).filter(key => /^[xy]axis\d*$/.test(key))) {
    Object.assign(copy[name], { gridcolor: colour("--line"), linecolor: colour("--faint"), tickcolor: colour("--faint") });
  }
  return copy;
}

function draw() {
  for (const holder of plots) {
    const { data, layout } = JSON.parse(document.getElementById(holder.dataset.plot).textContent);
    Plotly.react(holder, data, themed(layout), { responsive: true, displaylogo: false, displayModeBar: false });
  }
}

// ---- tables

const COLLATED = new Intl.Collator("en", { numeric: true });
const written = cell => (cell ? cell.textContent.trim() : "");

function number(text) {
  const found = text.replaceAll("−", "-").match(/^[+-]?\d[\d.]*(e[+-]?\d+)?/);
  return found ? Number(found[0]) : NaN;
}

// A line of class "paper" belongs to the line above it.
function groupsOf(body) {
  const groups = [];
  for (const line of body.rows) {
    if (line.className === "paper" && groups.length) groups.at(-1).push(line);
    else groups.push([line]);
  }
  return groups;
}

function sortBy(table, groups, at, direction) {
  const value = group => written(group[0].cells[at]);
  const missing = group => ["", "-", "–"].includes(value(group));
  const known = groups.filter(group => !missing(group));
  const numbers = known.every(group => !Number.isNaN(number(value(group))));
  const order = (one, other) => (numbers ? number(value(one)) - number(value(other)) : COLLATED.compare(value(one), value(other)));
  const sorted = direction === "none" ? groups : [
    ...known.sort((one, other) => (direction === "ascending" ? 1 : -1) * order(one, other)),
    ...groups.filter(missing), // last in both directions
  ];
  table.tBodies[0].append(...sorted.flat());
}

function makeSortable(table) {
  const groups = groupsOf(table.tBodies[0]);
  if (groups.length < 2) return;
  const heads = [...table.tHead.rows[0].cells];
  const turns = { none: "descending", descending: "ascending", ascending: "none" };
  heads.forEach((head, at) => {
    const button = made("button", { type: "button", title: "Sort by this column" });
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    head.scope = "col";
    button.addEventListener("click", () => {
      const next = turns[head.getAttribute("aria-sort")];
      heads.forEach(one => one.setAttribute("aria-sort", one === head ? next : "none"));
      sortBy(table, groups, at, next);
    });
  });
}

function makeFilterable(table) {
  const groups = groupsOf(table.tBodies[0]);
  if (groups.length < 4) return;
  const field = made("input", { type: "search", placeholder: "words in a row, in any order", autocomplete: "off" });
  const count = made("span", { role: "status" });
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().replaceAll("−", "-").split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const group of groups) {
      const text = group.map(line => line.textContent).join(" ").toLowerCase().replaceAll("−", "-");
      const fits = words.every(word => text.includes(word));
      group.forEach(line => { line.hidden = !fits; });
      shown += fits;
    }
    count.textContent = words.length ? `${shown} of ${groups.length} rows` : "";
  });
  table.parentElement.before(made("div", { className: "filter" }, made("label", {}, "Show rows with ", field), count));
}

// ---- navigation

const nav = document.querySelector("nav");
const menu = nav.querySelector("button");

function setMenu(open) {
  menu.setAttribute("aria-expanded", String(open));
}

menu.addEventListener("click", () => setMenu(menu.getAttribute("aria-expanded") !== "true"));
nav.addEventListener("click", event => { if (event.target.closest("a")) setMenu(false); });
nav.addEventListener("keydown", event => {
  if (event.key === "Escape" && menu.getAttribute("aria-expanded") === "true") {
    setMenu(false);
    menu.focus();
  }
});

const links = new Map([...nav.querySelectorAll("a")].map(link => [link.hash.slice(1), link]));
const inView = new Set();
const watch = new IntersectionObserver(entries => {
  for (const entry of entries) inView[entry.isIntersecting ? "add" : "delete"](entry.target.id);
  const first = [...links.keys()].find(id => inView.has(id));
  for (const [id, link] of links) {
    if (id === first) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}, { rootMargin: "-20% 0px -60% 0px" });

// What scrolls sideways can be reached by keyboard; and headings do not end under the navigation.
function measure() {
  root.style.setProperty("--nav", `${menu.offsetParent ? 48 : nav.offsetHeight}px`);
  for (const box of document.querySelectorAll(".wide")) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

// ---- printing: in light colours, with everything opened

let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach(one => { one.open = true; });
  root.classList.add("printed");
  draw();
});
window.addEventListener("afterprint", () => {
  closed.forEach(one => { one.open = false; });
  root.classList.remove("printed");
  draw();
});

for (const table of document.querySelectorAll("table.results")) {
  makeFilterable(table);
  makeSortable(table);
}
for (const id of links.keys()) watch.observe(document.getElementById(id));
draw();
// plotly follows the window only; this also follows the page's own changes of width.
const follow = new ResizeObserver(entries => entries.forEach(entry => Plotly.Plots.resize(entry.target)));
plots.forEach(holder => follow.observe(holder));
dark.addEventListener("change", draw);
window.addEventListener("resize", measure);
measure();
