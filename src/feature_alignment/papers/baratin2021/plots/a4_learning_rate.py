"""Appendix: spectrum and alignment at a lower learning rate."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.papers.baratin2021.plots.noise import (
    SPLITS,
    draw_accuracy,
    noise_columns,
    of,
)
from feature_alignment.plots import style

CURVES = {
    "effective_rank": "effective rank",
    "trace_ratio_40": "$T_{40}$",
    "alignment": "alignment",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["label_noise", "depth"], figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, effective rank, a trace ratio and alignment, a column per noise level."""
    measured = set(table["measure"])
    curves = {measure: label for measure, label in CURVES.items() if measure in measured}
    drawn, axes, levels = noise_columns(table, 1 + len(curves))
    for column, level in enumerate(levels):
        draw_accuracy(axes[0][column], table, level)
        for row, measure in zip(axes[1:], curves, strict=True):
            for split, line in SPLITS.items():
                rows = of(table, level, measure, split)
                colour = style.COLOURS["red"]
                style.draw_band(row[column], rows, "step", colour, split, linestyle=line)
    for row, label in zip(axes, ["accuracy", *curves.values()], strict=True):
        row[0].set_ylabel(label)
        row[0].legend(fontsize=6)
    return drawn


if __name__ == "__main__":
    command.run(main)
