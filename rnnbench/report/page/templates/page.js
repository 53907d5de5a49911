"use strict";
// Everything here is added to a page that is complete without it: sorting, filters, copying, a switch for the dark.

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// A page on disk may be refused its storage.
function remembered(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

function remember(key, value) {
  try { localStorage.setItem(key, value); } catch { /* then only until it is loaded again */ }
}

function say(text) {
  document.getElementById("said").textContent = text;
}

// Dark and light ---------------------------------------------------------------------------------------------------

const root = document.documentElement;
const THEMES = ["light", "dark"];

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function themeButton() {
  const button = make("button", { type: "button" });
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember("rnnbench-theme", root.dataset.theme);
    label();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  label();
  return button;
}

// Tables -----------------------------------------------------------------------------------------------------------

// The first number behind a cell; NaN where its value is missing.
function numberIn(cell) {
  return parseFloat(cell.dataset.value ?? cell.textContent.replaceAll(",", ""));
}

// Missing values come last in both directions; rows that are equal keep their order.
function comparison(column, isNumeric, direction) {
  return (one, other) => {
    const [a, b] = [one.cells[column], other.cells[column]];
    if (!isNumeric) return direction * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
    const [x, y] = [numberIn(a), numberIn(b)];
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
    return direction * (x - y);
  };
}

function csvField(text) {
  const safe = /^[=+\-@\t\r]/.test(text) && isNaN(text) ? `'${text}` : text; // no formula of a spreadsheet
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

// What is seen, with the numbers behind the texts in full: seconds and bytes, an interval as two columns.
function csv(table) {
  const heads = [...table.tHead.rows[0].cells];
  const keys = heads.map((head) => head.dataset.keys?.split(" "));
  const lines = [heads.flatMap((head, place) => keys[place] ?? [head.textContent])];
  for (const row of table.tBodies[0].rows) {
    if (row.hidden) continue;
    lines.push([...row.cells].flatMap((cell, place) => {
      if (!keys[place]) return [cell.textContent];
      const numbers = cell.dataset.value?.split(" ") ?? [isNaN(numberIn(cell)) ? "" : cell.textContent.replaceAll(",", "")];
      return keys[place].map((_, part) => numbers[part] ?? "");
    }));
  }
  return lines.map((line) => line.map(csvField).join(",")).join("\n") + "\n";
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no leave, or not a secure place
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function enhance(table) {
  const [body] = table.tBodies;
  const original = [...body.rows];
  const title = table.caption.textContent;
  const heads = [...table.tHead.rows[0].cells];
  const count = make("span", { className: "count" });
  let sorted = { column: -1, direction: 0 };
  let search = "";

  function sort(column) {
    const next = { 0: 1, 1: -1, [-1]: 0 }[sorted.column === column ? sorted.direction : 0];
    sorted = { column, direction: next };
    const isNumeric = heads[column].classList.contains("number");
    const order = next ? original.toSorted(comparison(column, isNumeric, next)) : original;
    body.append(...order);
    const word = { 0: "none", 1: "ascending", [-1]: "descending" }[next];
    heads.forEach((head, place) => head.setAttribute("aria-sort", place === column ? word : "none"));
    table.classList.toggle("sorted", next !== 0);
    const heading = heads[column].textContent;
    say(next ? `${title}: sorted by ${heading}, ${word}` : `${title}: in its own order`);
  }

  function show(selected) {
    let seen = 0;
    for (const row of original) {
      const isChosen = !selected || !row.cases || row.cases.some((each) => selected.has(each));
      row.hidden = !(isChosen && row.textContent.toLowerCase().includes(search));
      seen += !row.hidden;
    }
    const pooled = selected && "pooled" in table.dataset ? "; each is over all of its sizes, whatever is filtered" : "";
    const all = `${original.length} ${original.length === 1 ? "row" : "rows"}`;
    count.textContent = seen === original.length && !pooled ? all : `${seen} of ${all}${pooled}`;
    table.selected = selected;
    return seen;
  }

  heads.forEach((head, column) => {
    const button = make("button", { type: "button" }, head.textContent);
    button.addEventListener("click", () => sort(column));
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
  });
  const field = make("input", { type: "search", placeholder: "Search rows", ariaLabel: `Search in: ${title}` });
  field.addEventListener("input", () => {
    search = field.value.trim().toLowerCase();
    show(table.selected);
    say(`${title}: ${count.textContent}`);
  });
  const button = make("button", { type: "button", ariaLabel: `Copy as CSV: ${title}` }, "Copy as CSV");
  button.addEventListener("click", async () => {
    await copy(csv(table));
    say(`${title}: copied`);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy as CSV"; }, 1500);
  });
  table.closest(".table").prepend(make("div", { className: "tools" }, field, button, count));
  show(null);
  return show;
}

// Filters ----------------------------------------------------------------------------------------------------------

// The cases that have one of the chosen values on every axis, and the references beside them; null for all.
function chosenCases(choices, chosen) {
  if (chosen.every((values) => values.size === 0)) return null;
  const matches = (places) => places.every((place, axis) => chosen[axis].size === 0 || chosen[axis].has(place));
  const selected = new Set(choices.cases.flatMap((places, number) => (matches(places) ? [number] : [])));
  for (const [reference, others] of Object.entries(choices.beside)) {
    if (others.some((each) => selected.has(each))) selected.add(Number(reference));
  }
  return selected;
}

function filters(choices, shows) {
  const chosen = choices.axes.map(() => new Set());
  const marks = [...document.querySelectorAll("svg [data-cases]")];
  const numbers = marks.map((mark) => mark.dataset.cases.split(" ").map(Number));
  const count = make("span", { className: "count" });
  const panel = make("div", { className: "panel", id: "filters", hidden: true, role: "group", ariaLabel: "Filters" });
  const open = make("button", { type: "button", className: "filters", ariaExpanded: "false" }, "Filter");
  open.setAttribute("aria-controls", "filters");
  const inputs = [];

  function apply() {
    const selected = chosenCases(choices, chosen);
    shows.forEach((show) => show(selected));
    marks.forEach((mark, place) => {
      mark.classList.toggle("out", selected !== null && !numbers[place].some((each) => selected.has(each)));
    });
    root.classList.toggle("filter", selected !== null);
    open.textContent = selected ? `Filter: ${selected.size} of ${choices.cases.length} cases` : "Filter";
    count.textContent = selected ? "Marks of figures outside it are pale; medians stay over all sizes." : "Nothing is filtered.";
    const query = new URLSearchParams(
      choices.axes.flatMap((axis, place) => [...chosen[place]].map((value) => [axis.name, axis.values[value]])));
    try { history.replaceState(null, "", `${query.size ? `?${query}` : location.pathname}${location.hash}`); } catch { /* no address to keep them in */ }
  }

  function choose(axis, value, isChosen) {
    chosen[axis][isChosen ? "add" : "delete"](value);
    apply();
    say(open.textContent);
  }

  function toggle(isOpen) {
    panel.hidden = !isOpen;
    open.ariaExpanded = String(isOpen);
  }

  const asked = new URLSearchParams(location.search);
  choices.axes.forEach((axis, place) => {
    const labels = axis.values.map((value, number) => {
      const input = make("input", { type: "checkbox", checked: asked.getAll(axis.name).includes(value) });
      if (input.checked) chosen[place].add(number);
      input.addEventListener("change", () => choose(place, number, input.checked));
      inputs.push(input);
      return make("label", {}, input, value);
    });
    panel.append(make("fieldset", {}, make("legend", {}, axis.word), make("div", {}, ...labels)));
  });
  const reset = make("button", { type: "button" }, "Show all");
  reset.addEventListener("click", () => {
    inputs.forEach((input) => { input.checked = false; });
    chosen.forEach((values) => values.clear());
    apply();
    say("All cases");
  });
  panel.append(reset, count);
  open.addEventListener("click", () => toggle(panel.hidden));
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    toggle(false);
    open.focus();
  });
  document.querySelector(".bar").after(panel);
  if (chosen.some((values) => values.size)) apply();
  return open;
}

// The page as a whole ----------------------------------------------------------------------------------------------

// Marks the link to the section that is being read.
function followReading() {
  const links = [...document.querySelectorAll(".bar nav a")];
  const parts = links.map((link) => document.querySelector(link.hash));
  const update = () => {
    const last = parts.findLastIndex((part) => part.getBoundingClientRect().top < innerHeight / 3);
    links.forEach((link) => link.removeAttribute("aria-current"));
    links[Math.max(last, 0)].setAttribute("aria-current", "true");
  };
  addEventListener("scroll", update, { passive: true });
  update();
}

// A link to a table that is folded away opens it.
function unfold() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  const folded = target && target.closest("details");
  if (folded) { folded.open = true; target.scrollIntoView(); }
}

// `rnnbench report --serve` writes the version it serves into the page; another one means that there is more to see.
async function followRun() {
  try {
    const answer = await fetch("version", { cache: "no-store" });
    if (answer.ok && (await answer.text()) !== root.dataset.live) location.reload();
  } catch { /* the server has gone; what there is stays */ }
}

if (THEMES.includes(remembered("rnnbench-theme"))) root.dataset.theme = remembered("rnnbench-theme");
addEventListener("DOMContentLoaded", () => {
  document.body.append(make("div", { id: "said", className: "unseen", role: "status", ariaLive: "polite" }));
  for (const row of document.querySelectorAll("tr[data-cases]")) row.cases = row.dataset.cases.split(" ").map(Number);
  const shows = [...document.querySelectorAll("table")].map(enhance);
  const choices = JSON.parse(document.getElementById("choices").textContent);
  const buttons = choices.axes.length ? [filters(choices, shows)] : [];
  document.querySelector(".bar").append(...buttons, themeButton());
  followReading();
  unfold();
  addEventListener("hashchange", unfold);
  if (root.dataset.live) setInterval(followRun, 2000);
});
