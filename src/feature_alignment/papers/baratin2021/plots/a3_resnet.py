"""Appendix: alignment of a ResNet18's tangent kernel with labels, and of its layers."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.noise import (
    SPLITS,
    draw_accuracy,
    draw_layers,
    draw_whole,
)
from feature_alignment.plots import style

COLUMNS = ("label_noise", "depth")


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, alignment, alignment by layer in time, and by depth at the end."""
    [level] = table["label_noise"].unique()
    drawn, [[accuracy, whole], [layers, depth]] = style.panels(2, 2)
    for panel in (accuracy, whole, layers):
        panel.set_xscale("log")
        panel.set_xlabel("SGD step")
    draw_accuracy(accuracy, table, level)
    draw_layers(layers, table, level, "train")
    draw_whole(whole, table, level, "alignment", "red")
    final = style.select(table, measure="final_layer_alignment")
    style.draw_splits(depth, final, "depth", style.COLOURS["red"], SPLITS)
    accuracy.set_ylabel("accuracy")
    whole.set_ylabel("alignment")
    layers.set_ylabel("layer alignment (train)")
    depth.set(xlabel="layer with parameters, in order of depth", ylabel="final layer alignment")
    for panel in (accuracy, whole, layers):
        panel.legend(fontsize=6)
    return drawn
