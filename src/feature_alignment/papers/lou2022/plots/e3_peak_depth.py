"""Experiment E3: the most aligned layer against depth, and the laws for it."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.peaks import COLUMNS, peaks_figure

__all__ = ["COLUMNS", "figure"]


def figure(table: pd.DataFrame) -> Figure:
    """Draw alignment by layer, the most aligned layers over depth, and what is judged of them."""
    return peaks_figure(table, "lou2022.e3.")
