"""Eigenfunctions of the tangent kernel as images, with curves of alignment and spectrum below."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
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


def disk_figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> tuple[Figure, dict[str, Axes]]:
    """Draw eigenfunctions and outputs at four times, and curves against the step.

    Returns:
        The figure, and its panels of curves by measure; ``angular_mean`` is against the radius.
    """
    ranks, steps = arrays["ranks"], arrays["steps"]
    # Fixed places: the solver of constrained layouts moves images by rounding errors.
    drawn = plt.figure(figsize=(style.WIDTH_IN, 1.35 * SHOWN + 2.4))
    drawn.set_layout_engine("none")
    sides = {"left": 0.07, "right": 0.99}
    above = GridSpec(
        SHOWN, len(ranks) + 1, drawn, top=0.96, bottom=0.34, hspace=0.06, wspace=0.06, **sides
    )
    rows = above.subplots()
    below = GridSpec(1, len(CURVES) + 1, drawn, top=0.24, bottom=0.07, wspace=0.4, **sides)
    times = np.linspace(0, len(steps) - 1, SHOWN).round().astype(int)
    for row, time in zip(rows, times, strict=True):
        shown = [*arrays["eigenfunctions"][time], arrays["outputs"][time]]
        for axes, image in zip(row, shown, strict=True):
            limit = float(np.abs(image).max())
            extent = (-1, 1, -1, 1)
            axes.imshow(image, "RdBu_r", vmin=-limit, vmax=limit, origin="lower", extent=extent)
            axes.set(xticks=[], yticks=[], label="part")
        row[0].set_ylabel(f"step {steps[time]}")
    rows[0][0].set_label("")
    names = [*(f"eigenfunction {rank}" for rank in ranks), "output"]
    for axes, name in zip(rows[0], names, strict=True):
        axes.set_title(name)
    *curves, profile = below.subplots()
    panels = dict(zip(CURVES, curves, strict=True))
    for measure, axes in panels.items():
        if measure == "eigenvalue_ratio":
            axes.set_yscale("log")
        for kind, (name, colour) in KINDS.items():
            chosen = style.select(table, measure=f"{measure}_{kind}")
            style.draw_band(axes, chosen, "step", style.COLOURS[colour], name)
        axes.set(xlabel="step", title=CURVES[measure])
    for measure in ("alignment", "label_energy"):
        panels[measure].set_ylim(0, None)
    _draw_profile(profile, style.select(table, measure="angular_mean"))
    # Placed by hand, as the panels are
    known = dict(zip(*reversed(panels["alignment"].get_legend_handles_labels()), strict=True))
    known |= dict(zip(*reversed(profile.get_legend_handles_labels()), strict=True))
    drawn.legend(
        known.values(), known, loc="center", bbox_to_anchor=(0.53, 0.3), ncols=5, fontsize=6.5
    )
    return drawn, panels | {"angular_mean": profile}


def _draw_profile(axes: Axes, profiles: pd.DataFrame) -> None:
    """Draw the mean over angles of the eigenfunction that is most correlated with the labels."""
    first, last = profiles["step"].min(), profiles["step"].max()
    for step, colour in ((first, "grey"), (last, "green")):
        rows = style.select(profiles, step=step)
        style.draw_band(axes, rows, "radius", style.COLOURS[colour], f"step {step:.0f}")
    axes.axhline(0, color="0.3", linewidth=0.6)
    axes.set(xlabel="radius", title="mean over angles")
