"""Figure 5: SuperNat and gradient descent on noisy linear regression."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator

from feature_alignment.plots import style

COLUMNS = ("n_train", "dimension", "noise_variance")
METHODS = {
    "supernat_constant_top": (r"SuperNat, $\lambda_\max$ kept", "green"),
    "gd": ("gradient descent", "blue"),
    "supernat": ("SuperNat", "orange"),
}
ROWS = {
    ("mse", "validation"): ("validation MSE", (0.08, 1.5)),
    ("mse", "train"): ("training MSE", (0.004, 1.5)),
    ("path_complexity", "train"): ("path complexity", (0.3, 12)),
}
"""Measure and split of each row of panels: its label, and its range, which curves may leave."""
NOISE = {"color": "0.3", "linewidth": 0.8, "linestyle": ":"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw one column per run, with errors and path complexity against the step."""
    runs = list(table["run"].unique())
    drawn, axes = style.panels(len(ROWS), len(runs), sharex=True, sharey="row")
    for row, ((measure, split), (label, limits)) in zip(axes, ROWS.items(), strict=True):
        for panel, run in zip(row, runs, strict=True):
            here = style.select(table, run=run, split=split)
            _scale(panel, limits)
            for method, (_, colour) in METHODS.items():
                rows = style.select(here, measure=f"{measure}_{method}")
                style.draw_band(panel, rows, "step", style.COLOURS[colour], None)
            if measure == "mse":
                panel.axhline(here["noise_variance"].iloc[0], **NOISE)
        row[0].set_ylabel(label)
    for top, bottom, run in zip(axes[0], axes[-1], runs, strict=True):
        case = style.select(table, run=run).iloc[0]
        top.set_title(f"$n = {case['n_train']}$, $d = {case['dimension']}$")
        bottom.set_xlabel("step")
    handles = [
        Line2D([], [], color=style.COLOURS[c], label=label)
        for label, c in reversed(METHODS.values())
    ]
    handles.append(Line2D([], [], label=r"noise variance $\sigma^2$", **NOISE))
    drawn.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return drawn


def _scale(axes: Axes, limits: tuple[float, float]) -> None:
    """Make both axes logarithmic, with a place for step 0."""
    axes.set(yscale="log", ylim=limits)
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    axes.xaxis.set_major_locator(FixedLocator([0, 1, 10, 100, 1000, 10000]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
