// The table of runs: columns in memory, of which only the rows that are seen are in the document.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const { get, make, count, save } = window.b2prod;
  const data = get("runs");
  const at = (id) => document.getElementById(id);
  if (!data) { at("found").textContent = "The data of the runs are missing."; return; }

  const ROW = 30;
  const size = data.count;
  const experiments = new Int32Array(size);
  const numbers = new Float64Array(size);
  let place = 0;
  for (const [experiment, length] of data.experiments) { experiments.fill(experiment, place, place + length); place += length; }
  const add = (values) => { let last = 0; return values.map((one) => (one === null ? null : (last += one))); };
  numbers.set(add(data.runs));
  const start = add(data.start);
  const words = data.words;
  const campaigns = Object.keys(data.campaigns);

  const text = (column) => (row) => { const index = data[column].places[row]; return index === null ? "" : data[column].texts[index]; };
  const number = (column) => (row) => data[column][row];
  const showTime = (seconds) => (seconds === null ? "" : new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " "));
  const showLength = (seconds) => (seconds === null ? "" : `${Math.floor(seconds / 3600)}:${String(Math.floor((seconds % 3600) / 60)).padStart(2, "0")} h`);
  const name = (row) => `${experiments[row]}:${numbers[row]}`;
  const type = text("type"), quality = text("quality"), energy = text("energy"), removed = text("removed");
  const columns = [
    { key: "run", title: "Run", kind: "first", value: (row) => experiments[row] * 1e9 + numbers[row], show: name },
    { key: "type", title: "Type", value: type, show: type },
    { key: "start", title: "Start (UTC)", kind: "time", value: (row) => start[row], show: (row) => showTime(start[row]) },
    { key: "stop", title: "Stop (UTC)", kind: "time", value: (row) => end(row), show: (row) => showTime(end(row)) },
    { key: "length", title: "Length", kind: "num", value: number("seconds"), show: (row) => showLength(data.seconds[row]) },
    { key: "events", title: "Events", kind: "num", value: number("events"), show: (row) => count(data.events[row]) },
    { key: "energy", title: "Energy", value: energy, show: energy },
    { key: "quality", title: "Quality", value: quality, show: quality },
    { key: "files", title: "On disk", kind: "num", value: number("on_disk"), show: (row) => `${count(data.on_disk[row])} of ${count(data.registered[row])}` },
    ...data.luminosity.map((one, index) => ({ key: `lumi${index}`, title: `${one.name} / nb⁻¹`, kind: "num lum", value: (row) => one.values[row], show: (row) => count(one.values[row]) })),
    ...campaigns.map((one) => ({ key: `in ${one}`, title: one, kind: "state", value: (row) => data.campaigns[one][row], show: (row) => (data.campaigns[one][row] === "." ? "" : words[data.campaigns[one][row]]) })),
  ];
  for (let index = columns.length - 1; index > 0; index -= 1) {  // what is not known of any run needs no column
    const { value } = columns[index];
    let row = 0;
    while (row < size && [null, undefined, "", "."].includes(value(row))) row += 1;
    if (size && row === size) columns.splice(index, 1);
  }
  for (const column of ["type", "quality", "energy"]) if (!data[column].texts.length) at(column).parentElement.hidden = true;
  function end(row) { return start[row] === null || data.seconds[row] === null ? null : start[row] + data.seconds[row]; }

  // filters, and the fragment of the address that keeps them
  const fields = ["query", "type", "quality", "energy", "campaign", "state"];
  for (const column of ["type", "quality", "energy"]) at(column).append(...data[column].texts.map((one) => make("option", { value: one }, one)));
  at("campaign").append(...campaigns.map((one) => make("option", { value: one }, one)));
  at("state").append(...Object.entries(words).map(([letter, word]) => make("option", { value: letter }, word)));
  let sorting = { key: "run", down: false };

  function readAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) at(field).value = asked.get(field) || "";
    const [key, direction] = (asked.get("sort") || "run").split(",");
    sorting = { key: columns.some((one) => one.key === key) ? key : "run", down: direction === "down" };
  }
  function writeAddress() {
    const told = new URLSearchParams();
    for (const field of fields) if (at(field).value) told.set(field, at(field).value);
    if (sorting.key !== "run" || sorting.down) told.set("sort", sorting.down ? `${sorting.key},down` : sorting.key);
    const hash = told.toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname.split("/").pop() + location.search);
  }

  /** A test of rows for what was typed, or a text that says what was not understood. */
  function parse(query) {
    const tests = [], ranges = [];
    let experiment = null;
    const rest = query.replace(/\b(not\s+)?in\s+(\S+?)(?=[,\s]|$)/gi, (_, not, campaign) => {
      const letters = data.campaigns[campaign];
      if (!letters) { tests.push(`no campaign ${campaign}`); return " "; }
      tests.push(not ? (row) => letters[row] !== "d" : (row) => letters[row] !== ".");
      return " ";
    });
    for (const word of rest.replace(/\s*-\s*/g, "-").split(/[\s,]+/).filter(Boolean)) {
      const range = /^(?:(\d+):)?(?:(\d+)(?:-(\d+))?)?$/.exec(word);
      if (range && (range[1] !== undefined || range[2] !== undefined)) {
        if (range[1] !== undefined) experiment = Number(range[1]);
        const first = range[2] === undefined ? 0 : Number(range[2]);
        ranges.push([experiment, first, range[2] === undefined ? Infinity : Number(range[3] ?? range[2])]);
      } else {
        const wanted = word.toLowerCase();
        const found = ["type", "quality", "energy"].filter((column) => data[column].texts.some((one) => one.toLowerCase().startsWith(wanted)));
        if (!found.length) { tests.push(`nothing is called ${word}`); continue; }
        const tables = found.map((column) => [data[column].places, data[column].texts.map((one) => one.toLowerCase().startsWith(wanted))]);
        tests.push((row) => tables.some(([places, right]) => places[row] !== null && right[places[row]]));
      }
    }
    if (ranges.length) tests.push((row) => ranges.some(([exp, first, last]) => (exp === null || experiments[row] === exp) && numbers[row] >= first && numbers[row] <= last));
    return tests;
  }

  let shown = new Int32Array(0);
  function select() {
    const tests = parse(at("query").value);
    const strange = tests.filter((one) => typeof one === "string");
    const asked = tests.filter((one) => typeof one !== "string");
    for (const column of ["type", "quality", "energy"]) {
      const wanted = data[column].texts.indexOf(at(column).value);
      if (wanted >= 0) asked.push((row) => data[column].places[row] === wanted);
    }
    const letters = data.campaigns[at("campaign").value], state = at("state").value;
    if (letters && state) asked.push(state === "lacking" ? (row) => letters[row] !== "d" && letters[row] !== "." : (row) => letters[row] === state);
    else if (letters) asked.push((row) => letters[row] !== ".");
    else if (state) {
      const all = Object.values(data.campaigns);
      asked.push(state === "lacking" ? (row) => all.some((one) => one[row] !== "d" && one[row] !== ".") : (row) => all.some((one) => one[row] === state));
    }
    const rows = new Int32Array(size);
    let kept = 0;
    for (let row = 0; row < size; row += 1) if (asked.every((test) => test(row))) rows[kept++] = row;
    shown = strange.length ? rows.slice(0, 0) : rows.slice(0, kept);
    sort();
    tell(strange);
    draw(true);
  }
  function sort() {
    const { value } = columns.find((one) => one.key === sorting.key);
    if (sorting.key !== "run") {
      const keys = new Array(size);
      shown.forEach((row) => { keys[row] = value(row); });
      const empty = (one) => one === null || one === undefined || one === "";
      shown.sort((one, other) => {
        const a = keys[one], b = keys[other];
        if (empty(a) || empty(b)) return empty(a) - empty(b) || one - other;
        return (a < b ? -1 : a > b ? 1 : 0) * (sorting.down ? -1 : 1) || one - other;
      });
    } else if (sorting.down) shown.reverse();
  }
  function tell(strange) {
    at("found").textContent = strange.length ? strange.join("; ") : `${count(shown.length)} of ${count(size)} runs`;
    let events = 0, seconds = 0;
    for (const row of shown) { events += data.events[row] || 0; seconds += data.seconds[row] || 0; }
    const parts = [`${count(events)} events`, `${count(Math.round(seconds / 3600))} h`];
    data.luminosity.forEach((one) => {
      let sum = 0;
      for (const row of shown) sum += one.values[row] || 0;
      parts.push(`${one.name} ${sum >= 1e6 ? `${(sum / 1e6).toPrecision(4)} fb⁻¹` : sum >= 1e3 ? `${(sum / 1e3).toPrecision(4)} pb⁻¹` : `${sum.toPrecision(4)} nb⁻¹`}`);
    });
    at("summary").textContent = shown.length ? parts.join(" · ") : "";
  }

  // only the rows that are seen
  const grid = at("grid"), body = at("body");
  let first = -1, last = -1;
  function draw(anew) {
    if (anew) {
      body.style.height = `${shown.length * ROW}px`;
      grid.setAttribute("aria-rowcount", String(shown.length + 1));
      first = -1;
      if (grid.scrollTop > shown.length * ROW) grid.scrollTop = 0;
    }
    const from = Math.max(0, Math.floor(grid.scrollTop / ROW) - 10);
    const to = Math.min(shown.length, Math.ceil((grid.scrollTop + grid.clientHeight) / ROW) + 10);
    if (from === first && to === last) return;
    [first, last] = [from, to];
    const parts = [];
    for (let index = from; index < to; index += 1) parts.push(makeRow(index));
    const focused = body.contains(document.activeElement) ? document.activeElement.textContent : null;
    body.replaceChildren(...parts);
    if (focused) [...body.querySelectorAll("a")].find((one) => one.textContent === focused)?.focus({ preventScroll: true });
  }
  function makeRow(index) {
    const row = shown[index];
    const line = make("div", { class: "grid-row", role: "row", "aria-rowindex": index + 2 });
    line.style.top = `${index * ROW}px`;
    for (const column of columns) {
      const told = column.show(row);
      const cell = make("div", { class: `cell ${column.kind || ""}`, role: column.key === "run" ? "rowheader" : "cell" });
      if (column.key === "run") cell.append(make("a", { href: `run.html#${told}`, title: removed(row) || undefined }, told));
      else if (column.kind === "state" && told) cell.append(make("span", { class: `tag ${told === "done" ? "done-state" : told === "blocked" || told === "in quarantine" ? "bad-state" : ""}` }, told));
      else cell.append(told);
      line.append(cell);
    }
    return line;
  }
  columns.forEach((column) => {
    const button = make("button", { type: "button", title: `Sort by ${column.title}` }, column.title);
    const cell = make("div", { class: `cell ${column.kind || ""}`, role: "columnheader" }, button);
    column.cell = cell;
    button.addEventListener("click", () => {
      sorting = { key: column.key, down: sorting.key === column.key && !sorting.down };
      markSorting();
      writeAddress();
      select();
      grid.scrollTop = 0;
    });
    at("head").append(cell);
  });
  function markSorting() {
    columns.forEach((column) => {
      if (column.key === sorting.key) column.cell.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
      else column.cell.removeAttribute("aria-sort");
    });
  }
  grid.addEventListener("scroll", () => draw(false), { passive: true });
  addEventListener("resize", () => draw(false));
  grid.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (!(event.key in steps) || event.target.tagName === "BUTTON") return;
    const links = [...body.querySelectorAll("a")];
    const here = links.indexOf(document.activeElement);
    const top = Math.ceil(grid.scrollTop / ROW);
    const next = here < 0 ? links.find((one) => Number(one.closest("[role=row]").getAttribute("aria-rowindex")) - 2 >= top) : links[here + steps[event.key]];
    if (!next) return;
    event.preventDefault();
    next.focus({ preventScroll: true });
    const y = (Number(next.closest("[role=row]").getAttribute("aria-rowindex")) - 2) * ROW;
    const room = grid.clientHeight - 34 - ROW;
    if (y < grid.scrollTop) grid.scrollTop = y;
    else if (y > grid.scrollTop + room) grid.scrollTop = y - room;
  });

  let timer;
  const change = () => { writeAddress(); select(); };
  at("filters").addEventListener("submit", (event) => { event.preventDefault(); change(); });
  at("query").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(change, 120); });
  fields.slice(1).forEach((field) => at(field).addEventListener("change", change));
  at("clear").addEventListener("click", () => { fields.forEach((field) => { at(field).value = ""; }); change(); at("query").focus(); });
  at("save").addEventListener("click", () => {
    const quote = (value) => { const told = value === null || value === undefined ? "" : String(value); return /[",\n]/.test(told) ? `"${told.replaceAll('"', '""')}"` : told; };
    const plain = (column, row) => (["length", "events"].includes(column.key) || column.key.startsWith("lumi") ? column.value(row) : column.show(row));
    const lines = [columns.map((one) => quote(one.key === "length" ? "seconds" : one.title)).join(",")];
    for (const row of shown) lines.push(columns.map((one) => quote(plain(one, row))).join(","));
    save("runs.csv", `${lines.join("\n")}\n`, "text/csv");
  });
  addEventListener("hashchange", () => { readAddress(); markSorting(); select(); });
  readAddress();
  markSorting();
  select();
});
