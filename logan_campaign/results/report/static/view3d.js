// The 3D view: structures of view3d.py drawn by 3Dmol.js, which loads nothing from elsewhere.
"use strict";
(function () {
  const STICK = 0.09, BALL = 0.42, GREY = "#7f8792";

  // Atoms and bonds in copies of the cell; images of atoms beyond its faces are pale.
  function addAtoms(viewer, doc, positions, cells) {
    const shifts = [];
    for (let i = 0; i < cells; i++) { for (let j = 0; j < cells; j++) { for (let k = 0; k < cells; k++) {
      shifts.push([0, 1, 2].map((x) => doc.cell
        ? i * doc.cell[0][x] + j * doc.cell[1][x] + k * doc.cell[2][x] : 0));
    } } }
    shifts.forEach(function (shift) {
      const atoms = doc.atoms.map(function (atom, n) {
        const p = positions[n];
        return { elem: doc.elements[atom[0]].symbol, serial: n, x: p[0] + shift[0],
          y: p[1] + shift[1], z: p[2] + shift[2], bonds: [], bondOrder: [],
          properties: { kind: atom[0], image: n >= doc.n_home } };
      });
      doc.bonds.forEach(function (bond) {
        [bond, [bond[1], bond[0]]].forEach(function (ends) {
          atoms[ends[0]].bonds.push(ends[1]);
          atoms[ends[0]].bondOrder.push(1);
        });
      });
      viewer.addModel().addAtoms(atoms);
    });
    doc.elements.forEach(function (element, kind) {
      [false, true].forEach((image) => viewer.setStyle(
        { properties: { kind: kind, image: image } },
        { sphere: { radius: BALL * element.radius, color: element.colour,
            opacity: image ? 0.45 : 1 },
          stick: { radius: STICK, color: element.colour, opacity: image ? 0.45 : 1 } }));
    });
  }

  function addCell(viewer, cell) {
    const corner = (n) => [0, 1, 2].map((k) =>
      (n & 1 ? cell[0][k] : 0) + (n & 2 ? cell[1][k] : 0) + (n & 4 ? cell[2][k] : 0));
    const point = (p) => ({ x: p[0], y: p[1], z: p[2] });
    for (let a = 0; a < 8; a++) {
      [1, 2, 4].filter((bit) => !(a & bit)).forEach((bit) => viewer.addCylinder(
        { start: point(corner(a)), end: point(corner(a | bit)), color: GREY, radius: 0.025 }));
    }
    ["a", "b", "c"].forEach((name, k) => viewer.addLabel(name, {
      position: point(corner(1 << k)), fontSize: 16, fontColor: GREY, showBackground: false }));
  }

  // The library leaves a wide margin in orthographic views.
  function fit(viewer) {
    viewer.zoomTo();
    viewer.zoom(1.7);
  }

  // What is shown: the document, and what buttons have changed.
  function redraw(place, keepView) {
    const viewer = place.viewer, doc = place.doc, shown = place.shown;
    const seen = viewer.getView();
    viewer.clear();
    viewer.removeAllLabels();
    const positions = doc.atoms.map((atom) => atom.slice(1));
    addAtoms(viewer, doc, shown.frame === null ? positions : doc.frames[shown.frame],
      shown.cells);
    if (doc.cell) { addCell(viewer, doc.cell); }
    if (shown.labels) {
      doc.atoms.slice(0, doc.n_home).forEach((atom, n) => viewer.addLabel(
        doc.elements[atom[0]].symbol + (n + 1), { fontSize: 11, backgroundOpacity: 0.6,
          position: { x: atom[1], y: atom[2], z: atom[3] } }));
    }
    viewer.setClickable({}, true, (atom) => measure(place, atom));
    if (keepView) { viewer.setView(seen); } else { fit(viewer); }
    viewer.render();
    place.dataset.atoms = String(doc.n_home);
    place.dataset.bonds = String(doc.bonds.length);
    place.dataset.cells = String(shown.cells);
    if (shown.frame !== null) { place.dataset.frame = String(shown.frame); }
  }

  // Two clicks on atoms measure their distance.
  function measure(place, atom) {
    const first = place.shown.first;
    place.shown.first = first ? null : atom;
    if (!first) { return; }
    const away = Math.hypot(first.x - atom.x, first.y - atom.y, first.z - atom.z);
    const middle = { x: (first.x + atom.x) / 2, y: (first.y + atom.y) / 2,
      z: (first.z + atom.z) / 2 };
    place.viewer.addLine({ start: first, end: atom, color: "#d55e00", dashed: true });
    place.viewer.addLabel(away.toFixed(3) + " Å", { position: middle, fontSize: 13 });
    place.viewer.render();
    place.dataset.measured = away.toFixed(3);
  }

  function play(place) {
    const n = place.doc.frames.length;
    let frame = 0;
    window.clearInterval(place.playing);
    place.playing = window.setInterval(function () {
      place.shown.frame = frame;
      redraw(place, true);
      frame += 1;
      if (frame === n) { window.clearInterval(place.playing); }
    }, 120);
  }

  const DO = {
    turn: (place, by) => place.viewer.rotate(Number(by), "y"),
    labels: function (place) { place.shown.labels = !place.shown.labels; redraw(place, true); },
    cells: function (place) {
      place.shown.cells = place.shown.cells === 1 ? 2 : 1;
      redraw(place, false);
    },
    fit: function (place) { fit(place.viewer); place.viewer.render(); },
    full: (place) => place.requestFullscreen(),
    play: play,
  };

  window.drawStructure = function (place, doc) {
    place.viewer = place.viewer || window.$3Dmol.createViewer(place,
      { backgroundAlpha: 0, orthographic: true, antialias: true });
    window.clearInterval(place.playing);
    place.doc = doc;
    place.shown = { cells: 1, labels: false, frame: null, first: null };
    redraw(place, false);
    document.querySelectorAll(`button[data-view="${place.id}"][data-do]`).forEach(
      function (button) {
        const needs = { play: doc.frames, cells: doc.cell }[button.dataset.do];
        button.hidden = needs === null || (needs === undefined &&
          ["play", "cells"].includes(button.dataset.do));
      });
  };

  // Every <div class="view3d" data-structure="ID of a JSON script"> and its buttons.
  document.addEventListener("DOMContentLoaded", function () {
    if (typeof window.$3Dmol === "undefined") { return; }
    document.querySelectorAll(".view3d").forEach(function (place) {
      const source = document.getElementById(place.dataset.structure);
      if (source) { window.drawStructure(place, JSON.parse(source.textContent)); }
      new ResizeObserver(function () {
        if (place.viewer) { place.viewer.resize(); place.viewer.render(); }
      }).observe(place);
    });
    document.querySelectorAll("button[data-do]").forEach((button) =>
      button.addEventListener("click", () =>
        DO[button.dataset.do](document.getElementById(button.dataset.view), button.dataset.by)));
  });
})();
