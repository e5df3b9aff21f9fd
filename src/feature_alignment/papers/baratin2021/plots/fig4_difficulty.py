"""Figure 4: the tangent kernel aligns with easy examples before difficult ones."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.easy_difficult import ROWS, easy_difficult_figure
from feature_alignment.plots import style

COLUMNS = ("difficult",)
PEAK = 1.2
"""How far the ratio of alignments is claimed to rise above both its ends."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracies, alignments and their ratio, a column per kind of difficult examples."""
    kinds = sorted(table["difficult"].unique(), key=lambda kind: kind != "random_labels")
    names = (style.dataset_name(kind).replace("random_labels", "random labels") for kind in kinds)
    titles = {kind: f"difficult: {name}" for kind, name in zip(kinds, names, strict=True)}
    drawn, axes = easy_difficult_figure(table, "difficult", titles)
    for panel, kind in zip(axes[ROWS - 1], kinds, strict=True):
        claim = f"baratin2021.fig4.{kind.replace('_', '-')}.ratio-peaks"
        ratio = style.select(table, difficult=kind, measure="alignment_ratio")
        means = np.exp(np.log(ratio["value"]).groupby(ratio["step"]).mean())
        least = PEAK * max(means.iloc[0], means.iloc[-1])
        told = f"{PEAK} times the higher end"
        style.draw_claimed(panel, claim, least, told=told, side="left")
    style.legend(drawn, style.CLAIMED)
    return drawn
