"""Judge every claim by its table and write the ledger."""

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from feature_alignment import command
from feature_alignment.audit.claims import read_claims
from feature_alignment.audit.condition import select
from feature_alignment.audit.criteria import CRITERIA
from feature_alignment.audit.criterion import CONTRADICTED, INCONCLUSIVE, SUPPORTED
from feature_alignment.audit.judging import Rows
from feature_alignment.evidence import read_evidence
from feature_alignment.run.spec import SCALES
from feature_alignment.schema import validate
from feature_alignment.storage import read_json, replacing, sha256, write_json
from feature_alignment.tables import guarded

NOT_RUN = "not run"
VERDICTS = (SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_RUN)


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
        table = guarded(pd.DataFrame(rows).astype({"n": "Int64"}))
        table.to_csv(temporary, index=False, lineterminator="\n")
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
        ValueError: If the claim's table is missing, lacks a column, is not what its provenance
            says, or has no fitting rows.
    """
    name = claim["evidence"]["table"]
    path = tables.get(name)
    if path is None or not path.is_file():
        raise ValueError(f"claim {claim['id']}: the table {name} is missing")
    options = dict(claim["test"])
    criterion = CRITERIA[options.pop("criterion")]
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
        "criterion": criterion.name,
        "statement": claim["statement"],
        "note": claim.get("note"),
    }
    try:
        table, _ = read_evidence(path, figure=name, scale=scale)
        Rows(table).check(criterion.names(options))
        chosen = table
        if "where" in claim["evidence"]:
            chosen = select(table, claim["evidence"]["where"])
        if SCALES.index(scale) >= SCALES.index(claim["needs"]):
            outcome = criterion(chosen, **options)
            numbers = {key: _finite(getattr(outcome, key)) for key in ("estimate", "low", "high")}
            row |= {"verdict": outcome.verdict, **numbers, "n": outcome.n}
            row["group"] = outcome.group or None
    except ValueError as error:
        raise ValueError(f"claim {claim['id']}: {path}: {error}") from error
    return row


def read_ledger(path: Path) -> list[dict]:
    """Read a ledger.

    Raises:
        ValueError: If the file is not a list of rows, or a row lacks a key or has another value
            than :func:`judge` gives it.
    """
    rows = read_json(path)
    validate(rows, {"type": "array", "items": _ROW}, f"{path}, a ledger,")
    return rows


_TEXT, _NUMBER = {"type": "string"}, {"type": ["number", "null"]}
_VALUES = {
    "id": _TEXT,
    "verdict": {"enum": list(VERDICTS)},
    "estimate": _NUMBER,
    "low": _NUMBER,
    "high": _NUMBER,
    "n": {"type": ["integer", "null"], "minimum": 0},
    "group": {"type": ["string", "null"]},
    "scale": {"enum": list(SCALES)},
    "table": {"type": "string", "pattern": "^[^/]+/[^/]+$"},
    "table_sha256": _TEXT,
    "paper": _TEXT,
    "figure": _TEXT,
    "certainty": _TEXT,
    "kind": _TEXT,
    "needs": {"enum": list(SCALES)},
    "criterion": _TEXT,
    "statement": _TEXT,
    "note": {"type": ["string", "null"]},
}
_ROW = {
    "type": "object",
    "required": list(_VALUES),
    "properties": _VALUES,
    "additionalProperties": False,
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
