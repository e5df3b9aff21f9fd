"""Figure B4: the neural feature ansatz in the convolutions of VGG networks."""

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
ACROSS = 4


def figure(table: pd.DataFrame) -> Figure:
    """Draw a panel per convolution, rows by dataset."""
    datasets, layers = list(table["dataset"].unique()), layer_names(table)
    height = -(-len(layers) // ACROSS)
    drawn, axes = style.panels(height * len(datasets), ACROSS, sharey=True)
    for place, dataset in enumerate(datasets):
        rows = axes[place * height : (place + 1) * height]
        for panel, layer in zip([p for row in rows for p in row], layers, strict=False):
            here = style.select(table, dataset=dataset, layer=layer)
            for measure, (label, colour) in ANSATZ.items():
                own = style.select(here, measure=measure)
                style.draw_band(panel, own, "epoch", style.COLOURS[colour], label)
            panel.set(ylim=(0, 1), title=f"convolution {layer_number(layer)}")
            panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            draw_start(panel, f"beaglehole2024.b4.{dataset}.uncentred-above-initial", here)
        for row in rows:
            row[0].set_ylabel(f"{style.dataset_name(dataset)}\ncorrelation")
        rows[-1][ACROSS // 2].set_xlabel("epochs at full learning rate")
    style.legend(drawn, CLAIMED)
    return drawn
