"""One look for every figure: sizes, colours, names of datasets, and how seeds are shown."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH_IN = 7.0
PANEL_HEIGHT_IN = 1.75
COLOURS = {
    "blue": "#0173b2",
    "orange": "#de8f05",
    "green": "#029e73",
    "red": "#d55e00",
    "purple": "#cc78bc",
    "brown": "#ca9161",
    "pink": "#fbafe4",
    "grey": "#949494",
    "yellow": "#ece133",
    "sky": "#56b4e9",
}
"""Distinguishable without full colour vision: the palette ``colorblind`` of seaborn."""
TEXT_PT, SMALL_TEXT_PT = 8.16, 7.48
INK, GRID = ".15", ".8"
DATASET_NAMES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
    "stl10": "STL-10",
    "gtsrb": "GTSRB",
    "photo_patches": "photo patches",
}


_TICKS = {
    f"{axis}tick.{name}": value
    for axis in "xy"
    for name, value in {
        "color": INK,
        "labelsize": SMALL_TEXT_PT,
        "major.size": 6 * 0.8,
        "major.width": 1.0,
        "minor.size": 3.2,
        "minor.width": 0.8,
    }.items()
}


@contextmanager
def own_style() -> Iterator[None]:
    """Draw and save with the project's settings of matplotlib alone, then with the old ones again.

    Nothing is taken over from a ``matplotlibrc``, a style in use, or a notebook.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        plt.rcParams.update(
            {
                **_TICKS,
                "axes.axisbelow": True,
                "axes.edgecolor": INK,
                "axes.grid": True,
                "axes.labelcolor": INK,
                "axes.labelsize": TEXT_PT,
                "axes.linewidth": 1.0,
                "axes.prop_cycle": cycler(color=list(COLOURS.values())),
                "axes.spines.right": False,
                "axes.spines.top": False,
                "axes.titlesize": TEXT_PT,
                "figure.constrained_layout.use": True,
                "font.family": "DejaVu Sans",
                "font.size": TEXT_PT,
                "grid.color": GRID,
                "grid.linewidth": 0.4,
                "legend.fontsize": SMALL_TEXT_PT,
                "legend.frameon": False,
                "legend.title_fontsize": TEXT_PT,
                "lines.linewidth": 1.2,
                "lines.markersize": 6 * 0.8,
                "lines.solid_capstyle": "round",
                "patch.edgecolor": "w",
                "patch.force_edgecolor": True,
                "patch.linewidth": 0.8,
                "pdf.fonttype": 42,
                "savefig.dpi": 150,
                "text.color": INK,
            }
        )
        yield


def panels(rows: int, columns: int, **options: object) -> tuple[Figure, list]:
    """Return a figure of the standard width and its axes, row by row."""
    height = PANEL_HEIGHT_IN * rows + 0.6
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH_IN, height), squeeze=False, **options)
    return figure, [list(row) for row in axes]


def dataset_name(name: str) -> str:
    """Return a dataset's name as it is usually written; one not known here keeps its own."""
    return DATASET_NAMES.get(name, name)


def hue(place: int) -> str:
    """Return the colour of the curve in a place (0, 1, …); yellow and sky are too faint."""
    return list(COLOURS.values())[place % 8]


def shades(count: int, end: float = 0.9, colours: str = "viridis") -> list[tuple]:
    """Return colours for things in an order: a colour map from its start to the share ``end``."""
    return [plt.get_cmap(colours)(end * place / max(1, count - 1)) for place in range(count)]


def select(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the rows that have these values in these columns; ``None`` stands for no value."""
    for column, value in values.items():
        table = table[table[column].isna() if value is None else table[column] == value]
    return table


def footer(meta: Mapping) -> str:
    """Say at which scale, from how many seeds and from which copies of the data a figure is."""
    parts = [f"scale: {meta['spec']['scale']}"]
    if meta.get("seeds"):
        counts = " or ".join(map(str, meta["seeds"]))
        parts.append(f"n = {counts} seed" + ("" if counts == "1" else "s"))
    for name, dataset in sorted(meta["datasets"].items()):
        if dataset["note"]:
            parts.append(f"{dataset_name(name)}: {dataset['note']}")
    return "  ·  ".join(parts)


def draw_band(
    axes: Axes, rows: pd.DataFrame, x: str, colour: object, label: str | None, **style: object
) -> None:
    """Draw the mean over seeds against the column ``x``, with a band of ± one standard deviation.

    On a logarithmic axis both are taken of the logarithms; what has no logarithm is left out.
    """
    if axes.get_xscale() == "log":
        rows = rows[rows[x] > 0]
    logarithmic = axes.get_yscale() == "log"
    if logarithmic:
        rows = rows[rows["value"] > 0]
    values = np.log(rows["value"]) if logarithmic else rows["value"]
    by_place = values.groupby(rows[x].astype(float)).agg(["mean", "std"]).fillna(0)
    middle, spread = by_place["mean"], by_place["std"]
    curves = [middle, middle - spread, middle + spread]
    if logarithmic:
        curves = [np.exp(curve) for curve in curves]
    axes.plot(by_place.index, curves[0], color=colour, label=label, **style)
    axes.fill_between(by_place.index, *curves[1:], color=colour, alpha=0.25, linewidth=0)


def draw_splits(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    colour: object,
    lines: Mapping[str, str],
    **style: object,
) -> None:
    """Draw a band for each split, such as ``train``, in the style of line that ``lines`` gives."""
    for split, line in lines.items():
        draw_band(axes, select(rows, split=split), x, colour, split, linestyle=line, **style)
