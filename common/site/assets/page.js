// What is chosen, the plot and the table of it. A choice stands in the address, so that it can be passed on:
// index.html#task=sentiment&currency=flops&method=DeeBERT&method=PABEE
"use strict";

(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const make = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const BANDS = {
    examples: "the 95 % interval over the examples of one seed",
    seeds: "one standard deviation over the seeds to either side",
    both: "the 95 % interval over examples and seeds",
  };
  const NONE = "none";

  // -- What is chosen ---------------------------------------------------------------------------------------------

  let wanted = read();
  let shown = null; // What could be had of it.

  function read() {
    const given = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    const keys = ["source", "task", "currency", "height", "published"];
    const found = Object.fromEntries(keys.filter((key) => given.has(key)).map((key) => [key, given.get(key)]));
    if (given.has("method")) found.methods = given.getAll("method").filter(Boolean);
    return found;
  }

  function write() {
    const given = new URLSearchParams({ source: shown.source.key, task: shown.task.name, currency: shown.currency.key, height: shown.height.key });
    if (shown.published !== NONE) given.set("published", shown.published);
    if (wanted.methods) (shown.methods.length ? shown.methods : [""]).forEach((name) => given.append("method", name));
    history.replaceState(null, "", `#${given}`);
  }

  const has = (point, currency, height) => point[currency.key] !== undefined && point[height.key] !== undefined;

  // Whether there is a point beside the reference.
  const measured = (task, currency, height) => task.lines.some((line) => line.role !== "reference" && line.points.some((point) => has(point, currency, height)));

  const pick = (list, key, value, fits = () => true) => {
    const possible = list.filter(fits);
    return possible.find((one) => one[key] === value) || possible[0] || list[0];
  };

  function resolve() {
    const source = pick(DATA.sources, "key", wanted.source);
    const task = pick(source.tasks, "name", wanted.task);
    const height = pick(DATA.heights, "key", wanted.height, (one) => DATA.currencies.some((c) => measured(task, c, one)));
    const currency = pick(DATA.currencies, "key", wanted.currency, (one) => measured(task, one, height));
    const names = task.lines.map((line) => line.method);
    const methods = wanted.methods ? names.filter((name) => wanted.methods.includes(name)) : names;
    const printed = DATA.printed.filter((point) => (!source.paper || point.paper === source.paper) && methods.includes(point.system) && has(point, currency, height));
    const tasks = [...new Set(printed.map((point) => point.task))];
    const published = tasks.includes(wanted.published) ? wanted.published : NONE;
    return { source, task, height, currency, methods, printed, tasks, published };
  }

  function change(key, value) {
    wanted = { source: shown.source.key, task: shown.task.name, currency: shown.currency.key, height: shown.height.key, published: shown.published, methods: wanted.methods, [key]: value };
    if (key === "source") delete wanted.methods;
    render();
    write();
  }

  // -- Controls ---------------------------------------------------------------------------------------------------

  function fill(id, options, chosen) {
    const groups = new Map();
    for (const { value, text, group = "", disabled = false } of options) {
      const option = make("option", text, { value });
      option.disabled = disabled;
      option.selected = value === chosen;
      groups.set(group, [...(groups.get(group) || []), option]);
    }
    byId(id).replaceChildren(...[...groups].flatMap(([name, members]) => {
      if (!name) return members;
      const group = make("optgroup", undefined, { label: name });
      group.append(...members);
      return [group];
    }));
  }

  function controls() {
    const { source, task, height, currency, tasks, printed, published } = shown;
    fill("source", DATA.sources.map((one) => ({ value: one.key, text: `${one.group}: ${one.label}`, group: one.group })), source.key);
    fill("task", source.tasks.map((one) => ({ value: one.name, text: one.name })), task.name);
    const unmeasured = (isThere) => (isThere ? "" : " (not measured here)");
    const offer = (one, isThere) => ({ value: one.key, text: one.label.replace("the baseline", `the ${source.reference}`) + unmeasured(isThere), disabled: !isThere });
    fill("currency", DATA.currencies.map((one) => offer(one, measured(task, one, height))), currency.key);
    fill("height", DATA.heights.map((one) => offer(one, DATA.currencies.some((c) => measured(task, c, one)))), height.key);
    const counts = tasks.map((name) => ({ value: name, text: `${name || "of all tasks"} (${printed.filter((point) => point.task === name).length})` }));
    fill("published", [{ value: NONE, text: tasks.length ? "none" : "none to show here" }, ...counts], published);
    byId("methods").replaceChildren(...task.lines.map(methodBox), ...wholesale());
  }

  function methodBox(line) {
    const label = make("label");
    const box = make("input", undefined, { type: "checkbox", value: line.method });
    box.checked = shown.methods.includes(line.method);
    box.addEventListener("change", () => {
      const ticked = [...byId("methods").querySelectorAll("input:checked")].map((one) => one.value);
      change("methods", ticked);
      [...byId("methods").querySelectorAll("input")].find((one) => one.value === line.method).focus();
    });
    const glyph = Shapes.element("svg", { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": "true" }, Shapes.marker(line.marker, line.colour));
    label.append(box, glyph, make("span", line.method));
    return label;
  }

  function wholesale() {
    return [["all", undefined], ["none", []]].map(([text, methods]) => {
      const button = make("button", text, { type: "button" });
      button.addEventListener("click", () => change("methods", methods));
      return button;
    });
  }

  // -- Numbers in words -------------------------------------------------------------------------------------------

  const minus = (text) => text.replaceAll("-", "−");
  const speedText = (value) => (value >= 1e4 ? `${(value / 1e3).toFixed(0)}k` : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
  const scoreText = (isGain) => (value) => minus((isGain && value > 0.05 ? "+" : "") + value.toFixed(1).replace(/^-0\.0$/, "0.0"));

  // A number and its band: `[low, high]`, or `± one standard deviation`; nothing where it has none.
  function inWords([value, , low, high, band], text, plain = text) {
    if (low === undefined) return [text(value), ""];
    return [text(value), band === "seeds" ? `± ${plain(high - value)}` : `[${text(low)}, ${text(high)}]`];
  }

  // -- The points of what is chosen -------------------------------------------------------------------------------

  function pointsOf(line) {
    const { currency, height } = shown;
    const own = line.points.filter((point) => has(point, currency, height));
    return own.map((point) => described({ x: point[currency.key], y: point[height.key], setting: point.setting, method: line.method, name: line.method, colour: line.colour, marker: line.marker, printed: false }));
  }

  function printedPoints() {
    const { currency, height, task } = shown;
    return shown.printed.filter((point) => point.task === shown.published).map((point) => {
      const { colour, marker } = task.lines.find((line) => line.method === point.system);
      const where = [point.task, point.backbone].filter(Boolean).join(", ");
      const by = point.paper === shown.source.paper ? "" : ` by ${point.paper}`;
      const name = `${point.system}, published${by}${where ? ` (${where})` : ""}`;
      return described({ x: point[currency.key], y: point[height.key], setting: point.setting, method: point.system, name, colour, marker, printed: true });
    });
  }

  function described(point) {
    const speed = inWords(point.x, speedText);
    const score = inWords(point.y, scoreText(shown.height.key === "gained"), scoreText(false));
    const system = [point.name, point.setting].filter(Boolean).join(", ");
    const seeds = point.x[1] || point.y[1] ? `; ${point.y[1]} seed${point.y[1] === 1 ? "" : "s"}` : "";
    return { ...point, speed, score, text: `${system}: ${together(speed)}×, ${together(score)} ${axisText(shown.height)}${seeds}` };
  }

  const together = (words) => words.filter(Boolean).join(" ");
  const axisText = (quantity) => quantity.axis.replace("{reference}", shown.source.reference);

  // -- Drawing ----------------------------------------------------------------------------------------------------

  function render() {
    shown = resolve();
    controls();
    const lines = shown.task.lines.filter((line) => shown.methods.includes(line.method)).map((line) => ({ ...line, points: pointsOf(line) }));
    const reference = lines.find((line) => line.role === "reference");
    // The ladder's last rung is the whole backbone.
    const drawn = lines.map((line) => (line.role === "ladder" && reference ? { ...line, points: [...line.points, ...reference.points] } : line));
    const points = [...lines.flatMap((line) => line.points), ...printedPoints()];
    const rows = table(points);
    let mark = () => {};
    const choose = (index) => {
      rows.forEach((row, other) => row.classList.toggle("chosen", other === index));
      byId("readout").textContent = points[index].text;
    };
    rows.forEach((row, index) => row.addEventListener("pointerenter", () => { mark(index); choose(index); }));
    byId("readout").textContent = points.length ? "Point at a mark, or walk through them with the arrow keys." : "No method is chosen.";
    byId("caption").textContent = captionText(points);
    if (points.length) mark = Chart.draw(byId("chart"), model(points, drawn, choose));
    else byId("chart").replaceChildren();
  }

  function model(points, lines, choose) {
    const { height, task, currency } = shown;
    return {
      points, lines, choose,
      constant: task.constant[height.key],
      level: height.key === "gained" ? 0 : undefined,
      xLabel: axisText(currency),
      yLabel: axisText(height),
      title: `${titleText()}; arrow keys move from point to point`,
    };
  }

  const titleText = () => `${shown.source.group}, ${shown.source.label}, ${shown.task.name}: ${shown.height.label} against ${shown.currency.label}`;

  function captionText(points) {
    const bands = [...new Set(points.flatMap((point) => [point.x[4], point.y[4]]).filter(Boolean))];
    const parts = [`${shown.source.group}, ${shown.source.label}, ${shown.task.name}: ${shown.source.note}.`];
    for (const [key, list] of [["currency", DATA.currencies], ["height", DATA.heights]]) {
      const asked = list.find((one) => one.key === wanted[key]);
      if (asked && asked !== shown[key]) parts.push(`What was asked for, ${asked.label}, was not measured here.`);
    }
    if (bands.length) parts.push(`Bars: ${bands.map((band) => BANDS[band]).join("; ")}.`);
    if (shown.published !== NONE) parts.push("Hollow marks are what the papers printed, on their own tasks and encoders.");
    if (shown.source.leftOut.length) parts.push(`Left out, as nothing was learned: ${shown.source.leftOut.join(", ")}.`);
    return parts.join(" ");
  }

  function numberCell([number, band]) {
    const cell = make("td", number, { class: "number" });
    if (band) cell.append(" ", make("small", band));
    return cell;
  }

  function table(points) {
    const head = make("tr");
    const columns = [["method"], ["setting"], ["speed (×)", "number"], [shown.height.key === "gained" ? "points" : "score", "number"], ["seeds", "number"]];
    head.append(...columns.map(([text, style = ""]) => make("th", text, { scope: "col", class: style })));
    const rows = points.map((point) => {
      const row = make("tr");
      row.append(make("th", point.name, { scope: "row" }), make("td", point.setting, { class: "setting" }));
      row.append(...[point.speed, point.score, [point.y[1] || "", ""]].map(numberCell));
      return row;
    });
    byId("numbers-caption").textContent = `${axisText(shown.currency)}; ${axisText(shown.height)}`;
    byId("numbers").tHead.replaceChildren(head);
    byId("numbers").tBodies[0].replaceChildren(...rows);
    return rows;
  }

  // -- Start ------------------------------------------------------------------------------------------------------

  if (!DATA.sources.length) return;
  byId("controls").hidden = byId("view").hidden = false;
  for (const key of ["source", "task", "currency", "height", "published"]) byId(key).addEventListener("change", (event) => change(key, event.target.value));
  addEventListener("hashchange", () => {
    if (!location.hash.includes("=")) return;
    wanted = read();
    render();
  });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) render();
    width = innerWidth;
  });
  render();
  if (Object.keys(wanted).length) byId("plot").scrollIntoView();
})();
