"""Experiment E4: alignment of the layers of VGGs and ResNets of several depths."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import SPLITS, draw_layers, name_of
from feature_alignment.plots import style

COLUMNS = ("architecture", "family", "layers", "stage", "layer_index")


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row per family: alignment by layer on test and training examples, and the peaks."""
    families = list(table["family"].unique())
    drawn, grid = style.panels(len(families), 3)
    trained = table[table["stage"] != "initial"]
    for (test, train, peaks), family in zip(grid, families, strict=True):
        own = style.select(trained, family=family)
        by_size = own[["architecture", "layers"]].drop_duplicates().sort_values("layers")
        networks = by_size["architecture"]
        for panel, split in ((test, "test"), (train, "train")):
            for network, colour in zip(networks, style.shades(len(networks)), strict=True):
                rows = style.select(own, architecture=network, split=split)
                draw_layers(panel, rows, colour, name_of(network))
            panel.set(xlabel="convolution or linear layer", title=f"{split} examples")
        rows = style.select(own, measure="peak_layer")
        style.draw_splits(peaks, rows, "layers", style.COLOURS["red"], SPLITS, marker="o")
        peaks.set(xlabel="number of layers", ylabel="most aligned layer", ylim=(0, None))
        for panel in (test, train):
            panel.set_ylim(0, None)
        test.set_ylabel("alignment")
        test.legend(fontsize=6)
        peaks.legend(fontsize=6)
    return drawn
