"""What the figures share: alignment of layers against their index, and split by line style."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from feature_alignment.plots import style

NAMES = {"fully_connected": "fully connected", "vgg": "VGG", "resnet": "ResNet"}
SPLITS = {"test": "-", "train": "--"}
SPLIT_COLOURS = {"test": "red", "train": "sky"}
RISE = 1.1
"""How much the most aligned layer is claimed to exceed both ends of a network."""


def draw_layers(
    axes: Axes, rows: pd.DataFrame, colour: object, label: str | None, **options: object
) -> None:
    """Draw the alignment of layers, a band over seeds."""
    alignments = style.select(rows[rows["layer_index"].notna()], measure="alignment")
    style.draw_band(axes, alignments, "layer_index", colour, label, **options)
    axes.xaxis.get_major_locator().set_params(integer=True)


def draw_split(
    axes: Axes,
    rows: pd.DataFrame,
    place: float,
    look: Mapping[str, str],
    shift: float = 0.1,
    factor: bool | None = None,
) -> None:
    """Draw seeds at a place, those of every split in its colour, side by side."""
    for side, (split, colour) in zip((-shift, shift), look.items(), strict=True):
        values = style.select(rows, split=split)["value"]
        if len(values):
            style.draw_seeds(axes, place + side, values, style.COLOURS[colour], split, factor)


def mean_of(rows: pd.DataFrame, measure: str) -> float:
    """Return the mean of a measure over seeds."""
    return float(style.select(rows, measure=measure)["value"].mean())


def name_of(architecture: str) -> str:
    """Return an architecture's name as it is usually written."""
    stem = architecture.rstrip("0123456789")
    return NAMES[stem] + architecture.removeprefix(stem)
