"""Panels of easy against difficult examples: accuracy, alignment, and the alignments' ratio."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.plots import style

EXAMPLES = {"easy": "blue", "difficult": "orange"}
ROWS = 3


def easy_difficult_figure(
    table: pd.DataFrame, condition: str, titles: dict, more: int = 0
) -> tuple[Figure, list[list[Axes]]]:
    """Draw one column of panels for each value of ``condition``, under its title.

    Args:
        table: The table behind the figure.
        condition: A column.
        titles: By value of that column.
        more: Rows of empty panels below.

    Returns:
        The figure, and its panels by row and column.
    """
    drawn, axes = style.panels(ROWS + more, len(titles))
    for column, (value, title) in enumerate(titles.items()):
        here = style.select(table, **{condition: value})
        accuracy, alignment, ratio = (row[column] for row in axes[:ROWS])
        for panel in (accuracy, alignment, ratio):
            panel.set_xscale("log")
            panel.set_xlabel("SGD step", labelpad=1)
        for split, colour in EXAMPLES.items():
            for panel, measure in ((accuracy, "accuracy"), (alignment, "alignment")):
                rows = style.select(here, measure=measure, split=split)
                style.draw_band(panel, rows, "step", style.COLOURS[colour], split)
        rows = style.select(here, measure="alignment_ratio")
        style.draw_band(ratio, rows, "step", style.COLOURS["green"], None)
        accuracy.set_title(title)
        accuracy.set_ylim(0, 1.02)
    labels = ("training accuracy", "alignment", "alignment,\neasy / difficult")
    for row, label in zip(axes, labels, strict=False):
        row[0].set_ylabel(label)
    for row in axes[1:ROWS]:
        top = max(panel.get_ylim()[1] for panel in row)
        for panel in row:
            panel.set_ylim(0, top)
    return drawn, axes
