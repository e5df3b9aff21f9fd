"""Figure 3: alignment of the tangent kernel with labels, of the network and of its layers."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.papers.baratin2021.plots.noise import (
    SPLITS,
    draw_accuracy,
    draw_layers,
    noise_columns,
    of,
)
from feature_alignment.plots import style


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["label_noise", "depth"], figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, alignment, and alignment by layer on train and test, by noise level."""
    drawn, axes, levels = noise_columns(table, 4)
    for column, level in enumerate(levels):
        accuracy, whole, train, test = (row[column] for row in axes)
        draw_accuracy(accuracy, table, level)
        for split, line in SPLITS.items():
            rows = of(table, level, "alignment", split)
            style.draw_band(whole, rows, "step", style.COLOURS["red"], split, linestyle=line)
        draw_layers(train, table, level, "train")
        draw_layers(test, table, level, "test")
    labels = ("accuracy", "alignment", "layer alignment\n(train)", "layer alignment\n(test)")
    for row, label in zip(axes, labels, strict=True):
        row[0].set_ylabel(label)
    for row in axes[:3]:
        row[0].legend(fontsize=6)
    return drawn


if __name__ == "__main__":
    command.run(main)
