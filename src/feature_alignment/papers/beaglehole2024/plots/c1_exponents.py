"""Control: the neural feature matrix against powers of the AGOP."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.beaglehole2024.plots.layers import (
    layer_colour,
    layer_names,
    layer_number,
)
from feature_alignment.plots import style

COLUMNS = ("dataset", "network", "gain", "exponent")
NETWORKS = {"fully_connected": "MLP"}
DASHES = {"uc_nfa_pearson": "-", "c_nfa_pearson": "--"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw the correlations against the exponent, a panel per network, a curve per layer."""
    kinds = table[["dataset", "network", "gain"]].drop_duplicates()
    columns = min(len(kinds), 5)
    drawn, grid = style.panels(-(-len(kinds) // columns), columns, sharey=True)
    panels = [panel for row in grid for panel in row]
    for panel, (dataset, network, gain) in zip(panels, kinds.to_records(index=False), strict=False):
        scale = None if pd.isna(gain) else gain
        own = style.select(table, dataset=dataset, network=network, gain=scale)
        for measure, dashes in DASHES.items():
            rows = style.select(own, measure=measure)
            for layer in layer_names(rows):
                here, colour = style.select(rows, layer=layer), layer_colour(layer)
                label = f"layer {layer_number(layer)}" if dashes == "-" else None
                style.draw_band(
                    panel, here, "exponent", colour, label, linestyle=dashes, marker="."
                )
        title = f"{NETWORKS.get(network, network.upper())}, {style.dataset_name(dataset)}"
        panel.set_title(title if scale is None else f"{title}\ngain {gain:g}", fontsize=7)
        panel.set(ylim=(0, 1.02), xlabel="power of the AGOP", xticks=(0.25, 0.5, 1))
    panels[0].set_ylabel("UC-NFA (full), C-NFA (dashed)")
    handles, labels = panels[len(kinds) - 1].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside right center", fontsize=6)
    return drawn
