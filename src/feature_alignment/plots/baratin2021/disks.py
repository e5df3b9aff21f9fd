"""Eigenfunctions of the tangent kernel as images, with curves of alignment and spectrum below."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from feature_alignment.plots import style

SHOWN = 4
"""Rows of images: the first and the last time of measurement, and two between."""
KINDS = {"centered": ("centred", "blue"), "uncentered": ("not centred", "orange")}
CURVES = {
    "alignment": "alignment",
    "eigenvalue_ratio": r"$\lambda_{20}\,/\,\lambda_1$",
    "label_energy": "labels in first five",
}


def disk_figure(table: pd.DataFrame, images: dict[str, NDArray]) -> Figure:
    """Draw eigenfunctions and outputs at four times, and curves against the step."""
    ranks, steps = images["ranks"], images["steps"]
    columns = len(ranks) + 1
    figure = plt.figure(figsize=(style.WIDTH_IN, 1.32 * SHOWN + 2.3))
    grid = GridSpec(SHOWN + 1, 3 * columns, figure=figure, height_ratios=[1] * SHOWN + [1.3])
    extent = (-1, 1, -1, 1)
    for row, time in enumerate(np.linspace(0, len(steps) - 1, SHOWN).round().astype(int)):
        shown = [*images["eigenfunctions"][time], images["outputs"][time]]
        for column, image in enumerate(shown):
            axes = figure.add_subplot(grid[row, 3 * column : 3 * column + 3])
            limit = float(np.abs(image).max())
            options = {"origin": "lower", "extent": extent, "cmap": "RdBu_r"}
            axes.imshow(image, vmin=-limit, vmax=limit, **options)
            axes.set(xticks=[], yticks=[])
            axes.grid(visible=False)
            if row == 0:
                name = f"eigenfunction {ranks[column]}" if column < len(ranks) else "output"
                axes.set_title(name)
            if column == 0:
                axes.set_ylabel(f"step {steps[time]}")
    for place, (measure, label) in enumerate(CURVES.items()):
        axes = figure.add_subplot(grid[SHOWN, 5 * place : 5 * place + 5])
        if measure == "eigenvalue_ratio":
            axes.set_yscale("log")
        for kind, (name, colour) in KINDS.items():
            rows = table[table["measure"] == f"{measure}_{kind}"]
            style.draw_band(axes, rows, "step", style.COLOURS[colour], name)
        axes.set(xlabel="step", title=label)
        if place == 0:
            axes.legend()
    return figure
