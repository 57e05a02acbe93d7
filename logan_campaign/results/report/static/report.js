// The tables of a report: pages, a filter, and structures shown where a row is chosen.
"use strict";
document.addEventListener("DOMContentLoaded", function () {
  const structures = JSON.parse(document.getElementById("structures").textContent);
  const view = document.getElementById("view");

  function choose(row) {
    document.querySelectorAll("tr.chosen").forEach((other) => other.classList.remove("chosen"));
    row.classList.add("chosen");
    const doc = structures[row.dataset.structure];
    const title = document.getElementById("view-title");
    title.textContent = row.dataset.title;
    if (!doc || typeof window.$3Dmol === "undefined") {
      title.textContent += " (structure not in this file)";
      return;
    }
    const legend = document.getElementById("view-legend");
    legend.replaceChildren();
    doc.elements.forEach(function (element) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = element.colour;
      legend.append(swatch, element.symbol);
    });
    window.drawStructure(view, doc);
  }

  document.querySelectorAll("table[data-page]").forEach(function (table) {
    const rows = Array.from(table.tBodies[0].rows), size = Number(table.dataset.page);
    const bar = document.querySelector(`[data-pager="${table.id}"]`);
    const filter = bar.querySelector("input"), told = bar.querySelector("output");
    const [back, next] = bar.querySelectorAll("button");
    let page = 0;
    function show() {
      const wanted = filter.value.trim().toLowerCase();
      const found = rows.filter((row) => row.textContent.toLowerCase().includes(wanted));
      const last = Math.max(0, Math.ceil(found.length / size) - 1);
      page = Math.min(Math.max(page, 0), last);
      const shown = new Set(found.slice(page * size, (page + 1) * size));
      rows.forEach((row) => { row.hidden = !shown.has(row); });
      back.disabled = page === 0;
      next.disabled = page === last;
      told.textContent = found.length
        ? `${page * size + 1}–${Math.min((page + 1) * size, found.length)} of ${found.length}`
        : "none";
    }
    filter.addEventListener("input", function () { page = 0; show(); });
    back.addEventListener("click", function () { page -= 1; show(); });
    next.addEventListener("click", function () { page += 1; show(); });
    bar.hidden = rows.length <= size && rows.length < 10;
    show();
    window.addEventListener("beforeprint", () => rows.forEach((row) => { row.hidden = false; }));
    window.addEventListener("afterprint", show);
  });

  document.querySelectorAll("button[data-show]").forEach(function (button) {
    button.addEventListener("click", () => choose(button.closest("tr")));
  });
  const first = document.querySelector("tr[data-structure]");
  if (first && view) { choose(first); }
});
