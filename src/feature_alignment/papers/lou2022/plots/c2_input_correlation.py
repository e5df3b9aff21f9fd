"""Control C2: does the most aligned layer follow the equilibrium layer, where inputs move it?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from feature_alignment.papers.lou2022.plots.layers import draw_layers, mean_of
from feature_alignment.plots import style

COLUMNS = ("input_offset", "layer_index")


CLAIM = "lou2022.c2."
NEAR, MOVES, FOLLOWS = 2, 1.5, 1.333
COLOURS = ("blue", "orange")


def figure(table: pd.DataFrame) -> Figure:
    """Draw alignment by layer for both kinds of inputs, the peaks, and how far they move."""
    drawn, [[test, train], [peaks, moves]] = style.panels(2, 2)
    offsets = sorted(table["input_offset"].unique())
    for place, (offset, colour) in enumerate(zip(offsets, COLOURS, strict=False)):
        own, hue = style.select(table, input_offset=offset), style.COLOURS[colour]
        correlation = mean_of(own, "input_correlation")
        name = f"inputs of correlation {correlation:.2f}"
        layer = mean_of(own, "equilibrium_layer_mean_field")
        for panel, split in ((test, "test"), (train, "train")):
            draw_layers(panel, style.select(own, split=split), hue, name)
            label = f"their equilibrium layer, {layer:.1f}"
            panel.axvline(layer, color=hue, linestyle=":", label=label)
        across = (place - 0.35, place + 0.35)
        peaks.plot(across, (layer, layer), color=hue, linestyle=":")
        ends = (layer - NEAR, layer + NEAR)
        style.draw_claimed(peaks, f"{CLAIM}peak-stays-near", *ends, across=across)
        for shift, split in ((-0.12, "test"), (0.12, "train")):
            values = style.select(own, measure="peak_layer", split=split)["value"]
            style.draw_seeds(peaks, place + shift, values, hue)
            peaks.annotate(split, (place + shift, 0.4), ha="center", fontsize=5.5)
    peaks.set_xticks(range(len(offsets)), [f"offset {offset:g}" for offset in offsets])
    peaks.set(xlim=(-0.6, len(offsets) - 0.4), ylim=(0, None), ylabel="most aligned layer")
    peaks.grid(axis="x", visible=False)
    _draw_moves(moves, table)
    for panel, split in ((test, "test"), (train, "train")):
        panel.set(xlabel="layer", ylabel="alignment", ylim=(0, None), title=f"{split} examples")
    style.legend(drawn, style.CLAIMED, style.CLAIMED_RANGE, columns=3)
    return drawn


def _draw_moves(panel: Axes, table: pd.DataFrame) -> None:
    """Draw by which factor the equilibrium and the peak come earlier with correlated inputs."""
    panel.set_yscale("log")
    kinds = (
        ("equilibrium_layer_mean_field", None, "equilibrium", MOVES, "prediction-moves"),
        ("peak_layer", "test", "most aligned,\ntest", FOLLOWS, "peak-follows"),
        ("peak_layer", "train", "most aligned,\ntrain", None, ""),
    )
    for place, (measure, split, _, bound, claim) in enumerate(kinds):
        rows = style.select(table, measure=measure)
        rows = rows if split is None else style.select(rows, split=split)
        by_offset = rows.groupby(["input_offset", "seed"])["value"].mean().unstack("seed")
        style.draw_seeds(
            panel, place, by_offset.iloc[0] / by_offset.iloc[-1], style.COLOURS["green"]
        )
        if bound:
            across = (place - 0.4, place + 0.4)
            style.draw_claimed(panel, CLAIM + claim, bound, across=across)
    panel.axhline(1, color="0.3", linewidth=0.6)
    panel.set_xticks(range(len(kinds)), [name for _, _, name, *_ in kinds], fontsize=6)
    panel.set(xlim=(-0.6, len(kinds) - 0.4), ylabel="earlier by a factor of")
    panel.grid(axis="x", visible=False)
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())
