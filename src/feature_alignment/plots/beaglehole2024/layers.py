"""What the figures of beaglehole2024 share: panels by dataset and layer, seeds as bands."""

import pandas as pd
from matplotlib.axes import Axes

ANSATZ = {"uc_nfa_pearson": ("UC-NFA", "blue"), "c_nfa_pearson": ("C-NFA", "orange")}


def layer_names(table: pd.DataFrame) -> list[str]:
    """Return the layers ``linear1``, ``linear2``, … of a table in the order of depth."""
    return sorted(table["layer"].dropna().unique(), key=layer_number)


def layer_number(layer: str) -> int:
    """Return 3 for ``linear3``."""
    return int(layer.removeprefix("linear"))


def draw_band(axes: Axes, rows: pd.DataFrame, colour: str, label: str, **style: object) -> None:
    """Draw the mean over seeds against the epoch, with a band of ± one standard deviation."""
    by_epoch = rows.groupby("epoch")["value"].agg(["mean", "std"]).reset_index()
    x, mean = by_epoch["epoch"].astype(float), by_epoch["mean"]
    spread = by_epoch["std"].fillna(0)
    axes.plot(x, mean, color=colour, label=label, **style)
    axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.25, linewidth=0)
