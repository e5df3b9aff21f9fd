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
ROWS = {"uc_nfa_pearson": "UC-NFA", "c_nfa_pearson": "C-NFA"}
POWERS = {0.25: "¼", 0.5: "½", 1: "1"}
ACROSS = 5
CLAIM = "beaglehole2024.c1.square-root-fits-better"


def figure(table: pd.DataFrame) -> Figure:
    """Draw a column per network: both correlations against the power, and what ½ gains on 1.

    Grey lines are what it gains in the untrained network.
    Where there are many networks there are further rows.
    """
    kinds = table[["dataset", "network", "gain"]].drop_duplicates()
    layers = layer_names(table)
    count, height = max(map(layer_number, layers)), len(ROWS) + 1
    columns = min(len(kinds), ACROSS)
    drawn, grid = style.panels(height * -(-len(kinds) // columns), columns, sharey="row")
    for place, (dataset, network, gain) in enumerate(kinds.to_records(index=False)):
        scale = None if pd.isna(gain) else gain
        own = style.select(table, dataset=dataset, network=network, gain=scale)
        first = height * (place // columns)
        column = [row[place % columns] for row in grid[first : first + height]]
        for panel, measure in zip(column, ROWS, strict=False):
            rows = style.select(own, measure=measure)
            for layer in layer_names(rows):
                here, colour = style.select(rows, layer=layer), layer_colour(layer, count)
                label = f"layer {layer_number(layer)}"
                style.draw_band(panel, here, "exponent", colour, label, marker="o", markersize=2.5)
            panel.set_xticks(list(POWERS), POWERS.values())
            panel.set(ylim=(0, 1.02), xlabel="power of the AGOP")
        gains = style.select(own, measure="half_minus_one")
        for layer in layer_names(gains):
            values, number = style.select(gains, layer=layer)["value"], layer_number(layer)
            style.draw_seeds(column[-1], number, values, layer_colour(layer, count))
        start = style.select(own, measure="half_minus_one_initial")
        for layer in layer_names(start):
            mean, number = style.select(start, layer=layer)["value"].mean(), layer_number(layer)
            column[-1].plot([number - 0.4, number + 0.4], [mean, mean], color="0.6", linewidth=1)
        style.draw_claimed(column[-1], CLAIM, 0, told=None)
        numbers = [layer_number(name) for name in layer_names(gains)]
        column[-1].set(xlabel="layer", xticks=numbers, xlim=(0.4, max(numbers) + 0.6))
        title = f"{NETWORKS.get(network, network.upper())}, {style.dataset_name(dataset)}"
        column[0].set_title(title if scale is None else f"{title}\ngain {gain:g}", fontsize=6.5)
    for place, row in enumerate(grid):
        row[0].set_ylabel((*ROWS.values(), "UC-NFA at ½\nminus that at 1")[place % height])
    for row in grid[-height:]:
        for panel in row[len(kinds) % columns or columns :]:
            panel.set_axis_off()
    claimed = style.line("claimed bound: ≥ 0", "0.15", "--")
    untrained = style.line("untrained", "0.6")
    style.legend(drawn, claimed, untrained, columns=9, size=6)
    return drawn
