"""The table behind a figure, with provenance that says the same of it.

Whoever shows, judges or quotes a table reads it here, so that one with other seeds, runs or data
than its provenance tells is noticed before anything is made of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from feature_alignment.schema import validate
from feature_alignment.tables import meta_path, read_meta, read_table, where

_TEXT = {"type": "string"}
_OPTIONAL = {"type": ["string", "null"]}
_SECONDS = {"type": "number", "minimum": 0}
_SPEC = {
    "type": "object",
    "required": ["scale"],
    "properties": {
        "scale": {"enum": ["smoke", "laptop", "paper"]},
        "figure": _TEXT,
        "paper": _TEXT,
        "run": _TEXT,
        "settings": {"type": "object"},
    },
}
_MADE = {
    "code_hash": _TEXT,
    "git": {
        "type": "object",
        "required": ["commit", "dirty"],
        "properties": {
            "commit": _OPTIONAL,
            "tag": _OPTIONAL,
            "dirty": {"type": ["boolean", "null"]},
        },
    },
    "module": _TEXT,
    "packages": {"type": "object", "required": ["numpy", "torch"], "additionalProperties": _TEXT},
    "platform": _TEXT,
    "python": _TEXT,
    "spec": _SPEC,
    "wall_time_s": _SECONDS,
}
PROVENANCE = {
    "type": "object",
    "required": [*_MADE, "datasets"],
    "properties": {
        **_MADE,
        "datasets": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["note"],
                "properties": {"note": _TEXT},
            },
        },
        "notes": {
            "description": "what a figure must say of where its runs come from",
            "type": "array",
            "items": _TEXT,
        },
        "seeds": {
            "description": "numbers of seeds that runs have",
            "type": "array",
            "uniqueItems": True,
            "items": {"type": "integer", "minimum": 1},
        },
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": [*_MADE, "seed"],
                "properties": {
                    **_MADE,
                    "spec": _SPEC | {"required": ["paper", "run", "scale", "settings"]},
                    "seed": {"type": "integer", "minimum": 0},
                },
            },
        },
    },
}
"""JSON schema of the provenance of a figure's table; one that was made in one go has no runs."""


def read_evidence(
    path: Path | str,
    conditions: Sequence[str] = (),
    figure: str | None = None,
    scale: str | None = None,
) -> tuple[pd.DataFrame, dict]:
    """Read the table behind a figure, and its provenance, which must agree.

    Args:
        path: A CSV file, with its provenance next to it.
        conditions: Condition columns that must be there.
        figure: ``<paper>/<figure>`` that the table must be of.
        scale: The scale that it must be of.

    Returns:
        The table and its provenance.

    Raises:
        ValueError: If either is malformed, or they do not say the same.
        FileNotFoundError: If there is no such file.
    """
    table = read_table(path, conditions)
    return table, check_evidence(path, table, figure, scale)


def check_evidence(
    path: Path | str, table: pd.DataFrame, figure: str | None = None, scale: str | None = None
) -> dict:
    """Check a table that was read from a file against its provenance, which is returned.

    Args:
        path: Of the table.
        table: What was read of it.
        figure: As for :func:`read_evidence`.
        scale: As for :func:`read_evidence`.

    Raises:
        ValueError: If the provenance is malformed, or says something else than the table.
        FileNotFoundError: If there is none.
    """
    meta = read_provenance(path)
    try:
        _check_rows(table)
        _check_origin(table, meta, *(figure or "/").split("/"), scale)
    except ValueError as error:
        raise ValueError(
            f"{path} and {meta_path(path).name}: {error}; make both again, or restore the published"
            " ones from git"
        ) from error
    return meta


def read_provenance(path: Path | str) -> dict:
    """Read the provenance next to the table of a figure.

    Raises:
        ValueError: If it does not fit :data:`PROVENANCE`.
        FileNotFoundError: If there is none.
    """
    meta = read_meta(path)
    validate(meta, PROVENANCE, f"{meta_path(path)}, the provenance of a table,")
    return meta


def _check_rows(table: pd.DataFrame) -> None:
    if table.empty:
        raise ValueError("expected values, the table has no rows")
    if table["paper"].nunique(dropna=False) > 1:
        raise ValueError(f"expected one paper, got {sorted(set(map(str, table['paper'])))}")
    for name in ("seed", "run"):
        absent = table[name].isna().groupby(table["measure"]).mean()
        mixed = absent[(absent > 0) & (absent < 1)]
        if not mixed.empty:
            raise ValueError(
                f"expected a {name} in every row of {mixed.index[0]!r} or in none; some are empty"
            )
    places = [name for name in table.columns if name != "value"]
    twice = table[table.duplicated(places)]
    if not twice.empty:
        raise ValueError(f"expected one value per place, found several for {where(twice[places])}")


def _check_origin(
    table: pd.DataFrame, meta: Mapping, paper: str, figure: str, scale: str | None
) -> None:
    """Check that a table is of what its provenance says, and of what is asked for."""
    spec, runs = meta["spec"], meta.get("runs", ())
    papers = {made["spec"]["paper"] for made in runs} or {spec.get("paper", table["paper"].iloc[0])}
    _expect_same("the paper", papers | ({paper} if paper else set()), {table["paper"].iloc[0]})
    if figure and "figure" in spec:
        _expect_same("the figure", {spec["figure"]}, {figure})
    scales = {spec["scale"], *(made["spec"]["scale"] for made in runs)}
    _expect_same("the scale", scales, {scale or spec["scale"]})
    own = table.groupby("run")["seed"].agg(lambda seeds: set(seeds.dropna()))
    if "seeds" in meta:
        _expect_same("numbers of seeds", set(meta["seeds"]), set(map(len, own)) - {0})
    if runs:
        read = {
            part["name"]
            for made in runs
            for part in made["spec"]["settings"].values()
            if isinstance(part, Mapping) and isinstance(part.get("name"), str)
        }
        _expect_same("datasets", set(meta["datasets"]), read)
        made_with: dict[str, set[int]] = {}
        for made in runs:
            made_with.setdefault(made["spec"]["run"], set()).add(made["seed"])
        if len(own):  # else the table is of what several runs say together
            _expect_same("runs, which a table names all or none of", set(made_with), set(own.index))
        for run, seeds in own.items():
            if seeds:  # else nothing in it is random
                _expect_same(f"seeds of {run}", made_with[run], seeds)
        unnamed = set(table["seed"].dropna()) - set().union(*made_with.values())
        if unnamed:
            raise ValueError(f"the table has seeds that no run has: {sorted(map(int, unnamed))}")


def _expect_same(what: str, told_of: set, found: set) -> None:
    if told_of != found:
        said, got = (", ".join(sorted(map(str, part))) or "none" for part in (told_of, found))
        raise ValueError(f"{what}: the provenance says {said}, the table or figure is of {got}")
