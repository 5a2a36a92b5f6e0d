// SPDX-License-Identifier: GPL-3.0-or-later
// Draws the charts in the page's colours, and again when the reader's system changes between light and dark.
"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // Of a chart in Plotly's own form: "--name" stands for the page's colour of that name.
  const paint = (value) => {
    if (typeof value === "string") return value.startsWith("--") ? colour(value.slice(2)) : value;
    if (Array.isArray(value)) return value.map(paint);
    return value && typeof value === "object"
      ? Object.fromEntries(Object.entries(value).map(([name, item]) => [name, paint(item)])) : value;
  };

  const lines = (chart) => chart.traces.map((trace) => ({
    type: "scatter", mode: "lines", x: trace.x, y: trace.y, name: trace.name,
    legendgroup: trace.group, showlegend: trace.legend && (!chart.share || chart.traces.length > 1),
    line: { color: colour(trace.colour), width: 1.75, dash: trace.dash, shape: "hv" },
    hovertemplate: `${trace.hover}<extra></extra>`,
  }));

  const axis = (title) => ({
    title: { text: title, font: { size: 12 }, standoff: 8 },
    gridcolor: colour("grid"), linecolor: colour("line"), zerolinecolor: colour("line"), automargin: true,
  });

  const frame = () => ({
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("soft") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 12, t: 28, b: 8 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") } },
  });

  const layout = (chart) => ({
    ...frame(),
    xaxis: axis(chart.x),
    yaxis: { ...axis(chart.y), rangemode: "tozero", tickformat: chart.share ? ".0%" : "," },
    shapes: chart.zero ? [{
      type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1,
      line: { color: colour("soft"), width: 1, dash: "dot" },
    }] : [],
  });

  const own = (chart) => {
    const given = paint(chart.layout);
    return {
      ...frame(), ...given,
      xaxis: { ...axis(chart.x), ...given.xaxis }, yaxis: { ...axis(chart.y), ...given.yaxis },
    };
  };

  const draw = () => {
    for (const [anchor, chart] of Object.entries(charts)) {
      const [data, form] = chart.kind === "figure" ? [paint(chart.data), own(chart)] : [lines(chart), layout(chart)];
      Plotly.react(anchor, data, form, { responsive: true, displayModeBar: false });
    }
  };

  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // A link into a folded record has to unfold it.
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", unfold);
  unfold();
})();
