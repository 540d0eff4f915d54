// Light or dark, before the page is painted: as it was chosen last, or as the system has it.
"use strict";
function theme(choice) {
  document.documentElement.classList.toggle("dark", choice === "dark");
}
theme(localStorage.getItem("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));

function toggleTheme() {
  const choice = document.documentElement.classList.contains("dark") ? "light" : "dark";
  localStorage.setItem("theme", choice);
  theme(choice);
}
