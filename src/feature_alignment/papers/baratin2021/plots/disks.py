"""Eigenfunctions of the tangent kernel as images, with curves of alignment and spectrum below."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from feature_alignment.plots import style

COLUMNS = ("radius",)
ARRAYS = {
    "ranks": ("rank",),
    "steps": ("step",),
    "eigenfunctions": ("step", "rank", "y", "x"),
    "outputs": ("step", "y", "x"),
}
SHOWN = 4
"""Rows of images: the first and the last time of measurement, and two between."""
KINDS = {"centered": ("centred", "blue"), "uncentered": ("not centred", "orange")}
CURVES = {
    "alignment": "alignment",
    "eigenvalue_ratio": r"$\lambda_{20}\,/\,\lambda_1$",
    "label_energy": "labels in first five",
}


def figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> Figure:
    """Draw eigenfunctions and outputs at four times, and curves against the step."""
    ranks, steps = arrays["ranks"], arrays["steps"]
    # Fixed places: the solver of constrained layouts moves images by rounding errors.
    drawn = plt.figure(figsize=(style.WIDTH_IN, 1.35 * SHOWN + 2.2))
    drawn.set_layout_engine("none")
    sides = {"left": 0.07, "right": 0.99}
    above = GridSpec(
        SHOWN, len(ranks) + 1, drawn, top=0.96, bottom=0.3, hspace=0.06, wspace=0.06, **sides
    )
    rows = above.subplots()
    below = GridSpec(1, len(CURVES), drawn, top=0.24, bottom=0.07, wspace=0.3, **sides)
    times = np.linspace(0, len(steps) - 1, SHOWN).round().astype(int)
    for row, time in zip(rows, times, strict=True):
        shown = [*arrays["eigenfunctions"][time], arrays["outputs"][time]]
        for axes, image in zip(row, shown, strict=True):
            limit = float(np.abs(image).max())
            extent = (-1, 1, -1, 1)
            axes.imshow(image, "RdBu_r", vmin=-limit, vmax=limit, origin="lower", extent=extent)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"step {steps[time]}")
    names = [*(f"eigenfunction {rank}" for rank in ranks), "output"]
    for axes, name in zip(rows[0], names, strict=True):
        axes.set_title(name)
    for axes, (measure, label) in zip(below.subplots(), CURVES.items(), strict=True):
        if measure == "eigenvalue_ratio":
            axes.set_yscale("log")
        for kind, (name, colour) in KINDS.items():
            chosen = style.select(table, measure=f"{measure}_{kind}")
            style.draw_band(axes, chosen, "step", style.COLOURS[colour], name)
        axes.set(xlabel="step", title=label)
        if measure == "alignment":
            axes.legend()
    return drawn
