"""Figure 3: alignment of the tangent kernel with labels, of the network and of its layers."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.noise import (
    draw_accuracy,
    draw_layers,
    draw_whole,
    noise_columns,
)

COLUMNS = ("label_noise", "depth")


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, alignment, and alignment by layer on train and test, by noise level."""
    drawn, axes, levels = noise_columns(table, 4)
    for column, level in enumerate(levels):
        accuracy, whole, train, test = (row[column] for row in axes)
        draw_accuracy(accuracy, table, level)
        draw_whole(whole, table, level, "alignment", "red")
        draw_layers(train, table, level, "train")
        draw_layers(test, table, level, "test")
    labels = ("accuracy", "alignment", "layer alignment\n(train)", "layer alignment\n(test)")
    for row, label in zip(axes, labels, strict=True):
        row[0].set_ylabel(label)
    for row in axes[:3]:
        row[0].legend(fontsize=6)
    return drawn
