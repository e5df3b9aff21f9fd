"""Figure 1: eigenfunctions of the tangent kernel of a network that learns a disk."""

import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment.papers.baratin2021.plots.disks import ARRAYS, COLUMNS, disk_figure
from feature_alignment.plots import style

__all__ = ["ARRAYS", "COLUMNS", "figure"]
CAPTION = {"first": ("start", 0.015, 0.003), "last": ("end", 0.002, 0.001)}
"""What the caption says of the ratio of eigenvalues, from memory, and what a claim allows."""


def figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> Figure:
    """Draw eigenfunctions, alignment and spectrum, with what the paper's caption says of it."""
    drawn, panels = disk_figure(table, arrays)
    ratio = panels["eigenvalue_ratio"]
    steps = style.select(table, measure="eigenvalue_ratio_centered")["step"]
    width = steps.max() / 10
    for place, (name, value, tolerance) in CAPTION.items():
        x = steps.min() if place == "first" else steps.max()
        style.draw_claimed(
            ratio,
            f"baratin2021.fig1.ratio-at-{name}",
            value - tolerance,
            value + tolerance,
            across=(x - width, x + width),
        )
        style.draw_paper(ratio, x, value)
    ratio.set_title(ratio.get_title() + ", ★ caption")
    return drawn
