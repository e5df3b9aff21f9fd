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
STAYS, STOPS = 1.05, 0.02
"""How far above its least error SuperNat may end, and how far from σ² its training error."""
NOISE = {"color": "0.3", "linewidth": 0.8, "linestyle": ":"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw one column per run: errors and path complexity against the step, and what is judged."""
    runs = list(table["run"].unique())
    drawn, axes = style.panels(len(ROWS) + 1, len(runs), sharey="row")
    for row, ((measure, split), (label, limits)) in zip(axes, ROWS.items(), strict=False):
        for panel, run in zip(row, runs, strict=True):
            here = style.select(table, run=run, split=split)
            _scale(panel, limits)
            for method, (_, colour) in METHODS.items():
                rows = style.select(here, measure=f"{measure}_{method}")
                style.draw_band(panel, rows, "step", style.COLOURS[colour], None)
            if measure == "mse":
                variance = here["noise_variance"].iloc[0]
                panel.axhline(variance, **NOISE)
                if split == "train":
                    claim = f"{_claim(here)}.stops-at-noise"
                    near = (here["step"].max() / 3, here["step"].max())
                    style.draw_claimed(
                        panel, claim, variance - STOPS, variance + STOPS, across=near
                    )
        row[0].set_ylabel(label)
    for column, run in zip(zip(*axes, strict=True), runs, strict=True):
        own = style.select(table, run=run)
        case = own.iloc[0]
        column[0].set_title(f"$n = {case['n_train']}$, $d = {case['dimension']}$")
        for panel in column[:-1]:
            panel.set_xlabel("step", labelpad=1)
        _draw_ends(column[-1], own)
    axes[-1][0].set_ylabel("last / least\nvalidation MSE")
    handles = [
        Line2D([], [], color=style.COLOURS[c], label=label)
        for label, c in reversed(METHODS.values())
    ]
    handles += [Line2D([], [], label=r"noise variance $\sigma^2$", **NOISE)]
    handles += [style.CLAIMED, style.CLAIMED_RANGE]
    drawn.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7)
    return drawn


def _claim(own: pd.DataFrame) -> str:
    """Return how ids of claims about a run begin."""
    case = own.iloc[0]
    return f"baratin2021.fig5.n{case['n_train']}-d{case['dimension']}"


def _draw_ends(panel: Axes, own: pd.DataFrame) -> None:
    """Draw how far each method ends above its least validation error."""
    panel.set_yscale("log")
    for place, method in enumerate(("supernat", "gd", "supernat_constant_top")):
        ends = style.select(own, measure=f"final_over_minimum_{method}", split="validation")
        colour = style.COLOURS[METHODS[method][1]]
        style.draw_seeds(panel, place, ends["value"], colour)
    claim = f"{_claim(own)}.supernat-stays"
    style.draw_claimed(panel, claim, most=STAYS, across=(-0.4, 0.4), told=None)
    panel.set_xticks((0, 1, 2), ("Super-\nNat", "descent", r"$\lambda_\max$" "\nkept"), fontsize=6)
    panel.set(xlim=(-0.6, 2.6), ylim=(0.8, 150))
    panel.grid(axis="x", visible=False)
    panel.yaxis.set_major_formatter("{x:g}")


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
