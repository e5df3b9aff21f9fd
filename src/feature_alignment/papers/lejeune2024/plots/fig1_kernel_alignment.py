"""Figure 1: the path-averaged tangent kernel beside what the network learned."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment.papers.lejeune2024.plots.kernels import KERNELS, TARGETS
from feature_alignment.plots import style

COLUMNS = ("target",)
ARRAYS = {
    "targets": ("target",),
    "change": ("target", "image"),
    "kernel_averaged": ("target", "image", "image"),
    "kernel_final": ("target", "image", "image"),
}


def figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> Figure:
    """Draw a row per target: the first seed's kernels, and the cosines of all seeds with K_y."""
    drawn, grid = style.panels(len(TARGETS), 4)
    for place, (target, name) in enumerate(TARGETS.items()):
        index = list(arrays["targets"]).index(target)
        change = arrays["change"][index]
        shown = {
            r"$\bar K$": arrays["kernel_averaged"][index],
            r"$K_T$": arrays["kernel_final"][index],
            r"$K_y$": np.outer(change, change),
        }
        row = grid[place]
        for panel, (title, kernel) in zip(row[:3], shown.items(), strict=True):
            _draw_kernel(panel, kernel.astype(float), f"{title}, target {name}")
        _draw_cosines(row[3], style.select(table, target=target))
    grid[0][3].legend(fontsize=6)
    return drawn


def _draw_kernel(panel: Axes, kernel: NDArray, title: str) -> None:
    limit = float(np.quantile(np.abs(kernel), 0.99))
    panel.imshow(kernel, "RdBu_r", vmin=-limit, vmax=limit)
    panel.set(xticks=[], yticks=[], title=title, xlabel="images in the order of y")


def _draw_cosines(panel: Axes, own: pd.DataFrame) -> None:
    for offset, (prefix, label, colour) in enumerate(
        (("cosine", "as it is", "blue"), ("centered_cosine", "centred", "orange"))
    ):
        for place, kernel in enumerate(KERNELS):
            values = style.select(own, measure=f"{prefix}_{kernel}")["value"]
            panel.plot(
                np.full(len(values), place + 0.2 * (offset - 0.5)),
                values,
                "o",
                ms=3.5,
                color=style.COLOURS[colour],
                label=label if place == 0 else None,
            )
    panel.set(ylim=(0, 1), ylabel="cosine with $K_y$")
    panel.set_xticks(range(len(KERNELS)), KERNELS.values())
