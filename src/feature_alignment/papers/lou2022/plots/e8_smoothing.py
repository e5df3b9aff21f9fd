"""E8: the most aligned layer by window of smoothing."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.audit.judging import Rows
from feature_alignment.papers.lou2022.plots.layers import mean_of
from feature_alignment.plots import style

COLUMNS = ("dataset", "depth", "window")
SPLIT, JUDGED_ON, WITHIN = "test", "fashion_mnist", 2


def figure(table: pd.DataFrame) -> Figure:
    """Draw per dataset peaks against depth, their shifts, and which law is nearer, by window."""
    datasets = list(table["dataset"].dropna().unique())
    drawn, grid = style.panels(len(datasets), 3)
    windows = sorted(table["window"].dropna().unique())
    colours = dict(zip(windows, style.shades(len(windows), 0.85, "plasma"), strict=True))
    for [peaks, shifts, nearer], dataset in zip(grid, datasets, strict=True):
        own = style.select(table, dataset=dataset)
        _draw_by_depth(peaks, own, "peak_layer", colours)
        depths = sorted(own["depth"].unique())
        for place, depth in enumerate(depths):
            layer = mean_of(style.select(own, depth=depth), "equilibrium_layer_mean_field")
            across = (place - 0.45, place + 0.45)
            peaks.plot(across, (layer, layer), color="0.2", label="equilibrium layer")
        peaks.set(ylabel="most aligned layer (test)", ylim=(0, None))
        peaks.set_title(style.dataset_name(dataset), fontsize=7)
        _draw_by_depth(shifts, own, "peak_shift", colours)
        shifts.set_title("peak minus that of window 3", fontsize=7)
        if dataset == JUDGED_ON:
            style.draw_claimed(shifts, "lou2022.e8.peak-stays", -WITHIN, WITHIN)
        for place, window in enumerate(windows):
            judged = Rows(_of_window(own, window))
            margins = judged.margin_over_share(
                "peak_layer", "equilibrium_layer_mean_field", "depth", ()
            )
            margins = margins.groupby(level="seed").mean()
            style.draw_seeds(nearer, place, margins, colours[window])
        nearer.axhline(0, color="0.3", linewidth=0.6)
        nearer.set_xticks(range(len(windows)), [f"{window:.0f}" for window in windows])
        nearer.set(xlim=(-0.6, len(windows) - 0.4), xlabel="window, layers")
        nearer.set_title("further from share than from equilibrium", fontsize=6.5)
        nearer.grid(axis="x", visible=False)
    style.legend(drawn, style.CLAIMED_RANGE)
    return drawn


def _of_window(own: pd.DataFrame, window: float) -> pd.DataFrame:
    rows = style.select(own, window=window)
    return rows[(rows["split"] == SPLIT) | (rows["measure"] == "equilibrium_layer_mean_field")]


def _draw_by_depth(panel: Axes, own: pd.DataFrame, measure: str, colours: dict) -> None:
    """Draw a measure of all seeds by depth, windows side by side."""
    rows = style.select(own, measure=measure, split=SPLIT)
    depths = sorted(rows["depth"].unique())
    for place, depth in enumerate(depths):
        for number, (window, colour) in enumerate(colours.items()):
            values = style.select(rows, depth=depth, window=window)["value"]
            x = place + 0.2 * (number - (len(colours) - 1) / 2)
            style.draw_seeds(panel, x, values, colour, f"window {window:.0f}")
    panel.set_xticks(range(len(depths)), [f"{depth:.0f}" for depth in depths])
    panel.set(xlim=(-0.6, len(depths) - 0.4), xlabel="depth")
    panel.grid(axis="x", visible=False)
