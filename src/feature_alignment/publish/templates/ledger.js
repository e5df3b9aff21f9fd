"use strict";
const body = document.querySelector("tbody");
const rows = Array.from(body.rows);
const texts = new Map(rows.map(row => [row, plain(row.textContent)]));
const headers = Array.from(document.querySelectorAll("th"));
const buttons = Array.from(document.querySelectorAll("button[data-verdict]"));
const paper = document.getElementById("paper");
const kind = document.getElementById("class");
const order = document.getElementById("order");
const words = document.getElementById("words");
const SEVERITY = ["contradicted", "unfit", "at threshold", "open", "equivalent", "supported",
  "not run"];
const state = {paper: "", kind: "", verdict: [], words: "", sort: "", down: false};

function plain(text) { return text.replace(/\s+/g, " ").toLowerCase(); }
function key(row, name) {
  if (name === "") return Number(row.dataset.place);
  if (name === "verdict") return SEVERITY.indexOf(row.dataset.verdict);
  const text = row.querySelector('td[data-label="' + name + '"]').dataset.key;
  if (name === "estimate" || name === "seeds") return text === "" ? null : Number(text);
  return text;
}
function compare(a, b) {
  const x = key(a, state.sort), y = key(b, state.sort);
  if (x === null || y === null) return (x === null) - (y === null) || tie(a, b);
  const sign = state.down ? -1 : 1;
  return x < y ? -sign : x > y ? sign : tie(a, b);
}
function tie(a, b) { return a.dataset.place - b.dataset.place; }
function show() {
  const sought = plain(state.words);
  let shown = 0;
  for (const row of rows) {
    const fits = (!state.paper || row.dataset.paper === state.paper)
      && (!state.kind || row.dataset.class === state.kind)
      && (!state.verdict.length || state.verdict.includes(row.dataset.verdict))
      && (!sought || texts.get(row).includes(sought));
    row.hidden = !fits;
    shown += fits;
  }
  body.append(...rows.toSorted(compare));
  document.getElementById("shown").textContent = shown === rows.length
    ? rows.length + " claims" : shown + " of " + rows.length + " claims";
  paper.value = state.paper;
  kind.value = state.kind;
  words.value = state.words;
  order.value = state.sort;
  for (const button of buttons)
    button.setAttribute("aria-pressed", state.verdict.includes(button.dataset.verdict));
  for (const header of headers) {
    const sorted = state.sort && header.textContent === state.sort;
    if (sorted) header.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else header.removeAttribute("aria-sort");
  }
}
function remember() {
  const found = new URLSearchParams();
  if (state.paper) found.set("paper", state.paper);
  if (state.kind) found.set("class", state.kind);
  if (state.verdict.length) found.set("verdict", state.verdict.join(","));
  if (state.words) found.set("words", state.words);
  if (state.sort) found.set("sort", (state.down ? "-" : "") + state.sort);
  try { history.replaceState(null, "", "#" + found); } catch { /* embedded in a page */ }
  show();
}
function recall() {
  const hash = location.hash.slice(1);
  const found = new URLSearchParams(hash);
  const sort = found.get("sort") || "";
  state.paper = found.get("paper") || "";
  state.kind = found.get("class") || "";
  state.verdict = (found.get("verdict") || "").split(",").filter(v => SEVERITY.includes(v));
  state.words = found.get("words") || "";
  state.down = sort.startsWith("-");
  state.sort = sort.replace("-", "");
  if (!headers.some(header => header.textContent === state.sort)) state.sort = "";
  show();
  const target = hash && document.getElementById(hash);
  if (target) target.scrollIntoView();
}
for (const button of buttons) button.addEventListener("click", () => {
  const verdict = button.dataset.verdict;
  state.verdict = state.verdict.includes(verdict)
    ? state.verdict.filter(other => other !== verdict) : state.verdict.concat(verdict);
  remember();
});
kind.addEventListener("change", () => { state.kind = kind.value; remember(); });
paper.addEventListener("change", () => { state.paper = paper.value; remember(); });
order.addEventListener("change", () => {
  state.sort = order.value; state.down = false; remember();
});
words.addEventListener("input", () => { state.words = words.value; remember(); });
document.getElementById("reset").addEventListener("click", () => {
  Object.assign(state, {paper: "", kind: "", verdict: [], words: "", sort: "", down: false});
  remember();
});
for (const header of headers) if (header.firstElementChild)
  header.firstElementChild.addEventListener("click", () => {
    const name = header.textContent;
    state.down = state.sort === name && !state.down;
    state.sort = name;
    remember();
  });
body.addEventListener("click", event => {
  const opener = event.target.closest(".opener");
  if (!opener) return;
  const dialog = document.getElementById("figure-" + opener.dataset.figure);
  const link = dialog.querySelector("a"), whole = new Image();
  whole.addEventListener("load", () => {
    link.href = whole.src;
    link.firstChild.src = whole.src;
  });
  whole.src = link.dataset.link;  // the figure itself where it is at hand, else the copy in here
  dialog.showModal();
});
window.addEventListener("hashchange", recall);
recall();
