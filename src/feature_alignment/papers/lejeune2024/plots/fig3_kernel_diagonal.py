"""Figure 3: the diagonal of the path-averaged kernel against the teacher's output."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment.papers.lejeune2024.plots.kernels import TARGETS
from feature_alignment.plots import style

COLUMNS = ("target",)
ARRAYS = {
    "targets": ("target",),
    "y": ("image",),
    "diagonal_averaged": ("target", "image"),
    "diagonal_initial": ("image",),
}
KINDS = {"averaged": (r"$\bar K$", "blue"), "initial": ("$K_0$", "grey")}


PUBLISHED = {"floor": (6.0, 0.0), "peak": (29.5, 2.5)}
"""The sign target's diagonal far from the boundary and at it, in the authors' stored figure."""
JUDGED = {  # target, kernel: bounds and claim
    ("smooth", "averaged"): ({"most": 1.3}, "flat-for-smooth"),
    ("sign", "averaged"): ({"least": 1.7}, "peak-for-sign"),
    ("sign", "initial"): ({"most": 1.3}, "initial-flat"),
}
MEASURES = {"averaged": "peak_ratio", "initial": "peak_ratio_initial"}


def figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> Figure:
    """Draw the diagonals of the first seed by target, and all seeds' ratios near to far."""
    drawn, [panels] = style.panels(1, len(TARGETS) + 1)
    for panel, (target, name) in zip(panels, TARGETS.items(), strict=False):
        index = list(arrays["targets"]).index(target)
        for kind, (label, colour) in KINDS.items():
            diagonal = arrays[f"diagonal_{kind}"]
            values = diagonal if diagonal.ndim == 1 else diagonal[index]
            hue = style.COLOURS[colour]
            panel.plot(arrays["y"], values, ".", ms=2.5, color=hue, label=label)
        if target == "sign":
            far = float(np.quantile(np.abs(arrays["y"]), 0.95))
            values, errors = zip(*PUBLISHED.values(), strict=True)
            style.draw_paper(panel, (far, 0.0), values, errors, "the authors' stored figure")
        panel.set(xlabel="teacher's output y", title=f"student of {name}", ylim=(0, None))
    panels[0].set_ylabel("diagonal of the kernel")
    _draw_ratios(panels[-1], table)
    style.legend(drawn, style.CLAIMED)
    return drawn


def _draw_ratios(panel: Axes, table: pd.DataFrame) -> None:
    """Draw the median of the diagonal near the boundary over that far from it, with claims."""
    places = [(target, kind) for target in TARGETS for kind in KINDS]
    for place, (target, kind) in enumerate(places):
        own = style.select(table, target=target, measure=MEASURES[kind])
        if own.empty:
            continue
        style.draw_seeds(panel, place, own["value"], style.COLOURS[KINDS[kind][1]], scale="log")
        if (target, kind) in JUDGED:
            bounds, claim = JUDGED[target, kind]
            across = (place - 0.4, place + 0.4)
            style.draw_claimed(
                panel, f"lejeune2024.fig3.{claim}", **bounds, across=across, told=None
            )
    panel.set_xticks(
        range(len(places)), [f"{KINDS[kind][0]}\n{TARGETS[target]}" for target, kind in places]
    )
    panel.set(xlim=(-0.6, len(places) - 0.4), ylim=(0, None))
    panel.set_title("|y| < 0.25 over |y| > 0.75", fontsize=7)
    panel.set_ylabel("ratio of median diagonals")
