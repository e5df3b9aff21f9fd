"""Figure B6: the alignment of a quadratic network at its first step, predicted and observed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.plots import style

COLUMNS = ("dimension", "width", "examples", "alpha", "epsilon", "readout")
READOUTS = {"normal": ("normal readout", "o"), "student_t": ("heavy-tailed readout", "^")}


def figure(table: pd.DataFrame) -> Figure:
    """Draw means over seeds: predicted against observed, both against α, and a baseline."""
    drawn, [panels] = style.panels(1, 3)
    table = table[table["dimension"].notna()]  # without means over the grid
    means = table.groupby([*COLUMNS, "measure"])["value"].mean().unstack("measure").reset_index()
    _draw_prediction(panels[0], means)
    _draw_exponents(panels[1], table)
    _draw_baseline(panels[2], means)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=6)
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
    panel.set_title("observed (curves), predicted (crosses)", fontsize=7)


def _draw_baseline(panel: Axes, means: pd.DataFrame) -> None:
    for measure, colour in (("observed_cosine", "blue"), ("unrelated_cosine", "grey")):
        values = np.sort(means[measure].dropna().to_numpy())
        share = np.arange(1, 1 + len(values)) / len(values)
        label = measure.removesuffix("_cosine").replace("unrelated", "turned at random")
        panel.plot(values, share, drawstyle="steps-post", color=style.COLOURS[colour], label=label)
    panel.set(xlabel="cosine", ylabel="share of the grid below")
    panel.legend(fontsize=6)
