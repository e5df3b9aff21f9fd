"""Tell what every figure cost: the wall time of the jobs behind its table, on one core each."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from feature_alignment import command
from feature_alignment.storage import replacing
from feature_alignment.tables import read_meta

TOTAL = "total"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the costs as a tab-separated table and print them; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables (CSV)")
    parser.add_argument("--out", type=Path, required=True, help="costs (TSV)")
    arguments = parser.parse_args(argv)
    table = costs({table: read_meta(table) for table in arguments.tables})
    with replacing(arguments.out) as temporary:
        table.to_csv(temporary, sep="\t", index=False, lineterminator="\n")
    print("core-minutes per figure; a run that feeds several figures counts in each")
    print(table.to_string(index=False))


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


if __name__ == "__main__":
    command.run(main)
