"""How the time and memory of layer kernels grow with examples, outputs, depth and width.

    python benchmarks/growth.py --write docs

Around one fully connected network, one size is varied at a time. Every point runs in a process of
its own, so that peak memory is its own; times are of the process on its processor (on a GPU, on
the wall, after the device has finished), the least of a few calls after a warm-up. Each size has
the slope of a straight line through its points on two logarithmic axes, for time and memory.
"""

import argparse
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from feature_alignment.models.mlp import mlp
from feature_alignment.tangents.kernels import layer_kernels
from feature_alignment.tangents.memory import kernels_size

BASE = {"examples": 100, "outputs": 10, "hidden layers": 6, "width": 80}
VARIED = {
    "examples": (50, 100, 200, 400),
    "outputs": (5, 10, 20, 40),
    "hidden layers": (3, 6, 12, 24),
    "width": (80, 160, 320, 640, 1280),
}


def measure(sizes: dict[str, int], device: str, repeats: int) -> dict[str, float]:
    """Return seconds and MiB beyond the start of the kernels of one network."""
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    shape = 784, sizes["hidden layers"], sizes["width"], sizes["outputs"]
    network = mlp(*shape, initialisation="he_normal", generator=draw).eval().to(device)
    inputs = torch.randn(sizes["examples"], 784, generator=draw).to(device)
    before = _peak(device)
    seconds = []
    for _ in range(repeats + 1):
        start = _now(device)
        kernels = layer_kernels(network, inputs)
        seconds.append(_now(device) - start)
        del kernels
    needed = kernels_size(sizes["examples"], sizes["outputs"], shape[1] + 1, torch.float32)
    return {
        "seconds": min(seconds[1:]),
        "mib": (_peak(device) - before) / 2**20,
        "kernels_mib": needed / 2**20,
    }


def _now(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _peak(device: str) -> int:
    """Return the peak memory so far, in bytes."""
    if device == "cpu":
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return torch.cuda.max_memory_allocated()


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Return the slopes of time and memory by varied size, fitted to all points."""
    rows = []
    for name, own in table.groupby("varied", sort=False):
        slopes = {
            measure: np.polyfit(np.log(own["size"]), np.log(own[measure]), 1)[0]
            for measure in ("seconds", "mib")
        }
        rows.append({"varied": name, **slopes})
    return pd.DataFrame(rows)


def figure(table: pd.DataFrame) -> Figure:
    """Draw time and memory against each size."""
    drawn = Figure(figsize=(10, 5), layout="constrained")
    panels = drawn.subplots(2, len(VARIED), sharey="row", squeeze=False)
    slopes = exponents(table).set_index("varied")
    for column, (name, own) in enumerate(table.groupby("varied", sort=False)):
        for row, (measure, label) in enumerate(
            {"seconds": "time (s)", "mib": "memory (MiB)"}.items()
        ):
            panel = panels[row, column]
            panel.loglog(own["size"], own[measure], "o-", color="#0072b2")
            panel.set_title(f"slope {slopes.loc[name, measure]:.2f}", fontsize=9)
            panel.set_xlabel(name)
            panel.set_xticks(own["size"], map(str, own["size"]))
            panel.xaxis.set_minor_locator(NullLocator())
            panel.yaxis.set_minor_formatter(NullFormatter())
            panel.grid(visible=True, which="both", alpha=0.2)
            if column == 0:
                panel.set_ylabel(label)
    return drawn


def main() -> None:
    """Measure, print, and write a table and a figure if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", type=Path, help="folder for growth.csv and growth.png")
    arguments = parser.parse_args()
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload(["feature_alignment.tangents.kernels"])  # imported once for all
    rows = []
    for name, values in VARIED.items():
        for value in values:
            sizes = {**BASE, name: value}
            with ProcessPoolExecutor(1, mp_context=fresh) as pool:
                found = pool.submit(measure, sizes, arguments.device, arguments.repeats).result()
            rows.append({"varied": name, "size": value, **found})
            print(
                f"{name:<14}{value:>6}{found['seconds']:>10.4f} s{found['mib']:>8.0f} MiB",
                flush=True,
            )
    table = pd.DataFrame(rows)
    print(exponents(table).to_string(index=False, float_format="%.2f"))
    if arguments.write:
        mpl.use("agg")
        table.to_csv(arguments.write / "growth.csv", index=False, float_format="%.4g")
        figure(table).savefig(arguments.write / "growth.png", dpi=120)


if __name__ == "__main__":
    main()
