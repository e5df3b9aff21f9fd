"""Control C4: experiment E3 with a smooth activation."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import (
    RISE,
    SPLIT_COLOURS,
    draw_layers,
    draw_rises,
    draw_split,
    mean_of,
)
from feature_alignment.plots import style

COLUMNS = ("dataset", "depth", "layer_index")
CURVES = {
    "mean_field_curve": ("equilibrium layer, tanh", "-"),
    "leading_order_curve": ("$\\beta^{1/3} L^{2/3}$", "--"),
    "relu_curve": ("equilibrium layer, ReLU", ":"),
}
CLAIM = "lou2022.c4."
EXPONENT = (0.62, 0.72)
EXPONENT_CLAIMS = {10: "exponent-of-tested-depths", 1000: "exponent-asymptotic"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw alignment by layer, most aligned layers over depth, their rise, and exponents."""
    drawn, [[test, train, peaks], [rises, exponents, slot]] = style.panels(2, 3)
    trained = table[table["run"].notna()]
    depths = sorted(trained["depth"].unique())
    for depth, colour in zip(depths, style.shades(len(depths)), strict=True):
        own = style.select(trained, depth=depth)
        layer = mean_of(own, "equilibrium_layer_mean_field")
        for panel, split in ((test, "test"), (train, "train")):
            rows = style.select(own, split=split)
            draw_layers(panel, rows, colour, f"depth {depth:.0f}", shade=0.18)
            panel.plot([layer], [0], "^", color=colour, markersize=6, clip_on=False, zorder=5)
    for panel, title in ((test, "test examples"), (train, "training examples")):
        panel.set(xlabel="layer", ylabel="alignment", ylim=(0, None))
        panel.set_title(title, fontsize=7)
    _draw_peaks(peaks, table, depths)
    for place, depth in enumerate(depths):
        own = style.select(trained, depth=depth)
        draw_rises(rises, own, place, style.select(own, measure="interior_rise"))
    style.draw_claimed(rises, f"{CLAIM}interior-maximum", RISE, told=None)
    rises.set_xticks(range(len(depths)), [f"{depth:.0f}" for depth in depths])
    rises.set(xlabel="depth", ylabel="most aligned layer / higher end")
    rises.set_xlim(-0.6, len(depths) - 0.4)
    rises.grid(axis="x", visible=False)
    _draw_exponents(exponents, table)
    triangle = style.line("the same, in (a) and (b)", "0.3", "", "^")
    style.legend(drawn, triangle, style.CLAIMED, style.CLAIMED_RANGE, slot=slot)
    return drawn


def _draw_peaks(panel: Axes, table: pd.DataFrame, depths: list) -> None:
    for depth in depths:
        own = style.select(table, depth=depth, measure="peak_layer")
        draw_split(panel, own, depth, SPLIT_COLOURS, shift=0.4)
    for measure, (label, line) in CURVES.items():
        curve = style.select(table, measure=measure).sort_values("depth")
        panel.plot(curve["depth"], curve["value"], line, color="0.2", linewidth=1, label=label)
    share = mean_of(style.select(table, split="test"), "peak_share")
    ends = (0, 1.1 * max(depths))
    look = {"color": style.COLOURS["green"], "linewidth": 1}
    label = f"in proportion, {share:.2f} L (fitted)"
    panel.plot(ends, [share * end for end in ends], "-.", label=label, **look)
    top = 1.25 * max(depths)
    panel.set(xlabel="depth L", ylabel="most aligned layer", xlim=(0, top), ylim=(0, top))
    panel.set_xticks(depths)


def _draw_exponents(panel: Axes, table: pd.DataFrame) -> None:
    rows = style.select(table, measure="equilibrium_exponent").sort_values("depth")
    look = {"marker": "o", "ms": 3, "color": style.COLOURS["green"]}
    panel.plot(rows["depth"], rows["value"], **look)
    panel.set_xscale("log")
    panel.axhline(2 / 3, color="0.3", linewidth=0.8)
    for depth, claim in EXPONENT_CLAIMS.items():
        across = (0.7 * depth, 1.4 * depth)
        style.draw_claimed(panel, CLAIM + claim, *EXPONENT, across=across)
    panel.set(xlabel="from depth, to ten times it", ylabel="exponent of the equilibrium")
