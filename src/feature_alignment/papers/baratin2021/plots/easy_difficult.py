"""Panels of easy against difficult examples: accuracy, alignment, and the alignments' ratio."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.plots import style

EXAMPLES = {"easy": "blue", "difficult": "orange"}


def easy_difficult_figure(table: pd.DataFrame, condition: str, titles: dict) -> Figure:
    """Draw one column of panels for each value of ``condition``, under its title."""
    drawn, axes = style.panels(3, len(titles), sharex="col", sharey="row")
    for column, (value, title) in enumerate(titles.items()):
        here = style.select(table, **{condition: value})
        accuracy, alignment, ratio = (row[column] for row in axes)
        for panel in (accuracy, alignment, ratio):
            panel.set_xscale("log")
        for split, colour in EXAMPLES.items():
            for panel, measure in ((accuracy, "accuracy"), (alignment, "alignment")):
                rows = style.select(here, measure=measure, split=split)
                style.draw_band(panel, rows, "step", style.COLOURS[colour], split)
        rows = style.select(here, measure="alignment_ratio")
        style.draw_band(ratio, rows, "step", style.COLOURS["green"], None)
        ratio.axhline(1, color="0.4", linewidth=0.8, linestyle=":")
        accuracy.set_title(title)
        ratio.set_xlabel("SGD step")
    axes[0][0].set(ylabel="training accuracy", ylim=(0, 1.02))
    axes[1][0].set(ylabel="alignment", ylim=(0, None))
    axes[2][0].set(ylabel="easy / difficult", ylim=(0, None))
    axes[0][0].legend(fontsize=6)
    return drawn
