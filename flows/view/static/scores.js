// Histograms: a threshold that moves, and at once how many images stay.
"use strict";
const count = (number) => number.toLocaleString("en");
const plain = (number) => String(Number(number.toFixed(4)));

class Threshold {
  constructor(section) {
    this.section = section;
    this.data = JSON.parse(section.dataset.histogram);
    this.range = section.querySelector(".threshold");
    const limits = JSON.parse(section.dataset.limits);
    if ("min" in limits || "max" in limits) this.begin(limits);
    section.addEventListener("input", () => this.show());
    section.querySelector(".look").addEventListener("click", () => this.look());
    this.show();
  }

  // At the recipe's present limit, or the edge that is nearest to it.
  begin(limits) {
    const side = "min" in limits ? "min" : "max";
    const away = this.data.edges.map((edge) => Math.abs(edge - limits[side]));
    this.range.value = String(away.indexOf(Math.min(...away)));
    this.section.querySelector(`input[value=${side}]`).checked = true;
  }

  get side() {
    return this.section.querySelector("input[type=radio]:checked").value;
  }

  get edge() {
    return this.data.edges[Number(this.range.value)];
  }

  get condition() {
    return `${this.data.column} ${this.side === "min" ? ">=" : "<="} ${plain(this.edge)}`;
  }

  show() {
    const { data, section } = this;
    const at = Number(this.range.value);
    const isMin = this.side === "min";
    const stay = (isMin ? data.at_least : data.at_most)[at];
    const rows = (isMin ? data.rows_at_least : data.rows_at_most)[at];
    section.querySelector(".value").textContent = `${isMin ? "≥" : "≤"} ${plain(this.edge)}`;
    const share = Math.round((1000 * stay) / data.images) / 10;
    const ofRows = data.rows < data.images ? `, at least one for ${count(rows)} of ${count(data.rows)} prompts` : "";
    section.querySelector(".stay").textContent = `${count(stay)} of ${count(data.images)} images stay (${share} %)${ofRows}`;
    section.querySelectorAll("rect").forEach((bar, bin) => bar.classList.toggle("out", isMin ? bin < at : bin >= at && at < data.edges.length - 1));
    this.write();
    const link = new URL(section.dataset.link, location.href);
    const where = link.searchParams.get("where");
    link.searchParams.set("where", where ? `(${where}) and ${this.condition}` : this.condition);
    link.searchParams.set("sort", data.column);
    link.searchParams.set("order", isMin ? "asc" : "desc");
    section.querySelector(".show").href = link.pathname + link.search;
  }

  // The recipe's lines and flag, or the export of a column that is no score.
  write() {
    const limit = `{${this.side}: ${plain(this.edge)}}`;
    const lines = this.section.querySelector(".lines");
    lines.textContent = lines.dataset.lines ? lines.dataset.lines.replace("LIMIT", limit) : `${lines.dataset.export} '${this.condition}'`;
    const flag = this.section.querySelector(".flag");
    if (flag) flag.textContent = `imagemill build RECIPE ${flag.dataset.flag.replace("NAME", this.side).replace("VALUE", plain(this.edge))}`;
  }

  async look() {
    const border = this.section.querySelector(".border");
    const answer = await fetch(`${this.section.dataset.border}&value=${encodeURIComponent(plain(this.edge))}`);
    border.innerHTML = answer.ok ? await answer.text() : "";
    watchImages(border);
  }
}

document.querySelectorAll("[data-histogram]").forEach((section) => new Threshold(section));
