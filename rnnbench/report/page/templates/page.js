
// The page as a whole ----------------------------------------------------------------------------------------------

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

// A link to a table that is folded away opens it.
function unfold() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  const folded = target && target.closest("details");
  if (folded) { folded.open = true; target.scrollIntoView(); }
}

if (THEMES.includes(remembered("rnnbench-theme"))) root.dataset.theme = remembered("rnnbench-theme");
addEventListener("DOMContentLoaded", () => {
  document.body.append(make("div", { id: "said", className: "unseen", role: "status", ariaLive: "polite" }));
  for (const row of document.querySelectorAll("tr[data-cases]")) row.cases = numbersIn(row.dataset.cases);
  const shows = [...document.querySelectorAll("table")].map(enhance);
  const choices = readChoices();
  const buttons = choices.axes.length ? [filters(choices, shows)] : [];
  document.querySelector(".bar").append(...buttons, themeButton());
  followReading();
  unfold();
  addEventListener("hashchange", unfold);
});
