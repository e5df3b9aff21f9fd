"""Experiment E4: alignment of the layers of VGGs and ResNets of several depths."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.papers.lou2022.plots.e1_hierarchy import name_of
from feature_alignment.papers.lou2022.plots.layers import SPLITS, draw_layers
from feature_alignment.plots import style


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    conditions = ["architecture", "family", "layers", "stage", "layer_index"]
    style.draw(__doc__, conditions, figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row per family: alignment by layer on test and training examples, and the peaks."""
    families = list(table["family"].unique())
    drawn, grid = style.panels(len(families), 3)
    trained = table[table["stage"] != "initial"]
    for (test, train, peaks), family in zip(grid, families, strict=True):
        own = trained[trained["family"] == family]
        networks = own[["architecture", "layers"]].drop_duplicates().sort_values("layers")
        for panel, split in ((test, "test"), (train, "train")):
            for place, network in enumerate(networks["architecture"]):
                colour = plt.get_cmap("viridis")(0.9 * place / max(1, len(networks) - 1))
                rows = own[(own["architecture"] == network) & (own["split"] == split)]
                draw_layers(panel, rows, colour, name_of(network))
            panel.set(xlabel="convolution or linear layer", title=f"{split} examples")
        for split, line in SPLITS.items():
            rows = own[(own["measure"] == "peak_layer") & (own["split"] == split)]
            colour = style.COLOURS["red"]
            style.draw_band(peaks, rows, "layers", colour, split, linestyle=line, marker="o")
        peaks.set(xlabel="number of layers", ylabel="most aligned layer", ylim=(0, None))
        for panel in (test, train):
            panel.set_ylim(0, None)
        test.set_ylabel("alignment")
        test.legend(fontsize=6)
        peaks.legend(fontsize=6)
    return drawn


if __name__ == "__main__":
    command.run(main)
