// Plots of a page: drawn from the data that it loads, saved as data or as a figure.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const { get, make, save } = window.b2prod;
  const figures = get("figures");
  if (!figures) return;
  const HEIGHT = 260;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plots = [];

  function describe(kind, data) {
    const runs = data.runs;
    const places = runs.map((_, place) => place);
    const label = (_, split) => split.map((one) => (Number.isInteger(one) ? runs[one] ?? "" : ""));
    const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 }, font: "12px system-ui" };
    const named = (_, place) => (place === null || place === undefined ? "–" : data.to && data.to[place] !== runs[place] ? `${runs[place]} to ${data.to[place]}` : runs[place]);
    const common = { height: HEIGHT, cursor: { y: false }, scales: { x: { time: false } } };
    const x = { ...axis, values: label, space: 90 };
    if (kind === "luminosity") {
      const most = Math.max(...data.sum);
      const [unit, size] = most >= 1e6 ? ["fb⁻¹", 1e6] : most >= 1e3 ? ["pb⁻¹", 1e3] : ["nb⁻¹", 1];
      return [{ ...common, series: [{ label: "run", value: named }, { label: `∫L / ${unit}`, stroke: color("--accent"), width: 2, fill: `${color("--accent")}22`, value: (_, one) => (one === null ? "–" : one.toPrecision(5)) }], axes: [x, { ...axis, size: 64 }] },
        [places, data.sum.map((one) => one / size)]];
    }
    const percent = (one) => 100 * one;
    const bars = (plot) => {
      const { ctx } = plot;
      ctx.save();
      ctx.beginPath();
      ctx.strokeStyle = color("--accent");
      ctx.lineWidth = devicePixelRatio;
      places.forEach((place) => {
        const left = Math.round(plot.valToPos(place, "x", true));
        if (left < plot.bbox.left || left > plot.bbox.left + plot.bbox.width) return;
        ctx.moveTo(left, plot.valToPos(percent(data.low[place]), "y", true));
        ctx.lineTo(left, plot.valToPos(percent(data.high[place]), "y", true));
      });
      ctx.stroke();
      ctx.restore();
    };
    const point = (value) => (value === null || value === undefined ? "–" : `${value.toPrecision(4)} %`);
    const range = () => { const low = Math.min(...data.low) * 100, high = Math.max(...data.high) * 100, room = (high - low || 1) * 0.08; return [Math.max(0, low - room), high + room]; };
    return [{ ...common, scales: { ...common.scales, y: { range } }, hooks: { draw: [bars] }, series: [{ label: "run", value: named }, { label: "retention", stroke: color("--accent"), width: 0, paths: () => null, points: { show: true, size: 5, fill: color("--accent") }, value: (_, one) => point(one) }], axes: [x, { ...axis, size: 64, values: (_, split) => split.map((one) => `${Number(one.toPrecision(4))} %`) }] },
      [places, data.rate.map(percent)]];
  }

  const find = (element) => {
    const place = Number(element.dataset.place);
    const source = element.dataset.campaign ? figures.campaigns[element.dataset.campaign] : figures;
    return source[element.dataset.plot][place];
  };
  function drawOne(element) {
    element.querySelector(".uplot")?.remove();
    const [options, data] = describe(element.dataset.plot, find(element));
    const width = Math.max(240, element.clientWidth - 34);
    const plot = new window.uPlot({ ...options, width }, data, (made, start) => { element.querySelector("figcaption").after(made.root); start(); });
    plot.root.querySelector("canvas").setAttribute("role", "img");
    plot.root.querySelector("canvas").setAttribute("aria-label", element.querySelector("figcaption").textContent);
    plots.push([element, plot]);
  }
  /** A figure for a talk: black on white, every number in it from the data, as SVG. */
  function saveFigure(element) {
    const data = find(element), kind = element.dataset.plot;
    const [wide, high, left, right, top, bottom] = [880, 480, 84, 24, 44, 58];
    const most = kind === "luminosity" ? Math.max(...data.sum) : 0;
    const [unit, size] = most >= 1e6 ? ["fb⁻¹", 1e6] : most >= 1e3 ? ["pb⁻¹", 1e3] : ["nb⁻¹", 1];
    const values = kind === "luminosity" ? data.sum.map((one) => one / size) : data.rate.map((one) => 100 * one);
    const ends = kind === "luminosity" ? null : [data.low, data.high].map((column) => column.map((one) => 100 * one));
    const lowest = kind === "luminosity" ? 0 : Math.min(...ends[0]), highest = kind === "luminosity" ? Math.max(...values) : Math.max(...ends[1]);
    const room = (highest - lowest || 1) * 0.06;
    const [floor, ceiling] = [Math.max(0, lowest - (kind === "luminosity" ? 0 : room)), highest + room];
    const x = (place) => left + (wide - left - right) * (values.length === 1 ? 0.5 : place / (values.length - 1));
    const y = (value) => high - bottom - (high - top - bottom) * (value - floor) / (ceiling - floor);
    const escape = (text) => String(text).replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);
    const near = (number) => Math.round(number * 100) / 100;
    const rough = (ceiling - floor) / 6, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((one) => one * power >= rough);
    const parts = [];
    const write = (text, at, down, more = "") => parts.push(`<text x="${near(at)}" y="${near(down)}" ${more}>${escape(text)}</text>`);
    for (let value = Math.ceil(floor / step) * step; value <= ceiling; value += step) {
      parts.push(`<line x1="${left}" x2="${wide - right}" y1="${near(y(value))}" y2="${near(y(value))}" stroke="#ddd"/>`);
      write(Number(value.toPrecision(6)), left - 8, y(value) + 5, 'text-anchor="end"');
    }
    const every = Math.max(1, Math.ceil(values.length / 8));
    for (let place = 0; place < values.length; place += every) {
      parts.push(`<line x1="${near(x(place))}" x2="${near(x(place))}" y1="${high - bottom}" y2="${high - bottom + 6}" stroke="#000"/>`);
      write(data.runs[place], x(place), high - bottom + 22, 'text-anchor="middle"');
    }
    if (kind === "luminosity") parts.push(`<polyline fill="none" stroke="#0b5cad" stroke-width="2" points="${values.map((one, place) => `${near(x(place))},${near(y(one))}`).join(" ")}"/>`);
    else values.forEach((one, place) => parts.push(`<line x1="${near(x(place))}" x2="${near(x(place))}" y1="${near(y(ends[0][place]))}" y2="${near(y(ends[1][place]))}" stroke="#0b5cad"/><circle cx="${near(x(place))}" cy="${near(y(one))}" r="3" fill="#0b5cad"/>`));
    parts.push(`<path d="M${left} ${top}V${high - bottom}H${wide - right}" fill="none" stroke="#000"/>`);
    write(element.querySelector("figcaption").textContent, left, 26, 'font-weight="600"');
    write("run", wide - right, high - 12, 'text-anchor="end"');
    write(kind === "luminosity" ? `∫L dt / ${unit}` : "retention / %", 20, top, `text-anchor="end" transform="rotate(-90 20 ${top})"`);
    write(`b2prod, state of ${get("site").moment}`, left, high - 12, 'fill="#666" font-size="12"');
    save(`${element.dataset.name}.svg`, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${wide} ${high}" font-family="Helvetica, Arial, sans-serif" font-size="14"><rect width="${wide}" height="${high}" fill="#fff"/>${parts.join("")}</svg>\n`, "image/svg+xml");
  }
  function saveData(element) {
    const data = find(element);
    const names = Object.keys(data).filter((one) => Array.isArray(data[one]));
    const lines = [names.join(","), ...data.runs.map((_, place) => names.map((one) => data[one][place]).join(","))];
    save(`${element.dataset.name}.csv`, `${lines.join("\n")}\n`, "text/csv");
  }
  const all = [...document.querySelectorAll("figure.plot")];
  all.forEach((element) => {
    const tools = make("div", { class: "tools" });
    [["Figure (SVG)", saveFigure], ["Data (CSV)", saveData]].forEach(([title, work]) => {
      const button = make("button", { type: "button" }, title);
      button.addEventListener("click", () => work(element));
      tools.append(button);
    });
    element.append(tools);
    drawOne(element);
  });
  const anew = () => { plots.splice(0).forEach(([, plot]) => plot.destroy()); all.forEach(drawOne); };
  dark.addEventListener("change", anew);
  let timer;
  addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(() => plots.forEach(([element, plot]) => plot.setSize({ width: Math.max(240, element.clientWidth - 34), height: HEIGHT })), 150); });
});
