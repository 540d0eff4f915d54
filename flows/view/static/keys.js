// Keys: moving in the grid, between rows and between pages.
"use strict";
const PAGES = { g: "/", s: "/scores", r: "/runs" };

function cards() {
  return [...document.querySelectorAll("#grid .card")];
}

function choose(card) {
  document.querySelector("#grid .chosen")?.classList.remove("chosen");
  card.classList.add("chosen");
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

// The card in the next line of the grid that is nearest to the middle of the chosen one.
function inLine(all, from, direction) {
  const here = from.getBoundingClientRect();
  const middle = here.left + here.width / 2;
  const away = (card) => Math.abs(card.getBoundingClientRect().left + card.getBoundingClientRect().width / 2 - middle);
  const tops = all.map((card) => card.getBoundingClientRect().top).filter((top) => (top - here.top) * direction > 1);
  if (!tops.length) return from;
  const line = direction > 0 ? Math.min(...tops) : Math.max(...tops);
  const there = all.filter((card) => Math.abs(card.getBoundingClientRect().top - line) < 1);
  return there.reduce((best, card) => (away(card) < away(best) ? card : best));
}

function move(key) {
  const all = cards();
  if (!all.length) return false;
  const chosen = document.querySelector("#grid .chosen");
  if (!chosen) choose(all[0]);
  else if (key === "ArrowDown" || key === "ArrowUp") choose(inLine(all, chosen, key === "ArrowDown" ? 1 : -1));
  else choose(all[Math.max(0, Math.min(all.length - 1, all.indexOf(chosen) + (key === "ArrowRight" ? 1 : -1)))]);
  return true;
}

function follow(selector) {
  const link = document.querySelector(selector);
  if (link) location.assign(link.href);
  return Boolean(link);
}

function press(key) {
  if (key.startsWith("Arrow")) {
    if (move(key)) return true;
    if (key === "ArrowLeft") return follow(".bar [rel=prev]");
    return key === "ArrowRight" && follow(".bar [rel=next]");
  }
  if (key === "n") return follow("[rel=next]");
  if (key === "p") return follow("[rel=prev]");
  if (key === "Escape") return follow("#back");
  if (key === "t") return toggleTheme() ?? true;
  if (key === "?") return document.getElementById("keys").showModal() ?? true;
  if (key === "/") return document.getElementById("search")?.select() ?? true;
  if (PAGES[key]) return location.assign(PAGES[key]) ?? true;
  const mode = document.querySelectorAll("#compare [role=tab]")[Number(key) - 1];
  return mode ? mode.click() ?? true : false;
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=range]):not([type=radio]), select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.target.matches("input[type=range], input[type=radio]") && event.key.startsWith("Arrow")) return;
  if (press(event.key)) event.preventDefault();
});
