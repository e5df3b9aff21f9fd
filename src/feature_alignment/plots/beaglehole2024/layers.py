"""What the figures of beaglehole2024 share: panels by dataset and layer, seeds as bands."""

import numpy as np
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
    """Draw the mean over seeds against the epoch, with a band of ± one standard deviation.

    On a logarithmic axis both are taken of the logarithms.
    """
    logarithmic = axes.get_yscale() == "log"
    values = np.log(rows["value"]) if logarithmic else rows["value"]
    by_epoch = values.groupby(rows["epoch"].astype(float)).agg(["mean", "std"]).fillna(0)
    middle, spread = by_epoch["mean"], by_epoch["std"]
    curves = [middle, middle - spread, middle + spread]
    if logarithmic:
        curves = [np.exp(curve) for curve in curves]
    axes.plot(by_epoch.index, curves[0], color=colour, label=label, **style)
    axes.fill_between(by_epoch.index, *curves[1:], color=colour, alpha=0.25, linewidth=0)
