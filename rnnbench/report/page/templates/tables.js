
// Tables -----------------------------------------------------------------------------------------------------------

const POOLED = "Each row is over all of its sizes: the filter hides rows, but changes no number.";

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

// Whether a row has every word of a query in some column. A whole number is never a part of another: 32 is not 132
// or 32.5. A word may also be the heading of a column, as in `batch 32`.
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

// The rows of a long table that the page has as data only, until the reader opens the table.
function laterRows(table, heads) {
  const kept = table.closest(".table").querySelector("script.rest");
  if (!kept) return [];
  const { rows, values, about, breaks } = JSON.parse(kept.textContent);
  return rows.map((texts, place) => {
    const cells = texts.map((text, column) => {
      const cell = column ? make("td", { className: heads[column].className }, text) : make("th", { scope: "row" }, text);
      if (values[place]?.[column]) cell.dataset.value = values[place][column];
      return cell;
    });
    const row = make("tr", { className: breaks.includes(place) ? "break" : "" }, ...cells);
    if (about[place]) row.cases = numbersIn(about[place]);
    return row;
  });
}

function enhance(table) {
  const [body] = table.tBodies;
  const original = [...body.rows];
  const heading = table.closest(".table").querySelector("h3");
  const title = heading.textContent;
  const heads = [...table.tHead.rows[0].cells];
  const folded = table.closest("details");
  const count = make("span", { className: "count" });
  const isPooled = "pooled" in table.dataset;
  const pooled = make("p", { className: "whole", hidden: true }, POOLED);
  let sorted = { column: -1, direction: 0 };
  let isFound = () => true;
  let selected = null;

  function sort(column) {
    const next = { 0: 1, 1: -1, [-1]: 0 }[sorted.column === column ? sorted.direction : 0];
    sorted = { column, direction: next };
    const isNumeric = heads[column].classList.contains("number");
    const order = next ? original.toSorted(comparison(column, isNumeric, next)) : original;
    body.append(...order);
    const word = { 0: "none", 1: "ascending", [-1]: "descending" }[next];
    heads.forEach((head, place) => head.setAttribute("aria-sort", place === column ? word : "none"));
    table.classList.toggle("sorted", next !== 0);
    say(next ? `${title}: sorted by ${heads[column].textContent}, ${word}` : `${title}: in its own order`);
  }

  function show() {
    let seen = 0;
    for (const row of original) {
      const isChosen = !selected || !row.cases || row.cases.some((each) => selected.has(each));
      row.hidden = !(isChosen && isFound(row));
      seen += !row.hidden;
    }
    const cut = table.dataset.total; // of a table that the page does not have as a whole
    const all = `${cut ? "the first " : ""}${original.length}${cut ? ` of ${cut}` : ""} ${original.length === 1 ? "row" : "rows"}`;
    count.textContent = seen === original.length ? all : `${seen} of ${all}`;
    pooled.hidden = !(isPooled && selected);
  }

  function complete() {
    const more = laterRows(table, heads);
    original.push(...more);
    body.append(...more);
    show();
  }

  heads.forEach((head, column) => {
    const button = make("button", { type: "button" }, head.textContent);
    button.addEventListener("click", () => sort(column));
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
  });
  const field = make("input", { type: "search", placeholder: "Search rows", ariaLabel: `Search in: ${title}` });
  field.title = "Rows that have every word, in any column";
  field.addEventListener("input", () => {
    isFound = search(field.value, heads);
    show();
    say(`${title}: ${count.textContent}`);
  });
  const button = make("button", { type: "button", ariaLabel: `Copy as CSV: ${title}` }, "Copy as CSV");
  button.addEventListener("click", async () => {
    await copy(csv(table));
    say(`${title}: copied`);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy as CSV"; }, 1500);
  });
  heading.after(make("div", { className: "tools" }, field, button, count), pooled);
  folded?.addEventListener("toggle", complete, { once: true });
  show();
  return (chosen) => {
    selected = chosen;
    show();
  };
}
