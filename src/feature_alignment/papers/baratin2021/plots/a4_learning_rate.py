"""Appendix: spectrum and alignment at a lower learning rate."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.noise import (
    draw_accuracy,
    draw_whole,
    noise_columns,
)

COLUMNS = ("label_noise", "depth")
CURVES = {
    "effective_rank": "effective rank",
    "trace_ratio_40": "$T_{40}$",
    "alignment": "alignment",
}


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, effective rank, a trace ratio and alignment, a column per noise level."""
    measured = set(table["measure"])
    curves = {measure: label for measure, label in CURVES.items() if measure in measured}
    drawn, axes, levels = noise_columns(table, 1 + len(curves))
    for column, level in enumerate(levels):
        draw_accuracy(axes[0][column], table, level)
        for row, measure in zip(axes[1:], curves, strict=True):
            draw_whole(row[column], table, level, measure, "red")
    for row, label in zip(axes, ["accuracy", *curves.values()], strict=True):
        row[0].set_ylabel(label)
        row[0].legend(fontsize=6)
    return drawn
