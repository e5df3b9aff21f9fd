"""What the figures of networks trained on noisy labels share: one column per noise level."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.plots import style

SPLITS = {"train": "-", "test": "--"}


def noise_columns(table: pd.DataFrame, rows: int) -> tuple[Figure, list, list[float]]:
    """Return a figure with one column of panels per noise level, and the levels."""
    levels = sorted(table["label_noise"].unique())
    figure, axes = style.panels(rows, len(levels), sharex="col", sharey="row")
    for row in axes:
        for panel in row:
            panel.set_xscale("log")
    for panel, level in zip(axes[0], levels, strict=True):
        panel.set_title(f"{level:.0%} random labels")
    for panel in axes[-1]:
        panel.set_xlabel("SGD step")
    return figure, axes, levels


def of(table: pd.DataFrame, level: float, measure: str, split: str) -> pd.DataFrame:
    """Return the rows of a measure of the whole network."""
    return style.select(table, label_noise=level, measure=measure, split=split, layer=None)


def draw_whole(panel: Axes, table: pd.DataFrame, level: float, measure: str, colour: str) -> None:
    """Draw a measure of the whole network on training and on test examples."""
    rows = style.select(table, label_noise=level, measure=measure, layer=None)
    style.draw_splits(panel, rows, "step", style.COLOURS[colour], SPLITS)


def draw_accuracy(panel: Axes, table: pd.DataFrame, level: float) -> None:
    """Draw training and test accuracy."""
    draw_whole(panel, table, level, "accuracy", "blue")
    panel.set_ylim(0, 1.02)


def draw_layers(panel: Axes, table: pd.DataFrame, level: float, split: str) -> None:
    """Draw the mean alignment of every layer, coloured by depth."""
    layers = table[table["layer"].notna()]
    rows = style.select(layers, label_noise=level, measure="alignment", split=split)
    depths = sorted(rows["depth"].unique())
    for depth, colour in zip(depths, style.shades(len(depths), 1), strict=True):
        label = f"layer {depth:.0f}" if depth in (depths[0], depths[-1]) else None
        by_step = rows[rows["depth"] == depth].groupby("step")["value"].mean()
        by_step = by_step[by_step.index > 0]
        panel.plot(by_step.index, by_step, color=colour, label=label, linewidth=0.9)
    panel.set_ylim(0, None)
