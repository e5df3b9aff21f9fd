"""Figure B6: the alignment of a quadratic network at its first step, predicted and observed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from feature_alignment.plots import style

COLUMNS = ("dimension", "width", "examples", "alpha", "epsilon", "readout")
READOUTS = {"normal": ("normal readout", "o"), "student_t": ("heavy-tailed readout", "^")}

FLAT, MEAN = 0.5, 0.03
JUDGED = {True: (0.03, "flat"), False: (0.05, "decaying")}
"""Claimed tolerance of the error and name of the claim, by whether the covariance is flat."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw predicted against observed, both against α, the prediction's error, and a baseline.

    The error is drawn for every point of the grid, and its size by dimension.
    """
    drawn, [[scatter, decay], [errors, baseline], [sizes, empty]] = style.panels(3, 2)
    grid = table[table["width"].notna()]
    means = grid.groupby([*COLUMNS, "measure"])["value"].mean().unstack("measure").reset_index()
    _draw_prediction(scatter, means)
    _draw_exponents(decay, grid)
    _draw_errors(errors, table)
    _draw_baseline(baseline, means)
    _draw_sizes(sizes, style.select(table, measure="mean_error_size"))
    style.legend(drawn, style.CLAIMED_RANGE, slot=empty)
    return drawn


def _colours(epsilons: pd.Series) -> dict[float, str]:
    return {e: style.hue(k) for k, e in enumerate(sorted(epsilons.unique()))}


def _draw_prediction(panel: Axes, means: pd.DataFrame) -> None:
    for readout, (name, marker) in READOUTS.items():
        for epsilon, colour in _colours(means["epsilon"]).items():
            rows = style.select(means, readout=readout, epsilon=epsilon)
            panel.plot(
                rows["predicted_cosine"],
                rows["observed_cosine"],
                marker,
                ms=3,
                mfc="none" if readout == "student_t" else None,
                color=colour,
                label=f"ε = {epsilon:g}, {name}",
            )
    both = means[["predicted_cosine", "observed_cosine"]].to_numpy()
    ends = [np.nanmin(both), np.nanmax(both)]
    panel.plot(ends, ends, color="0.3", linewidth=0.8)
    panel.set(xlabel="predicted cosine", ylabel="observed cosine")


def _draw_exponents(panel: Axes, table: pd.DataFrame) -> None:
    """Draw the largest network as wide as its inputs, normal readout, most examples."""
    square = table[(table["width"] == table["dimension"]) & (table["readout"] == "normal")]
    largest = square[square["dimension"] == square["dimension"].max()]
    own = largest[largest["examples"] == largest["examples"].max()]
    for epsilon, colour in _colours(table["epsilon"]).items():
        rows = style.select(own, epsilon=epsilon)
        observed = style.select(rows, measure="observed_cosine")
        predicted = style.select(rows, measure="predicted_cosine")
        style.draw_band(panel, observed, "alpha", colour, None)
        mean = predicted.groupby("alpha")["value"].mean()
        panel.plot(mean.index, mean, "x", ms=5, color=colour)
    panel.set(xlabel="decay exponent of the covariance", ylabel="cosine", ylim=(None, 1.01))
    panel.set_title("observed (curves) and predicted (crosses)", fontsize=7)


def _draw_errors(panel: Axes, table: pd.DataFrame) -> None:
    """Draw the error of every point of the grid, a mean over networks, and that of their mean."""
    own = style.select(table, measure="relative_error")
    keys = [*COLUMNS]
    found = style.intervals(own.groupby(keys)["value"]).reset_index()
    for alpha, points in found.groupby("alpha"):
        places = alpha + np.linspace(-0.16, 0.16, len(points))
        colours = [_colours(found["epsilon"])[epsilon] for epsilon in points["epsilon"]]
        panel.vlines(places, points["low"], points["high"], color=colours, linewidth=0.6)
        marks = panel.scatter(places, points["mean"], s=5, color=colours, zorder=3)
        marks.set_linewidth(0)
    whole = style.select(table, measure="mean_relative_error")
    for alpha, rows in whole.groupby("alpha"):
        style.draw_seeds(panel, alpha + 0.21, rows["value"], "black")
        tolerance, claim = JUDGED[alpha <= FLAT]
        ids = (f"beaglehole2024.b6.prediction.{claim}", "beaglehole2024.b6.prediction.mean")
        across = (alpha - 0.18, alpha + 0.18)
        style.draw_claimed(panel, ids[0], -tolerance, tolerance, across=across)
        across = (alpha + 0.18, alpha + 0.24)
        style.draw_claimed(panel, ids[1], -MEAN, MEAN, across=across)
    panel.axhline(0, color="0.3", linewidth=0.8)
    panel.set(xlabel="decay exponent of the covariance", ylabel="predicted / observed, minus 1")
    panel.set_title("every network of the grid; black: their mean", fontsize=7)
    panel.set_xticks(sorted(found["alpha"].unique()))


def _draw_baseline(panel: Axes, means: pd.DataFrame) -> None:
    for measure, colour in (("observed_cosine", "blue"), ("unrelated_cosine", "grey")):
        values = np.sort(means[measure].dropna().to_numpy())
        share = np.arange(1, 1 + len(values)) / len(values)
        label = measure.removesuffix("_cosine").replace("unrelated", "turned at random")
        panel.plot(values, share, drawstyle="steps-post", color=style.COLOURS[colour], label=label)
    panel.set(xlabel="cosine", ylabel="share of the grid below")


def _draw_sizes(panel: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean size of the error of single networks against their dimension."""
    if rows.empty:  # a table from before this was computed
        panel.set_axis_off()
        return
    panel.set_xscale("log")
    style.draw_band(panel, rows, "dimension", style.COLOURS["blue"], None, marker="o", markersize=3)
    dimensions = sorted(rows["dimension"].unique())
    panel.set_xticks(dimensions, [f"{dimension:g}" for dimension in dimensions])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set(xlabel="dimension of the inputs", ylabel="|predicted / observed, minus 1|")
    panel.set_ylim(0, None)
    panel.set_title("mean over networks of one shape", fontsize=7)
