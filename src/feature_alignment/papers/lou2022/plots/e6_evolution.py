"""Experiment E6: alignment of layers during training, at an ordinary and at a tiny rate."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import SPLITS
from feature_alignment.plots import style

COLUMNS = ("learning_rate", "layer_index")


def figure(table: pd.DataFrame) -> Figure:
    """Draw a column per learning rate: layers' alignment, their range, and accuracy."""
    rates = sorted(table["learning_rate"].unique(), reverse=True)
    drawn, (layers, spreads, fits) = style.panels(3, len(rates), sharex="col", sharey="row")
    for column, rate in enumerate(rates):
        own = style.select(table, learning_rate=rate)
        for panel in (layers[column], spreads[column], fits[column]):
            panel.set_xscale("log")
        shades = style.shades(int(own["layer_index"].max()), 1)
        test = style.select(own, measure="alignment", split="test")
        for index, rows in test.groupby("layer_index"):
            by_step = rows.groupby("step")["value"].mean()
            by_step = by_step[by_step.index > 0]
            layers[column].plot(
                by_step.index, by_step, color=shades[int(index) - 1], label=f"layer {index:.0f}"
            )
        for row, measure, colour in ((spreads, "spread", "red"), (fits, "accuracy", "blue")):
            rows = style.select(own, measure=measure)
            style.draw_splits(row[column], rows, "step", style.COLOURS[colour], SPLITS)
        layers[column].set_title(f"learning rate {rate:g}")
        fits[column].set_xlabel("SGD step")
    layers[0].set(ylabel="alignment (test)", ylim=(0, None))
    spreads[0].set(ylabel="range over layers", ylim=(0, None))
    fits[0].set(ylabel="accuracy", ylim=(0, 1.02))
    for row in (layers, spreads, fits):
        row[0].legend(fontsize=5)
    return drawn
