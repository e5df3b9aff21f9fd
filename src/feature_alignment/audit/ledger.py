"""Judge every claim by its table and write the ledger."""

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pandas as pd

from feature_alignment import command
from feature_alignment.audit import inference
from feature_alignment.audit.claims import CLASSES, NOT_MEASURED, read_claims
from feature_alignment.audit.condition import select
from feature_alignment.audit.criteria import CRITERIA
from feature_alignment.audit.criterion import (
    EQUIVALENT,
    NOT_RUN,
    OPEN,
    SUPPORTED,
    UNFIT,
    VERDICTS,
    Criterion,
    LackingError,
    Scale,
)
from feature_alignment.audit.judging import Rows
from feature_alignment.audit.looks import phase
from feature_alignment.audit.verdicts import Outcome, census, decide
from feature_alignment.evidence import read_evidence
from feature_alignment.integrity import meta_path, read_verified, sealed
from feature_alignment.run.spec import SCALES
from feature_alignment.schema import validate
from feature_alignment.storage import replacing, sha256, write_json
from feature_alignment.tables import guarded

NOT_PUBLISHED = "not in the published table"
"""Why a claim that is newer than a published table is not run."""
INFORMATIVE = ("paper", "ours")
"""Classes of claims whose truth could not be known before."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the ledger and print how many claims got which verdict; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=Path, nargs="+", required=True, help="claims (YAML)")
    parser.add_argument("--schema", type=Path, required=True, help="schema of a claims file")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables (CSV)")
    parser.add_argument("--scale", choices=SCALES, required=True, help="scale of the tables")
    parser.add_argument(
        "--only",
        help="judge only the claims on this table, and print each; checks on the other tables that"
        " are given gate them",
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="the tables were published before, so that they may lack what newer claims rest on;"
        " these are then not run",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="tables of runs that have not finished are not given; claims on them are not run",
    )
    parser.add_argument("--json", type=Path, required=True, help="ledger to write")
    parser.add_argument("--csv", type=Path, required=True, help="ledger to write")
    arguments = parser.parse_args(argv)
    claims = read_claims(arguments.claims, arguments.schema)
    tables = {f"{path.parent.name}/{path.stem}": path for path in arguments.tables}
    if arguments.only is not None:
        chosen = claims_on(arguments.only, claims)
        gates = [
            claim
            for claim in claims
            if claim["class"] == "check"
            and claim["evidence"]["table"] in tables
            and claim not in chosen
        ]
        judged = judge_all([*chosen, *gates], tables, arguments.scale, arguments.published)
        rows = judged[: len(chosen)]
    else:
        given, waiting = claims, []
        if arguments.partial:
            given = [claim for claim in claims if claim["evidence"]["table"] in tables]
            waiting = [claim for claim in claims if claim["evidence"]["table"] not in tables]
        judged = judge_all(given, tables, arguments.scale, arguments.published)
        judged += [not_finished(claim, arguments.scale) for claim in waiting]
        by_id = {row["id"]: row for row in judged}
        rows = [by_id[claim["id"]] for claim in claims]
    write_json(arguments.json, rows)
    with replacing(arguments.csv) as temporary:
        table = guarded(pd.DataFrame(map(flat, rows)).astype({"n": "Int64", "needed": "Int64"}))
        table.to_csv(temporary, index=False, lineterminator="\n")
    checksums = {"json": sha256(arguments.json), "csv": sha256(arguments.csv)}
    write_json(meta_path(arguments.json), sealed({"checksums": checksums}))
    if arguments.only is not None:
        print(*map(line, rows), sep="\n")
    noun = "claim" if len(rows) == 1 else "claims"
    print(f"{len(rows)} {noun} at scale {arguments.scale}:", *tallies(rows), sep="\n  ")


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


def judge_all(
    claims: Sequence[Mapping], tables: Mapping[str, Path], scale: str, published: bool = False
) -> list[dict]:
    """Return the ledger's rows for claims, of which the checks gate the others.

    The q-values are Benjamini and Hochberg's, over the claims of class ``paper`` and ``ours`` that
    have a p-value.

    Args:
        claims: Claims, as :func:`read_claims` returns them.
        tables: Files by the name that claims call a table, ``paper/figure``.
        scale: The scale of the tables.
        published: Whether the tables were published before, and may be older than the claims: a
            claim on what they lack is then not run, where it is an error else.

    Raises:
        ValueError: If a claim's table is missing, lacks a column, is not what its provenance says,
            or has no fitting rows.
    """
    held: dict = {}
    failing: dict[tuple[str, str], str] = {}
    rows: dict[str, dict] = {}
    for claim in sorted(claims, key=lambda claim: claim["class"] != "check"):
        rows[claim["id"]], failed = _judged(claim, tables, scale, held, failing, published)
        failing |= {(claim["paper"], run): claim["id"] for run in failed}
    tested = [row for row in rows.values() if row["class"] in INFORMATIVE and row["p"] is not None]
    for row, q in zip(tested, inference.false_discovery([row["p"] for row in tested]), strict=True):
        row["q"] = q
    return [rows[claim["id"]] for claim in claims]


def not_finished(claim: Mapping, scale: str) -> dict:
    """Return the ledger's row for a claim of which no table can be made yet."""
    return _row(claim, Outcome(NOT_RUN, reason="some run of its table has not finished"), scale)


def judge(claim: Mapping, tables: Mapping[str, Path], scale: str) -> dict:
    """Return the ledger's row for one claim alone, gated by no check but its own."""
    return judge_all([claim], tables, scale)[0]


def _judged(
    claim: Mapping,
    tables: Mapping[str, Path],
    scale: str,
    held: dict,
    failing: Mapping[tuple[str, str], str],
    published: bool,
) -> tuple[dict, list[str]]:
    """Return a claim's row and, of a check, the runs that fail it."""
    name = claim["evidence"]["table"]
    path = tables.get(name)
    if path is None or not path.is_file():
        raise ValueError(f"claim {claim['id']}: the table {name} is missing")
    try:
        if name not in held:
            held[name] = (read_evidence(path, figure=name, scale=scale)[0], sha256(path))
        table, checksum = held[name]
        criterion, options = criterion_of(claim["test"])
        lacking = _lacking(table, criterion, options)
        if lacking is not None and not published:
            raise lacking
        chosen = _rows(table, claim["evidence"])
        outcome, failed, asks = Outcome(NOT_RUN), [], ""
        if lacking is not None:
            outcome = Outcome(NOT_RUN, reason=NOT_PUBLISHED)
        elif SCALES.index(scale) >= SCALES.index(claim["needs"]):
            question = criterion(chosen, **options)
            asks = getattr(question, "asked", "")
            gate = next(
                (
                    (run, failing[claim["paper"], run])
                    for run in chosen["run"].dropna().unique()
                    if (claim["paper"], run) in failing
                ),
                None,
            )
            if claim["class"] in ("check", "identity"):
                outcome = census(question)
                failed = []
                if claim["class"] == "check":
                    failed = _failing(chosen, criterion, options)
            elif gate is not None:
                outcome = Outcome(UNFIT, reason=f"run {gate[0]} fails {gate[1]}")
            else:
                references = _references(claim, table, published)
                measured = {name: asked for name, asked in references.items() if asked is not None}
                outcome = _informed(decide(question, measured), claim, references)
    except ValueError as error:
        raise ValueError(f"claim {claim['id']}: {path}: {error}") from error
    return _row(claim, outcome, scale, checksum, asks), failed


def _row(claim: Mapping, outcome: Outcome, scale: str, checksum: str = "", asks: str = "") -> dict:
    """Return a claim's row, as :data:`_ROW` says; without a checksum, of no table."""
    criterion, options = criterion_of(claim["test"])
    numbers = {
        key: _finite(getattr(outcome, key)) for key in ("estimate", "low", "high", "least", "most")
    }
    return {
        "id": claim["id"],
        "class": claim["class"],
        "verdict": outcome.verdict,
        "reason": outcome.reason or None,
        **numbers,
        "averaged": outcome.scale,
        "reported": claim.get("reported"),
        "p": outcome.p,
        "q": None,
        "n": len(outcome.seeds) or (1 if outcome.values else None),
        "seeds": spans(outcome.seeds) or None,
        "phase": phase(outcome.seeds) if outcome.seeds else None,
        "needed": outcome.needed,
        "group": outcome.group or None,
        "values": [value for value in outcome.values if math.isfinite(value)],
        "beaten": {name: dict(found) for name, found in outcome.beaten.items()},
        "untrained": told(claim.get("untrained")),
        "control": told(claim.get("control")),
        "scale": scale,
        "table": claim["evidence"]["table"],
        "table_sha256": checksum,
        "paper": claim["paper"],
        "place": claim["source"]["place"],
        "certainty": claim["source"]["certainty"],
        "kind": claim["kind"],
        "needs": claim["needs"],
        "criterion": criterion.name,
        "asks": in_words(asks, options, claim) or None,
        "statement": claim["statement"],
        "note": claim.get("note"),
    }


def criterion_of(test: Mapping) -> tuple[Criterion, dict]:
    """Return the criterion that a claim's test names, and its options."""
    options = dict(test)
    return CRITERIA[options.pop("criterion")], options


def _rows(table: pd.DataFrame, evidence: Mapping) -> pd.DataFrame:
    return select(table, evidence["where"]) if "where" in evidence else table


def _lacking(table: pd.DataFrame, criterion: Criterion, options: Mapping) -> LackingError | None:
    """Return what a table lacks of what a question names, if anything."""
    try:
        Rows(table).check(criterion.names(options))
    except LackingError as error:
        return error
    return None


def _references(claim: Mapping, table: pd.DataFrame, published: bool) -> dict:
    """Return what a claim asks of the untrained network, and in its control.

    What a table that was published before lacks is ``None``.
    """
    found = {}
    for name in ("untrained", "control"):
        changes = claim.get(name)
        if isinstance(changes, Mapping):
            criterion, options = criterion_of(claim["test"] | changes.get("test", {}))
            options = {key: value for key, value in options.items() if value is not None}
            where = {**claim["evidence"], **{k: changes[k] for k in ("where",) if k in changes}}
            lacking = _lacking(table, criterion, options)
            if lacking is not None and not published:
                raise lacking
            found[name] = criterion(_rows(table, where), **options) if lacking is None else None
    return found


def _informed(outcome: Outcome, claim: Mapping, references: Mapping) -> Outcome:
    """Return an outcome, open where it would be support and a reference was not measured."""
    missing = [name for name, found in references.items() if found is None]
    if claim.get("untrained") == NOT_MEASURED:
        missing.insert(0, "untrained")
    if missing and outcome.verdict in (SUPPORTED, EQUIVALENT):
        what = {"untrained": "the untrained network", "control": "the control"}[missing[0]]
        return replace(outcome, verdict=OPEN, reason=f"{what} was not measured")
    return outcome


def _failing(chosen: pd.DataFrame, criterion: Criterion, options: Mapping) -> list[str]:
    """Return the runs of which some seed fails a check."""
    return [
        run
        for run, rows in chosen.groupby("run")
        if census(criterion(rows, **options)).verdict != SUPPORTED
    ]


def told(reference: str | Mapping | None) -> str | None:
    """Return in words what a claim is compared with."""
    if not isinstance(reference, Mapping):
        return reference
    parts = [f"{key} {value}" for key, value in reference.get("test", {}).items()]
    return ", ".join([*([reference["where"]] if "where" in reference else []), *parts])


def in_words(asked: str, options: Mapping, claim: Mapping) -> str:
    """Return what is asked with groups and condition, such as ``loss … ≥ 2, for every layer``."""
    if not asked:
        return ""
    parts = [asked]
    if options.get("over"):
        every = " and ".join(name.replace("_", " ") for name in options["over"])
        share = options.get("share", 1)
        parts.append(f"for every {every}" if share == 1 else f"in {share:.0%} of every {every}")
    elif options.get("share", 1) != 1:
        parts.append(f"in {options['share']:.0%} of places")
    text = ", ".join(parts)
    where = claim["evidence"].get("where")
    return f"{text}; where {where}" if where else text


def spans(seeds: Sequence[int]) -> str:
    """Return such as ``0 to 4, 7``."""
    found: list[list[int]] = []
    for seed in seeds:
        if found and seed == found[-1][-1] + 1:
            found[-1].append(seed)
        else:
            found.append([seed])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in found)


def flat(row: Mapping) -> dict:
    """Return a row without nesting, for a table of cells."""
    values = " ".join(f"{value:.6g}" for value in row["values"])
    beaten = "; ".join(
        f"{name}: {'beaten' if found['beaten'] else 'not beaten'}"
        for name, found in row["beaten"].items()
    )
    return {**row, "values": values, "beaten": beaten}


def read_ledger(path: Path) -> list[dict]:
    """Read a ledger.

    Raises:
        ValueError: If the file was changed since it was written, is not a list of rows, or a row
            lacks a key or has another value than :func:`judge` gives it.
    """
    rows = read_verified(path)
    validate(rows, {"type": "array", "items": _ROW}, f"{path}, a ledger,")
    return rows


_TEXT, _NUMBER = {"type": "string"}, {"type": ["number", "null"]}
_WORDS, _COUNT = {"type": ["string", "null"]}, {"type": ["integer", "null"], "minimum": 0}
_BEATEN = {
    "type": "object",
    "required": ["holds", "beaten"],
    "properties": {"holds": {"type": "boolean"}, "beaten": {"type": "boolean"}},
    "additionalProperties": False,
}
_VALUES = {
    "id": _TEXT,
    "class": {"enum": list(CLASSES)},
    "verdict": {"enum": list(VERDICTS)},
    "reason": _WORDS,
    "estimate": _NUMBER,
    "low": _NUMBER,
    "high": _NUMBER,
    "least": _NUMBER,
    "most": _NUMBER,
    "averaged": {"enum": list(get_args(Scale))},
    "reported": _NUMBER,
    "p": _NUMBER,
    "q": _NUMBER,
    "n": _COUNT,
    "seeds": _WORDS,
    "phase": {"enum": ["exploration", "confirmation", None]},
    "needed": _COUNT,
    "group": _WORDS,
    "values": {"type": "array", "items": {"type": "number"}},
    "beaten": {"type": "object", "additionalProperties": _BEATEN},
    "untrained": _WORDS,
    "control": _WORDS,
    "scale": {"enum": list(SCALES)},
    "table": {"type": "string", "pattern": "^[^/]+/[^/]+$"},
    "table_sha256": _TEXT,
    "paper": _TEXT,
    "place": _TEXT,
    "certainty": _TEXT,
    "kind": _TEXT,
    "needs": {"enum": list(SCALES)},
    "criterion": _TEXT,
    "asks": _WORDS,
    "statement": _TEXT,
    "note": _WORDS,
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


def tallies(rows: Sequence[Mapping]) -> list[str]:
    """Return how many rows of each class have which verdict, such as ``paper: 3 supported``."""
    of = {kind: [row for row in rows if row["class"] == kind] for kind in CLASSES}
    return [f"{kind}: {counts(found)}" for kind, found in of.items() if found]


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
    return text + (f"; {more}" if (more := remark(row)) else "")


def remark(row: Mapping) -> str:
    """Return what there is to say besides a verdict, or nothing."""
    if row["reason"] is None and row["verdict"] == NOT_RUN:
        return f"needs scale {row['needs']}"
    return row["reason"] or ""


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
