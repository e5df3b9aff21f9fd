"""Figure 2: accuracy and spectrum of the tangent kernel during training."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.noise import (
    SPLITS,
    draw_accuracy,
    draw_whole,
    noise_columns,
    of,
)
from feature_alignment.plots import style

COLUMNS = ("label_noise",)
EIGENVALUES = {"largest": "purple", "mean": "green", "median": "orange"}
HIGHLIGHTED = (40, 80, 160)


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, eigenvalues, effective rank and trace ratios, a column per noise level."""
    drawn, axes, levels = noise_columns(table, 4)
    names = [name for name in table["measure"].unique() if name.startswith("trace_ratio_")]
    counts = sorted(int(name.rpartition("_")[2]) for name in names)
    for column, level in enumerate(levels):
        accuracy, values, rank, ratios = (row[column] for row in axes)
        draw_accuracy(accuracy, table, level)
        values.set_yscale("log")
        for split, line in SPLITS.items():
            for which, colour in EIGENVALUES.items():
                rows = of(table, level, f"eigenvalue_{which}", split)
                label = which if split == "train" else None
                style.draw_band(values, rows, "step", style.COLOURS[colour], label, linestyle=line)
        draw_whole(rank, table, level, "effective_rank", "blue")
        for count in counts:
            rows = of(table, level, f"trace_ratio_{count}", "train")
            means = rows.groupby("step")["value"].mean()
            means = means[means.index > 0]
            ratios.fill_between(means.index, means, 1, color="0.5", alpha=0.12, linewidth=0)
            if count in HIGHLIGHTED:
                ratios.plot(means.index, means, color=style.COLOURS["red"], linewidth=1)
                ratios.annotate(rf"$T_{{{count}}}$", (means.index[-1], means.iloc[-1]), fontsize=6)
        ratios.set_ylim(0, 1)
    for row, label in zip(
        axes, ("accuracy", "eigenvalues", "effective rank", "trace ratios"), strict=True
    ):
        row[0].set_ylabel(label)
    for row in axes[:2]:
        row[0].legend(fontsize=6)
    return drawn
