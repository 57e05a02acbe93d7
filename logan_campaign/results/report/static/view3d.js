// Draws a structure as balls and sticks that can be turned: drawStructure(place, document).
"use strict";
(function () {
  const BALL = 0.45;   // of the covalent radius
  const STICK = 0.09;  // radius of a bond (Å)
  const LIGHT = { ambient: 0.6, diffuse: 0.55, specular: 0.12, roughness: 0.7, fresnel: 0.05 };

  // A sphere: an icosahedron whose triangles are split and pushed out to radius 1.
  function sphere(splits) {
    const t = (1 + Math.sqrt(5)) / 2;
    let points = [[-1, t, 0], [1, t, 0], [-1, -t, 0], [1, -t, 0], [0, -1, t], [0, 1, t],
      [0, -1, -t], [0, 1, -t], [t, 0, -1], [t, 0, 1], [-t, 0, -1], [-t, 0, 1]];
    let faces = [[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4],
      [11, 10, 2], [10, 7, 6], [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9],
      [4, 9, 5], [2, 4, 11], [6, 2, 10], [8, 6, 7], [9, 8, 1]];
    for (let n = 0; n < splits; n++) {
      const middle = new Map();
      const between = function (a, b) {
        const key = Math.min(a, b) + ":" + Math.max(a, b);
        if (!middle.has(key)) {
          points.push(points[a].map((value, k) => (value + points[b][k]) / 2));
          middle.set(key, points.length - 1);
        }
        return middle.get(key);
      };
      faces = faces.flatMap(function ([a, b, c]) {
        const ab = between(a, b), bc = between(b, c), ca = between(c, a);
        return [[a, ab, ca], [b, bc, ab], [c, ca, bc], [ab, bc, ca]];
      });
    }
    points = points.map(function (p) {
      const length = Math.hypot(p[0], p[1], p[2]);
      return p.map((value) => value / length);
    });
    return { points: points, faces: faces };
  }

  function mesh(colour, opacity) {
    return { type: "mesh3d", x: [], y: [], z: [], i: [], j: [], k: [], color: colour,
      opacity: opacity, flatshading: false, lighting: LIGHT, hoverinfo: "skip",
      lightposition: { x: 10000, y: 12000, z: 14000 } };
  }

  function add(trace, points, faces) {
    const start = trace.x.length;
    points.forEach((p) => { trace.x.push(p[0]); trace.y.push(p[1]); trace.z.push(p[2]); });
    faces.forEach((f) => {
      trace.i.push(start + f[0]); trace.j.push(start + f[1]); trace.k.push(start + f[2]);
    });
  }

  function stick(trace, a, b) {
    const axis = [0, 1, 2].map((k) => b[k] - a[k]);
    const length = Math.hypot(axis[0], axis[1], axis[2]) || 1;
    const u = axis.map((value) => value / length);
    const other = Math.abs(u[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0];
    const cross = (p, q) => [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2],
      p[0] * q[1] - p[1] * q[0]];
    let v = cross(u, other);
    const norm = Math.hypot(v[0], v[1], v[2]);
    v = v.map((value) => value / norm);
    const w = cross(u, v);
    const sides = 8, points = [], faces = [];
    for (let n = 0; n < sides; n++) {
      const angle = 2 * Math.PI * n / sides;
      const out = [0, 1, 2].map((k) => STICK * (Math.cos(angle) * v[k] + Math.sin(angle) * w[k]));
      points.push(a.map((value, k) => value + out[k]), b.map((value, k) => value + out[k]));
      const next = (n + 1) % sides;
      faces.push([2 * n, 2 * next, 2 * n + 1], [2 * next, 2 * next + 1, 2 * n + 1]);
    }
    add(trace, points, faces);
  }

  function edges(cell) {
    const corner = (n) => [0, 1, 2].map((k) =>
      (n & 1 ? cell[0][k] : 0) + (n & 2 ? cell[1][k] : 0) + (n & 4 ? cell[2][k] : 0));
    const line = { type: "scatter3d", mode: "lines", x: [], y: [], z: [], hoverinfo: "skip",
      line: { color: "#8a8f98", width: 2 } };
    for (let a = 0; a < 8; a++) {
      [1, 2, 4].filter((bit) => !(a & bit)).forEach(function (bit) {
        [corner(a), corner(a | bit), [null, null, null]].forEach(function (p) {
          line.x.push(p[0]); line.y.push(p[1]); line.z.push(p[2]);
        });
      });
    }
    return line;
  }

  function traces(doc) {
    const ball = sphere(doc.atoms.length > 60 ? 1 : 2);
    const groups = new Map();
    doc.atoms.forEach(function (atom, n) {
      const image = n >= doc.n_home, key = atom[0] + (image ? ":image" : "");
      const element = doc.elements[atom[0]];
      if (!groups.has(key)) { groups.set(key, mesh(element.colour, image ? 0.3 : 1)); }
      const size = BALL * element.radius, p = atom.slice(1);
      add(groups.get(key), ball.points.map((q) => q.map((value, k) => p[k] + size * value)),
        ball.faces);
    });
    const sticks = mesh("#9aa0a8", 1);
    doc.bonds.forEach((bond) =>
      stick(sticks, doc.atoms[bond[0]].slice(1), doc.atoms[bond[1]].slice(1)));
    const home = doc.atoms.slice(0, doc.n_home);
    const labels = { type: "scatter3d", mode: "markers", hoverinfo: "text",
      x: home.map((a) => a[1]), y: home.map((a) => a[2]), z: home.map((a) => a[3]),
      text: home.map((a, n) => doc.elements[a[0]].symbol + " " + (n + 1)),
      marker: { size: 14, opacity: 0.01, color: "#888888" } };
    const found = Array.from(groups.values());
    if (sticks.x.length) { found.push(sticks); }
    if (doc.cell) { found.push(edges(doc.cell)); }
    return found.concat([labels]);
  }

  window.drawStructure = function (place, doc) {
    const hidden = { visible: false, showspikes: false };
    const layout = { margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)",
      showlegend: false, autosize: true, scene: { xaxis: hidden, yaxis: hidden, zaxis: hidden,
        aspectmode: "data", dragmode: "orbit",
        camera: { projection: { type: "perspective" },
          eye: doc.cell ? { x: 1.2, y: 1.4, z: 0.8 } : { x: 0.85, y: 1.0, z: 0.6 } } } };
    const config = { responsive: true, displayModeBar: false };
    delete place.dataset.atoms;
    return Plotly.react(place, traces(doc), layout, config).then(function () {
      place.dataset.atoms = String(doc.n_home);
      place.dataset.bonds = String(doc.bonds.length);
    });
  };

  window.turnStructure = function (place, degrees) {
    const eye = place.layout.scene.camera.eye, angle = degrees * Math.PI / 180;
    const turned = { x: eye.x * Math.cos(angle) - eye.y * Math.sin(angle),
      y: eye.x * Math.sin(angle) + eye.y * Math.cos(angle), z: eye.z };
    return Plotly.relayout(place, { "scene.camera.eye": turned });
  };

  // Every <div class="view3d" data-structure="ID of a JSON script"> and its buttons.
  document.addEventListener("DOMContentLoaded", function () {
    if (typeof Plotly === "undefined") { return; }
    document.querySelectorAll(".view3d").forEach(function (place) {
      const source = document.getElementById(place.dataset.structure);
      if (source) { window.drawStructure(place, JSON.parse(source.textContent)); }
    });
    document.querySelectorAll("button[data-turn]").forEach(function (button) {
      button.addEventListener("click", function () {
        const place = document.getElementById(button.dataset.view);
        window.turnStructure(place, Number(button.dataset.turn));
      });
    });
  });
})();
