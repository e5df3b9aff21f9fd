"""Control C1: experiment E3 with one learning rate for all depths."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.peaks import COLUMNS, peaks_figure

__all__ = ["COLUMNS", "figure"]


def figure(table: pd.DataFrame) -> Figure:
    """Draw alignment by layer, the most aligned layers over depth, and what is judged of them."""
    return peaks_figure(table, "lou2022.c1.")
