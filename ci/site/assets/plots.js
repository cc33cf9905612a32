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
  function saveFigure(element) {
    const plot = plots.findLast(([one]) => one === element)[1];
    const source = plot.root.querySelector("canvas");
    const canvas = make("canvas", {});
    const room = 34 * devicePixelRatio;
    canvas.width = source.width;
    canvas.height = source.height + room;
    const context = canvas.getContext("2d");
    context.fillStyle = color("--card");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = color("--ink");
    context.font = `600 ${13 * devicePixelRatio}px system-ui`;
    context.fillText(element.querySelector("figcaption").textContent, 10 * devicePixelRatio, 20 * devicePixelRatio);
    context.drawImage(source, 0, room);
    canvas.toBlob((blob) => save(`${element.dataset.name}.png`, blob), "image/png");
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
    [["Figure (PNG)", saveFigure], ["Data (CSV)", saveData]].forEach(([title, work]) => {
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
