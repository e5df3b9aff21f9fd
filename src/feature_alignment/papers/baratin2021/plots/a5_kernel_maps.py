"""Appendix: the tangent kernel on the disk as maps."""

import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment.papers.baratin2021.plots.maps import ARRAYS, COLUMNS, maps_figure

__all__ = ["ARRAYS", "COLUMNS", "figure"]


def figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> Figure:
    """Draw eigenfunction, output, length of the gradient and cuts of the kernel at four times."""
    return maps_figure(table, arrays, "a5")
