// Input and edited image: side by side, under a slider, or their difference.
"use strict";
const compare = document.getElementById("compare");

function setMode(mode) {
  compare.dataset.mode = mode;
  for (const tab of compare.querySelectorAll("[role=tab]")) tab.setAttribute("aria-selected", String(tab.dataset.mode === mode));
  compare.querySelector(".pair").hidden = mode !== "side";
  compare.querySelector(".over").hidden = mode === "side";
  compare.querySelector(".slide").hidden = mode !== "slide";
  compare.querySelector(".gain").hidden = mode !== "difference";
  sessionStorage.setItem("mode", mode);
}

if (compare) {
  const layers = compare.querySelector(".layers");
  const slide = document.getElementById("slide");
  const gain = document.getElementById("gain");
  const apply = () => {
    // Left of the line is the input, right of it the edited image.
    layers.style.setProperty("--cut", `${slide.value}%`);
    layers.style.setProperty("--gain", gain.value);
  };
  const drag = (event) => {
    if (compare.dataset.mode !== "slide" || !event.buttons) return;
    const box = layers.getBoundingClientRect();
    slide.value = String(Math.round((100 * (event.clientX - box.left)) / box.width));
    apply();
  };
  compare.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) setMode(tab.dataset.mode);
  });
  layers.addEventListener("pointerdown", drag);
  layers.addEventListener("pointermove", drag);
  layers.addEventListener("dragstart", (event) => event.preventDefault());
  slide.addEventListener("input", apply);
  gain.addEventListener("input", apply);
  apply();
  setMode(sessionStorage.getItem("mode") || "side");
}
