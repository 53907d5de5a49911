"use strict";
// Added to a flame graph that is complete without it: a click zooms in, a search marks frames and sums their time.

const SVG = "http://www.w3.org/2000/svg";
const HTML = "http://www.w3.org/1999/xhtml";
const root = document.documentElement;
const WIDTH = root.viewBox.baseVal.width;
const LETTER = 6.3; // pixels
const frames = [...root.querySelectorAll("g[data-left]")].map((group) => ({
  group,
  rect: group.querySelector("rect"),
  name: group.querySelector("title").textContent,
  short: group.dataset.name,
  left: Number(group.dataset.left),
  wide: Number(group.dataset.wide),
  row: Number(group.dataset.row),
}));

function place(frame, zoomed) {
  const scale = WIDTH / zoomed.wide;
  const start = Math.max(0, (frame.left - zoomed.left) * scale);
  const end = Math.min(WIDTH, (frame.left + frame.wide - zoomed.left) * scale);
  const isSeen = end - start > 0.3;
  frame.group.style.display = isSeen ? "" : "none";
  if (!isSeen) return;
  frame.rect.setAttribute("x", start);
  frame.rect.setAttribute("width", Math.max(end - start - 0.5, 0.5));
  const isAbove = frame.row < zoomed.row;
  frame.group.style.opacity = isAbove ? 0.7 : 1;
  let text = frame.group.querySelector("text");
  const room = Math.floor((end - start - 6) / LETTER);
  if (room <= 3) { text?.remove(); return; }
  if (!text) {
    text = document.createElementNS(SVG, "text");
    text.setAttribute("y", Number(frame.rect.getAttribute("y")) + 12);
    frame.group.append(text);
  }
  text.setAttribute("x", start + 3);
  text.textContent = frame.short.length <= room ? frame.short : `${frame.short.slice(0, room - 1)}…`;
}

const WHOLE = { left: 0, wide: WIDTH, row: -1 };

function zoom(target) {
  frames.forEach((frame) => place(frame, target));
  reset.hidden = target === WHOLE;
}

// The share of the whole that the matching frames take; frames inside a matching one are part of it.
function share(hits) {
  let total = 0;
  for (const hit of hits) {
    const isInside = hits.some((other) => other.row < hit.row && other.left <= hit.left + 0.01
      && hit.left + hit.wide <= other.left + other.wide + 0.01);
    total += isInside ? 0 : hit.wide;
  }
  return total / WIDTH;
}

function search(text) {
  const wanted = text.trim().toLowerCase();
  const hits = frames.filter((frame) => wanted && frame.short.toLowerCase().includes(wanted));
  frames.forEach((frame) => frame.group.classList.toggle("hit", hits.includes(frame)));
  found.textContent = wanted ? `${hits.length} frames, ${(100 * share(hits)).toFixed(1)}% of the time` : "";
}

function make(tag, properties) {
  return Object.assign(document.createElementNS(HTML, tag), properties);
}

const bar = document.createElementNS(SVG, "foreignObject");
Object.entries({ x: WIDTH - 560, y: 18, width: 556, height: 24 }).forEach(([key, value]) => bar.setAttribute(key, value));
const box = make("div", { className: "bar" });
const found = make("span", {});
found.setAttribute("role", "status");
const field = make("input", { type: "search", placeholder: "Search frames" });
field.setAttribute("aria-label", "Search frames");
const reset = make("button", { type: "button", textContent: "Whole call", hidden: true });
box.append(found, reset, field);
bar.append(box);
root.append(bar);

field.addEventListener("input", () => search(field.value));
reset.addEventListener("click", () => zoom(WHOLE));
addEventListener("keydown", (event) => {
  if (event.key === "Escape") { field.value = ""; search(""); zoom(WHOLE); }
});
frames.forEach((frame) => {
  frame.group.setAttribute("tabindex", "0");
  frame.group.addEventListener("click", () => zoom(frame));
  frame.group.addEventListener("keydown", (event) => { if (event.key === "Enter") zoom(frame); });
});
