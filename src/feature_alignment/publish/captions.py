"""Write the captions of the report: what a figure shows, at which scale, and what was found."""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from feature_alignment import command
from feature_alignment.audit.ledger import interval, number, read_ledger, remark, tallies
from feature_alignment.evidence import read_evidence
from feature_alignment.run.spec import SCALES, Paper, read_papers
from feature_alignment.schema import unknown
from feature_alignment.storage import write_text

ALIKE = 3
"""How many values of one setting are listed."""

_START = re.compile(r"^(?=\W|\w+[.)])")
_MARKUP = re.compile(r"(?=[\\`*|{}@]|_(?![^\W_])|:\S)|(?<={)(?=[%#])")
"""Where reStructuredText or Jinja could see more than words: a backslash goes there. A line may
start as a list does; references end in ``_``; addresses, which become links, have ``:`` or ``@``.
"""
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]+")


def main(argv: Sequence[str] | None = None) -> None:
    """Write a caption per figure; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True, help="ledger (JSON)")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables (CSV)")
    parser.add_argument("--papers", type=Path, required=True, help="folder of the papers")
    parser.add_argument("--schemas", type=Path, required=True, help="folder of the schemas")
    parser.add_argument("--scale", choices=SCALES, required=True, help="scale of the tables")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args(argv)
    papers = read_papers(arguments.papers, arguments.schemas)
    ledger = read_ledger(arguments.ledger)
    for table in arguments.tables:
        paper, figure = _record_of(table, papers)
        claims = [row for row in ledger if row["table"] == f"{paper.key}/{figure}"]
        parts = (
            plain(paper.figures[figure]["caption"]),
            made(table, arguments.scale),
            departures(paper, figure, arguments.scale),
            verdicts(claims),
        )
        caption = "\n\n".join(filter(None, parts)) + "\n"
        write_text(arguments.out / f"{paper.key}.{figure}.rst", caption)


def _record_of(table: Path, papers: Mapping[str, Paper]) -> tuple[Paper, str]:
    """Return the paper and the figure that a table ``<paper>/<figure>.csv`` is of."""
    key, figure = table.parent.name, table.stem
    if key not in papers:
        raise ValueError(f"{table}: {unknown(key, papers, 'paper')}")
    if figure not in papers[key].figures:
        raise ValueError(f"{table}: {unknown(figure, papers[key].figures, 'figure')}")
    return papers[key], figure


def plain(text: str) -> str:
    """Return words, on one line, for a report that reads reStructuredText and Jinja in them."""
    found = inside(text)
    return found if found.startswith("\\") else _START.sub(r"\\", found)


def inside(text: str) -> str:
    """Return such words for the inside of a line."""
    return _MARKUP.sub(r"\\", _BLANK.sub(" ", text).strip())


def made(table: Path, scale: str) -> str:
    """Return a sentence on the scale, the seeds and the data of a table.

    Raises:
        ValueError: If the table is malformed, of another scale, or not what its provenance says.
    """
    values, meta = read_evidence(table, figure=f"{table.parent.name}/{table.stem}", scale=scale)
    seeds = values["seed"].dropna().nunique()
    datasets = [
        plain(f"{name} ({dataset['note']})" if dataset["note"] else name)
        for name, dataset in meta["datasets"].items()
    ]
    parts = [f"**Scale** {scale}", f"{seeds} seeds" if seeds > 1 else f"{seeds or 'no'} seed"]
    if datasets:
        parts.append(f"data: {', '.join(sorted(datasets))}")
    return "; ".join([*parts, *map(plain, meta.get("notes", ()))]) + "."


def departures(paper: Paper, figure: str, scale: str) -> str:
    """Return a paragraph on what a scale changes of the paper's settings; empty if nothing.

    Args:
        paper: The paper's runs and figures.
        figure: A figure's name.
        scale: A scale.
    """
    if scale == SCALES[-1]:
        return ""
    changed: dict[str, dict[tuple[str, str], None]] = {}
    there = paper.runs_of(figure, scale)
    whole = paper.runs_of(figure, SCALES[-1])
    for run in there:
        if run in whole:
            here, full = (
                dict(_flat({**paper.resolve(run, at)["settings"], "seeds": paper.seeds(run, at)}))
                for at in (scale, SCALES[-1])
            )
            for key in [*here, *(key for key in full if key not in here)]:
                pair = (here.get(key, "none"), full.get(key, "none"))
                if pair[0] != pair[1]:
                    changed.setdefault(key, {})[pair] = None
    items = [
        inside(f"{key} " + _listed([f"{here} instead of {full}" for here, full in pairs]))
        for key, pairs in changed.items()
    ]
    for runs, others, what in ((whole, there, "left out"), (there, whole, "at this scale alone")):
        names = [run for run in runs if run not in others]
        if names:
            items.append(inside(f"runs {what}: {_listed(names)}"))
    return f"**Departs from the full scale:** {'; '.join(items)}." if items else ""


def _listed(names: Sequence[str]) -> str:
    more = len(names) - ALIKE
    return ", ".join(names[:ALIKE]) + (f" and {more} more" if more > 0 else "")


def _flat(settings: Mapping, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", "[" + ", ".join(map(str, value)) + "]"
        else:
            yield f"{prefix}{key}", "none" if value is None else str(value)


def verdicts(claims: Sequence[Mapping]) -> str:
    """Return the claims about a figure as a list, each with its verdict and what was found."""
    if not claims:
        return "**Claims:** none is stated about this figure."
    lines = [f"**Claims:** {'; '.join(tallies(claims))}.", ""]
    for row in claims:
        line = f"- *{inside(row['verdict'])}* ({inside(row['class'])}): {plain(row['statement'])}"
        line += f" {number(row['estimate'])}"
        if row["low"] != row["high"]:  # the same where a value is exact
            line += f" ({interval(row)}; n = {row['n']})"
        if row["group"] is not None:
            line += f" at {plain(row['group'])}"
        if more := remark(row):
            line = f"{line.rstrip()}; {inside(more)}"
        lines.append(line.rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main)
