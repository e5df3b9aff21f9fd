"""What the figures share: names of layers and measures."""

import re

import pandas as pd
from matplotlib.axes import Axes

from feature_alignment.plots import style

CLAIMED = style.line("claimed of UC-NFA at the end: above its start", "0.15", "--")
ANSATZ = {"uc_nfa_pearson": ("UC-NFA", "blue"), "c_nfa_pearson": ("C-NFA", "orange")}


def layer_names(table: pd.DataFrame) -> list[str]:
    """Return the layers ``linear1``, ``linear2``, … of a table in the order of depth."""
    return sorted(table["layer"].dropna().unique(), key=layer_number)


def layer_number(layer: str) -> int:
    """Return 3 for ``linear3`` and for ``conv3``."""
    return int(re.search(r"\d+$", layer).group())


def layer_colour(layer: str, count: int = 8) -> tuple:
    """Return the colour of one of several layers that share a panel, in the order of depth."""
    return style.shades(count)[layer_number(layer) - 1]


def draw_start(panel: Axes, claim: str, rows: pd.DataFrame) -> None:
    """Draw the mean UC-NFA at the first measurement, above which it is claimed to end."""
    rows = style.select(rows, measure="uc_nfa_pearson")
    start = rows.loc[rows["epoch"] == rows["epoch"].min(), "value"].mean()
    style.draw_claimed(panel, claim, start, told=None)
