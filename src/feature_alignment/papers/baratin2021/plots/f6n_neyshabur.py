"""Ours, to figure 6: the generalisation gap, and the measure of Neyshabur et al. (2018)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from feature_alignment.papers.baratin2021.plots.sweeps import (
    SWEEPS,
    by_run,
    draw_along,
    draw_rank,
    ranks_axis,
    relative,
    sweep_axis,
)
from feature_alignment.plots import style

COLUMNS = ("width", "label_noise", "learning_rate", "sweep")
GAPS = {"loss_gap": ("loss (nats)", "red"), "error_gap": ("error", "purple")}
TERMS = {
    "neyshabur_capacity": ("sum", "green", "-"),
    "initial_neyshabur_capacity": ("sum, untrained", "green", ":"),
    "neyshabur_initial": (r"$\|U_0\|_2\,\|V\|_F$", "orange", "--"),
    "neyshabur_distance": (r"$\|U-U_0\|_F\,\|V\|_F$", "pink", "--"),
}
COMPARED = {
    "neyshabur_capacity": ("Neyshabur et al.", "green"),
    "path_complexity": ("path complexity", "blue"),
}
"""What is compared with the gaps, and with each other."""
RANKED = {"loss gap": "loss_gap", "error gap": "error_gap"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw a column per sweep: gaps, the measure and its terms, growth, and rank correlations.

    In the third row both measures are divided by their values at the left end of the column in the
    same seed; the last has their rank correlations with the gaps, in the same colours.
    """
    drawn, axes = style.panels(4, len(SWEEPS), sharey="row")
    for column, sweep in enumerate(SWEEPS):
        here = style.select(table, sweep=sweep)
        gaps, terms, growth, ranks = (row[column] for row in axes)
        for panel in (gaps, terms, growth):
            sweep_axis(panel, here, sweep)
            panel.set_yscale("log")
        for measure, (label, colour) in GAPS.items():
            draw_along(gaps, here, measure, sweep, colour, label)
        for measure, (label, colour, line) in TERMS.items():
            draw_along(terms, here, measure, sweep, colour, label, linestyle=line)
        for measure, (label, colour) in COMPARED.items():
            own = relative(style.select(here, measure=measure), sweep)
            draw_along(growth, own, measure, sweep, colour, label)
        _draw_ranks(ranks, here)
    fixed = style.select(table, sweep="label_noise").iloc[0]
    axes[0][0].set_title(f"true labels, $\\eta = {fixed['learning_rate']:g}$")
    axes[0][1].set_title(f"{fixed['width']} hidden units, $\\eta = {fixed['learning_rate']:g}$")
    axes[0][0].set_ylabel("generalisation gap")
    axes[1][0].set_ylabel("Neyshabur et al.\nand two of its terms")
    axes[2][0].set_ylabel("relative to the left end")
    axes[3][0].set_ylabel("rank correlation with")
    for row, digits in zip(axes[:3], ((1, 3), (1, 2, 5), (1, 2, 5)), strict=True):
        row[0].yaxis.set_major_locator(LogLocator(subs=digits))
        row[0].yaxis.set_major_formatter("{x:g}")
        row[0].yaxis.set_minor_locator(NullLocator())
        handles, labels = row[0].get_legend_handles_labels()
        row[1].legend(handles, labels, loc="center left", bbox_to_anchor=(1, 0.5))
    return drawn


def _draw_ranks(panel: Axes, here: pd.DataFrame) -> None:
    for place, gap in enumerate(RANKED.values()):
        values = by_run(style.select(here, measure=gap))
        for step, (measure, (_, colour)) in enumerate(COMPARED.items()):
            rows = style.select(here, measure=measure)
            draw_rank(panel, place + 0.13 * step, rows, values, colour)
    ranks_axis(panel, RANKED)
