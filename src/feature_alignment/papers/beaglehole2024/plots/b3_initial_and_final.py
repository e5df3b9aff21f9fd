"""Figure B3: the ansatz at the start and at the end, over datasets."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.beaglehole2024.plots.layers import ANSATZ, layer_names, layer_number
from feature_alignment.plots import style

COLUMNS = ("dataset", "stage")


def figure(table: pd.DataFrame) -> Figure:
    """Draw UC-NFA and C-NFA (rows) at both ends of training (columns), by layer and dataset."""
    datasets, layers = list(table["dataset"].unique()), layer_names(table)
    colours = {dataset: style.hue(k) for k, dataset in enumerate(datasets)}
    drawn, axes = style.panels(len(ANSATZ), 2, sharey=True)
    for row, (measure, (name, _)) in zip(axes, ANSATZ.items(), strict=True):
        for panel, stage in zip(row, ("initial", "final"), strict=True):
            rows = style.select(table, stage=stage, measure=measure)
            for place, (dataset, colour) in enumerate(colours.items()):
                shift = 0.7 * ((place + 0.5) / len(datasets) - 0.5)
                for layer in layers:
                    values = style.select(rows, dataset=dataset, layer=layer)["value"]
                    label = style.dataset_name(dataset)
                    style.draw_seeds(panel, layer_number(layer) + shift, values, colour, label)
            when = {"initial": "at the start", "final": "at the end"}[stage]
            panel.set(title=f"{name}, {when}", xlabel="layer", ylim=(0, 1))
            panel.set_xticks(range(1, len(layers) + 1))
            panel.grid(axis="x", visible=False)
        row[0].set_ylabel("correlation")
    style.legend(drawn)
    return drawn
