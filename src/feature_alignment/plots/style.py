"""One look for every figure: sizes, colours, how seeds are shown, and how files are saved."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.storage import replacing
from feature_alignment.tables import read_meta, read_table

WIDTH_IN = 7.0
PANEL_HEIGHT_IN = 1.75
COLOURS = dict(
    zip(
        ("blue", "orange", "green", "red", "purple", "brown", "pink", "grey", "yellow", "sky"),
        sns.color_palette("colorblind").as_hex(),
        strict=True,
    )
)
DATASET_NAMES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
    "stl10": "STL-10",
    "gtsrb": "GTSRB",
    "digits": "digits",
    "photo_patches": "photo patches",
}

Draw = Callable[..., Figure]


def use_style() -> None:
    """Set the project's matplotlib defaults."""
    sns.set_theme(context="paper", style="ticks", palette="colorblind", font_scale=0.85)
    plt.rcParams.update(
        {
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",
            "grid.linewidth": 0.4,
            "legend.frameon": False,
            "lines.linewidth": 1.2,
            "pdf.fonttype": 42,
            "savefig.dpi": 150,
        }
    )


def panels(rows: int, columns: int, **options: object) -> tuple[Figure, list]:
    """Return a figure of the standard width and its axes, row by row."""
    height = PANEL_HEIGHT_IN * rows + 0.6
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH_IN, height), squeeze=False, **options)
    return figure, [list(row) for row in axes]


def footer(meta: Mapping) -> str:
    """Say at which scale, from how many seeds and from which copies of the data a figure is."""
    parts = [f"scale: {meta['spec']['scale']}"]
    if meta.get("seeds"):
        counts = " or ".join(map(str, meta["seeds"]))
        parts.append(f"n = {counts} seed" + ("" if counts == "1" else "s"))
    for name, dataset in sorted(meta["datasets"].items()):
        if dataset["note"]:
            parts.append(f"{DATASET_NAMES[name]}: {dataset['note']}")
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


def draw(
    description: str,
    conditions: Sequence[str],
    figure_of: Draw,
    argv: Sequence[str] | None,
    *,
    images: bool = False,
) -> None:
    """Run a plot module: read its table, draw, and save the figure as PDF and PNG.

    The same table gives the same bytes: no date is written into the files.

    Args:
        description: Text for ``--help``.
        conditions: Condition columns that the table must have.
        figure_of: Draws the table, or the table and the arrays of an ``.npz`` file.
        argv: Arguments, ``None`` for the command line's.
        images: Whether the figure shows arrays.

    Raises:
        ValueError: If the table lacks a column, or the figure its arrays.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--table", type=Path, required=True, help="table behind the figure (CSV)")
    parser.add_argument("--pdf", type=Path, required=True, help="figure to write")
    parser.add_argument("--png", type=Path, required=True, help="the same as a bitmap")
    parser.add_argument("--images", default="", help="arrays behind the figure (NPZ), if any")
    arguments = parser.parse_args(argv)
    table = read_table(arguments.table, conditions)
    if images and not arguments.images:
        raise ValueError("this figure shows arrays; name their file with --images")
    use_style()
    if images:
        with np.load(arguments.images, allow_pickle=False) as arrays:
            figure = figure_of(table, dict(arrays))
    else:
        figure = figure_of(table)
    text = footer(read_meta(arguments.table))
    figure.text(0.995, -0.005, text, ha="right", va="top", fontsize=6.5, color="0.35")
    for path, metadata in (
        (arguments.pdf, {"CreationDate": None}),
        (arguments.png, {"Software": None}),
    ):
        with replacing(path) as temporary:
            figure.savefig(
                temporary, format=path.suffix[1:], metadata=metadata, bbox_inches="tight"
            )
    plt.close(figure)
