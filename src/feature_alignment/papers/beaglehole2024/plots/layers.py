"""What the figures share: names of layers and measures."""

import re

import pandas as pd
from matplotlib.axes import Axes

from feature_alignment.plots import style

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


def draw_bound(panel: Axes, claim: str, bound: float) -> None:
    """Draw the bound of a claim on the first measurement, which is at the left."""
    left, right = panel.get_xlim()
    style.draw_claimed(panel, claim, bound, across=(left, left + 0.2 * (right - left)), told=None)
    panel.set_xlim(left, right)
