// What every page does: copies, parts that are loaded later, small images, and the sign that a build has added rows.
"use strict";
const POLL_MS = 5000;

function copyOf(button) {
  const source = button.dataset.copy ? document.getElementById(button.dataset.copy) : button.parentElement.querySelector("code, pre");
  navigator.clipboard.writeText(source.textContent).then(() => {
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}

// A small image shows its own pixels; one that a row does not have is left out.
function finish(image) {
  if (image.naturalWidth && image.naturalWidth < 128 && !image.currentSrc.endsWith(".svg")) image.classList.add("pixels");
}

function watchImages(root) {
  for (const image of root.querySelectorAll("img")) {
    if (image.complete) finish(image);
    else image.addEventListener("load", () => finish(image));
  }
}

async function loadPart(section) {
  const answer = await fetch(section.dataset.part);
  if (!answer.ok) return;
  // The server has escaped every value in it, and no inline script would run.
  section.innerHTML = await answer.text();
  watchImages(section);
}

async function poll() {
  if (document.hidden) return;
  const answer = await fetch("/state").catch(() => null);
  if (!answer || !answer.ok) return;
  const state = await answer.json();
  const news = document.getElementById("news");
  news.hidden = state.version === document.body.dataset.version;
  news.href = location.href;
  if (!news.hidden) news.textContent = `now ${state.rows.data.toLocaleString("en")} rows: reload`;
}

function insertColumn(name) {
  const where = document.getElementById("where");
  const quoted = /^[A-Za-z_]\w*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
  where.value = where.value.trim() ? `${where.value.trimEnd()} and ${quoted} ` : `${quoted} `;
  where.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.matches(".copy, [data-copy]")) copyOf(button);
  if (button.dataset.insert) insertColumn(button.dataset.insert);
  if (button.id === "theme") toggleTheme();
  if (button.id === "help") document.getElementById("keys").showModal();
});
document.addEventListener("change", (event) => {
  // A choice shows at once; a text waits for Enter.
  if (event.target.matches(".query select, .query input[type=radio]")) event.target.form.requestSubmit();
});
document.querySelectorAll("[data-part]").forEach(loadPart);
watchImages(document);
setInterval(poll, POLL_MS);
