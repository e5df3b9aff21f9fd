"""The figure of peak layers over depth, which two experiments share."""

import numpy as np
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
LAWS = {
    "finite_width": "own\nwidth",
    "leading_order": "$2.14\\,L^{3/5}$",
    "half": "$L/2$",
    "constant": "constant",
}
CURVES = {
    "mean_field_curve": ("equilibrium layer", "-"),
    "leading_order_curve": ("$2.136\\,L^{3/5}$", "--"),
    "half_curve": ("$L/2$", ":"),
}
OTHER_CONSTANTS = ("mean_field_curve_third", "mean_field_curve_threefold")
NEARER = {
    "half": "nearer-than-half",
    "constant": "nearer-than-constant",
    "leading_order": "nearer-than-leading-order",
}
EXPONENT, CONSTANT, DISTANCE = (0.45, 0.75), (0.5, 2.0), 2
JUDGED_ON = "fashion_mnist"


def peaks_figure(table: pd.DataFrame, claims: str) -> Figure:
    """Draw for each dataset alignment by layer, peaks over depth and, in the rest, what is judged.

    Args:
        table: The table behind the figure.
        claims: How ids of its claims begin, such as ``lou2022.e3.``.
    """
    datasets = list(table["dataset"].dropna().unique())
    drawn, grid = style.panels(2 * len(datasets), 3)
    for place, dataset in enumerate(datasets):
        own = style.select(table, dataset=dataset)
        [test, train, peaks], [rises, distances, values] = grid[2 * place : 2 * place + 2]
        for panel, split in ((test, "test"), (train, "train")):
            _draw_curves(panel, own, split)
            panel.set_title(f"{style.dataset_name(dataset)}, {split} examples", fontsize=7)
        _draw_peaks(peaks, own)
        judged = claims if dataset == JUDGED_ON else None
        _draw_rises(rises, own, judged)
        _draw_distances(distances, own, judged)
        _draw_values(values, own, judged)
    triangle = style.line("the same, in (a) and (b)", "0.3", "", "^")
    style.legend(drawn, triangle, style.CLAIMED, style.CLAIMED_RANGE, columns=5, size=6)
    return drawn


def _draw_curves(axes: Axes, own: pd.DataFrame, split: str) -> None:
    """Draw alignment by layer at every depth, with the equilibrium layers as triangles."""
    final = style.select(own, measure="alignment")
    depths = sorted(final["depth"].unique())
    for depth, colour in zip(depths, style.shades(len(depths)), strict=True):
        rows = style.select(final, depth=depth, split=split)
        draw_layers(axes, rows, colour, f"depth {depth:.0f}", shade=0.18)
        layer = mean_of(style.select(own, depth=depth), "equilibrium_layer_mean_field")
        axes.plot([layer], [0], "^", color=colour, markersize=6, clip_on=False, zorder=5)
    axes.set(xlabel="layer", ylabel="alignment", ylim=(0, None))


def _draw_peaks(axes: Axes, own: pd.DataFrame) -> None:
    """Draw the peaks of the seeds against depth, and the laws for them.

    One of the laws is fitted: the layer in proportion to the depth, with the mean share of peaks.
    """
    peaks = style.select(own, measure="peak_layer")
    depths = sorted(peaks["depth"].unique())
    for depth in depths:
        draw_split(axes, style.select(peaks, depth=depth), depth, SPLIT_COLOURS, shift=0.7)
    start = style.select(own, measure="initial_peak_layer", split="test")
    if len(start):
        means = start.groupby("depth")["value"].mean()
        axes.plot(means.index, means, "+", color="0.2", markersize=5, label="untrained, test")
    for measure, (label, line) in CURVES.items():
        curve = style.select(own, measure=measure).sort_values("depth")
        axes.plot(curve["depth"], curve["value"], line, color="0.2", linewidth=1, label=label)
    least, most = (style.select(own, measure=name).sort_values("depth") for name in OTHER_CONSTANTS)
    if len(least):
        look = {
            "color": "0.5",
            "alpha": 0.2,
            "linewidth": 0,
            "label": "$1-c=a\\,\\tilde{c}$, a from 1/3 to 3",
        }
        axes.fill_between(least["depth"], least["value"], most["value"], **look)
    share = mean_of(style.select(own, split="test"), "peak_share")
    ends = np.array([0, 1.1 * max(depths)])
    label = f"in proportion, {share:.2f} L (fitted)"
    axes.plot(ends, share * ends, "-.", color=style.COLOURS["green"], linewidth=1, label=label)
    own_width = {
        depth: mean_of(style.select(own, depth=depth), "equilibrium_layer") for depth in depths
    }
    label = "equilibrium, own width"
    axes.plot(own_width.keys(), own_width.values(), "x", color="0.2", markersize=4, label=label)
    top = 1.25 * max(depths)
    axes.set(xlabel="depth L", ylabel="most aligned layer", xlim=(0, top), ylim=(0, 0.75 * top))
    axes.set_xticks(depths)


def _draw_rises(axes: Axes, own: pd.DataFrame, claims: str | None) -> None:
    """Draw how far the most aligned layer exceeds both ends, at every depth."""
    rises = style.select(own, measure="interior_rise")
    depths = sorted(rises["depth"].unique())
    for place, depth in enumerate(depths):
        smoothed = style.select(rises, depth=depth)
        draw_rises(axes, style.select(own, depth=depth), place, smoothed)
    if claims:
        ids = [f"{claims}interior-maximum"]
        ids += [f"{claims}smoothed"] if claims == "lou2022.e3." else []
        style.draw_claimed(axes, ids, RISE, told=None)
    axes.set_xticks(range(len(depths)), [f"{depth:.0f}" for depth in depths])
    axes.set(
        xlabel="depth", ylabel="most aligned layer / higher end", xlim=(-0.6, len(depths) - 0.4)
    )
    axes.grid(axis="x", visible=False)


def _draw_distances(axes: Axes, own: pd.DataFrame, claims: str | None) -> None:
    """Draw how much further the peaks of a seed are from other laws than from the equilibrium."""
    keys = ["seed", "split"]
    nearest = style.select(own, measure="distance_mean_field").set_index(keys)["value"]
    for place, law in enumerate(LAWS):
        rows = style.select(own, measure=f"distance_{law}")
        own_keys = pd.MultiIndex.from_frame(rows[keys])
        further = rows.assign(value=rows["value"].to_numpy() - nearest[own_keys].to_numpy())
        draw_split(axes, further, place, SPLIT_COLOURS)
        if claims and law in NEARER:
            across = (place - 0.4, place + 0.4)
            style.draw_claimed(axes, claims + NEARER[law], 0, across=across, told=None)
    axes.axhline(0, color="0.3", linewidth=0.6)
    axes.set_xticks(range(len(LAWS)), LAWS.values(), fontsize=6)
    axes.set(ylabel="further from it than from the\nequilibrium (layers, r.m.s.)")
    axes.set_xlim(-0.6, len(LAWS) - 0.4)
    axes.grid(axis="x", visible=False)


def _draw_values(axes: Axes, own: pd.DataFrame, claims: str | None) -> None:
    """Draw the exponent of the growth, and how far peaks lie from the equilibrium at each depth.

    Next to the exponent is the constant a that is fitted to the peaks.
    """
    distances = axes.twinx()
    distances.set_label("part")
    axes.set_zorder(1)
    axes.patch.set_visible(False)
    draw_split(axes, style.select(own, measure="exponent"), 0, SPLIT_COLOURS)
    draw_split(axes, style.select(own, measure="crossing_constant"), -1, SPLIT_COLOURS, scale="log")
    exact = mean_of(own, "exponent_mean_field")
    axes.plot((-0.4, 0.4), (exact, exact), color="0.2", linewidth=1)
    peaks = style.select(own, measure="peak_layer")
    depths = sorted(peaks["depth"].unique())
    for place, depth in enumerate(depths, 1):
        rows = style.select(peaks, depth=depth)
        law = mean_of(style.select(own, depth=depth), "equilibrium_layer_mean_field")
        draw_split(distances, rows.assign(value=rows["value"] - law), place, SPLIT_COLOURS)
    if claims:
        style.draw_claimed(axes, f"{claims}exponent", *EXPONENT, across=(-0.4, 0.4))
        style.draw_claimed(axes, f"{claims}crossing-constant", *CONSTANT, across=(-1.4, -0.6))
        ids = [f"{claims}near-equilibrium"]
        ids += [f"{ids[0]}-train"] if claims == "lou2022.e3." else []
        across = (0.6, len(depths) + 0.4)
        style.draw_claimed(distances, ids, -DISTANCE, DISTANCE, across=across)
    names = [f"{depth:.0f}" for depth in depths]
    axes.set_xticks(range(-1, len(depths) + 1), ["a", "exponent", *names], fontsize=6)
    axes.set(xlim=(-1.6, len(depths) + 0.6), ylim=(0, None))
    distances.spines["right"].set_visible(True)
    distances.grid(visible=False)
    axes.set_title("a, exponent; right: from the equilibrium", fontsize=6)
    axes.grid(axis="x", visible=False)
