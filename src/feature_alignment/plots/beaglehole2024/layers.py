"""What the figures of beaglehole2024 share: names of layers and measures."""

import pandas as pd

ANSATZ = {"uc_nfa_pearson": ("UC-NFA", "blue"), "c_nfa_pearson": ("C-NFA", "orange")}


def layer_names(table: pd.DataFrame) -> list[str]:
    """Return the layers ``linear1``, ``linear2``, … of a table in the order of depth."""
    return sorted(table["layer"].dropna().unique(), key=layer_number)


def layer_number(layer: str) -> int:
    """Return 3 for ``linear3``."""
    return int(layer.removeprefix("linear"))
