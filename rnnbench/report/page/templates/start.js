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

// Rows as the page writes them: `3`, `3-9` for 3, 4, ... 9, and `3-9:2` for 3, 5, 7, 9.
function numbersIn(text) {
  return text.split(" ").flatMap((part) => {
    const [first, last = first, step = 1] = part.split(/[-:]/).map(Number);
    return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, place) => first + place * step);
  });
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
