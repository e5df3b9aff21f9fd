"""What the figures share: alignment of layers against their index, and split by line style."""

import pandas as pd
from matplotlib.axes import Axes

from feature_alignment.plots import style

SPLITS = {"test": "-", "train": "--"}


def draw_layers(
    axes: Axes, rows: pd.DataFrame, colour: object, label: str | None, **options: object
) -> None:
    """Draw the mean and standard deviation over seeds of layers' alignment."""
    alignments = rows[(rows["measure"] == "alignment") & rows["layer_index"].notna()]
    style.draw_band(axes, alignments, "layer_index", colour, label, **options)
    axes.xaxis.get_major_locator().set_params(integer=True)


def mean_of(rows: pd.DataFrame, measure: str) -> float:
    """Return the mean of a measure over seeds."""
    return float(rows.loc[rows["measure"] == measure, "value"].mean())
