"""What the figures share: alignment of layers against their index, and split by line style."""

import pandas as pd
from matplotlib.axes import Axes

from feature_alignment.plots import style

NAMES = {"fully_connected": "fully connected", "vgg": "VGG", "resnet": "ResNet"}
SPLITS = {"test": "-", "train": "--"}


def draw_layers(
    axes: Axes, rows: pd.DataFrame, colour: object, label: str | None, **options: object
) -> None:
    """Draw the mean and standard deviation over seeds of layers' alignment."""
    alignments = style.select(rows[rows["layer_index"].notna()], measure="alignment")
    style.draw_band(axes, alignments, "layer_index", colour, label, **options)
    axes.xaxis.get_major_locator().set_params(integer=True)


def mean_of(rows: pd.DataFrame, measure: str) -> float:
    """Return the mean of a measure over seeds."""
    return float(style.select(rows, measure=measure)["value"].mean())


def name_of(architecture: str) -> str:
    """Return an architecture's name as it is usually written."""
    stem = architecture.rstrip("0123456789")
    return NAMES[stem] + architecture.removeprefix(stem)
