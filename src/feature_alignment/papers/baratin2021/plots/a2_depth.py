"""Appendix: easy against difficult examples in networks of several depths."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.easy_difficult import easy_difficult_figure

COLUMNS = ("depth",)


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracies, alignments and their ratio, a column per depth."""
    titles = {depth: f"{depth} hidden layers" for depth in sorted(table["depth"].unique())}
    return easy_difficult_figure(table, "depth", titles)
