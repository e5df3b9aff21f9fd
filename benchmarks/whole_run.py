"""Core-seconds of a whole run by stage and by named run; of two runs, side by side.

    python benchmarks/whole_run.py reference/laptop/jobs.tsv [results/laptop/jobs.tsv]

Every whole run leaves ``jobs.tsv`` in ``results/<scale>``. Of each job it has the seconds from
start to end, which on an idle machine are core-seconds, since a job has one thread, and the CPU
seconds. The ratio is that of the first file to the second; above 1 the second is faster. Compare
files of one machine and one sitting. The last column says which part of the first run's time the
rows so far are.
"""

import argparse
import re
from pathlib import Path

import pandas as pd

from feature_alignment.publish.costs import read_jobs

COMPUTE = ("compute_run", "train_run", "measure")
"""What the rule that computes a run is and was called."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", type=Path, nargs="+", help="jobs.tsv of one or two whole runs")
    parser.add_argument("--cpu", action="store_true", help="CPU seconds instead of elapsed ones")
    arguments = parser.parse_args()
    if len(arguments.jobs) > 2:
        parser.error(f"expected one or two files, got {len(arguments.jobs)}")
    column = "cpu_seconds" if arguments.cpu else "seconds"
    found = [named(read_jobs(path)) for path in arguments.jobs]
    for name in ("stage", "run"):
        sums = [jobs.groupby(name)[column].sum() for jobs in found]
        print(side_by_side(sums).to_string(float_format="%.1f"), end="\n\n")
    for path, jobs in zip(arguments.jobs, found, strict=True):
        print(f"{path}: {len(jobs)} jobs, {jobs[column].sum() / 60:.1f} core-minutes")


def named(jobs: pd.DataFrame) -> pd.DataFrame:
    """Return jobs with their stage, and with the run that they compute, if they do."""
    stage, _, rest = jobs["job"].str.partition("/").T.to_numpy()
    computes = pd.Series(stage).isin(COMPUTE).to_numpy()
    runs = [re.sub(r"[.][0-9-]+$", "", name) for name in rest]
    return jobs.assign(
        stage=["compute_run" if here else name for here, name in zip(computes, stage, strict=True)],
        run=[name if here else None for here, name in zip(computes, runs, strict=True)],
    )


def side_by_side(sums: list[pd.Series]) -> pd.DataFrame:
    """Return sums of one or two runs, the largest first, with ratio and cumulative share."""
    table = pd.concat(sums, axis=1, keys=["first", "second"][: len(sums)]).fillna(0.0)
    table = table.sort_values("first", ascending=False)
    if len(sums) > 1:
        table["ratio"] = table["first"] / table["second"].where(table["second"] > 0)
    table["share"] = 100 * table["first"].cumsum() / table["first"].sum()
    return table


if __name__ == "__main__":
    main()
