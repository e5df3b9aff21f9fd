"""Control C3: does the most aligned layer move with the width, as the measured balance does?"""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import (
    SPLIT_COLOURS,
    draw_layers,
    draw_split,
    mean_of,
)
from feature_alignment.plots import style

COLUMNS = ("width", "layer_index")
CLAIM = "lou2022.c3."
NEAR, OF_E3 = 2, "fashion_depth20"


def figure(table: pd.DataFrame) -> Figure:
    """Draw alignment by layer at every width, and the most aligned layers against width."""
    drawn, [[test, train, peaks]] = style.panels(1, 3)
    widths = sorted(table["width"].dropna().unique())
    for place, (width, colour) in enumerate(zip(widths, style.shades(len(widths)), strict=True)):
        own = style.select(table, width=width)
        for panel, split in ((test, "test"), (train, "train")):
            rows = style.select(own, split=split)
            draw_layers(panel, rows, colour, f"width {width:.0f}", shade=0.18)
        draw_split(peaks, style.select(own, measure="peak_layer"), place, SPLIT_COLOURS)
        measured = style.select(own, measure="equilibrium_layer")["value"]
        look = {"color": "0.2", "markersize": 4, "label": "equilibrium, own width"}
        peaks.plot([place], [measured.mean()], "x", **look)
        if (own["run"] != OF_E3).any():
            law = mean_of(own, "equilibrium_layer_mean_field")
            across = (place - 0.35, place + 0.35)
            claim = f"{CLAIM}peak-stays-near"
            style.draw_claimed(peaks, claim, law - NEAR, law + NEAR, across=across)
    layer = mean_of(table, "equilibrium_layer_mean_field")
    for panel, title in ((test, "test examples"), (train, "training examples")):
        panel.axvline(layer, color="0.3", linestyle=":", label="equilibrium, infinite width")
        panel.set(xlabel="layer", ylabel="alignment", ylim=(0, None))
        panel.set_title(title, fontsize=7)
    peaks.axhline(layer, color="0.3", linestyle=":")
    peaks.set_xticks(range(len(widths)), [f"{width:.0f}" for width in widths])
    peaks.set(xlabel="width", ylabel="most aligned layer", ylim=(0, None))
    peaks.set_xlim(-0.6, len(widths) - 0.4)
    peaks.grid(axis="x", visible=False)
    style.legend(drawn, style.CLAIMED_RANGE, columns=5)
    return drawn
