"""The figure of peak layers over depth, which two experiments share."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.lou2022.plots.layers import SPLITS, draw_layers, mean_of
from feature_alignment.plots import style

COLUMNS = ("dataset", "depth", "layer_index")
LAWS = {
    "mean_field": "equi-\nlibrium",
    "finite_width": "own\nwidth",
    "leading_order": "$2.136\\,L^{3/5}$",
    "half": "$L/2$",
    "constant": "constant",
}


def figure(table: pd.DataFrame) -> Figure:
    """Draw for each dataset, in a row: alignment by layer, peaks over depth, distances to laws."""
    datasets = list(table["dataset"].dropna().unique())
    drawn, grid = style.panels(2 * len(datasets), 2)
    for place, dataset in enumerate(datasets):
        own = style.select(table, dataset=dataset)
        [test, train], [peaks, distances] = grid[2 * place : 2 * place + 2]
        for panel, split in ((test, "test"), (train, "train")):
            _draw_curves(panel, own, split)
            panel.set_title(f"{style.dataset_name(dataset)}, {split} examples")
        _draw_peaks(peaks, own)
        _draw_distances(distances, own)
    return drawn


def _draw_curves(axes: Axes, own: pd.DataFrame, split: str) -> None:
    """Draw alignment by layer at every depth, with the equilibrium layers as triangles."""
    final = style.select(own, measure="alignment")
    depths = sorted(final["depth"].unique())
    for depth, colour in zip(depths, style.shades(len(depths)), strict=True):
        rows = style.select(final, depth=depth, split=split)
        draw_layers(axes, rows, colour, f"L = {depth:.0f}")
        layer = mean_of(style.select(own, depth=depth), "equilibrium_layer_mean_field")
        axes.plot([layer], [0], "^", color=colour, markersize=7, clip_on=False, zorder=5)
    axes.set(xlabel="layer (triangles: equilibrium)", ylabel="alignment", ylim=(0, None))
    axes.legend(fontsize=6)


def _draw_peaks(axes: Axes, own: pd.DataFrame) -> None:
    """Draw the peaks of the seeds and of their mean curve against depth, and the laws."""
    for split, colour, shift in (("test", "red", 0.0), ("train", "sky", 0.6)):
        hue = style.COLOURS[colour]
        rows = style.select(own, split=split)
        seeds = style.select(rows, measure="peak_layer")
        axes.plot(seeds["depth"] + shift, seeds["value"], ".", color=hue, markersize=4, alpha=0.7)
        ends = {
            name: style.select(rows, measure=f"mean_curve_{name}").set_index("depth")["value"]
            for name in ("peak", "near_low", "near_high")
        }
        peak = ends["peak"]
        bars = np.array([peak - ends["near_low"][peak.index], ends["near_high"][peak.index] - peak])
        label = f"{split}: mean curve,\nlayers within 5 %"
        style_of = {"fmt": "D", "markersize": 3.5, "capsize": 2, "linewidth": 1, "color": hue}
        axes.errorbar(peak.index + shift, peak, bars, label=label, **style_of)
    for measure, line, label in (
        ("mean_field_curve", "-", "equilibrium"),
        ("leading_order_curve", "--", LAWS["leading_order"]),
        ("half_curve", ":", LAWS["half"]),
    ):
        curve = style.select(own, measure=measure).sort_values("depth")
        axes.plot(curve["depth"], curve["value"], line, color="0.2", linewidth=1, label=label)
    measured = own.groupby("depth")
    own_width = measured.apply(lambda rows: mean_of(rows, "equilibrium_layer")).dropna()
    label = "equilibrium, own width"
    axes.plot(own_width.index, own_width, "x", color="0.2", markersize=4, label=label)
    axes.set(xlabel="depth L", ylabel="most aligned layer", xlim=(0, None), ylim=(0, None))
    axes.legend(fontsize=5, loc="upper left", bbox_to_anchor=(1, 1))


def _draw_distances(axes: Axes, own: pd.DataFrame) -> None:
    """Draw how far the peaks of each seed are from each law."""
    for (split, _), colour, shift in zip(
        SPLITS.items(), ("red", "sky"), (-0.12, 0.12), strict=True
    ):
        for place, law in enumerate(LAWS):
            rows = style.select(own, measure=f"distance_{law}", split=split)
            label = split if place == 0 else None
            x = np.full(len(rows), place + shift)
            axes.plot(x, rows["value"], "o", color=style.COLOURS[colour], markersize=3, label=label)
    axes.set_xticks(range(len(LAWS)), LAWS.values(), fontsize=6)
    axes.set(ylabel="distance of the peaks\n(layers, r.m.s.)", ylim=(0, None))
    axes.legend(fontsize=6)
