"""Tell what a run cost: wall time and peak memory of its jobs, and core-minutes per figure."""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from feature_alignment import command
from feature_alignment.evidence import read_evidence
from feature_alignment.storage import replacing
from feature_alignment.tables import guarded, unguarded

TOTAL = "total"
_MOMENT_S = 0.5
"""A job is taken to run with those before it from here on: file times are a little late."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the costs as tab-separated tables and print them; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables (CSV)")
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of benchmark files")
    parser.add_argument("--out", type=Path, required=True, help="costs per figure (TSV)")
    parser.add_argument("--jobs", type=Path, required=True, help="costs per job (TSV)")
    arguments = parser.parse_args(argv)
    found = {
        arguments.out: costs({table: _provenance(table) for table in arguments.tables}),
        arguments.jobs: jobs(arguments.benchmarks),
    }
    for path, table in found.items():
        with replacing(path) as temporary:
            guarded(table).to_csv(temporary, sep="\t", index=False, lineterminator="\n")
    print("core-minutes per figure; a run that feeds several figures counts in each")
    print(found[arguments.out].to_string(index=False))
    print(", ".join(f"{name}: {value}" for name, value in summary(found[arguments.jobs]).items()))


def _provenance(table: Path) -> dict:
    _, meta = read_evidence(table, figure=f"{table.parent.name}/{table.stem}")
    return meta


def read_costs(path: Path) -> pd.DataFrame:
    """Read the costs per figure, as :func:`main` writes them.

    Raises:
        ValueError: If the file is something else.
    """
    return _read(path, {"paper": str, "figure": str, "jobs": int, "core_minutes": float})


def read_jobs(path: Path) -> pd.DataFrame:
    """Read the costs per job, as :func:`main` writes them.

    Raises:
        ValueError: If the file is something else.
    """
    numbers = ("start_s", "seconds", "cpu_seconds", "memory_mib")
    return _read(path, {"job": str, **dict.fromkeys(numbers, float)})


def _read(path: Path, columns: Mapping[str, type]) -> pd.DataFrame:
    """Read tab-separated costs, none of which is negative or missing."""
    try:
        table = unguarded(pd.read_csv(path, sep="\t"))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a table of costs: {error}") from error
    if list(table.columns) != list(columns) or table.empty:
        raise ValueError(
            f"{path}: expected rows with the columns {', '.join(columns)}, got {len(table)} with"
            f" {', '.join(table.columns)}; write it again: snakemake tell_costs"
        )
    for name, kind in columns.items():
        numbers = pd.to_numeric(table[name], errors="coerce")
        wrong = table[name].isna() if kind is str else ~(np.isfinite(numbers) & (numbers >= 0))
        if wrong.any():
            line, got = int(wrong.to_numpy().argmax()) + 2, str(table.loc[wrong, name].iloc[0])
            expected = "a name" if kind is str else "a number of at least 0"
            raise ValueError(
                f"{path}, line {line}: expected {expected} in the column {name!r}, got {got!r};"
                " write it again: snakemake tell_costs"
            )
    return table


def costs(metas: Mapping[Path, Mapping]) -> pd.DataFrame:
    """Return what each figure cost.

    Args:
        metas: Provenance of each figure's table, by the table's path ``…/<paper>/<figure>.csv``.

    Returns:
        Columns ``paper``, ``figure``, ``jobs`` and ``core_minutes``, one row per figure and, with
        the figure ``total``, one per paper, in which a run that feeds several figures counts
        once. A resumed run counts from its last start.
    """
    rows = []
    for path, meta in metas.items():
        for job, seconds in _jobs(path, meta):
            rows.append(
                {"paper": path.parent.name, "figure": path.stem, "job": job, "seconds": seconds}
            )
    table = pd.DataFrame(rows)
    once = table.drop_duplicates(["paper", "job"]).assign(figure=TOTAL)
    groups = pd.concat([table, once]).groupby(["paper", "figure"], sort=False)["seconds"]
    found = groups.agg(jobs="size", core_minutes=lambda seconds: round(seconds.sum() / 60, 2))
    return found.reset_index().sort_values("paper", kind="stable", ignore_index=True)


def _jobs(path: Path, meta: Mapping) -> Iterator[tuple[str, float]]:
    """Yield every job behind a table, by a name that is the same in other tables, and its time."""
    for made in meta.get("runs", ()):
        if "wall_time_s" in made:
            yield f"{made['spec']['run']}/{made.get('seed')}", made["wall_time_s"]
    yield f"table of {path.stem}", meta["wall_time_s"]


def jobs(benchmarks: Path) -> pd.DataFrame:
    """Return when each job of a run began, how long it took and what memory it had.

    A job ends when its benchmark file is written, so the files must be those of the run itself,
    not copies.

    Args:
        benchmarks: Folder of Snakemake's benchmark files, ``<rule>.tsv`` or ``<kind>/<job>.tsv``.

    Returns:
        Columns ``job``, ``start_s`` since the first job began, ``seconds``, ``cpu_seconds`` and
        ``memory_mib`` (largest resident size; 0 where a job was too short to be measured).

    Raises:
        ValueError: If there is not a benchmark file, or one is not a benchmark file.
    """
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        try:
            table = pd.read_csv(path, sep="\t")
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a benchmark file: {error}") from error
        missing = {"s", "cpu_time", "max_rss"} - set(table)
        if missing or table.empty:
            raise ValueError(f"{path} is not a benchmark file; it has: {', '.join(table)}")
        row = pd.to_numeric(table.iloc[-1].drop("h:m:s", errors="ignore"), errors="coerce")
        row = row.fillna(0)
        rows.append(
            {
                "job": path.relative_to(benchmarks).with_suffix("").as_posix(),
                "start_s": path.stat().st_mtime - row["s"],
                "seconds": row["s"],
                "cpu_seconds": row["cpu_time"],
                "memory_mib": row["max_rss"],
            }
        )
    if not rows:
        raise ValueError(f"expected benchmark files of a run in {benchmarks}; found none")
    table = pd.DataFrame(rows)
    table["start_s"] -= table["start_s"].min()
    return table.round({"start_s": 1, "seconds": 1, "cpu_seconds": 1, "memory_mib": 0}).sort_values(
        "start_s", kind="stable", ignore_index=True
    )


def summary(jobs: pd.DataFrame) -> dict:
    """Return what a whole run cost, from the table of its jobs.

    Returns:
        ``jobs``; ``wall_minutes`` from the first job's start to the last one's end, and
        ``busy_minutes`` of them in which some job ran, which is less if the run was interrupted;
        ``core_minutes``; ``at_once``, the most jobs that ran at the same time; ``memory_mib`` of
        the largest job, and ``memory_together_mib``, the largest sum over jobs that ran at the
        same time.
    """
    ends = jobs["start_s"] + jobs["seconds"]
    busy, reached = 0.0, 0.0
    for start, end in sorted(zip(jobs["start_s"], ends, strict=True)):
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    running = [
        jobs[(jobs["start_s"] <= start) & (start < ends)] for start in jobs["start_s"] + _MOMENT_S
    ]
    return {
        "jobs": len(jobs),
        "wall_minutes": round(ends.max() / 60, 1),
        "busy_minutes": round(busy / 60, 1),
        "at_once": max(len(found) for found in running),
        "core_minutes": round(jobs["seconds"].sum() / 60, 1),
        "memory_mib": round(jobs["memory_mib"].max()),
        "memory_together_mib": round(max(found["memory_mib"].sum() for found in running)),
    }


def slowest(jobs: pd.DataFrame, count: int) -> Iterable[Mapping]:
    """Return the rows of the jobs that took longest, the longest first."""
    return jobs.nlargest(count, "seconds").to_dict("records")


if __name__ == "__main__":
    command.run(main)
