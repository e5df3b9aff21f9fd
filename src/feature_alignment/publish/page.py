"""Write the ledger as one HTML file that needs nothing else: to read, sort, filter and share."""

import argparse
import base64
import html
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from feature_alignment import command
from feature_alignment.audit.ledger import VERDICTS, interval, number
from feature_alignment.publish.thumbnails import thumbnail
from feature_alignment.run.spec import read_yaml
from feature_alignment.storage import read_json, write_text

FIGURE_WIDTH = 640


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True, help="ledger (JSON)")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="figures (PNG)")
    parser.add_argument("--titles", type=Path, required=True, help="titles of figures (YAML)")
    parser.add_argument("--out", type=Path, required=True, help="page to write (HTML)")
    arguments = parser.parse_args(argv)
    figures = {f"{path.parent.name}/{path.stem}": path for path in arguments.figures}
    titles = read_yaml(arguments.titles)
    links = {
        name: Path(os.path.relpath(path, arguments.out.parent)).as_posix()
        for name, path in figures.items()
    }
    images = {name: _data_uri(path) for name, path in figures.items()}
    write_text(arguments.out, page(read_json(arguments.ledger), titles, images, links))


def _data_uri(figure: Path) -> str:
    stream = io.BytesIO()
    thumbnail(figure, FIGURE_WIDTH).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def page(
    ledger: Sequence[Mapping],
    titles: Mapping[str, Mapping[str, str]],
    images: Mapping[str, str],
    links: Mapping[str, str],
) -> str:
    """Return the ledger as an HTML page.

    Args:
        ledger: Rows of a ledger.
        titles: Titles by paper and figure.
        images: What to show of a figure, as a URI, by ``paper/figure``.
        links: Where the whole figure lies, relative to the page, by the same name.

    Raises:
        ValueError: If a claim's figure has no title or image.
    """
    named = {f"{paper}/{name}": title for paper, of in titles.items() for name, title in of.items()}
    for row in ledger:
        for known, what in ((named, "a title"), (images, "an image")):
            if row["table"] not in known:
                raise ValueError(f"claim {row['id']}: expected {what} of figure {row['table']}")
    scales = sorted({row["scale"] for row in ledger})
    papers = Counter(row["paper"] for row in ledger)
    parts = {
        "scale": html.escape(", ".join(scales)),
        "verdicts": "".join(_verdict_button(verdict, ledger) for verdict in VERDICTS),
        "papers": "".join(f"<option value={p!r}>{p} ({n})</option>" for p, n in papers.items()),
        "count": str(len(ledger)),
        "rows": "\n".join(_row(place, row) for place, row in enumerate(ledger)),
        "figures": "\n".join(_figure(n, named[n], images[n], links[n]) for n in _in_order(ledger)),
    }
    text = _PAGE
    for name, part in parts.items():
        text = text.replace(f"[[{name}]]", part)
    return text


def _in_order(ledger: Iterable[Mapping]) -> Iterable[str]:
    return dict.fromkeys(row["table"] for row in ledger)


def _class(verdict: str) -> str:
    return verdict.replace(" ", "-")


def _verdict_button(verdict: str, ledger: Sequence[Mapping]) -> str:
    count = sum(row["verdict"] == verdict for row in ledger)
    return (
        f'<button type="button" class="verdict {_class(verdict)}" data-verdict="{verdict}"'
        f' aria-pressed="false">{count} {verdict}</button>'
    )


def _row(place: int, row: Mapping) -> str:
    figure = row["table"].split("/")[1]
    origin = f"{row['paper']}, figure {row['figure']}; {row['kind']}; known from {row['certainty']}"
    note = f'<p class="note">{html.escape(row["note"])}</p>' if row.get("note") else ""
    group = "" if row["group"] is None else f"numbers at {html.escape(row['group'])}; "
    details = (
        f"<details><summary><code>{row['id']}</code></summary>{note}"
        f'<p class="note">{html.escape(origin)}; {group}criterion {row["criterion"]}; needs scale'
        f" {row['needs']}; table {row['table']}, SHA-256 <code>{row['table_sha256']}</code></p>"
        "</details>"
    )
    opener = (
        f'<button type="button" class="opener" data-figure="{row["table"]}"'
        f' aria-label="Show figure {row["table"]}">{figure}</button>'
    )
    estimate = "" if row["estimate"] is None else repr(row["estimate"])
    cells = (
        ("paper", row["paper"], row["paper"]),
        ("claim", f"{html.escape(row['statement'])}{details}", row["id"]),
        ("verdict", f'<span class="verdict {_class(row["verdict"])}">{row["verdict"]}</span>', ""),
        ("estimate", html.escape(number(row["estimate"])), estimate),
        ("95 % interval", html.escape(interval(row)), ""),
        ("seeds", str(row["n"] or ""), str(row["n"] or "")),
        ("figure", opener, row["table"]),
    )
    marked = "".join(
        f'<td data-label="{label}" data-key="{html.escape(key)}">{content}</td>'
        for label, content, key in cells
    )
    return (
        f'<tr id="{row["id"]}" data-paper="{row["paper"]}" data-verdict="{row["verdict"]}"'
        f' data-place="{place}">{marked}</tr>'
    )


def _figure(name: str, title: str, image: str, link: str) -> str:
    return (
        f'<dialog id="figure-{name}" aria-label="{name}"><form method="dialog">'
        f"<button>Close</button></form><h2>{name}</h2><p>{html.escape(title)}</p>"
        f'<a data-link="{html.escape(link)}"><img alt="{html.escape(title)}" src="{image}"></a>'
        "</dialog>"
    )


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ledger of claims</title>
<style>
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #5a5a5a; --line: #ccc; --ground: #fff;
  --supported: #00634a; --contradicted: #a3320b; --inconclusive: #6a5200; --not-run: #555; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --soft: #aaa; --line: #444;
  --ground: #161616; --supported: #5fd3ae; --contradicted: #ff9d76; --inconclusive: #e3c04f;
  --not-run: #aaa; } }
body { font: 16px/1.45 system-ui, sans-serif; margin: 1.5rem auto; padding: 0 1rem;
  max-width: 82rem; color: var(--ink); background: var(--ground); }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
h2 { font-size: 1.1rem; margin: .3rem 0; }
.note, #shown { color: var(--soft); font-size: .85rem; margin: .2rem 0; overflow-wrap: anywhere; }
.filters { display: flex; flex-wrap: wrap; gap: .5rem; margin: .8rem 0; align-items: center; }
button, select, input { font: inherit; color: inherit; background: none;
  border: 1px solid var(--line); border-radius: .4rem; padding: .25rem .6rem; }
select, input { background: var(--ground); min-width: 0; }
button { cursor: pointer; }
button[aria-pressed=true] { outline: 2px solid currentColor; }
.supported { color: var(--supported); }
.contradicted { color: var(--contradicted); font-weight: 600; }
.inconclusive { color: var(--inconclusive); }
.not-run { color: var(--not-run); }
table { border-collapse: collapse; width: 100%; }
td, th { border-bottom: 1px solid var(--line); padding: .4rem .5rem; text-align: left;
  vertical-align: top; }
td[data-label=estimate], td[data-label=seeds], td[data-label="95 % interval"] {
  font-variant-numeric: tabular-nums; white-space: nowrap; }
td[data-label=claim] { width: 45%; }
th button { border: 0; padding: 0; font-weight: 600; white-space: nowrap; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
summary { cursor: pointer; color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.opener { border: 0; padding: 0; text-decoration: underline; text-align: left; }
[hidden] { display: none !important; }
dialog { max-width: min(60rem, 92vw); border: 1px solid var(--line); border-radius: .5rem;
  color: var(--ink); background: var(--ground); }
dialog form { float: right; }
dialog img { max-width: 100%; height: auto; background: #fff; }
@media (max-width: 46rem) {
  thead { position: absolute; left: -9999px; }
  table, tbody, tr, td { display: block; }
  tr { border: 1px solid var(--line); border-radius: .5rem; margin: .6rem 0; padding: .4rem; }
  td, td[data-label=claim] { border: 0; padding: .15rem .3rem; width: auto; }
  td:not([data-label=claim]):not(:empty)::before { content: attr(data-label) ": ";
    color: var(--soft); }
  td:empty { display: none; }
  td[data-label="95 % interval"] { white-space: normal; }
}
</style>
<h1>Ledger of claims</h1>
<p>Every claim was judged by its table; no verdict is typed. Scale: [[scale]].</p>
<div class="filters">
[[verdicts]]
<label>paper <select id="paper"><option value="">all</option>[[papers]]</select></label>
<label>order <select id="order">
<option value="">as claimed</option>
<option value="verdict">verdict</option>
<option value="estimate">estimate</option>
<option value="seeds">seeds</option>
</select></label>
<input id="words" type="search" placeholder="words in a claim" aria-label="words in a claim">
<button type="button" id="reset">Show all</button>
</div>
<p id="shown" aria-live="polite">[[count]] claims</p>
<table>
<thead><tr>
<th><button type="button">paper</button></th>
<th><button type="button">claim</button></th>
<th><button type="button">verdict</button></th>
<th><button type="button">estimate</button></th>
<th>95 % interval</th>
<th><button type="button">seeds</button></th>
<th><button type="button">figure</button></th>
</tr></thead>
<tbody>
[[rows]]
</tbody>
</table>
[[figures]]
<script>
"use strict";
const body = document.querySelector("tbody");
const rows = Array.from(body.rows);
const headers = Array.from(document.querySelectorAll("th"));
const buttons = Array.from(document.querySelectorAll("button[data-verdict]"));
const paper = document.getElementById("paper");
const order = document.getElementById("order");
const words = document.getElementById("words");
const SEVERITY = ["contradicted", "inconclusive", "supported", "not run"];
const state = {paper: "", verdict: [], words: "", sort: "", down: false};

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
  const sought = state.words.toLowerCase();
  let shown = 0;
  for (const row of rows) {
    const fits = (!state.paper || row.dataset.paper === state.paper)
      && (!state.verdict.length || state.verdict.includes(row.dataset.verdict))
      && (!sought || row.textContent.toLowerCase().includes(sought));
    row.hidden = !fits;
    shown += fits;
  }
  body.append(...rows.slice().sort(compare));
  document.getElementById("shown").textContent = shown === rows.length
    ? rows.length + " claims" : shown + " of " + rows.length + " claims";
  paper.value = state.paper;
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
  if (state.verdict.length) found.set("verdict", state.verdict.join(","));
  if (state.words) found.set("words", state.words);
  if (state.sort) found.set("sort", (state.down ? "-" : "") + state.sort);
  try { history.replaceState(null, "", "#" + found); } catch (error) { /* embedded in a page */ }
  show();
}
function recall() {
  const hash = location.hash.slice(1);
  const found = new URLSearchParams(hash);
  const sort = found.get("sort") || "";
  state.paper = found.get("paper") || "";
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
paper.addEventListener("change", () => { state.paper = paper.value; remember(); });
order.addEventListener("change", () => {
  state.sort = order.value; state.down = false; remember();
});
words.addEventListener("input", () => { state.words = words.value; remember(); });
document.getElementById("reset").addEventListener("click", () => {
  Object.assign(state, {paper: "", verdict: [], words: "", sort: "", down: false});
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
  whole.onload = () => { link.href = whole.src; link.firstChild.src = whole.src; };
  whole.src = link.dataset.link;  // the figure itself where it is at hand, else the copy in here
  dialog.showModal();
});
window.addEventListener("hashchange", recall);
recall();
</script>
</html>
"""


if __name__ == "__main__":
    command.run(main)
