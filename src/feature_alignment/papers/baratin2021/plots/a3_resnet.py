"""Appendix: alignment of a ResNet18's tangent kernel with labels, and of its layers."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.baratin2021.plots.noise import (
    SPLIT_ENTRIES,
    SPLITS,
    depth_bar,
    draw_accuracy,
    draw_layers,
    draw_whole,
    of,
    steps_axis,
    widening,
)
from feature_alignment.plots import style

COLUMNS = ("label_noise", "depth")
RISE, WIDENS = 2, 1


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, alignment, alignment by layer in time, and by depth at the end."""
    [level] = table["label_noise"].unique()
    drawn, [[accuracy, whole, slot], [layers, depth, spread]] = style.panels(2, 3)
    for panel in (accuracy, whole, layers):
        steps_axis(panel)
    draw_accuracy(accuracy, table, level)
    draw_layers(layers, table, level, "train")
    depth_bar(drawn, [layers], table)
    draw_whole(whole, table, level, "alignment", "red")
    train = of(table, level, "alignment", "train")
    first = train.loc[train["step"] == train["step"].min(), "value"].mean()
    style.draw_claimed(
        whole, "baratin2021.a3.alignment-rises", RISE * first, told="twice the first", side="left"
    )
    whole.set_ylim(0, None)
    final = style.select(table, measure="final_layer_alignment")
    for split, dashes in SPLITS.items():
        rows = style.select(final, split=split)
        style.draw_band(depth, rows, "depth", style.COLOURS["red"], None, linestyle=dashes)
    spread.set_yscale("log")
    style.draw_seeds(spread, 0, widening(table, level), style.COLOURS["red"], scale="log")
    style.draw_claimed(spread, "baratin2021.a3.hierarchy", WIDENS, side="left")
    accuracy.set_ylabel("accuracy")
    whole.set_ylabel("alignment")
    layers.set_ylabel("layer alignment (train)")
    depth.set(xlabel="layer with parameters", ylabel="layer alignment, end", ylim=(0, None))
    spread.set(xlim=(-1, 1), xticks=[])
    spread.set_ylabel("most / least aligned\nlayer, end / start", fontsize=7)
    style.legend(drawn, *SPLIT_ENTRIES, style.CLAIMED, slot=slot)
    return drawn
