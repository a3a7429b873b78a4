// The plot itself: points with their intervals on a logarithmic axis of speed and an axis of scores.
"use strict";

const Chart = (() => {
  const { element, marker } = Shapes;
  const MARGIN = { top: 12, right: 14, bottom: 44, left: 52 };
  const SPEEDS = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
  const LEAST_MARGIN = 5; // Points below the constant answer that the axis reaches at least.
  const NEAR = 40; // Pixels between two labels of an axis, at least.

  // From numbers to pixels and back to nice labels.
  function axis(low, high, start, end, isLog) {
    const turn = isLog ? Math.log : (value) => value;
    const at = (value) => start + ((turn(value) - turn(low)) / (turn(high) - turn(low))) * (end - start);
    return { low, high, at };
  }

  function speedTicks(scale) {
    const powers = Array.from({ length: 9 }, (_, i) => 10 ** (i - 3));
    const all = powers.flatMap((power) => SPEEDS.map((speed) => Number((speed * power).toPrecision(3))));
    const inside = all.filter((value) => value >= scale.low && value <= scale.high);
    const round = (value) => [1, 2, 5].includes(Number(value.toExponential().split("e")[0]));
    const kept = [];
    // Round numbers first; the others where there is room.
    for (const value of [...inside.filter(round), ...inside.filter((value) => !round(value))]) {
      if (kept.every((other) => Math.abs(scale.at(other) - scale.at(value)) >= NEAR)) kept.push(value);
    }
    return kept;
  }

  function scoreTicks(scale, pixels) {
    const rough = (scale.high - scale.low) / Math.max(2, pixels / 60);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const first = Math.ceil(scale.low / step);
    const count = Math.floor(scale.high / step) - first + 1;
    return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(6)));
  }

  const ends = ([value, , low, high]) => (low === undefined ? [value] : [value, low, high]);

  function speedAxis(points, start, end) {
    const values = points.flatMap((point) => ends(point.x)).filter((value) => value > 0);
    const [low, high] = [Math.min(...values, 1), Math.max(...values, 1.5)];
    const air = (high / low) ** 0.06;
    return axis(low / air, high * air, start, end, true);
  }

  // A system that collapsed does not flatten the others: far below the constant answer the axis ends.
  function scoreAxis(points, constant, start, end) {
    const best = Math.max(...points.map((point) => point.y[0]));
    const known = constant !== undefined && best > constant;
    const floor = known ? constant - Math.max(LEAST_MARGIN, (best - constant) / 2) : -Infinity;
    const shown = points.filter((point) => point.y[0] >= floor).flatMap((point) => ends(point.y));
    const [low, high] = [Math.max(Math.min(...shown), floor), Math.max(...shown)];
    const air = Math.max(0.07 * (high - low), 0.25);
    return axis(low - air, high + air, start, end, false);
  }

  function frame(model, x, y, size) {
    const { width, height } = size;
    const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
    const group = element("g", { "aria-hidden": "true" });
    for (const value of speedTicks(x)) {
      const at = x.at(value);
      group.append(element("line", { class: "grid", x1: at, x2: at, y1: top, y2: bottom }));
      group.append(element("text", { class: "tick", x: at, y: bottom + 17, "text-anchor": "middle" }, `${value >= 1e4 ? `${value / 1e3}k` : value}×`));
    }
    for (const value of scoreTicks(y, bottom - top)) {
      const at = y.at(value);
      group.append(element("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }));
      const text = String(value).replace("-", "−");
      group.append(element("text", { class: "tick", x: left - 7, y: at + 4, "text-anchor": "end" }, text));
    }
    for (const [value, name] of [[model.level, "zero"], [model.constant, "constant"]]) {
      if (value === undefined || value < y.low || value > y.high) continue;
      group.append(element("line", { class: name, x1: left, x2: right, y1: y.at(value), y2: y.at(value) }));
      if (name === "constant") {
        const place = { class: "tick", x: right, y: y.at(value) - 4, "text-anchor": "end" };
        group.append(element("text", place, "the constant answer"));
      }
    }
    const middle = (top + bottom) / 2;
    group.append(element("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, model.xLabel));
    group.append(element("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(13 ${middle}) rotate(-90)` }, model.yLabel));
    return group;
  }

  function joined(line, x, y) {
    const points = [...line.points].sort((a, b) => a.x[0] - b.x[0]);
    const path = points.map((point) => `${x.at(point.x[0]).toFixed(1)} ${y.at(point.y[0]).toFixed(1)}`).join("L");
    const style = { fill: "none", stroke: `var(--${line.colour})`, "stroke-width": line.role === "ladder" ? 2 : 1.25 };
    return element("path", { class: `line ${line.role}`, d: `M${path}`, "stroke-opacity": line.role === "ladder" ? 0.9 : 0.55, ...style });
  }

  function bars(point, x, y) {
    const [across, up] = [x.at(point.x[0]), y.at(point.y[0])];
    const style = { class: "bar", stroke: `var(--${point.colour})`, "stroke-opacity": 0.6, "stroke-width": 1 };
    const made = [];
    if (point.y[2] !== undefined) made.push(element("line", { x1: across, x2: across, y1: y.at(point.y[2]), y2: y.at(point.y[3]), ...style }));
    if (point.x[2] !== undefined) made.push(element("line", { x1: x.at(Math.max(point.x[2], x.low)), x2: x.at(point.x[3]), y1: up, y2: up, ...style }));
    return made;
  }

  function mark(point, x, y) {
    const isBelow = point.y[0] < y.low;
    const place = `translate(${x.at(point.x[0]).toFixed(1)} ${y.at(Math.max(point.y[0], y.low)).toFixed(1)})`;
    const group = element("g", { class: point.printed ? "point printed" : "point", transform: place, role: "img", tabindex: -1 });
    group.setAttribute("aria-label", point.text);
    for (const [name, value] of [["method", point.method], ["x", point.x[0]], ["y", point.y[0]]]) group.dataset[name] = value;
    group.append(element("circle", { r: 11, fill: "transparent" }), marker(isBelow ? "v" : point.marker, point.colour, point.printed));
    return group;
  }

  // One stop for the tabulator, and arrows from point to point, from the slowest on.
  function walk(group, marks, choose) {
    const order = marks.map((mark, index) => index).sort((a, b) => marks[a].dataset.x - marks[b].dataset.x);
    if (order.length) marks[order[0]].setAttribute("tabindex", 0);
    group.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      const now = order.indexOf(marks.indexOf(document.activeElement));
      if (step === undefined || now < 0) return;
      event.preventDefault();
      const next = order[(now + step + order.length) % order.length];
      marks[order[now]].setAttribute("tabindex", -1);
      marks[next].setAttribute("tabindex", 0);
      marks[next].focus();
    });
    marks.forEach((mark, index) => {
      for (const kind of ["focus", "pointerenter", "click"]) mark.addEventListener(kind, () => choose(index));
    });
  }

  // Draws into `box`. The model holds points ({x, y, method, colour, marker, printed, text}), lines ({points, colour,
  // role}), the labels, the constant answer, the level of the reference, a title, and whom to tell of a chosen point.
  // Returns what marks a point from outside.
  function draw(box, model) {
    const width = Math.max(300, box.clientWidth);
    const height = Math.round(Math.min(480, Math.max(300, 0.72 * width)));
    const x = speedAxis(model.points, MARGIN.left, width - MARGIN.right);
    const y = scoreAxis(model.points, model.constant, height - MARGIN.bottom, MARGIN.top);
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": model.title });
    const inner = { x: MARGIN.left, y: MARGIN.top, width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    svg.append(element("clipPath", { id: "inside" }, element("rect", inner)));
    const below = element("g", { "clip-path": "url(#inside)", "aria-hidden": "true" });
    below.append(...model.lines.filter((line) => line.points.length > 1).map((line) => joined(line, x, y)));
    below.append(...model.points.flatMap((point) => bars(point, x, y)));
    const ring = element("circle", { class: "chosen", r: 9, visibility: "hidden" });
    const marks = model.points.map((point) => mark(point, x, y));
    const group = element("g", {}, ...marks);
    svg.append(frame(model, x, y, { width, height }), below, ring, group);
    const choose = (index) => {
      ring.setAttribute("transform", marks[index].getAttribute("transform"));
      ring.setAttribute("visibility", "visible");
    };
    walk(group, marks, (index) => { choose(index); model.choose(index); });
    box.replaceChildren(svg);
    return choose;
  }

  return { draw };
})();
