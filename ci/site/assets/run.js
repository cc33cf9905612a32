// The page of one run, whose address names it: run.html#3:529
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const { load, make, count, tellAge } = window.b2prod;
  const STRETCH = 256;
  const at = (id) => document.getElementById(id);

  function show() {
    const asked = /^#(\d+):(\d+)$/.exec(location.hash);
    if (!asked) return say("Name a run in the address, as in run.html#3:529.");
    const [experiment, run] = asked.slice(1).map(Number);
    at("title").textContent = `Run ${experiment}:${run}`;
    document.title = `Run ${experiment}:${run} · b2prod`;
    const none = `The run catalogue has no run ${experiment}:${run}.`;
    return load(`runs/${experiment}/${Math.floor(run / STRETCH)}`, (data) => {
      if (data.runs[run]) draw(experiment, run, data);
      else say(none);
    }, () => say(none));
  }
  function say(text) {
    at("details").replaceChildren(make("p", { class: "notice" }, text));
    ["before", "after"].forEach((one) => { at(one).hidden = true; });
  }
  const link = (id, key) => {
    at(id).hidden = !key;
    if (key) at(id).href = `#${key.join(":")}`;
  };
  const time = (text) => (text ? make("time", { datetime: text, title: text }, `${text.replace("T", " ").replace("Z", "")}`) : "–");
  const table = (titles, rows, numeric = []) => make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table by ${titles[0].toLowerCase()}: ${titles[1].toLowerCase()}` },
    make("table", {}, make("thead", {}, make("tr", {}, ...titles.map((one, place) => make("th", { scope: "col", class: numeric.includes(place) ? "n" : undefined }, one)))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((one, place) => make("td", { class: numeric.includes(place) ? "n" : undefined }, one ?? "–")))))));
  const fact = (title, value) => (value === null || value === undefined || value === "" ? null : make("div", {}, make("dt", {}, title), make("dd", {}, value)));
  const part = (title, content) => make("section", {}, make("h2", {}, title), content);
  const quiet = (text) => make("p", { class: "quiet" }, text);

  function tellChanges(told) {
    if (told.count === undefined) return "–";
    const parts = ["changed", "added", "gone"].filter((word) => told[word]).map((word) => `${word}: ${told[word].join(", ")}`);
    const named = ["changed", "added", "gone"].reduce((sum, word) => sum + (told[word] || []).length, 0);
    return parts.join("; ") + (named < told.count ? ` and ${count(told.count - named)} more` : "");
  }

  function draw(experiment, run, data) {
    const one = data.runs[run];
    const numbers = Object.keys(data.runs).map(Number).sort((a, b) => a - b);
    const place = numbers.indexOf(run);
    link("before", place > 0 ? [experiment, numbers[place - 1]] : data.before);
    link("after", place < numbers.length - 1 ? [experiment, numbers[place + 1]] : data.after);
    const hours = one.seconds === undefined ? null : `${Math.floor(one.seconds / 3600)} h ${Math.round((one.seconds % 3600) / 60)} min`;
    const campaigns = Object.entries(one.states);
    const rate = (read, kept) => (read && kept !== null && kept <= read ? `${(100 * kept / read).toPrecision(4)} %` : "–");
    const older = new Map();
    one.outputs.forEach((row) => { if (row[4] === "produced") older.set(row.slice(0, 3).join("/"), row[3]); });
    at("details").replaceChildren(
      one.removed ? make("p", { class: "notice" }, `Removed from the catalogue: ${one.removed}`) : "",
      make("dl", { class: "facts" },
        fact("Type", one.type), fact("Start (UTC)", time(one.start)), fact("Stop (UTC)", time(one.stop)), fact("Length", hours),
        fact("Events", one.events === undefined ? null : count(one.events)), fact("Energy", one.energy), fact("Quality", one.quality),
        ...Object.entries(one.luminosity).map(([name, value]) => fact(`Luminosity ${name}`, `${count(Number(value.toPrecision(6)))} nb⁻¹`))),
      part("State in each campaign", campaigns.length ? table(["Campaign", "State", "More"], campaigns.map(([name, state]) => [
        make("a", { href: `../campaigns/${name}.html` }, name),
        make("span", { class: `tag ${state === "done" ? "done-state" : state === "blocked" || state === "in quarantine" ? "bad-state" : ""}` }, state),
        make("code", {}, `b2prod explain ${name}/${experiment}:${run}`)])) : quiet("No campaign takes this run.")),
      part("Registered files", one.files.length ? table(["Dataset", "Files", "On disk", "MB", "Events"], one.files.map(([name, files, disk, bytes, events]) => [name, count(files), count(disk), count(Math.round(bytes / 1e5) / 10), count(events)]), [1, 2, 3, 4]) : quiet("None.")),
      part("What was made of it", one.outputs.length ? table(["Dataset", "Version", "State", "Made (UTC)", "Read", "Kept", "Retention", "Fingerprint", "Payload set"], one.outputs.map(([campaign, step, output, version, state, produced, read, kept, fingerprint, payloads]) => {
        const name = [campaign, step, output].join("/");
        const told = older.get(name) > version ? `${state}, older` : state;
        return [name, `v${version}`, told, time(produced), count(read), count(kept), rate(read, kept), make("code", {}, fingerprint), payloads ? make("code", {}, payloads) : "–"];
      }), [4, 5, 6]) : quiet("Nothing yet.")),
      part("Payloads it was made with", one.payloads ? table(["Payload set", "Made with it", "What changed since the one before"], one.payloads.map((told) => [make("code", {}, told.set), told.makers.join(", "), tellChanges(told)])) : quiet("Nothing was made of it that reads conditions.")),
      part("Failures", one.failures.length ? table(["Unit", "Where", "What", "Ended", "Why"], one.failures.map(([campaign, step, site, state, failure, , ended, reason]) => [`${campaign}/${step}`, site, failure ? `${state}, ${failure}` : state, ended ? make("span", { title: ended }, tellAge(ended)) : "–", reason])) : quiet("None.")));
  }
  addEventListener("hashchange", show);
  show();
});
