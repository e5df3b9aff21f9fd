"""Figure B1: the neural feature ansatz emerges in every layer."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from feature_alignment.papers.beaglehole2024.plots.layers import (
    ANSATZ,
    CLAIMED,
    draw_start,
    layer_names,
    layer_number,
)
from feature_alignment.plots import style

COLUMNS = ("dataset",)


def figure(table: pd.DataFrame) -> Figure:
    """Draw one row per dataset and one panel per layer."""
    datasets, layers = list(table["dataset"].unique()), layer_names(table)
    drawn, axes = style.panels(len(datasets), len(layers), sharey=True, sharex="row")
    for row, dataset in zip(axes, datasets, strict=True):
        for panel, layer in zip(row, layers, strict=True):
            here = style.select(table, dataset=dataset, layer=layer)
            for measure, (label, colour) in ANSATZ.items():
                rows = style.select(here, measure=measure)
                style.draw_band(panel, rows, "epoch", style.COLOURS[colour], label)
            claim = f"beaglehole2024.b1.{dataset.replace('_', '-')}.uncentred-above-initial"
            draw_start(panel, claim, here)
            panel.set(ylim=(0, 1))
            panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        row[0].set_ylabel(f"{style.dataset_name(dataset)}\ncorrelation")
        row[len(row) // 2].set_xlabel("epochs at full learning rate")
    for panel, layer in zip(axes[0], layers, strict=True):
        panel.set_title(f"layer {layer_number(layer)}")
    style.legend(drawn, CLAIMED)
    return drawn
