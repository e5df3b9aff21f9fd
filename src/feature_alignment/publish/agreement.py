"""Say whether the tables of a run agree with the published ones.

Runs on one kind of processor, with the same versions of the packages that compute, have the same
bytes. Elsewhere sums are rounded otherwise, and every measure may be off by its tolerance, as
:mod:`feature_alignment.publish.rounding` tells; tables of which no measure can be compared so are
counted apart. The program ends with an error if a table does not agree, and names it, the measure
and the place.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from feature_alignment import command
from feature_alignment.audit.ledger import number
from feature_alignment.publish.compare import compare
from feature_alignment.publish.rounding import Tolerances
from feature_alignment.tables import read_meta, read_table, where

COMPUTING = ("torch", "numpy", "scipy")
"""Packages whose versions decide how numbers are rounded."""
SAME, WITHIN, APART, UNTOLD = "the same bytes", "within tolerances", "apart", "not compared"
NAMED = 3
"""How many measures of a table that does not agree are told."""


@dataclass(frozen=True)
class Finding:
    """What was found of one table.

    Attributes:
        table: ``<paper>/<figure>``.
        verdict: :data:`SAME`, :data:`WITHIN`, :data:`APART` or :data:`UNTOLD`.
        reasons: In what it is apart, a line each.
        passed_over: How many of its values no tolerance is known for, or one that says nothing.
        values: How many values it has.
    """

    table: str
    verdict: str
    reasons: tuple[str, ...] = ()
    passed_over: int = 0
    values: int = 0


def kind(meta: Mapping) -> dict[str, str]:
    """Return what decides how the numbers of a table were rounded, from its provenance."""
    made = meta.get("runs") or [meta]
    facts = {
        "processor": [run.get("processor", "not recorded") for run in made],
        "device": [run.get("device", "cpu") for run in made],
        "system": [run["platform"] for run in made],
    }
    facts |= {name: [run["packages"].get(name, "none") for run in made] for name in COMPUTING}
    return {name: ", ".join(sorted(set(found))) for name, found in facts.items()}


def agreement(fresh: Path, published: Path) -> list[Finding]:
    """Compare the tables of a run with every published one.

    Args:
        fresh: Folder of the run's tables, ``<paper>/<figure>.csv``.
        published: Folder of published results, with ``tables`` and the tolerances.
    """
    tolerances = Tolerances.read(published)
    twins = sorted((published / "tables").glob("*/*.csv"))
    pairs = [(fresh / twin.parent.name / twin.name, twin) for twin in twins]
    found = compare([own for own, _ in pairs], published / "tables")
    return [
        _judged(own, twin, found[found["table"].isin([name, f"{name}.npz"])], tolerances)
        for own, twin in pairs
        for name in [f"{twin.parent.name}/{twin.stem}"]
    ]


def _judged(fresh: Path, published: Path, rows: pd.DataFrame, tolerances: Tolerances) -> Finding:
    name = f"{published.parent.name}/{published.stem}"
    if rows["problem"].notna().any():
        return Finding(name, APART, tuple(rows["problem"].dropna()))
    values = int(rows["values"].sum())
    if rows["same_bytes"].all():
        return Finding(name, SAME, values=values)
    is_kin = kind(read_meta(fresh)) == kind(read_meta(published))
    reasons, passed_over = [], 0
    for row in rows.itertuples():
        allowed = 0.0 if is_kin else tolerances.of(row.table, row.measure)
        if allowed is None:
            passed_over += row.values
        elif row.only_fresh or row.only_published:
            reasons.append(_missing(row))
        elif row.largest_difference > allowed:
            place = _worst(fresh, published, row.measure) if row.table == name else row.measure
            limit = f"; it may be off by {number(allowed)}" if allowed else ""
            reasons.append(f"{place}, off by {number(row.largest_difference)}{limit}")
    if reasons:
        return Finding(name, APART, tuple(reasons), values=values)
    if passed_over == values:
        return Finding(name, UNTOLD, passed_over=passed_over, values=values)
    return Finding(name, WITHIN, passed_over=passed_over, values=values)


def _missing(row) -> str:
    sides = {"only in the run": row.only_fresh, "only in the published table": row.only_published}
    told = " and ".join(f"{count} {side}" for side, count in sides.items() if count)
    return f"measure {row.measure}: of its values {told}"


def _worst(fresh: Path, published: Path, measure: str) -> str:
    """Return the place of the value that is farthest off, with what it is there."""
    tables = [read_table(path) for path in (fresh, published)]
    ours, theirs = (table[table["measure"] == measure] for table in tables)
    places = [name for name in theirs.columns if name != "value"]
    both = ours.merge(theirs, on=places, suffixes=("", "_published"))
    far = (both["value"] - both["value_published"]).abs().idxmax()
    row = both.loc[[far]]
    return f"{where(row[[*places, 'value']])}, published {row['value_published'].iloc[0]}"


def told(findings: Sequence[Finding], kinds: Sequence[Mapping[str, str]]) -> list[str]:
    """Return what was found in lines, the count of tables that agree last."""
    by = {
        verdict: [finding for finding in findings if finding.verdict == verdict]
        for verdict in (SAME, WITHIN, APART, UNTOLD)
    }
    lines = []
    here, there = kinds
    others = [f"{key} {here[key]} for {there[key]}" for key in here if here[key] != there[key]]
    if others and len(by[SAME]) < len(findings):
        lines.append(f"Made by another kind of computer: {'; '.join(others)}.")
    if by[UNTOLD]:
        names = ", ".join(finding.table for finding in by[UNTOLD])
        lines.append(
            f"{len(by[UNTOLD])} tables cannot be compared between kinds of processor, since their"
            f" trainings magnify rounding: {names}."
        )
    for finding in by[APART]:
        lines.append(f"{finding.table} does not agree:")
        lines += [f"  {reason}" for reason in finding.reasons[:NAMED]]
        if more := len(finding.reasons) - NAMED:
            lines += [f"  and {more} more measures"] if more > 0 else []
    total = len(findings) - len(by[UNTOLD])
    agree = len(by[SAME]) + len(by[WITHIN])
    last = f"{agree} of {total} tables agree with the published ones"
    if by[WITHIN]:
        compared = sum(finding.values - finding.passed_over for finding in by[WITHIN])
        of = sum(finding.values for finding in by[WITHIN])
        last += (
            f": {len(by[SAME])} byte by byte, {len(by[WITHIN])} within tolerances"
            f" ({compared} of their {of} values)"
        )
    elif not by[UNTOLD] and agree == total:
        last += ", byte by byte"
    lines.append(last + (f"; {len(by[UNTOLD])} not compared." if by[UNTOLD] else "."))
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Print whether a run agrees with what is published; see ``--help`` for the arguments.

    Raises:
        ValueError: If some table does not agree, or there is none to agree with.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", type=Path, required=True, help="folder of the tables of a run")
    parser.add_argument("--published", type=Path, required=True, help="folder of published results")
    arguments = parser.parse_args(argv)
    findings = agreement(arguments.fresh, arguments.published)
    if not findings:
        raise ValueError(f"expected published tables in {arguments.published}/tables, found none")
    kinds = [_kinds(arguments.fresh, findings), _kinds(arguments.published / "tables", findings)]
    *lines, last = told(findings, kinds)
    print("\n".join(lines) + "\n" if lines else "", end="", flush=True)
    if any(finding.verdict == APART for finding in findings):
        raise ValueError(
            f"{last} Was the code or a setting changed since they were published?"
            " `snakemake compare`, with the same --config, sets all values next to those published."
        )
    print(last)


def _kinds(folder: Path, findings: Sequence[Finding]) -> dict[str, str]:
    """Return the kinds of computer that made the tables there are in a folder."""
    paths = [folder / f"{finding.table}.csv" for finding in findings]
    found = [kind(read_meta(path)) for path in paths if path.is_file()]
    names = dict.fromkeys(name for one in found for name in one)
    return {name: ", ".join(sorted({one[name] for one in found})) for name in names}


if __name__ == "__main__":
    command.run(main)
