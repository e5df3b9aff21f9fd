"""Judge every claim by its table and write the ledger."""

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from feature_alignment import command
from feature_alignment.audit.claims import read_claims
from feature_alignment.audit.criteria import CRITERIA, INCONCLUSIVE, Outcome
from feature_alignment.run.spec import SCALES
from feature_alignment.storage import replacing, sha256, write_json
from feature_alignment.tables import read_table

NOT_RUN = "not run"
BOUNDS = ("_above", "_below")
"""Endings of measures that are bounds on the measure before them, where it could not be had."""
VERDICTS = ("supported", "contradicted", "inconclusive", NOT_RUN)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the ledger and print how many claims got which verdict; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=Path, nargs="+", required=True, help="claims (YAML)")
    parser.add_argument("--schema", type=Path, required=True, help="schema of a claims file")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables (CSV)")
    parser.add_argument("--scale", choices=SCALES, required=True, help="scale of the tables")
    parser.add_argument("--only", help="judge only the claims on this table, and print each")
    parser.add_argument("--json", type=Path, required=True, help="ledger to write")
    parser.add_argument("--csv", type=Path, required=True, help="ledger to write")
    arguments = parser.parse_args(argv)
    claims = read_claims(arguments.claims, arguments.schema)
    if arguments.only is not None:
        claims = claims_on(arguments.only, claims)
    tables = {f"{path.parent.name}/{path.stem}": path for path in arguments.tables}
    rows = [judge(claim, tables, arguments.scale) for claim in claims]
    write_json(arguments.json, rows)
    with replacing(arguments.csv) as temporary:
        pd.DataFrame(rows).astype({"n": "Int64"}).to_csv(
            temporary, index=False, lineterminator="\n"
        )
    if arguments.only is not None:
        print(*map(line, rows), sep="\n")
    noun = "claim" if len(rows) == 1 else "claims"
    print(f"{len(rows)} {noun} at scale {arguments.scale}: {counts(rows)}")


def claims_on(table: str, claims: Sequence[Mapping]) -> list[Mapping]:
    """Return the claims whose evidence is one table, ``paper/figure``.

    Raises:
        ValueError: If there is none.
    """
    chosen = [claim for claim in claims if claim["evidence"]["table"] == table]
    if not chosen:
        known = ", ".join(sorted({claim["evidence"]["table"] for claim in claims}))
        raise ValueError(f"no claim rests on the table {table!r}; there are claims on: {known}")
    return chosen


def judge(claim: Mapping, tables: Mapping[str, Path], scale: str) -> dict:
    """Return the ledger's row for one claim.

    Below the scale that the claim needs, the verdict is ``not run``, whatever the numbers say.

    Args:
        claim: A claim, as :func:`read_claims` returns it.
        tables: Files by the name that claims call a table, ``paper/figure``.
        scale: The scale of the tables.

    Raises:
        ValueError: If the claim's table is missing, lacks a column, or has no fitting rows.
    """
    name = claim["evidence"]["table"]
    path = tables.get(name)
    if path is None or not path.is_file():
        raise ValueError(f"claim {claim['id']}: the table {name} is missing")
    row = {
        "id": claim["id"],
        "verdict": NOT_RUN,
        "estimate": None,
        "low": None,
        "high": None,
        "n": None,
        "group": None,
        "scale": scale,
        "table": name,
        "table_sha256": sha256(path),
        "paper": claim["paper"],
        "figure": claim["source"]["figure"],
        "certainty": claim["source"]["certainty"],
        "kind": claim["kind"],
        "needs": claim["needs"],
        "criterion": claim["test"]["criterion"],
        "statement": claim["statement"],
        "note": claim.get("note"),
    }
    try:
        rows = _evidence(read_table(path), claim["evidence"].get("where"), claim["test"])
        if SCALES.index(scale) >= SCALES.index(claim["needs"]):
            row.update(_result(rows, claim["test"]))
    except ValueError as error:
        raise ValueError(f"claim {claim['id']}: {path}: {error}") from error
    return row


def _evidence(table: pd.DataFrame, where: str | None, test: Mapping) -> pd.DataFrame:
    known = set(table.columns)
    if test["criterion"] == "rank_correlates":  # x may be a measure there
        known |= set(table["measure"])
    for column in [test.get("x"), *test.get("over", ())]:
        if column is not None and column not in known:
            raise ValueError(f"no column {column!r}; the table has: {', '.join(table.columns)}")
    named = [test[key] for key in ("y", "greater", "lesser", "first", "second") if key in test]
    measures = {name for name in named if isinstance(name, str)}
    bounded = table["measure"].str.replace(f"({'|'.join(BOUNDS)})$", "", regex=True)
    unknown = sorted(measures - {*table["measure"], *bounded})
    if unknown:
        known = ", ".join(sorted(table["measure"].unique()))
        raise ValueError(f"no rows with measure {unknown[0]!r}; there are: {known}")
    if where is None:
        return table
    try:
        return table.query(where, engine="python")
    except (pd.errors.UndefinedVariableError, SyntaxError, TypeError) as error:
        raise ValueError(f"cannot select rows where {where!r}: {error}") from error


def _result(rows: pd.DataFrame, test: Mapping) -> dict:
    options = {key: value for key, value in test.items() if key != "criterion"}
    bounds = rows[rows["measure"].isin([f"{test.get('y')}{ending}" for ending in BOUNDS])]
    if not bounds.empty:  # a mean over the seeds that have a value would be one of a selection
        found = {"verdict": INCONCLUSIVE, "estimate": None, "low": None, "high": None}
        return {**found, "n": bounds["seed"].nunique()}
    outcome: Outcome = CRITERIA[test["criterion"]](rows, **options)
    return {
        "verdict": outcome.verdict,
        "estimate": _finite(outcome.estimate),
        "low": _finite(outcome.low),
        "high": _finite(outcome.high),
        "n": outcome.n,
        "group": outcome.group or None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def counts(rows: Sequence[Mapping]) -> str:
    """Return how many rows have which verdict, such as ``3 supported, 1 not run``."""
    found = Counter(row["verdict"] for row in rows)
    return ", ".join(f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict])


def line(row: Mapping) -> str:
    """Return a ledger row as one line, such as ``a.b: supported, 2.1 (1.9 to 2.3), n = 3``."""
    text = f"{row['id']}: {row['verdict']}"
    if row["estimate"] is not None:
        text += f", {number(row['estimate'])}"
        if interval(row):
            text += f" ({interval(row)})"
    if row["n"] is not None:
        text += f", n = {row['n']}"
    if row["group"] is not None:
        text += f", at {row['group']}"
    return text if row["verdict"] != NOT_RUN else f"{text}, needs scale {row['needs']}"


def number(value: float | None) -> str:
    """Return a value with four significant digits, or nothing."""
    return "" if value is None else f"{value:.4g}"


def interval(row: Mapping) -> str:
    """Return the interval of a ledger row as text, or nothing where there is none."""
    if row["low"] is None or row["high"] is None:
        return ""
    return f"{number(row['low'])} to {number(row['high'])}"


if __name__ == "__main__":
    command.run(main)
