"""Figure 3: alignment of the tangent kernel with labels, of the network and of its layers."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.noise import (
    SPLIT_ENTRIES,
    SPLITS,
    STORED,
    depth_bar,
    draw_accuracy,
    draw_layers,
    draw_whole,
    interior_rise,
    noise_columns,
    steps_axis,
    widening,
)
from feature_alignment.plots import style

COLUMNS = ("label_noise", "depth")
NAMES = {0.0: "clean", 0.2: "noise20", 0.5: "noise50"}
"""What claims call the levels of noise."""
STORED_MAXIMA = {0.0: (0.25, 0.25), 0.2: (0.12, 0.18), 0.5: (0.07, 0.12)}
"""Greatest alignment on training and on test examples in the authors' stored pictures."""
WIDENS, RISE = 1, 1.1
LABELS = (
    "accuracy",
    "alignment",
    "layer alignment\n(train)",
    "layer alignment\n(test)",
    "layer alignment\nat the end",
    "ratio of layers,\nat the end",
)


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, alignment, that of layers by step and by depth, and what is judged of it."""
    drawn, axes, levels = noise_columns(table, len(LABELS))
    for column, level in enumerate(levels):
        accuracy, whole, train, test, depth, ratios = (row[column] for row in axes)
        for panel in (accuracy, whole, train, test):
            steps_axis(panel)
        claim = f"baratin2021.fig3.{NAMES.get(level, level)}"
        draw_accuracy(accuracy, table, level)
        draw_whole(whole, table, level, "alignment", "red")
        whole.set_ylim(0, 0.3)
        if level in STORED_MAXIMA:
            stored = pd.Series(STORED_MAXIMA[level])
            style.draw_paper(whole, (0.9, 0.97), stored, 0.15 * stored, STORED, inside=True)
        draw_layers(train, table, level, "train")
        draw_layers(test, table, level, "test")
        final = style.select(table, label_noise=level, measure="final_layer_alignment")
        for split, dashes in SPLITS.items():
            rows = style.select(final, split=split)
            style.draw_band(depth, rows, "depth", style.COLOURS["red"], None, linestyle=dashes)
        depth.set(xlabel="layer", ylim=(0, None))
        _draw_judged(ratios, table, level, claim)
    for row, label in zip(axes, LABELS, strict=True):
        row[0].set_ylabel(label)
    depth_bar(drawn, [panel for row in axes[2:4] for panel in row], table)
    style.legend(drawn, *SPLIT_ENTRIES, style.CLAIMED)
    return drawn


def _draw_judged(panel: Axes, table: pd.DataFrame, level: float, claim: str) -> None:
    """Draw the ratios of the most aligned layer to the least, and to both ends of the network."""
    final = style.select(table, label_noise=level, measure="final_layer_alignment", split="train")
    colour = style.COLOURS["red"]
    style.draw_seeds(panel, 0, widening(table, level), colour, scale="log")
    style.draw_claimed(panel, f"{claim}.hierarchy", WIDENS, across=(-0.4, 0.4))
    style.draw_seeds(panel, 1, interior_rise(final), colour, scale="log")
    style.draw_claimed(panel, f"{claim}.interior-maximum", RISE, across=(0.6, 1.4))
    panel.set_xticks((0, 1), ("most / least,\nend / start", "most /\nhigher end"), fontsize=6)
    panel.set(xlim=(-0.6, 1.6), ylim=(0, None))
    panel.grid(axis="x", visible=False)
