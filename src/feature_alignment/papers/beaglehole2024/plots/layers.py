"""What the figures share: names of layers and measures."""

import re

import pandas as pd

from feature_alignment.plots import style

ANSATZ = {"uc_nfa_pearson": ("UC-NFA", "blue"), "c_nfa_pearson": ("C-NFA", "orange")}


def layer_names(table: pd.DataFrame) -> list[str]:
    """Return the layers ``linear1``, ``linear2``, … of a table in the order of depth."""
    return sorted(table["layer"].dropna().unique(), key=layer_number)


def layer_number(layer: str) -> int:
    """Return 3 for ``linear3`` and for ``conv3``."""
    return int(re.search(r"\d+$", layer).group())


def layer_colour(layer: str) -> str:
    """Return the colour of a layer where all layers share a panel."""
    return style.hue(layer_number(layer) - 1)
