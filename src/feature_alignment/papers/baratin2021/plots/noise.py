"""What the figures of networks trained on noisy labels share: one column per noise level."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from feature_alignment.audit.judging import Rows
from feature_alignment.plots import style

SPLITS = {"train": "-", "test": "--"}
SPLIT_ENTRIES = [style.line(split, dashes=dashes) for split, dashes in SPLITS.items()]
STORED = "the authors' stored pictures, read to ±15 %, of 300 000 steps"
START = 10
"""The step that claims compare later ones with."""


def noise_columns(table: pd.DataFrame, rows: int) -> tuple[Figure, list, list[float]]:
    """Return a figure with one column of panels per noise level, and the levels."""
    levels = sorted(table["label_noise"].unique())
    figure, axes = style.panels(rows, len(levels), sharey="row")
    for panel, level in zip(axes[0], levels, strict=True):
        panel.set_title(f"{level:.0%} random labels")
    return figure, axes, levels


def steps_axis(panel: Axes) -> None:
    """Give a panel a logarithmic axis of steps."""
    panel.set_xscale("log")
    panel.set_xlabel("SGD step", labelpad=1)


def of(table: pd.DataFrame, level: float, measure: str, split: str) -> pd.DataFrame:
    """Return the rows of a measure of the whole network."""
    return style.select(table, label_noise=level, measure=measure, split=split, layer=None)


def draw_whole(panel: Axes, table: pd.DataFrame, level: float, measure: str, colour: str) -> None:
    """Draw a measure of the whole network on training and on test examples."""
    rows = style.select(table, label_noise=level, measure=measure, layer=None)
    for split, dashes in SPLITS.items():
        own = style.select(rows, split=split)
        style.draw_band(panel, own, "step", style.COLOURS[colour], None, linestyle=dashes)


def draw_accuracy(panel: Axes, table: pd.DataFrame, level: float) -> None:
    """Draw training and test accuracy."""
    draw_whole(panel, table, level, "accuracy", "blue")
    panel.set_ylim(0, 1.02)


def draw_layers(panel: Axes, table: pd.DataFrame, level: float, split: str) -> None:
    """Draw the mean alignment of every layer, coloured by depth; see :func:`depth_bar`."""
    layers = table[table["layer"].notna()]
    rows = style.select(layers, label_noise=level, measure="alignment", split=split)
    depths = sorted(rows["depth"].unique())
    for depth, colour in zip(depths, style.shades(len(depths), 1), strict=True):
        by_step = rows[rows["depth"] == depth].groupby("step")["value"].mean()
        by_step = by_step[by_step.index > 0]
        panel.plot(by_step.index, by_step, color=colour, linewidth=0.9)
    panel.set_ylim(0, None)


def depth_bar(figure: Figure, panels: list[Axes], table: pd.DataFrame) -> None:
    """Add the scale of colours of :func:`draw_layers`."""
    last = int(table["depth"].max())
    scale = ScalarMappable(Normalize(0.5, last + 0.5), ListedColormap(style.shades(last, 1)))
    bar = figure.colorbar(scale, ax=panels, ticks=[1, last], aspect=12, pad=0.01)
    bar.set_label("layer", labelpad=-4)
    bar.ax.minorticks_off()


def at_start(table: pd.DataFrame, level: float, measure: str) -> float:
    """Return the mean over seeds of a measure on training examples where claims start from."""
    rows = of(table, level, measure, "train")
    rows = rows[rows["step"] >= START]
    return float(rows.loc[rows["step"] == rows["step"].min(), "value"].mean())


def widening(table: pd.DataFrame, level: float) -> pd.Series:
    """Return, for each seed, the ratio of the most and least aligned layer, last over first."""
    rows = style.select(table, label_noise=level, measure="alignment", split="train")
    judged = Rows(rows[rows["depth"].notna()])
    first, last = (
        judged.ratio_across("alignment", "step", at, "depth", ()) for at in ("first", "last")
    )
    return np.exp(last - first)


def interior_rise(rows: pd.DataFrame) -> pd.Series:
    """Return, for each seed, the highest value over depth divided by the higher of both ends."""
    curves = rows.sort_values("depth").groupby("seed")["value"]
    return curves.max() / curves.first().combine(curves.last(), max)
