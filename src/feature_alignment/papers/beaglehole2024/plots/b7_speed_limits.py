"""Figure B7: what the first layer learns under a speed limit on the others."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feature_alignment.papers.beaglehole2024.plots.layers import layer_names
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
NEAR_ONE, SHARE = 0.9, 0.1
GAINS = {
    "uc_nfa_gain": ("NFA, SGD", "uncentred-rises", 0),
    "uc_nfa_gain_over_equal": ("NFA, equal", "uncentred-rises-over-equal", 0),
    "nfm_share_gain": ("share, SGD", "relevant-share-rises", SHARE),
    "nfm_share_gain_over_equal": ("share, equal", "relevant-share-rises-over-equal", SHARE),
}
"""What favouring layer 1 gains at the same training loss: measure, label, claim and its bound."""
TITLES = (
    "training, test (dashed)",
    "UC-NFA, layer 1",
    "NFM on relevant inputs",
    "layer 1 favoured, minus",
)


def figure(table: pd.DataFrame, arrays: dict[str, NDArray]) -> Figure:
    """Draw the first seed's features, and below, a row per task, training and what is judged."""
    tasks = table[["rank", "dimension"]].drop_duplicates().to_records(index=False).tolist()
    drawn, grid = style.panels(1 + len(tasks), 4)
    names = list(arrays["methods"])
    for panel, (kind, method) in zip(
        grid[0], [(kind, method) for kind in ("nfm", "agop") for method in SHOWN], strict=True
    ):
        _draw_matrix(drawn, panel, arrays[kind][names.index(method)])
        panel.set_title(f"{kind.upper()}, {METHODS[method][0]}")
    grid[0][0].set_ylabel("input")
    for row, (rank, dimension) in zip(grid[1:], tasks, strict=True):
        own = style.select(table, rank=rank, dimension=dimension)
        for method, (label, colour) in METHODS.items():
            _draw_method(row, style.select(own, method=method), label, style.COLOURS[colour])
        row[0].set_ylabel(f"r = {rank:g}, d = {dimension:g}\nrelative loss")
        style.draw_claimed(row[1], "beaglehole2024.b7.favoured-near-one", NEAR_ONE, told=None)
        for panel in row[1:3]:
            panel.invert_xaxis()
            panel.set_xlabel("relative training loss")
        row[0].set_xlabel("epoch")
        _draw_gains(row[3], own)
    for panel, title in zip(grid[1], TITLES, strict=True):
        panel.set_title(title, fontsize=7)
    style.legend(drawn, style.CLAIMED)
    return drawn


def _draw_matrix(drawn: Figure, panel: Axes, matrix: NDArray) -> None:
    """Draw a matrix of inputs by inputs with its scale, white at zero."""
    limit = float(np.quantile(np.abs(matrix), 0.999))
    extent = (0.5, len(matrix) + 0.5, len(matrix) + 0.5, 0.5)
    image = panel.imshow(matrix, "RdBu_r", vmin=-limit, vmax=limit, extent=extent)
    panel.set(xticks=(1, len(matrix)), yticks=(1, len(matrix)))
    panel.grid(visible=False)
    ticks = (-limit, 0, limit)
    bar = drawn.colorbar(image, ax=panel, location="bottom", fraction=0.08, ticks=ticks)
    bar.ax.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
    bar.ax.tick_params(labelsize=5.5)


def _draw_method(row: list[Axes], own: pd.DataFrame, label: str, colour: str) -> None:
    losses = style.select(own, measure="relative_loss")
    row[0].set_yscale("log")
    for split, dashes in (("train", "-"), ("test", "--")):
        rows = style.select(losses, split=split)
        shown = label if split == "train" else None
        style.draw_band(row[0], rows, "epoch", colour, shown, linestyle=dashes)
    for panel, measure in ((row[1], "uc_nfa_pearson"), (row[2], "nfm_share")):
        panel.set_xscale("log")
        values = style.select(own, measure=measure, layer="linear1")
        for seed, curve in values.groupby("seed"):
            loss = style.select(losses, split="train", seed=seed)
            pairs = curve.merge(loss, on="epoch", suffixes=("", "_loss"))
            panel.plot(pairs["value_loss"], pairs["value"], color=colour, lw=0.7)
        panel.set_ylim(0, 1)


def _draw_gains(panel: Axes, own: pd.DataFrame) -> None:
    """Draw differences between methods at the same training loss, with what is claimed of each."""
    for place, (measure, (_, claim, bound)) in enumerate(GAINS.items()):
        rows = style.select(own, measure=measure)
        layers = layer_names(rows)
        if layers:  # the share is that of the first alone
            rows = style.select(rows, layer=layers[0])
        style.draw_seeds(panel, place, rows["value"], style.COLOURS["blue"])
        across = (place - 0.4, place + 0.4)
        style.draw_claimed(panel, f"beaglehole2024.b7.{claim}", bound, across=across, told=None)
    panel.set_xticks(
        range(len(GAINS)), [name for name, *_ in GAINS.values()], fontsize=6, rotation=90
    )
    panel.set(xlim=(-0.6, len(GAINS) - 0.4), ylim=(-0.05, None))
    panel.grid(axis="x", visible=False)
