"""Experiment E5: alignment and generalisation over learning rates, batch sizes, optimisers."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from feature_alignment.papers.lou2022.plots.layers import draw_layers
from feature_alignment.plots import style

COLUMNS = ("architecture", "optimizer", "learning_rate", "batch_size", "layer_index")
MARKERS = {"sgd": "os^Dv", "adam": "Xd*PH"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw, per architecture, layers' alignment by batch size, and test error against alignment.

    Colours are learning rates, from low to high, markers batch sizes.
    """
    architectures = list(table["architecture"].unique())
    batches = sorted(table["batch_size"].unique())
    drawn, grid = style.panels(2 * len(architectures), max(3, len(batches)))
    for place, architecture in enumerate(architectures):
        own = style.select(table, architecture=architecture, split="test")
        rates = sorted(own["learning_rate"].unique())
        colours = dict(zip(rates, style.shades(len(rates), 0.85, "plasma"), strict=True))
        curves, below = grid[2 * place : 2 * place + 2]
        for panel, batch in zip(curves, batches, strict=False):
            here = style.select(own, batch_size=batch)
            for (optimizer, rate), rows in here.groupby(["optimizer", "learning_rate"]):
                line = "-" if optimizer == "sgd" else "--"
                draw_layers(panel, rows, colours[rate], f"{optimizer} {rate:g}", linestyle=line)
            panel.set(title=f"batches of {batch}", xlabel="layer", ylim=(0, None))
            panel.legend(fontsize=5)
        curves[0].set_ylabel("alignment (test)")
        for panel, measure, label in (
            (below[0], "maximum_alignment", "largest alignment over layers"),
            (below[1], "mean_alignment", "mean alignment over layers"),
        ):
            _scatter(panel, own, measure, colours, batches)
            panel.set_xlabel(label)
        below[0].set_ylabel("test error")
        handles = [
            Line2D([], [], linestyle="", marker=MARKERS[o][k], color="0.3", label=f"{o}, {b}")
            for k, b in enumerate(batches)
            for o in style.select(own, batch_size=b)["optimizer"].unique()
        ]
        below[2].legend(
            handles=handles, title="optimiser, batch size", fontsize=6, loc="center left"
        )
        for panel in [*below[2:], *curves[len(batches) :]]:
            panel.set_axis_off()
    return drawn


def _scatter(panel: Axes, own: pd.DataFrame, measure: str, colours: dict, batches: list) -> None:
    """Draw the error of every run and seed against a summary of its alignments."""
    keys = ["run", "seed"]
    values = style.select(own, measure=measure).set_index(keys)
    errors = style.select(own, measure="error").set_index(keys)["value"]
    for (optimizer, rate, batch), rows in values.groupby(
        ["optimizer", "learning_rate", "batch_size"]
    ):
        marker = MARKERS[optimizer][batches.index(batch)]
        panel.plot(
            rows["value"], errors[rows.index], marker, color=colours[rate], markersize=4, alpha=0.8
        )
