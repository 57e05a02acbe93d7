// Draws the figures of a page: <div class="chart" data-figure="ID of a JSON script">.
"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function theme() {
    return { "font.color": colour("--text"), "hoverlabel.bgcolor": colour("--panel"),
      "hoverlabel.font.color": colour("--text"), "hoverlabel.bordercolor": colour("--line") };
  }

  function draw(place) {
    const source = document.getElementById(place.dataset.figure);
    const figure = JSON.parse(source.textContent);
    const layout = figure.layout;
    layout.font = Object.assign({}, layout.font, { color: colour("--text"),
      family: getComputedStyle(document.body).fontFamily });
    layout.hoverlabel = Object.assign({}, layout.hoverlabel, { bgcolor: colour("--panel"),
      bordercolor: colour("--line"), font: { color: colour("--text") } });
    layout.autosize = true;
    const config = { responsive: true, displaylogo: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: place.dataset.figure } };
    return Plotly.newPlot(place, figure.data, layout, config).then(function () {
      place.dataset.drawn = "yes";
      if (place.dataset.links) {
        place.on("plotly_click", function (event) {
          const id = event.points[0].customdata;
          if (id) { window.location.href = place.dataset.links + encodeURIComponent(id); }
        });
      }
    });
  }

  function all() { return Array.from(document.querySelectorAll(".chart[data-figure]")); }

  function retheme() {
    all().filter((place) => place.dataset.drawn).forEach((place) => Plotly.relayout(place, theme()));
  }

  document.addEventListener("DOMContentLoaded", function () {
    if (typeof Plotly === "undefined") { return; }
    all().forEach(draw);
    dark.addEventListener("change", retheme);
    window.addEventListener("beforeprint", function () {
      document.querySelectorAll("details").forEach((d) => { d.open = true; });
      all().filter((place) => place.dataset.drawn).forEach((place) =>
        Plotly.relayout(place, { "font.color": "#000" }));
    });
    window.addEventListener("afterprint", retheme);
  });
})();
