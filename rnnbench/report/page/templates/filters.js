
// Filters ----------------------------------------------------------------------------------------------------------

// What a figure says while a filter is on that it does not follow.
const WHOLE = "This figure shows all cases: it does not follow the filter.";
const OVER_ALL = "Pale marks are outside the filter. Medians, lines and fits are over all cases.";

// The choices of the page: `values[axis](case)` is the place of the case's value, NaN for the cell of a reference.
function readChoices() {
  const choices = JSON.parse(document.getElementById("choices").textContent);
  const place = (places) => typeof places === "string" ? (number) => parseInt(places[number], 36) : (number) => places[number];
  return { ...choices, values: choices.cases.map(place) };
}

// The cases that have one of the chosen values on every axis, and the references beside them; null for all.
function chosenCases(choices, chosen) {
  if (chosen.every((values) => values.size === 0)) return null;
  const isChosen = (number) => chosen.every((values, axis) => values.size === 0 || values.has(choices.values[axis](number)));
  const selected = new Set(Array.from({ length: choices.count }, (_, number) => number).filter(isChosen));
  for (const [reference, others] of Object.entries(choices.beside)) {
    if (numbersIn(others).some((each) => selected.has(each))) selected.add(Number(reference));
  }
  return selected;
}

// The marks of a group that has one for each case, with their cases.
function marksOf(group) {
  const shapes = (kind) => [...group.querySelectorAll(kind)].filter((shape) => !shape.closest("defs"));
  const marks = shapes("use").length ? shapes("use") : shapes("path");
  return numbersIn(group.dataset.each).map((number, place) => [marks[place], [number]]);
}

function filters(choices, shows) {
  const chosen = choices.axes.map(() => new Set());
  const marks = [...document.querySelectorAll("svg [data-cases]")].map((mark) => [mark, numbersIn(mark.dataset.cases)]);
  marks.push(...[...document.querySelectorAll("svg [data-each]")].flatMap(marksOf));
  const figures = [...document.querySelectorAll("figure")].map((figure) => {
    const follows = figure.querySelector("svg [data-cases], svg [data-each]") !== null;
    const note = make("p", { className: "whole", hidden: true }, follows ? OVER_ALL : WHOLE);
    figure.querySelector("figcaption").before(note);
    return { figure, follows, note };
  });
  const count = make("span", { className: "count" });
  const panel = make("div", { className: "panel", id: "filters", hidden: true, role: "region", ariaLabel: "Filters" });
  const open = make("button", { type: "button", className: "filters", ariaExpanded: "false" }, "Filter");
  open.setAttribute("aria-controls", "filters");
  const inputs = [];

  function apply() {
    const selected = chosenCases(choices, chosen);
    shows.forEach((show) => show(selected));
    for (const [mark, cases] of marks) {
      mark.classList.toggle("out", selected !== null && !cases.some((each) => selected.has(each)));
    }
    for (const { figure, follows, note } of figures) {
      note.hidden = selected === null;
      figure.classList.toggle("unfiltered", selected !== null && !follows);
    }
    root.classList.toggle("filter", selected !== null);
    open.textContent = selected ? `Filter: ${selected.size} of ${choices.count} cases` : "Filter";
    count.textContent = selected ? "The answer, medians and fits stay over all cases." : "Nothing is filtered.";
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
