"""From the measurements of many runs to the one tidy table behind a figure."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from feature_alignment import provenance
from feature_alignment.storage import read_json, sha256
from feature_alignment.tables import COLUMNS, read_meta, read_table, write_table


@dataclass(frozen=True)
class Collection:
    """Measurements of several runs, the runs' specs by name, and where the table goes."""

    figure: str
    measurements: pd.DataFrame
    specs: Mapping[str, dict]
    sources: Sequence[Path]
    out: Path

    def with_condition(self, name: str, of_spec: Callable[[dict], object]) -> "Collection":
        """Return the collection with a condition column, filled from each row's spec."""
        values = {run: of_spec(spec) for run, spec in self.specs.items()}
        table = with_column(self.measurements, name, self.measurements["run"].map(values))
        return Collection(self.figure, table, self.specs, self.sources, self.out)

    def write(self, module: str, table: pd.DataFrame) -> None:
        """Write ``table`` with the provenance of everything it was made from."""
        metas = [read_meta(source) for source in self.sources]
        scales = sorted({spec["scale"] for spec in self.specs.values()})
        meta = provenance.describe(module, {"figure": self.figure, "scale": scales[0]})
        meta["datasets"] = {
            name: dataset for made in metas for name, dataset in made["datasets"].items()
        }
        meta["seeds"] = sorted({int(n) for n in table.groupby("run")["seed"].nunique()})
        meta["runs"] = [
            {"sha256": sha256(source), **{k: v for k, v in made.items() if k != "datasets"}}
            for source, made in zip(self.sources, metas, strict=True)
        ]
        write_table(self.out, table, meta)


def parse_collection(description: str, argv: Sequence[str] | None) -> Collection:
    """Read the arguments of a program that collects measurements into a table.

    Raises:
        ValueError: If a measurement belongs to a run whose spec is not given, or specs of
            several scales are mixed.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--figure", required=True, help="name of the figure")
    parser.add_argument("--specs", type=Path, nargs="+", required=True, help="specs (JSON)")
    parser.add_argument("--measurements", type=Path, nargs="+", required=True, help="tables (CSV)")
    parser.add_argument("--out", type=Path, required=True, help="table (CSV)")
    arguments = parser.parse_args(argv)
    specs = {spec["run"]: spec for spec in map(read_json, arguments.specs)}
    scales = {spec["scale"] for spec in specs.values()}
    if len(scales) > 1:
        raise ValueError(f"expected specs of one scale, got {', '.join(sorted(scales))}")
    measurements = pd.concat([read_table(path) for path in arguments.measurements])
    unknown = set(measurements["run"]) - set(specs)
    if unknown:
        raise ValueError(f"no spec given for the run {min(unknown)!r}")
    conditions = [name for name in measurements.columns if name not in COLUMNS]
    columns = [*COLUMNS[:-2], *conditions, *COLUMNS[-2:]]
    measurements = measurements[columns].reset_index(drop=True)
    return Collection(arguments.figure, measurements, specs, arguments.measurements, arguments.out)


def collect_figure(
    module: str,
    description: str,
    figures: Mapping[str, Callable[[Collection], pd.DataFrame]],
    argv: Sequence[str] | None,
) -> None:
    """Run a program that collects the tables of several figures.

    Args:
        module: Dotted name of the module that runs.
        description: Text for ``--help``.
        figures: From a figure's name to what makes its table.
        argv: Arguments, ``None`` for the command line's.

    Raises:
        ValueError: If the figure is unknown, or as in :func:`parse_collection`.
    """
    collection = parse_collection(description, argv)
    if collection.figure not in figures:
        known = ", ".join(figures)
        raise ValueError(f"unknown figure {collection.figure!r}; expected one of {known}")
    collection.write(module, figures[collection.figure](collection))


def with_column(table: pd.DataFrame, name: str, values: object) -> pd.DataFrame:
    """Return the table with a condition column more, before ``measure`` and ``value``."""
    extended = table.copy()
    extended.insert(len(table.columns) - 2, name, values)
    return extended


def layer_places(table: pd.DataFrame) -> pd.Series:
    """Return 1, 2, … for the layers of each run in the order in which instruments report them.

    That is the order of depth. A layer may be missing while it is dead, so the order is taken
    where most layers are reported.
    """
    place: dict[tuple[str, str], int] = {}
    for run, rows in table[table["layer"].notna()].groupby("run"):
        reports = rows.groupby(["seed", "step", "split"], sort=False)["layer"].agg(list)
        fullest = max(reports, key=len)
        place |= {(run, layer): number for number, layer in enumerate(fullest, start=1)}
    pairs = zip(table["run"], table["layer"].fillna(""), strict=True)
    return pd.Series([place.get(pair) for pair in pairs], index=table.index, dtype="Float64")
