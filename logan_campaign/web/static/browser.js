// What pages do by themselves: progress of a run, which structure the 3D view shows, and tables
// that are sorted by a click on a header.
"use strict";
document.addEventListener("DOMContentLoaded", function () {
  const progress = document.getElementById("progress");
  if (progress && progress.dataset.live === "yes") {
    let wait = 2000;
    const ask = function () {
      if (document.hidden) { window.setTimeout(ask, wait); return; }
      const stages = document.getElementById("stages"), open = stages && stages.open;
      fetch(progress.dataset.url, { headers: { Accept: "text/html" } }).then(function (answer) {
        if (!answer.ok) { throw new Error(String(answer.status)); }
        return answer.text();
      }).then(function (html) {
        wait = 2000;
        progress.innerHTML = html;
        const shown = document.getElementById("stages");
        if (shown && stages) { shown.open = open; }
        const state = document.getElementById("run-state");
        if (state && state.textContent === "running") {
          window.setTimeout(ask, wait);
        } else {
          progress.dataset.live = "no";
          window.location.reload();
        }
      }).catch(function () {
        wait = Math.min(2 * wait, 60000);
        window.setTimeout(ask, wait);
      });
    };
    window.setTimeout(ask, wait);
  }

  document.querySelectorAll("button[data-structure]").forEach(function (button) {
    button.addEventListener("click", function () {
      const place = document.getElementById(button.dataset.view);
      const source = document.getElementById(button.dataset.structure);
      window.drawStructure(place, JSON.parse(source.textContent));
      document.querySelectorAll("button[data-structure]").forEach((other) =>
        other.setAttribute("aria-pressed", String(other === button)));
    });
  });

  document.querySelectorAll("main table").forEach(function (table) {
    const heads = table.tHead ? Array.from(table.tHead.rows[0].cells) : [];
    if (table.tBodies[0] === undefined || table.tBodies[0].rows.length < 2) { return; }
    const value = (row, column) => {
      const text = row.cells[column].textContent.trim();
      const number = Number(text.replaceAll(",", ""));
      return text === "–" || text === "" ? null : Number.isNaN(number) ? text : number;
    };
    heads.forEach(function (head, column) {
      head.dataset.sort = "yes";
      head.tabIndex = 0;
      head.title = "Sort the rows of this page";
      const sort = function () {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = Array.from(table.tBodies[0].rows);
        rows.sort(function (a, b) {
          const x = value(a, column), y = value(b, column);
          if (x === null || y === null) { return (x === null) - (y === null); }
          const order = typeof x === "number" && typeof y === "number" ? x - y
            : String(x).localeCompare(String(y), undefined, { numeric: true });
          return up ? order : -order;
        });
        table.tBodies[0].append(...rows);
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => { if (event.key === "Enter") { sort(); } });
    });
  });
});
