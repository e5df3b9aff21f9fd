"""The tangent kernel as maps of the square, with curves of what is judged of them below."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from feature_alignment.plots import style

COLUMNS = ()
ARRAYS = {
    "steps": ("step",),
    "points": ("cut", "axis"),
    "eigenfunctions": ("step", "y", "x"),
    "outputs": ("step", "y", "x"),
    "gradient_norms": ("step", "y", "x"),
    "cuts": ("step", "cut", "y", "x"),
}
SHOWN = 4
"""Rows of images: the first and the last time of measurement, and two between."""
ACCURACIES = {"train": ("train", "-"), "grid": ("grid", "--")}
CORRELATIONS = {
    "class_correlation": ("own classes", "red"),
    "class_correlation_other": ("the other task's", "grey"),
}
LEAST = 0.95
"""Training accuracy that is claimed at the end."""


def maps_figure(table: pd.DataFrame, arrays: dict[str, NDArray], figure: str) -> Figure:
    """Draw maps at four times, and curves against the step.

    Args:
        table: Its table.
        arrays: Those of :data:`ARRAYS`.
        figure: What claims call the figure.
    """
    steps, points = arrays["steps"], arrays["points"]
    # Fixed places: the solver of constrained layouts moves images by rounding errors.
    drawn = plt.figure(figsize=(style.WIDTH_IN, 1.0 * SHOWN + 2.4))
    drawn.set_layout_engine("none")
    sides = {"left": 0.07, "right": 0.99}
    above = GridSpec(
        SHOWN, 3 + len(points), drawn, top=0.95, bottom=0.37, hspace=0.06, wspace=0.06, **sides
    )
    rows = above.subplots()
    below = GridSpec(1, 4, drawn, top=0.25, bottom=0.08, wspace=0.45, **sides)
    times = np.linspace(0, len(steps) - 1, SHOWN).round().astype(int)
    extent = (-1, 1, -1, 1)
    for row, time in zip(rows, times, strict=True):
        for axes, name in zip(row[:2], ("eigenfunctions", "outputs"), strict=True):
            image = arrays[name][time]
            limit = float(np.abs(image).max())
            axes.imshow(image, "RdBu_r", vmin=-limit, vmax=limit, origin="lower", extent=extent)
        positive = [arrays["gradient_norms"][time], *arrays["cuts"][time]]
        for axes, image in zip(row[2:], positive, strict=True):
            axes.imshow(image, "viridis", origin="lower", extent=extent)
        for axes, (x, y) in zip(row[3:], points, strict=True):
            axes.plot(x, y, "+", color="white", markersize=6, markeredgewidth=2)
            axes.plot(x, y, "+", color="black", markersize=5, markeredgewidth=1)
        for axes in row:
            axes.set(xticks=[], yticks=[], label="part")
        row[0].set_ylabel(f"step {steps[time]}")
    rows[0][0].set_label("")
    names = ["eigenfunction 1", "output", r"$\|\nabla_\theta f(x)\|$"]
    names += [f"$k(x_{place + 1}, \\cdot)$" for place in range(len(points))]
    for axes, name in zip(rows[0], names, strict=True):
        axes.set_title(name)
    _draw_curves(below.subplots(), table, f"baratin2021.{figure}")
    # Placed by hand, as the panels are
    entries = [style.line(f"accuracy, {name}", dashes=line) for name, line in ACCURACIES.values()]
    entries += [style.line(name, style.COLOURS[colour]) for name, colour in CORRELATIONS.values()]
    drawn.legend(
        handles=[*entries, style.CLAIMED],
        loc="center",
        bbox_to_anchor=(0.53, 0.325),
        ncols=5,
        fontsize=6.5,
    )
    return drawn


def _draw_curves(panels: NDArray, table: pd.DataFrame, claim: str) -> None:
    accuracy, alignment, correlation, ratio = panels
    for split, (_, line) in ACCURACIES.items():
        rows = style.select(table, measure="accuracy", split=split)
        style.draw_band(accuracy, rows, "step", style.COLOURS["blue"], None, linestyle=line)
    style.draw_claimed(accuracy, f"{claim}.learned", LEAST, told=None)
    rows = style.select(table, measure="alignment_centered")
    style.draw_band(alignment, rows, "step", style.COLOURS["blue"], None)
    for measure, (_, colour) in CORRELATIONS.items():
        rows = style.select(table, measure=measure)
        style.draw_band(correlation, rows, "step", style.COLOURS[colour], None)
    correlation.axhline(0, color="0.3", linewidth=0.6)
    rows = style.select(table, measure="boundary_ratio")
    style.draw_band(ratio, rows, "step", style.COLOURS["green"], None)
    names = "accuracy", "alignment", r"$k(x, \cdot)$ with classes", "at boundary"
    for panel, name in zip(panels, names, strict=True):
        panel.set(xlabel="step", title=name)
    accuracy.set_ylim(None, 1.02)
    alignment.set_ylim(0, None)
