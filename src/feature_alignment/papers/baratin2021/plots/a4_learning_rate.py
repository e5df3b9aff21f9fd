"""Appendix: spectrum and alignment at a lower learning rate."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.noise import (
    SPLIT_ENTRIES,
    at_start,
    draw_accuracy,
    draw_whole,
    of,
    steps_axis,
)
from feature_alignment.plots import style

COLUMNS = ("label_noise", "depth")
CURVES = {
    "effective_rank": ("effective rank", "blue"),
    "trace_ratio_40": ("$T_{40}$", "purple"),
    "alignment": ("alignment", "red"),
}
FACTOR = 2
"""By which the effective rank without random labels is claimed to fall, and alignment to rise."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, effective rank, a trace ratio and alignment, two rows per noise level."""
    measured = set(table["measure"])
    curves = {measure: look for measure, look in CURVES.items() if measure in measured}
    levels = sorted(table["label_noise"].unique())
    drawn, grid = style.panels(2 * len(levels), 2)
    for place, level in enumerate(levels):
        accuracy, *others = [*grid[2 * place], *grid[2 * place + 1]]
        draw_accuracy(accuracy, table, level)
        accuracy.set(ylabel="accuracy", title=f"{level:.0%} random labels")
        for panel, (measure, (name, colour)) in zip(others, curves.items(), strict=False):
            draw_whole(panel, table, level, measure, colour)
            panel.set(ylabel=name, ylim=(0, None))
            if level == 0:
                _draw_claim(panel, table, measure)
        for panel in others[len(curves) :]:
            panel.set_visible(False)
        for panel in (accuracy, *others):
            steps_axis(panel)
    style.legend(drawn, *SPLIT_ENTRIES, style.CLAIMED)
    return drawn


def _draw_claim(panel: Axes, table: pd.DataFrame, measure: str) -> None:
    """Draw how far the effective rank is claimed to fall, and alignment to rise."""
    if measure == "effective_rank":
        half = at_start(table, 0, measure) / FACTOR
        claim = "baratin2021.a4.effective-rank-falls"
        style.draw_claimed(panel, claim, most=half, told="half of step 10", side="left")
    elif measure == "alignment":
        train = of(table, 0, measure, "train")
        first = train.loc[train["step"] == train["step"].min(), "value"].mean()
        claim = "baratin2021.a4.alignment-rises"
        style.draw_claimed(panel, claim, FACTOR * first, told="twice the first", side="left")
