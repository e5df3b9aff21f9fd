"""Figure B2: training loss and how far each layer's weights move."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.papers.beaglehole2024.plots.layers import layer_names, layer_number
from feature_alignment.plots import style


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["dataset"], figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw one row per dataset: losses, accuracies, and relative weight change by layer."""
    datasets, layers = list(table["dataset"].unique()), layer_names(table)
    shades = plt.get_cmap("viridis")
    drawn, axes = style.panels(len(datasets), 3)
    for row, dataset in zip(axes, datasets, strict=True):
        here = table[table["dataset"] == dataset]
        row[0].set_yscale("log")
        for panel, measure in zip(row, ("loss", "accuracy"), strict=False):
            for split, line, colour in (("train", "-", "blue"), ("test", "--", "red")):
                rows = here[(here["measure"] == measure) & (here["split"] == split)]
                style.draw_band(panel, rows, "epoch", style.COLOURS[colour], split, linestyle=line)
        for place, layer in enumerate(layers):
            rows = here[(here["measure"] == "weight_change") & (here["layer"] == layer)]
            colour = shades(0.9 * place / max(1, len(layers) - 1))
            style.draw_band(row[2], rows, "epoch", colour, f"layer {layer_number(layer)}")
        row[0].set(ylabel=f"{style.DATASET_NAMES[dataset]}\nloss")
        row[1].set(ylim=(0, 1), ylabel="accuracy")
        row[2].set(ylim=(0, None), ylabel=r"$\|W-W(0)\|\,/\,\|W\|$")
    for panel in axes[-1]:
        panel.set_xlabel("epochs at full learning rate")
    axes[0][0].legend()
    axes[-1][2].legend(fontsize=6)
    return drawn


if __name__ == "__main__":
    command.run(main)
