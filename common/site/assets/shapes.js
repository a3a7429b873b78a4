// Elements of a drawing, and the figures' markers: each a path around the origin, under matplotlib's name for it.
"use strict";

const Shapes = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  function element(name, attributes = {}, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const closed = (corners) => "M" + corners.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join("L") + "Z";

  // Corners at equal angles, the first one above; radii are taken in turn.
  const around = (count, ...radii) => closed(Array.from({ length: count }, (_, i) => {
    const angle = (2 * Math.PI * i) / count - Math.PI / 2;
    const radius = radii[i % radii.length];
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  }));

  // A plus with arms of width 2 w and length r, turned by an angle.
  function cross(r, w, angle) {
    const corners = [[-w, -r], [w, -r], [w, -w], [r, -w], [r, w], [w, w], [w, r], [-w, r], [-w, w], [-r, w], [-r, -w], [-w, -w]];
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    return closed(corners.map(([x, y]) => [x * cos - y * sin, x * sin + y * cos]));
  }

  const MARKERS = {
    o: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z",
    s: closed([[-4, -4], [4, -4], [4, 4], [-4, 4]]),
    D: closed([[0, -5.5], [5.5, 0], [0, 5.5], [-5.5, 0]]),
    "^": closed([[0, -5.5], [5.2, 4], [-5.2, 4]]),
    v: closed([[0, 5.5], [5.2, -4], [-5.2, -4]]),
    "<": closed([[-5.5, 0], [4, -5.2], [4, 5.2]]),
    ">": closed([[5.5, 0], [-4, -5.2], [-4, 5.2]]),
    P: cross(5.5, 1.9, 0),
    X: cross(5.5, 1.9, Math.PI / 4),
    "*": around(10, 6.5, 2.7),
    p: around(5, 5.5),
  };

  // A marker in a method's colour; hollow for what a paper printed.
  function marker(name, colour, hollow = false) {
    const paint = `var(--${colour})`;
    return element("path", {
      d: MARKERS[name],
      fill: hollow ? "var(--ground)" : paint,
      stroke: hollow ? paint : "var(--ground)",
      "stroke-width": hollow ? 1.75 : 0.75,
    });
  }

  return { element, marker };
})();
