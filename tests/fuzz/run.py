"""Damage configuration, data and results in many ways; see how each attempt ends.

    python tests/fuzz/run.py --seed 0 --count 40

Prints what ended otherwise than in a clear error or in an equal result, with what repeats it
(``--case tables/0/17``), and a table. Ends with 1 if there is any such fault.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "unit"))

import harness  # noqa: E402
import inputs  # noqa: E402
import results  # noqa: E402
from stage import make_stage  # noqa: E402

AREAS = inputs.AREAS | results.AREAS


def main() -> int:
    """Damage things and return how many faults there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="another seed, other damages")
    parser.add_argument("--count", type=int, default=40, help="damages of each area")
    parser.add_argument("--areas", nargs="*", choices=list(AREAS), default=list(AREAS))
    parser.add_argument("--case", nargs="*", default=[], help="<area>/<seed>/<number> alone")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    arguments = parser.parse_args()
    cases = {
        name: [f"{name}/{arguments.seed}/{number}" for number in range(arguments.count)]
        for name in arguments.areas
    }
    if arguments.case:
        names = dict.fromkeys(case.split("/")[0] for case in arguments.case)
        cases = {n: [case for case in arguments.case if case.split("/")[0] == n] for n in names}
    found = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        stage = folder / "stage"
        if process := os.fork():  # so that nothing has been computed where attempts start
            if os.waitpid(process, 0)[1]:
                raise RuntimeError("the stage could not be made")
        else:
            make_stage(stage)
            os._exit(0)
        grounds = harness.Grounds(stage, folder / "attempts")
        for name, numbers in cases.items():
            found[name] = []
            for ending in harness.endings(AREAS[name], numbers, grounds, arguments.jobs):
                found[name].append(ending)
                if ending.kind == harness.FAULT:
                    harness.tell(ending)
    print(harness.table(found))
    return sum(ending.kind == harness.FAULT for part in found.values() for ending in part)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
