"""What the figures share: alignment of layers against their index, and split by line style."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from feature_alignment.audit.criterion import Scale
from feature_alignment.audit.judging import Rows
from feature_alignment.plots import style

NAMES = {"fully_connected": "fully connected", "vgg": "VGG", "resnet": "ResNet"}
SPLITS = {"test": "-", "train": "--"}
SPLIT_COLOURS = {"test": "red", "train": "sky"}
SMOOTHED = "test, smoothed over layers"
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
    scale: Scale | None = None,
) -> None:
    """Draw seeds at a place, those of every split in its colour, side by side."""
    for side, (split, colour) in zip((-shift, shift), look.items(), strict=True):
        values = style.select(rows, split=split)["value"]
        if len(values):
            style.draw_seeds(axes, place + side, values, style.COLOURS[colour], split, scale)


def draw_rises(
    axes: Axes, rows: pd.DataFrame, place: float, smoothed: pd.DataFrame | None = None
) -> None:
    """Draw how far the most aligned layer exceeds the higher end, as it is judged.

    It is the layer that is most aligned by the other seeds.

    Args:
        axes: Where.
        rows: Those of one trained network.
        place: On the x axis.
        smoothed: The ratio of smoothed curves on test examples, by seed.
    """
    aligned = style.select(rows[rows["layer_index"].notna()], measure="alignment")
    sides = dict(zip(SPLIT_COLOURS, (-0.1, 0.1) if smoothed is None else (-0.2, 0), strict=True))
    for split, side in sides.items():
        judged = Rows(style.select(aligned, split=split))
        if judged.table["seed"].nunique() < 2:  # no other seed chooses a layer
            continue
        curves = judged.curves("alignment", "layer_index", (), None)
        ends = curves.first().combine(curves.last(), max)
        highest = judged.extreme_by_others("alignment", "layer_index", (), None, "max")
        colour = style.COLOURS[SPLIT_COLOURS[split]]
        style.draw_seeds(axes, place + side, highest / ends, colour, split, "log")
    if smoothed is not None:
        values = style.select(smoothed, split="test")["value"]
        style.draw_seeds(axes, place + 0.2, values, style.COLOURS["purple"], SMOOTHED, "log")


def mean_of(rows: pd.DataFrame, measure: str) -> float:
    """Return the mean of a measure over seeds."""
    return float(style.select(rows, measure=measure)["value"].mean())


def name_of(architecture: str) -> str:
    """Return an architecture's name as it is usually written."""
    stem = architecture.rstrip("0123456789")
    return NAMES[stem] + architecture.removeprefix(stem)
