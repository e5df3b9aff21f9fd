"""Figure B2: training loss and how far each layer's weights move."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.beaglehole2024.plots.layers import (
    layer_colour,
    layer_names,
    layer_number,
)
from feature_alignment.plots import style

COLUMNS = ("dataset",)
FALL, MOVED = 2, 0.1
"""By which factor the training loss is claimed to fall, and how far weights to move."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw one row per dataset: losses, accuracies, and relative weight change by layer."""
    datasets, layers = list(table["dataset"].unique()), layer_names(table)
    drawn, axes = style.panels(len(datasets), 3)
    for row, dataset in zip(axes, datasets, strict=True):
        here = style.select(table, dataset=dataset)
        claim = f"beaglehole2024.b2.{dataset.replace('_', '-')}"
        row[0].set_yscale("log")
        for panel, measure in zip(row, ("loss", "accuracy"), strict=False):
            for split, line, colour in (("train", "-", "blue"), ("test", "--", "red")):
                rows = style.select(here, measure=measure, split=split)
                style.draw_band(panel, rows, "epoch", style.COLOURS[colour], split, linestyle=line)
        losses = style.select(here, measure="loss", split="train")
        first = losses.loc[losses["epoch"] == losses["epoch"].min(), "value"].mean()
        half = {"most": first / FALL, "told": "half", "side": "left"}
        style.draw_claimed(row[0], f"{claim}.loss-falls", **half)
        for layer in layers:
            rows = style.select(here, measure="weight_change", layer=layer)
            name, colour = f"layer {layer_number(layer)}", layer_colour(layer, len(layers))
            style.draw_band(row[2], rows, "epoch", colour, name)
        style.draw_claimed(row[2], f"{claim}.weights-move", MOVED)
        row[0].set(ylabel=f"{style.dataset_name(dataset)}\nloss")
        row[1].set(ylim=(0, 1), ylabel="accuracy")
        row[2].set(ylim=(0, None), ylabel=r"$\|W-W(0)\|\,/\,\|W\|$")
    for panel in axes[-1]:
        panel.set_xlabel("epochs at full learning rate")
    style.legend(drawn, style.CLAIMED, columns=8)
    return drawn
