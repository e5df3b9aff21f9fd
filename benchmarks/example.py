"""Run the example of README.md as it stands, and keep its picture.

    python benchmarks/example.py --write docs/resnet18.png

Prints what it took on one thread, and how long the measurements alone.
"""

import argparse
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import torch

from feature_alignment.api.probe import Probe

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run the example in an empty folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", type=Path, help="where to keep the picture")
    arguments = parser.parse_args()
    target = arguments.write.resolve() if arguments.write else None
    code = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spent = []
    call = Probe.__call__

    def timed(probe: Probe, **when: object) -> object:
        started = time.process_time()
        found = call(probe, **when)
        spent.append(time.process_time() - started)
        return found

    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder, patch.object(Probe, "__call__", timed):
        os.chdir(folder)
        exec(compile(code[1], "README.md", "exec"), {})
        if target:
            shutil.copy("layers.png", target)
        os.chdir(ROOT)
    whole = time.process_time() - started
    print(
        f"{whole:.0f} s of the processor, {sum(spent):.0f} s of them in {len(spent)} measurements"
    )


if __name__ == "__main__":
    main()
