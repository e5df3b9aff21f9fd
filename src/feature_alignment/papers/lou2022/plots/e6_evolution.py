"""Experiment E6: alignment of layers during training, at an ordinary and at a tiny rate."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from feature_alignment.papers.lou2022.plots.layers import SPLITS
from feature_alignment.plots import style

COLUMNS = ("learning_rate", "layer_index")


CLAIM = "lou2022.e6."
GROWTH, CONTROL = 3, 3


def figure(table: pd.DataFrame) -> Figure:
    """Draw a column per learning rate: layers' alignment, their range, and accuracy.

    On the right is what is judged: how much the range grows, and how much larger it ends.
    """
    rates = sorted(table["learning_rate"].unique(), reverse=True)
    drawn, grid = style.panels(3, len(rates) + 1)
    layers, spreads, fits = ([*row[:-1]] for row in grid)
    for column, rate in enumerate(rates):
        own = style.select(table, learning_rate=rate)
        for panel in (layers[column], spreads[column], fits[column]):
            panel.set_xscale("log")
        shades = style.shades(int(own["layer_index"].max()), 1)
        test = style.select(own, measure="alignment", split="test")
        for index, rows in test.groupby("layer_index"):
            label, colour = f"layer {index:.0f}", shades[int(index) - 1]
            style.draw_band(layers[column], rows, "step", colour, label, shade=0.06)
        for row, measure, colour in ((spreads, "spread", "red"), (fits, "accuracy", "blue")):
            for split, dashes in SPLITS.items():
                rows = style.select(own, measure=measure, split=split)
                hue = style.COLOURS[colour]
                style.draw_band(row[column], rows, "step", hue, None, linestyle=dashes)
        layers[column].set_title(f"learning rate {rate:g}", fontsize=7)
        fits[column].set_xlabel("SGD step")
    for row, label in ((layers, "alignment (test)"), (spreads, "range over layers")):
        top = max(panel.get_ylim()[1] for panel in row)
        for panel in row:
            panel.set_ylim(0, top)
        row[0].set_ylabel(label)
    for panel in fits:
        panel.set_ylim(0, 1.02)
    fits[0].set_ylabel("accuracy")
    splits = [style.line(split, "0.3", dashes) for split, dashes in SPLITS.items()]
    style.legend(drawn, *splits, style.CLAIMED, slot=grid[0][-1], size=5.5)
    _draw_judged(grid[1][-1], table, rates)
    grid[2][-1].set_axis_off()
    return drawn


def _draw_judged(panel: Axes, table: pd.DataFrame, rates: list[float]) -> None:
    """Draw the growth of the range at the ordinary rate, and its end over that of the control."""
    panel.set_yscale("log")
    test = style.select(table, split="test")
    own = style.select(test, measure="spread", learning_rate=rates[0]).sort_values("step")
    by_seed = own.groupby("seed")["value"]
    style.draw_seeds(panel, 0, by_seed.last() / by_seed.first(), style.COLOURS["red"])
    style.draw_claimed(panel, f"{CLAIM}differentiates", GROWTH, across=(-0.4, 0.4), told=None)
    ends = style.select(test, measure="final_spread")
    first, last = (
        style.select(ends, learning_rate=rate).set_index("seed")["value"]
        for rate in (rates[0], rates[-1])
    )
    if len(rates) > 1:
        style.draw_seeds(panel, 1, first / last[first.index], style.COLOURS["red"])
        style.draw_claimed(panel, f"{CLAIM}control", CONTROL, across=(0.6, 1.4), told=None)
    panel.set_xticks((0, 1), ("end / start", "end / end of\nlow rate"), fontsize=6)
    panel.set(xlim=(-0.6, 1.6))
    panel.set_title("ratios of ranges (test)", fontsize=7)
    panel.grid(axis="x", visible=False)
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())
