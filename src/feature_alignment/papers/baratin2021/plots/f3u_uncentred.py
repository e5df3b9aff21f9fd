"""Figures 2 and 3 for the tangent kernel that is not centred, next to the centred one."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.noise import (
    SPLIT_ENTRIES,
    depth_bar,
    draw_layers,
    draw_whole,
    noise_columns,
    of,
    steps_axis,
)
from feature_alignment.plots import style

COLUMNS = ("label_noise", "depth")
KINDS = {"": ("centred", "blue"), "_uncentered": ("not centred", "orange")}
NAMES = {0.0: "clean", 0.5: "noise50"}
"""What claims call the levels of noise."""
MEMORISED, FACTOR = {0.5: 0.8}, 2
WHOLE = ("alignment", "effective_rank", "trace_ratio_40")
EIGENVALUES = {"largest": 1.4, "mean": 1.0, "median": 0.5}
"""Eigenvalues that are drawn, by the width of their lines."""
LABELS = (
    "accuracy",
    "alignment",
    "effective rank",
    "$T_{40}$",
    "eigenvalues (train):\nlargest, mean, median",
    "layer alignment,\ncentred (train)",
    "layer alignment,\nnot centred (train)",
)


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, and what figures 2 and 3 show of the kernel, for both kernels."""
    drawn, axes, levels = noise_columns(table, len(LABELS))
    measured = set(table["measure"])
    for column, level in enumerate(levels):
        accuracy, *whole, values, centred, uncentred = (row[column] for row in axes)
        for row in axes:
            steps_axis(row[column])
        claim = f"baratin2021.f3u.{NAMES.get(level, level)}"
        draw_whole(accuracy, table, level, "accuracy", "grey")
        if level in MEMORISED:
            style.draw_claimed(accuracy, f"{claim}.memorised", MEMORISED[level], side="left")
        for measure, panel in zip(WHOLE, whole, strict=True):
            for suffix, (_, colour) in KINDS.items():
                if measure + suffix in measured:  # with few examples there are no 40 eigenvalues
                    draw_whole(panel, table, level, measure + suffix, colour)
        _draw_claimed(whole[0], whole[1], table, level, claim)
        values.set_yscale("log")
        for which, width in EIGENVALUES.items():
            for suffix, (_, colour) in KINDS.items():
                rows = of(table, level, f"eigenvalue_{which}{suffix}", "train")
                options = {"linewidth": width}
                style.draw_band(values, rows, "step", style.COLOURS[colour], None, **options)
        draw_layers(centred, table, level, "train")
        uncentred_layers = table[table["measure"] == "alignment_uncentered"]
        draw_layers(uncentred, uncentred_layers.assign(measure="alignment"), level, "train")
    for row, label in zip(axes, LABELS, strict=True):
        row[0].set_ylabel(label)
    axes[0][0].set_ylim(0, 1.02)
    for row in axes[1:4]:
        row[0].set_ylim(0, None)
    depth_bar(drawn, [panel for row in axes[5:] for panel in row], table)
    kinds = [style.line(name, style.COLOURS[colour]) for name, colour in KINDS.values()]
    style.legend(drawn, *kinds, *SPLIT_ENTRIES, style.CLAIMED, columns=5)
    return drawn


def _draw_claimed(
    alignment: Axes, rank: Axes, table: pd.DataFrame, level: float, claim: str
) -> None:
    """Draw how far the uncentred alignment is claimed to rise, and its effective rank to fall."""
    first = {}
    for measure in ("alignment", "effective_rank"):
        rows = of(table, level, f"{measure}_uncentered", "train")
        first[measure] = rows.loc[rows["step"] == rows["step"].min(), "value"].mean()
    twice, half = FACTOR * first["alignment"], first["effective_rank"] / FACTOR
    style.draw_claimed(alignment, f"{claim}.alignment-rises", twice, told=None)
    style.draw_claimed(rank, f"{claim}.effective-rank-falls", most=half, told=None)
