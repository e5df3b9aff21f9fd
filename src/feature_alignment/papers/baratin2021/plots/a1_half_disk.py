"""Appendix: figure 1 for the half disk."""

import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment.papers.baratin2021.plots.disks import ARRAYS, COLUMNS, disk_figure

__all__ = ["ARRAYS", "COLUMNS", "figure"]


def figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> Figure:
    """Draw eigenfunctions, alignment and spectrum."""
    drawn, _ = disk_figure(table, arrays)
    return drawn
