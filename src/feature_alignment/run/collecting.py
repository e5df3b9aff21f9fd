"""Collect the measurements of a figure's runs into the one tidy table behind it."""

import argparse
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from feature_alignment import command, provenance
from feature_alignment.integrity import checksum_of, read_sealed
from feature_alignment.provenance import existing
from feature_alignment.storage import sha256
from feature_alignment.tables import COLUMNS, read_meta, read_table, write_table

SERIES = ["run", "seed"]


@dataclass(frozen=True)
class Collection:
    """Measurements of several runs and the runs' specs by name.

    ``record`` is what the figure's record says of it besides: ``columns``, a setting's path for
    each condition column; ``labels`` of the runs; ``published``, values of the paper; ``notes``,
    what the figure must say of where its runs come from.
    """

    measurements: pd.DataFrame
    specs: Mapping[str, dict]
    record: Mapping

    def setting(self, run: str, path: str) -> object:
        """Return a setting of a run by its path, such as ``model.width``; ``None`` for none."""
        value: object = self.specs[run]["settings"]
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def with_setting(self, name: str, path: str) -> "Collection":
        """Return the collection with a condition column, filled with each run's setting."""
        return self.with_condition(name, lambda run: self.setting(run, path))

    def with_condition(self, name: str, of_run: Callable[[str], object]) -> "Collection":
        """Return the collection with a condition column, filled for each row from its run."""
        values = {run: of_run(run) for run in self.specs}
        runs = self.measurements["run"]
        return replace(self, measurements=with_column(self.measurements, name, runs.map(values)))

    def of_runs(self, runs: Sequence[str]) -> "Collection":
        """Return the collection of some runs alone."""
        chosen = self.measurements["run"].isin(runs)
        specs = {run: self.specs[run] for run in runs}
        return replace(self, measurements=self.measurements[chosen], specs=specs)


Table = pd.DataFrame
Collect = Callable[[Collection], Table]


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one figure; see ``--help`` for the arguments.

    A figure's table is made by the function that ``TABLES`` in the paper's module ``tables``, if it
    has one, has under its name; by default it is the measurements with their condition columns.

    Raises:
        ValueError: If a measurement belongs to a run whose spec is not given, or specs of several
            scales or papers are mixed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", required=True, help="name of the figure")
    parser.add_argument("--record", type=_record, required=True, help="of the figure (JSON)")
    parser.add_argument("--specs", type=Path, nargs="+", required=True, help="specs (JSON)")
    parser.add_argument("--measurements", type=Path, nargs="+", required=True, help="tables (CSV)")
    parser.add_argument("--out", type=Path, required=True, help="table (CSV)")
    arguments = parser.parse_args(argv)
    specs = {spec["run"]: spec for spec in map(read_sealed, arguments.specs)}
    [paper], [scale] = (_one(specs, key) for key in ("paper", "scale"))
    modules = existing(
        "feature_alignment.run.collecting", f"feature_alignment.papers.{paper}.tables"
    )
    known = importlib.import_module(modules[1]).TABLES if len(modules) > 1 else {}
    make = known.get(arguments.figure, unchanged)
    table = make(collect(specs, arguments.record, arguments.measurements))
    if table["at"].isna().all():  # it has become a column of its own
        table = table.drop(columns="at")
    meta = provenance.describe(modules, {"figure": arguments.figure, "scale": scale})
    # The arrays of a figure are those of its first measurements: see the rule keep_arrays
    arrays = checksum_of(arguments.measurements[0].with_suffix(".npz"))
    checksums = {"npz": arrays} if arrays else {}
    meta |= _origin(table, arguments.measurements)
    if notes := arguments.record.get("notes"):
        meta["notes"] = notes
    write_table(arguments.out, table, meta, checksums)


def _record(text: str) -> Mapping:
    record = json.loads(text)
    if not isinstance(record, Mapping):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text!r}")
    return record


def _one(specs: Mapping[str, Mapping], key: str) -> list[str]:
    values = sorted({spec[key] for spec in specs.values()})
    if len(values) > 1:
        raise ValueError(f"expected specs of one {key}, got {', '.join(values)}")
    return values


def collect(specs: Mapping[str, dict], record: Mapping, sources: Sequence[Path]) -> Collection:
    """Read measurements, one condition column per entry of ``record["columns"]``."""
    measurements = pd.concat([read_table(path) for path in sources])
    if unknown := set(measurements["run"]) - set(specs):
        raise ValueError(f"no spec given for the run {min(unknown)!r}")
    conditions = [name for name in measurements.columns if name not in COLUMNS]
    columns = [*COLUMNS[:-2], *conditions, *COLUMNS[-2:]]
    collection = Collection(measurements[columns].reset_index(drop=True), specs, record)
    for name, path in record.get("columns", {}).items():
        collection = collection.with_setting(name, path)
    return collection


def unchanged(collection: Collection) -> Table:
    """Return all measurements with their condition columns."""
    return collection.measurements


def _origin(table: Table, sources: Sequence[Path]) -> dict:
    """Return the provenance of everything a table was made from."""
    metas = [read_meta(source) for source in sources]
    counts = {int(count) for count in table.groupby("run")["seed"].nunique()}
    datasets: dict[str, dict] = {}
    for source, made in zip(sources, metas, strict=True):
        for name, found in made["datasets"].items():
            first = datasets.setdefault(name, found)
            if found.get("sha256") != first.get("sha256"):
                raise ValueError(
                    f"{source} was made from another copy of {name} than runs before it: expected"
                    f" sha256 {first.get('sha256')}, got {found.get('sha256')}; prepare the copy"
                    " that archived runs were made from, or leave out reuse"
                )
    return {
        "datasets": datasets,
        "seeds": sorted(counts - {0}),
        "runs": [
            {"sha256": sha256(source), **{k: v for k, v in made.items() if k != "datasets"}}
            for source, made in zip(sources, metas, strict=True)
        ],
    }


def with_column(table: Table, name: str, values: object) -> Table:
    """Return the table with a condition column more, before ``measure`` and ``value``."""
    extended = table.copy()
    extended.insert(len(table.columns) - 2, name, values)
    return extended


def with_place(table: Table, name: str) -> Table:
    """Return the table with the coordinate ``at`` as a condition column of its own."""
    return with_column(table, name, table["at"]).assign(at=pd.NA)


def is_last(table: Table, series: Sequence[str] = SERIES) -> pd.Series:
    """Say which rows are of the last step of their run and seed."""
    return table["step"] == table.groupby(list(series))["step"].transform("max")


def layer_places(table: Table) -> pd.Series:
    """Return 1, 2, … for the layers of each run in the order in which probes report them.

    That is the order of depth. A layer may be missing while it is dead, so the order is taken
    where most layers are reported.
    """
    place: dict[tuple[str, str], int] = {}
    for run, rows in table[table["layer"].notna()].groupby("run"):
        reports = rows.groupby(["seed", "step", "split"], sort=False, dropna=False)["layer"]
        fullest = max((report.unique() for _, report in reports), key=len)
        place |= {(run, layer): number for number, layer in enumerate(fullest, start=1)}
    pairs = zip(table["run"], table["layer"].fillna(""), strict=True)
    return pd.Series([place.get(pair) for pair in pairs], index=table.index, dtype="Float64")


if __name__ == "__main__":
    command.run(main)
