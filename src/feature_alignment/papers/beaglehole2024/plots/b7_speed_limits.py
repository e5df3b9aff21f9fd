"""Figure B7: what the first layer learns under a speed limit on the others."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment.papers.beaglehole2024.plots.layers import layer_names, layer_number
from feature_alignment.plots import style

COLUMNS = ("rank", "dimension", "method")
ARRAYS = {
    "methods": ("method",),
    "nfm": ("method", "row", "column"),
    "agop": ("method", "row", "column"),
}
METHODS = {
    "sgd": ("SGD", "grey"),
    "favoured": ("layer 1 favoured", "blue"),
    "equal": ("equal speeds", "orange"),
}
SHOWN = ("sgd", "favoured")
"""The methods whose features are shown as images."""


def figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> Figure:
    """Draw the first seed's features, and below, a row per task, the course of training."""
    tasks = table[["rank", "dimension"]].drop_duplicates().to_records(index=False).tolist()
    drawn, grid = style.panels(1 + len(tasks), 4)
    names = list(arrays["methods"])
    for panel, (kind, method) in zip(
        grid[0], [(kind, method) for kind in ("nfm", "agop") for method in SHOWN], strict=True
    ):
        matrix = arrays[kind][names.index(method)]
        limit = float(np.quantile(np.abs(matrix), 0.999))
        panel.imshow(matrix, "RdBu_r", vmin=-limit, vmax=limit)
        panel.set(xticks=[], yticks=[], title=f"{kind.upper()}, {METHODS[method][0]}")
    for row, (rank, dimension) in zip(grid[1:], tasks, strict=True):
        own = style.select(table, rank=rank, dimension=dimension)
        for method, (label, colour) in METHODS.items():
            _draw_method(row, style.select(own, method=method), label, style.COLOURS[colour])
        row[0].set_ylabel(f"r = {rank:g}, d = {dimension:g}\nrelative loss")
        for panel in row[1:3]:
            panel.invert_xaxis()
            panel.set_xlabel("relative training loss")
        row[0].set_xlabel("epoch")
        row[3].set_xlabel("layer")
    for panel, title in zip(
        grid[1],
        ("training, test (dashed)", "UC-NFA, layer 1", "NFM on relevant inputs", "UC-NFA, matched"),
        strict=True,
    ):
        panel.set_title(title, fontsize=7)
    grid[1][1].legend(fontsize=5.5)
    return drawn


def _draw_method(row: list[Axes], own: pd.DataFrame, label: str, colour: str) -> None:
    losses = style.select(own, measure="relative_loss")
    row[0].set_yscale("log")
    for split, dashes in (("train", "-"), ("test", "--")):
        rows = style.select(losses, split=split)
        style.draw_band(row[0], rows, "epoch", colour, None, linestyle=dashes)
    for panel, measure in ((row[1], "uc_nfa_pearson"), (row[2], "nfm_share")):
        panel.set_xscale("log")
        values = style.select(own, measure=measure, layer="linear1")
        for place, (seed, curve) in enumerate(values.groupby("seed")):
            loss = style.select(losses, split="train", seed=seed)
            pairs = curve.merge(loss, on="epoch", suffixes=("", "_loss"))
            shown = label if place == 0 else None
            panel.plot(pairs["value_loss"], pairs["value"], color=colour, lw=0.7, label=shown)
        panel.set_ylim(0, 1)
    matched = style.select(own, measure="matched_uc_nfa_pearson")
    for layer in layer_names(matched):
        values = style.select(matched, layer=layer)["value"]
        row[3].plot([layer_number(layer)] * len(values), values, "o", ms=3, color=colour)
    row[3].set(ylim=(0, 1), xticks=range(1, 1 + len(layer_names(matched))))
