"""Figure 4: the tangent kernel aligns with easy examples before difficult ones."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.easy_difficult import ROWS, easy_difficult_figure
from feature_alignment.plots import style

COLUMNS = ("difficult",)
EXCEEDS = 1
JUDGED_FROM = 10
"""The step from which easy examples are claimed to be aligned better."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracies, alignments and their ratio, a column per kind of difficult examples."""
    kinds = sorted(table["difficult"].unique(), key=lambda kind: kind != "random_labels")
    names = (style.dataset_name(kind).replace("random_labels", "random labels") for kind in kinds)
    titles = {kind: f"difficult: {name}" for kind, name in zip(kinds, names, strict=True)}
    drawn, axes = easy_difficult_figure(table, "difficult", titles)
    for panel, kind in zip(axes[ROWS - 1], kinds, strict=True):
        claim = f"baratin2021.fig4.{kind.replace('_', '-')}.easy-exceeds"
        across = (JUDGED_FROM, table["step"].max())
        style.draw_claimed(panel, claim, EXCEEDS, across=across)
    style.legend(drawn, style.CLAIMED)
    return drawn
