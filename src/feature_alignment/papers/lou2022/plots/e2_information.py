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


def figure(table: pd.DataFrame) -> Figure:
    """Draw information by layer, alignment after training below it, ratios, and the laws."""
    drawn, [[curves, ratios], [aligned, laws]] = style.panels(2, 2)
    measured = table[table["width"].notna()]
    depth = measured["depth"].min()
    shallow = style.select(measured, depth=depth)
    widths = sorted(shallow["width"].unique())
    _draw_information(curves, shallow, widths, depth)
    for width, marker in zip(widths, "osD^v", strict=False):
        own = style.select(shallow, width=width)
        for side, (_, colour) in SIDES.items():
            rows = style.select(own, measure=f"{side.split('_')[0]}_ratio")
            label = f"width {width:.0f}" if side == "forward_distance" else None
            options = {"marker": marker, "markersize": 2, "linewidth": 0.6}
            style.draw_band(ratios, rows, "layer_index", style.COLOURS[colour], label, **options)
    ratios.axhline(1, color="0.3", linewidth=0.8)
    ratios.set(xlabel="layer", ylabel="measured / infinite width", ylim=(0, 3))
    ratios.legend(fontsize=6)
    trained = style.select(measured, measure="alignment")
    draw_layers(aligned, trained, style.COLOURS["red"], "alignment after training (test)")
    aligned.axvline(mean_of(shallow, "equilibrium_layer_mean_field"), color="0.3", linewidth=0.8)
    aligned.set(xlabel="layer", ylabel="alignment", ylim=(0, None))
    aligned.legend(fontsize=6)
    _draw_laws(laws, table)
    return drawn


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
    axes.set(xlabel="layer", ylabel="information", title=f"depth {depth:.0f}, at initialisation")
    axes.legend(fontsize=6, loc="lower center", ncols=2)
    axes.set_ylim(rows.loc[rows["measure"].isin(SIDES), "value"].min() / 12, 1.5)


def _draw_laws(axes: Axes, table: pd.DataFrame) -> None:
    axes.set(xscale="log", yscale="log")
    curves = style.select(table, measure="equilibrium_curve")
    for correlation, line in zip(
        curves["input_correlation"].unique(), (":", "-", "--"), strict=False
    ):
        own = style.select(curves, input_correlation=correlation)
        label = f"exact, $c^1 = {correlation:g}$"
        axes.plot(own["depth"], own["value"], line, color=style.COLOURS["green"], label=label)
    law = style.select(table, measure="leading_order_curve").drop_duplicates("depth")
    axes.plot(law["depth"], law["value"], color="0.3", linewidth=0.8, label="$2.136\\,L^{3/5}$")
    axes.set(xlabel="depth L", ylabel="equilibrium layer")
    axes.legend(fontsize=6)
