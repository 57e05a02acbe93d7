// What pages do by themselves: progress of a run, and which structure the 3D view shows.
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
});
