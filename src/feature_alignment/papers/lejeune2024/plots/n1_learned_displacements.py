"""Notebook figure N1: singular values of the learned displacements of the weights."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lejeune2024.plots.models import COLOURS, NAMES
from feature_alignment.plots import style

COLUMNS = ("model", "n_train", "rank")
SMALLEST = 1e-3
"""Square matrices have singular values far below, which rounding makes."""


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row per number of images, a column per model and a colour per layer."""
    chosen = style.select(table, measure="singular_value")
    models = [model for model in COLOURS if model in set(chosen["model"])]
    sizes = sorted(chosen["n_train"].unique())
    layers = list(chosen["layer"].unique())
    drawn, grid = style.panels(len(sizes), len(models), sharey=True)
    for panels, n in zip(grid, sizes, strict=True):
        for panel, model in zip(panels, models, strict=True):
            own = style.select(chosen, n_train=n, model=model)
            panel.set(xscale="log", yscale="log", title=f"{NAMES[model]}, n = {n}")
            for layer, colour in zip(layers, style.shades(len(layers)), strict=True):
                rows = style.select(own, layer=layer)
                style.draw_band(
                    panel,
                    rows,
                    "rank",
                    colour,
                    layer.replace("linear", "layer "),
                    marker="o",
                    ms=2.5,
                )
            panel.title.set_fontsize(7)
            panel.set_xlabel("rank")
        panels[0].set_ylabel("singular value")
        for panel in panels:
            panel.set_ylim(SMALLEST, 2 * chosen["value"].max())
    style.legend(drawn)
    return drawn
