"use strict";
// Everything here is added to a page that is complete without it: sorting, search, folding, tooltips, a switch for the dark.

const root = document.documentElement;
const MIN_ROWS = 20; // of a table that can be searched
const PREFIX = { n: 1e-9, "µ": 1e-6, m: 1e-3, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 };

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function say(text) {
  document.getElementById("said").textContent = text;
}

// Dark, light, or as the system is ------------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];

// A page on disk may be refused its storage.
function storedTheme(theme) {
  try {
    if (theme) localStorage.setItem("rnnbench-theme", theme);
    return localStorage.getItem("rnnbench-theme");
  } catch { return null; }
}

function themeButton() {
  const button = make("button", { type: "button", textContent: root.dataset.theme, title: "Colours: auto, light or dark" });
  button.addEventListener("click", () => {
    root.dataset.theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
    button.textContent = root.dataset.theme;
    storedTheme(root.dataset.theme);
  });
  return button;
}

// Tables --------------------------------------------------------------------------------------------------------------

// The first number of a text in its base unit, such as 8.41e-5 for `84.1 µs`; NaN where there is none.
function numberIn(text) {
  const found = /(-?\d[\d.,]*)\s?([nµmkMGTP]?)(?=[sBJM/×%]|\W|$)/.exec(text);
  return found ? parseFloat(found[1].replaceAll(",", "")) * (PREFIX[found[2]] ?? 1) : NaN;
}

// Missing values come last in both directions; rows that are equal keep their order.
function comparison(column, isNumeric, direction) {
  return (one, other) => {
    const [a, b] = [one, other].map((row) => row.cells[column].textContent);
    if (!isNumeric) return direction * a.localeCompare(b, "en", { numeric: true });
    const [x, y] = [numberIn(a), numberIn(b)];
    return isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : direction * (x - y);
  };
}

// Whether a row has every word of a query in some column. A whole number is never a part of another: 32 is not 132 or
// 32.5. A word may also be the heading of a column, as in `batch 32`.
function search(query, heads) {
  const headings = heads.map((head) => head.textContent.toLowerCase());
  const words = query.toLowerCase().split(/\s+/).filter((word) => word && !headings.includes(word));
  const tests = words.map((word) => {
    if (!/^\d+$/.test(word)) return (text) => text.includes(word);
    const number = new RegExp(`(?<![\\d.])${word}(?!\\d|\\.\\d)`);
    return (text) => number.test(text);
  });
  return (row) => {
    row.words ??= [...row.cells].map((cell) => cell.textContent.toLowerCase().replace(/(?<=\d),(?=\d{3})/g, "")).join("\n");
    return tests.every((test) => test(row.words));
  };
}

const MAX_CHIPS = 6; // buttons for the values of one column
const three = (value) => value >= 999.5 ? value.toFixed(0) : value.toPrecision(3);
const inUnit = (seconds) => {
  const [unit, size] = [["ns", 1e-9], ["µs", 1e-6], ["ms", 1e-3]].find(([, each]) => seconds < 999.5 * each) ?? ["s", 1];
  return `${three(seconds / size)} ${unit}`;
};

function medianOf(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// What the head of a part says of the rows that are chosen, from the numbers of a column.
const POOLED = {
  ratio: (values) => `${three(medianOf(values))}×`,
  range: (values) => `${three(Math.min(...values))}–${three(Math.max(...values))}`,
  time: (values) => inUnit(medianOf(values)),
};

// A button for each value of the columns by which rows are chosen. Returns the tests that rows have to pass.
function addChips(tools, heads, rows, onChange) {
  const chosen = new Map();
  heads.forEach((head, column) => {
    const values = [...new Set(rows.map((row) => row.cells[column].textContent))];
    if (head.dataset.chosen === undefined || values.length < 2 || values.length > MAX_CHIPS) return;
    const own = new Set();
    chosen.set(column, own);
    const group = make("span", { className: "chips", role: "group", ariaLabel: head.textContent });
    for (const value of values) {
      const words = head.classList.contains("number") ? `${head.textContent} ${value}` : value;
      const button = make("button", { type: "button", ariaPressed: "false" }, words);
      button.addEventListener("click", () => {
        if (!own.delete(value)) own.add(value);
        button.ariaPressed = String(own.has(value));
        onChange();
      });
      group.append(button);
    }
    tools.append(group);
  });
  return (row) => [...chosen].every(([column, own]) => !own.size || own.has(row.cells[column].textContent));
}

function enhance(table) {
  const heads = [...table.tHead.rows[0].cells];
  const parts = [...table.tBodies].map((body) => ({ body, head: body.querySelector(".head"), rows: [...body.querySelectorAll("tr:not(.head)")] }));
  const rows = parts.flatMap((part) => part.rows);
  const hasHeads = parts.some((part) => part.head);
  const title = table.closest(".table").querySelector("h2, h3");
  let sorted = { column: -1, direction: 0 };

  function sort(column) {
    const direction = { 0: 1, 1: -1, [-1]: 0 }[sorted.column === column ? sorted.direction : 0];
    sorted = { column, direction };
    const compare = comparison(column, heads[column].classList.contains("number"), direction);
    const inOrder = (list) => direction ? list.toSorted(compare) : list;
    if (hasHeads) {
      const bodies = new Map(parts.map((part) => [part.head, part.body]));
      table.append(...inOrder([...bodies.keys()]).map((head) => bodies.get(head)));
      parts.forEach((part) => part.body.append(...inOrder(part.rows)));
    } else if (direction) parts[0].body.append(...inOrder(rows));
    else parts.forEach((part) => part.body.append(...part.rows));
    const word = { 0: "none", 1: "ascending", [-1]: "descending" }[direction];
    heads.forEach((head, place) => head.setAttribute("aria-sort", place === column ? word : "none"));
    say(direction ? `${title.textContent}: sorted by ${heads[column].textContent}, ${word}` : `${title.textContent}: in its own order`);
  }

  heads.forEach((head, column) => {
    const button = make("button", { type: "button" }, head.textContent);
    button.addEventListener("click", () => sort(column));
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
  });
  const tools = make("div", { className: "tools" });
  if (hasHeads) {
    const open = (part, isOpen) => {
      part.body.classList.toggle("open", isOpen);
      part.button.ariaExpanded = String(isOpen);
    };
    for (const part of parts) {
      part.button = make("button", { type: "button", ariaExpanded: "false" }, part.head.cells[0].textContent);
      part.button.addEventListener("click", () => open(part, !part.body.classList.contains("open")));
      part.head.cells[0].replaceChildren(part.button);
    }
    const all = make("button", { type: "button" }, "Show all cases");
    all.addEventListener("click", () => {
      const isOpen = parts.some((part) => !part.body.classList.contains("open"));
      parts.forEach((part) => open(part, isOpen));
      all.textContent = isOpen ? "Show medians alone" : "Show all cases";
    });
    table.classList.add("folds");
    table.unfold = (row) => open(parts.find((part) => part.rows.includes(row)), true);
    tools.append(all);
  }
  const asides = parts.filter((part) => part.body.classList.contains("aside"));
  const isAside = new Set(asides.flatMap((part) => part.rows));
  const field = make("input", { type: "search", placeholder: "Search rows", ariaLabel: `Search in: ${title.textContent}` });
  const count = make("span", { className: "count" });
  const aside = make("button", { type: "button", ariaPressed: "false" }, "references");
  const ofHeads = new Map(parts.filter((part) => part.head).map((part) => [part, [...part.head.cells].map((cell) => cell.textContent)]));
  const places = heads.flatMap((head, column) => head.dataset.pooled ? [[head.dataset.pooled, column]] : []);
  const ratios = places.find(([kind]) => kind === "ratio")?.[1];

  // Says of a part what its chosen rows are in the median; what it said at first, if these are all.
  function pool(part) {
    const shown = part.rows.filter((row) => !row.hidden);
    const undisturbed = shown.filter((row) => !row.cells[ratios].textContent.endsWith("*"));
    const counted = undisturbed.length ? undisturbed : shown; // what was measured on a shared core is in no median with others
    const texts = ofHeads.get(part);
    const isWhole = shown.length === part.rows.length;
    const last = part.head.cells.length - 1;
    for (const [kind, column] of places) {
      const values = counted.map((row) => numberIn(row.cells[kind === "range" ? ratios : column].textContent)).filter((value) => !isNaN(value));
      part.head.cells[column].textContent = isWhole ? texts[column] : values.length ? POOLED[kind](values) : "—";
    }
    part.head.cells[last].textContent = isWhole ? texts[last] : `${shown.length} of ${texts[last]}`;
  }

  function find() {
    const query = field.value.trim();
    const isFound = search(query, heads);
    const hasAsides = query !== "" || aside.ariaPressed === "true";
    rows.forEach((row) => { row.hidden = !(isFound(row) && isChosen(row) && (hasAsides || !isAside.has(row))); });
    for (const part of parts.filter((each) => each.head)) {
      part.head.hidden = part.rows.every((row) => row.hidden);
      if (!part.head.hidden) pool(part);
    }
    table.classList.toggle("found", query !== "");
    const all = rows.filter((row) => hasAsides || !isAside.has(row));
    const seen = all.filter((row) => !row.hidden);
    count.textContent = seen.length === all.length ? `${seen.length} rows` : `${seen.length} of ${all.length} rows`;
    if (hasHeads) markFound(seen.length < all.length ? seen : null);
    say(`${title.textContent}: ${count.textContent}`);
  }

  const isChosen = addChips(tools, heads, rows.filter((row) => !isAside.has(row)), find);
  if (asides.length && asides.length < parts.length) {
    const show = (isShown) => { aside.ariaPressed = String(isShown); find(); };
    aside.addEventListener("click", () => show(aside.ariaPressed === "false"));
    const unfold = table.unfold;
    table.unfold = (row) => { if (row.hidden) show(true); unfold?.(row); };
    tools.append(aside);
  } else aside.ariaPressed = "true";
  if (rows.length >= MIN_ROWS) {
    field.title = "Rows that have every word, in any column; figures show their marks";
    field.addEventListener("input", find);
    tools.append(field, count);
    find();
  }
  if (tools.children.length) title.after(tools);
}

// Figures: each mark leads to the row of its case, and the row back ----------------------------------------------------

const marksIn = (place) => [...place.querySelectorAll("[data-case]")];
const isSeen = (mark) => mark.getClientRects().length > 0;
const casesOf = (mark) => mark.dataset.all?.split(" ") ?? [mark.dataset.case];

function markFound(rows) {
  const found = rows && new Set(rows.map((row) => row.id.slice("case=".length)));
  for (const mark of marksIn(document)) mark.classList.toggle("out", found !== null && !casesOf(mark).some((name) => found.has(name)));
}

function addTips() {
  for (const number of new Set(marksIn(document).flatMap(casesOf))) {
    const name = document.getElementById(`case=${number}`)?.cells[0];
    name?.replaceChildren(make("a", { href: `#mark=${number}` }, name.textContent));
  }
  const words = make("span", {});
  const link = make("a", {}, "its row");
  const tip = make("div", { className: "tip", hidden: true }, words, " ", link);
  document.body.append(tip);
  let lit = null;

  function show(mark) {
    lit?.classList.remove("lit");
    lit = mark;
    tip.hidden = !mark;
    if (!mark) return;
    mark.classList.add("lit");
    words.textContent = mark.dataset.title;
    link.href = `#case=${mark.dataset.case}`;
    link.hidden = !document.getElementById(`case=${mark.dataset.case}`);
    const box = mark.getBoundingClientRect();
    tip.style.left = `${scrollX + Math.max(8, Math.min(box.right + 6, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${scrollY + box.bottom + 6}px`;
  }

  for (const card of document.querySelectorAll(".card")) {
    const marks = marksIn(card);
    const titles = {};
    for (const mark of marks) { // the browser's own tooltip is for pointers alone
      const title = mark.querySelector(":scope > title");
      const key = mark.dataset.all ?? mark.dataset.case;
      titles[key] ??= title?.textContent;
      mark.dataset.title = titles[key] ?? "";
      title?.remove();
      mark.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") show(mark); });
      mark.addEventListener("click", (event) => {
        if (lit === mark && event.pointerType === "mouse" && !link.hidden) location.hash = link.hash;
        show(mark);
      });
    }
    card.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && !tip.matches(":hover")) show(null); });
    card.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const cases = [...new Map(marks.filter(isSeen).map((mark) => [mark.dataset.case, mark])).values()]; // an interval is a mark too
      if (event.key === "Escape") show(null);
      if (event.key === "Enter" && lit) location.hash = link.hash;
      if (!step || !cases.length) return;
      event.preventDefault();
      const place = cases.findIndex((mark) => mark.dataset.case === lit?.dataset.case);
      show(cases[(place < 0 && step < 0 ? cases.length - 1 : place + step + cases.length) % cases.length]);
      lit.scrollIntoView({ block: "nearest" });
      say(lit.dataset.title);
    });
  }
  return show;
}

// The page as a whole --------------------------------------------------------------------------------------------------

// Marks the link to the section that is being read.
function followReading() {
  const links = [...document.querySelectorAll('.bar nav a[href^="#"]')]; // others lead to other pages
  const parts = links.map((link) => document.querySelector(link.hash));
  const update = () => {
    const last = parts.findLastIndex((part) => part.getBoundingClientRect().top < innerHeight / 3);
    links.forEach((link) => link.removeAttribute("aria-current"));
    links[Math.max(last, 0)].setAttribute("aria-current", "true");
  };
  addEventListener("scroll", update, { passive: true });
  update();
}

root.dataset.theme = THEMES.includes(storedTheme()) ? storedTheme() : "auto";
addEventListener("DOMContentLoaded", () => {
  document.body.append(make("div", { id: "said", className: "unseen", role: "status", ariaLive: "polite" }));
  document.querySelectorAll("table").forEach(enhance);
  document.querySelector(".bar").append(themeButton());
  const show = addTips();
  // `#case=3` leads to a row, `#mark=3` to the first mark of this case; what is folded away opens.
  const go = () => {
    const name = decodeURIComponent(location.hash.slice(1));
    const mark = name.startsWith("mark=") && marksIn(document).find((each) => isSeen(each) && casesOf(each).includes(name.slice(5)));
    const target = mark || document.getElementById(name);
    if (!target) return;
    target.querySelectorAll(":scope > details").forEach((details) => { details.open = true; });
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.closest("table")?.unfold?.(target);
    target.scrollIntoView({ block: target.matches("tr, [data-case]") ? "center" : "start" });
    show(mark || null);
  };
  followReading();
  addEventListener("hashchange", go);
  go();
});
