// What every page has: data that scripts hand over, ages of times, and buttons that copy commands. Nothing is fetched.
"use strict";
window.b2prod = (() => {
  const taken = new Map();
  const waiting = new Map();
  const root = new URL("..", document.currentScript.src).href;

  /** Hands over the data of a name; files in data/ do nothing else. */
  function take(name, value) {
    taken.set(name, value);
    (waiting.get(name) || []).forEach((done) => done(value));
    waiting.delete(name);
  }

  /** The data of a name that the page loads by itself. */
  const get = (name) => taken.get(name);

  /** Loads data/NAME.js, and calls `done` with its data, or `failed`. A page from the file system may do so too. */
  function load(name, done, failed) {
    if (taken.has(name)) return done(taken.get(name));
    const first = !waiting.has(name);
    waiting.set(name, [...(waiting.get(name) || []), done]);
    if (!first) return undefined;
    const script = document.createElement("script");
    script.src = `${root}data/${name}.js`;
    script.onerror = () => { waiting.delete(name); failed(); };
    document.head.append(script);
    return undefined;
  }

  /** An element with attributes and children; texts become text, never markup. */
  function make(kind, attributes = {}, ...children) {
    const element = document.createElement(kind);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== null) element.setAttribute(name, value);
    }
    element.append(...children.filter((one) => one !== null && one !== undefined));
    return element;
  }

  const count = (number) => (number === null || number === undefined ? "–" : number.toLocaleString("en-US"));

  /** How long ago a time was, or how long until then. */
  function tellAge(text, now = Date.now()) {
    const minutes = Math.round((now - Date.parse(text)) / 60000);
    const size = Math.abs(minutes);
    const words = size < 60 ? `${size} min` : size < 2880 ? `${Math.floor(size / 60)} h ${size % 60} min` : `${Math.floor(size / 1440)} days`;
    if (size < 1) return "just now";
    return minutes < 0 ? `in ${words}` : `${words} ago`;
  }

  /** Saves a text as a file. */
  function save(name, content, type) {
    const blob = content instanceof Blob ? content : new Blob([content], { type });
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function showAges() {
    document.querySelectorAll("main time").forEach((one) => { one.textContent = tellAge(one.dateTime); });
    const age = document.getElementById("age");
    if (age && age.dataset.moment) age.classList.toggle("old", Date.now() - Date.parse(age.dataset.moment) > 6 * 3600e3);
  }

  function copy(code, button) {
    const select = () => {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "selected";
    };
    if (!navigator.clipboard) return select();
    return navigator.clipboard.writeText(code.textContent).then(() => { button.textContent = "copied"; }, select);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const site = get("site");
    if (site) document.getElementById("moment").textContent = `${site.moment.replace("T", " ").replace("Z", " UTC")}, serial ${site.serial}`;
    document.querySelectorAll("code.command").forEach((code) => {
      const button = make("button", { type: "button", class: "copy", "aria-label": `Copy ${code.textContent}` }, "copy");
      button.addEventListener("click", () => copy(code, button));
      code.after(button);
    });
    showAges();
    setInterval(showAges, 60000);
  });
  return { take, get, load, make, count, tellAge, save };
})();
