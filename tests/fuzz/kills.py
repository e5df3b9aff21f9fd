"""Kill whole smoke runs at random moments, start them again, and compare what they leave.

``python tests/fuzz/kills.py --kills 60`` makes one run undisturbed and then runs that are killed,
process group and all, until there were so many kills. Every table, array and figure must have the
same bytes, and no temporary file, checkpoint or partial table may be left over.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "workflow"),
                str(Path(__file__).resolve().parents[1])]  # fmt: skip

from repository import SMOKE, Repository  # noqa: E402

COMPARED = ("results/smoke/tables/**/*.csv", "results/smoke/tables/**/*.npz",
            "results/smoke/runs/**/*.csv", "figures/smoke/**/*.p*")  # fmt: skip
LEFT_OVER = ("results/**/.*", "figures/**/.*", "data/prepared/.*", "results/smoke/checkpoints/**/*")


def main() -> None:
    """Run the campaign; exit with 1 if anything was lost, changed or left over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="how many, over several runs")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--longest", type=float, default=25, help="seconds before a kill, at most")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder to work in")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    plain = Repository.copy(arguments.work / "plain")
    outcome = plain.snakemake(*SMOKE)
    if outcome.status:
        raise SystemExit(outcome.text)
    expected = made(plain)
    kills = runs = faults = 0
    while kills < arguments.kills:
        repository = Repository.copy(arguments.work / f"killed{runs}")
        while kills < arguments.kills and killed(repository, draw.uniform(1, arguments.longest)):
            kills += 1
            repository.snakemake("--unlock", "--config", "scale=smoke")
        outcome = repository.snakemake(*SMOKE)
        found = made(repository)
        changed = [path for path in expected if found.get(path) != expected[path]]
        left = [path for pattern in LEFT_OVER for path in repository.files(pattern)]
        runs += 1
        print(f"run {runs}, {kills} kills so far: status {outcome.status}, {len(expected)} files,"
              f" {len(changed)} lost or changed, {len(left)} left over", flush=True)  # fmt: skip
        for path in changed + left:
            print(f"  {path}")
        faults += len(changed) + len(left) + (outcome.status != 0)
    raise SystemExit(faults > 0)


def made(repository: Repository) -> dict[str, bytes]:
    """Return the bytes of everything that is compared."""
    return {k: v for pattern in COMPARED for k, v in repository.files(pattern).items()}


def killed(repository: Repository, seconds: float) -> bool:
    """Start the smoke run and kill it; return whether it was still running."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *SMOKE]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.Popen(command, cwd=repository.path, env=os.environ | {"PATH": programs},
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           start_new_session=True)  # fmt: skip
    try:
        run.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        time.sleep(0.2)
        return True


if __name__ == "__main__":
    main()
