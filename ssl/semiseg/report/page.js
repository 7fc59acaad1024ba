// Draws every <figure data-plot> from the JSON beside it, in the colours of the page's theme, and again when the theme changes.
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function themed(layout) {
  const css = getComputedStyle(document.documentElement);
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
  for (const holder of document.querySelectorAll("[data-plot]")) {
    const { data, layout } = JSON.parse(document.getElementById(holder.dataset.plot).textContent);
    Plotly.react(holder, data, themed(layout), { responsive: true, displaylogo: false, displayModeBar: false });
  }
}

draw();
// plotly follows the window only; this also follows the page's own changes of width.
const follow = new ResizeObserver(entries => entries.forEach(entry => Plotly.Plots.resize(entry.target)));
document.querySelectorAll("[data-plot]").forEach(holder => follow.observe(holder));
dark.addEventListener("change", draw);
