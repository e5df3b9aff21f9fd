"""Experiment E4: alignment of the layers of VGGs and ResNets of several depths."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import (
    RISE,
    SPLIT_COLOURS,
    draw_layers,
    draw_rises,
    draw_split,
    name_of,
)
from feature_alignment.plots import style

COLUMNS = ("architecture", "family", "layers", "stage", "layer_index")

HUES = ("blue", "orange", "green", "purple")
CLAIM = "lou2022.e4."
JUDGED = ("vgg11", "resnet34")
"""Networks of which an interior maximum is claimed here; E1 has the others."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row per family: alignment by layer on both kinds of examples, peaks, and rises."""
    families = list(table["family"].unique())
    drawn, grid = style.panels(len(families), 4)
    trained = table[table["stage"] != "initial"]
    for (test, train, peaks, rises), family in zip(grid, families, strict=True):
        own = style.select(trained, family=family)
        by_size = own[["architecture", "layers"]].drop_duplicates().sort_values("layers")
        networks = list(by_size["architecture"])
        colours = dict(zip(networks, HUES, strict=False))
        for panel, split in ((test, "test"), (train, "train")):
            for network, colour in colours.items():
                rows = style.select(own, architecture=network, split=split)
                draw_layers(panel, rows, style.COLOURS[colour], name_of(network))
            panel.set(xlabel="conv. or linear layer", ylim=(0, None))
            panel.set_title(f"{split} examples", fontsize=7)
        test.set_ylabel("alignment")
        for place, network in enumerate(networks):
            here = style.select(own, architecture=network)
            draw_split(peaks, style.select(here, measure="peak_layer"), place, SPLIT_COLOURS)
            draw_rises(rises, here, place)
            if network in JUDGED:
                claim, across = f"{CLAIM}{network}.interior-maximum", (place - 0.4, place + 0.4)
                style.draw_claimed(rises, claim, RISE, across=across, told=None)
        for panel, title in ((peaks, "most aligned layer"), (rises, "it / higher end")):
            panel.set_xticks(range(len(networks)), [name_of(name) for name in networks], fontsize=6)
            panel.set(xlim=(-0.6, len(networks) - 0.4), ylim=(0, None))
            panel.set_title(title, fontsize=7)
            panel.grid(axis="x", visible=False)
    style.legend(drawn, style.CLAIMED, columns=8)
    return drawn
