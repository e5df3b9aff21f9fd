"""Figure B7 on images: the ansatz where one layer after the other is favoured."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment.papers.beaglehole2024.plots.layers import layer_names, layer_number
from feature_alignment.plots import style

COLUMNS = ("dataset", "method")


def figure(table: pd.DataFrame) -> Figure:
    """Draw, a row per dataset, training losses, and UC-NFA and C-NFA at the same training loss."""
    datasets = list(table["dataset"].unique())
    methods = list(table["method"].dropna().unique())
    drawn, grid = style.panels(len(datasets), 3)
    for row, dataset in zip(grid, datasets, strict=True):
        for place, method in enumerate(methods):
            own = style.select(table, dataset=dataset, method=method)
            colour = style.hue(place)
            label = method.replace("sgd", "SGD").replace("equal", "equal speeds")
            loss = style.select(own, measure="loss", split="train")
            row[0].set_yscale("log")
            style.draw_band(row[0], loss, "epoch", colour, label)
            shift = 0.12 * (place - (len(methods) - 1) / 2)
            for panel, measure in zip(row[1:], ("uc_nfa", "c_nfa"), strict=True):
                rows = style.select(own, measure=f"matched_{measure}_pearson")
                for layer in layer_names(rows):
                    values = style.select(rows, layer=layer)["value"]
                    places = [layer_number(layer) + shift] * len(values)
                    favoured = method == f"layer {layer_number(layer)}"
                    marker = {"marker": "*", "ms": 6} if favoured else {"marker": "o", "ms": 3}
                    panel.plot(places, values, linestyle="none", color=colour, **marker)
                panel.set(ylim=(0, 1), xlabel="layer", xticks=range(1, 1 + len(layer_names(rows))))
        _draw_start(row[1], style.select(table, dataset=dataset))
        row[0].set(xlabel="epoch", ylabel=f"{style.dataset_name(dataset)}\ntraining loss")
        row[1].set_ylabel("UC-NFA, at the same training loss")
        row[2].set_ylabel("C-NFA, at the same training loss")
    grid[0][0].legend(fontsize=6)
    return drawn


def _draw_start(panel: Axes, own: pd.DataFrame) -> None:
    """Draw a line for each layer at its UC-NFA before training, the same for all methods."""
    start = style.select(own, epoch=0, measure="uc_nfa_pearson")
    for layer in layer_names(start):
        mean = style.select(start, layer=layer)["value"].mean()
        place = layer_number(layer)
        panel.plot([place - 0.4, place + 0.4], [mean, mean], color="0.3", linewidth=0.8)
