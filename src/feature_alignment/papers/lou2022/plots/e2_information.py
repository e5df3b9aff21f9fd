"""Experiment E2: forward and backward information at initialisation, and where they balance."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import draw_layers, mean_of
from feature_alignment.plots import style

COLUMNS = ("depth", "width", "layer_index", "input_correlation")
SIDES = {
    "forward_distance": ("forward, $1 - c$", "blue"),
    "backward_correlation": ("backward, $\\tilde{c}$", "orange"),
}

LINES = (":", "-", "--")
CLAIM = "lou2022.e2."
AGREES, WIDE, NEAR, EXPONENT = 0.25, 1024, 2, (0.55, 0.65)
EXPONENT_CLAIMS = {10: "exponent-of-tested-depths", 1000: "exponent-asymptotic"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw information by layer, its ratios, equilibrium layers, alignment, laws, exponents."""
    drawn, [[curves, ratios, layers], [aligned, laws, exponents]] = style.panels(2, 3)
    measured = table[table["width"].notna()]
    depth = measured["depth"].min()
    shallow = style.select(measured, depth=depth)
    widths = sorted(shallow["width"].unique())
    _draw_information(curves, shallow, widths, depth)
    for width, marker in zip(widths, "osD^v", strict=False):
        own = style.select(shallow, width=width)
        for side, (_, colour) in SIDES.items():
            rows = style.select(own, measure=f"{side.split('_')[0]}_ratio")
            options = {"marker": marker, "markersize": 2, "linewidth": 0.6, "scale": "log"}
            style.draw_band(ratios, rows, "layer_index", style.COLOURS[colour], None, **options)
    ratios.axhline(1, color="0.3", linewidth=0.8)
    claims = [f"{CLAIM}forward-agrees", f"{CLAIM}backward-agrees"]
    style.draw_claimed(ratios, claims, 1 - AGREES, 1 + AGREES)
    ratios.set(xlabel="layer", ylabel="measured / infinite width", ylim=(0, 3))
    _draw_equilibria(layers, shallow, widths)
    trained = style.select(measured, measure="alignment")
    draw_layers(aligned, trained, style.COLOURS["red"], None)
    aligned.axvline(mean_of(shallow, "equilibrium_layer_mean_field"), color="0.3", linewidth=0.8)
    aligned.set(xlabel="layer", ylabel="alignment (test)", ylim=(0, None))
    aligned.set_title("after training", fontsize=7)
    _draw_laws(laws, table)
    _draw_exponents(exponents, table)
    style.legend(drawn, style.CLAIMED_RANGE, columns=5)
    return drawn


def _draw_equilibria(panel: Axes, rows: pd.DataFrame, widths: list) -> None:
    """Draw the measured equilibrium layers of every width, and that of infinite width."""
    for place, width in enumerate(widths):
        values = style.select(rows, width=width, measure="equilibrium_layer")["value"]
        style.draw_seeds(panel, place, values, style.COLOURS["brown"])
        if width == WIDE:
            own = style.select(rows, width=width)
            expected = mean_of(own, "equilibrium_layer_mean_field")
            ends = (expected - NEAR, expected + NEAR)
            across = (place - 0.4, place + 0.4)
            style.draw_claimed(panel, f"{CLAIM}equilibrium-agrees", *ends, across=across)
    panel.axhline(mean_of(rows, "equilibrium_layer_mean_field"), color="0.3", linewidth=0.8)
    panel.set_xticks(range(len(widths)), [f"width {width:.0f}" for width in widths], fontsize=6)
    panel.set(xlim=(-0.6, len(widths) - 0.4), ylim=(0, None), ylabel="equilibrium layer")
    panel.grid(axis="x", visible=False)


def _draw_exponents(panel: Axes, table: pd.DataFrame) -> None:
    """Draw with which exponent the exact equilibrium layer grows, from one depth to another."""
    rows = style.select(table, measure="equilibrium_exponent")
    for correlation, line in zip(sorted(rows["input_correlation"].unique()), LINES, strict=False):
        own = style.select(rows, input_correlation=correlation).sort_values("depth")
        panel.plot(own["depth"], own["value"], line, marker="o", ms=3, color=style.COLOURS["green"])
    panel.set_xscale("log")
    for depth, claim in EXPONENT_CLAIMS.items():
        across = (0.7 * depth, 1.4 * depth)
        style.draw_claimed(panel, CLAIM + claim, *EXPONENT, across=across)
    panel.axhline(0.6, color="0.3", linewidth=0.8)
    panel.set(xlabel="from depth, to ten times it", ylabel="exponent of the growth")


def _draw_information(axes: Axes, rows: pd.DataFrame, widths: list, depth: float) -> None:
    """Draw both sides by layer: infinite width as lines, measured means as points."""
    axes.set_yscale("log")
    for side, (label, colour) in SIDES.items():
        hue = style.COLOURS[colour]
        expected = style.select(rows, measure=f"{side}_mean_field")
        expected = expected.groupby("layer_index")["value"].mean()
        axes.plot(expected.index, expected, color=hue, label=f"{label}, infinite width")
        for width, marker in zip(widths, "osD^v", strict=False):
            own = style.select(rows, width=width, measure=side)
            means = own.groupby("layer_index")["value"].mean()
            name = f"width {width:.0f}" if side == "forward_distance" else None
            axes.plot(
                means.index, means, marker, color=hue, markersize=2.5, fillstyle="none", label=name
            )
    place = mean_of(rows, "equilibrium_layer_mean_field")
    axes.axvline(place, color="0.3", linewidth=0.8, label=f"equilibrium layer, {place:.1f}")
    axes.set(xlabel="layer", ylabel="information")
    axes.set_title(f"depth {depth:.0f}, at initialisation", fontsize=7)
    axes.set_ylim(rows.loc[rows["measure"].isin(SIDES), "value"].min() / 2, 1.5)


def _draw_laws(axes: Axes, table: pd.DataFrame) -> None:
    axes.set(xscale="log", yscale="log")
    curves = style.select(table, measure="equilibrium_curve")
    for correlation, line in zip(curves["input_correlation"].unique(), LINES, strict=False):
        own = style.select(curves, input_correlation=correlation)
        label = f"exact, $c^1 = {correlation:g}$"
        axes.plot(own["depth"], own["value"], line, color=style.COLOURS["green"], label=label)
    law = style.select(table, measure="leading_order_curve").drop_duplicates("depth")
    axes.plot(law["depth"], law["value"], color="0.3", linewidth=0.8, label="$2.136\\,L^{3/5}$")
    axes.set(xlabel="depth L", ylabel="equilibrium layer")
