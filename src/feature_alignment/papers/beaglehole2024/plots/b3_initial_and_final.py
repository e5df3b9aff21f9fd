"""Figure B3: the ansatz at the start and at the end, over datasets."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.beaglehole2024.plots.layers import ANSATZ, layer_names, layer_number
from feature_alignment.plots import style

COLUMNS = ("dataset", "stage")
MARKERS = "osD^vP*X"


def figure(table: pd.DataFrame) -> Figure:
    """Draw the mean and standard deviation over datasets and seeds, and every seed as a point."""
    datasets, layers = list(table["dataset"].unique()), layer_names(table)
    drawn, [axes] = style.panels(1, 2, sharey=True)
    for panel, stage in zip(axes, ("initial", "final"), strict=True):
        for side, (measure, (label, colour)) in zip((-1, 1), ANSATZ.items(), strict=True):
            rows = style.select(table, stage=stage, measure=measure)
            values = [style.select(rows, layer=layer)["value"] for layer in layers]
            places = [layer_number(layer) + 0.17 * side for layer in layers]
            hue = style.COLOURS[colour]
            panel.bar(places, [v.mean() for v in values], 0.32, color=hue, alpha=0.35, label=label)
            spread = [v.std() for v in values]
            panel.errorbar(places, [v.mean() for v in values], spread, fmt="none", ecolor=hue)
            for dataset, marker in zip(datasets, MARKERS, strict=False):
                own = style.select(rows, dataset=dataset)
                x = own["layer"].map(layer_number) + 0.17 * side
                name = style.dataset_name(dataset) if side < 0 else None
                panel.scatter(
                    x, own["value"], s=9, marker=marker, color="0.2", label=name, zorder=3
                )
        panel.set(title=stage, xlabel="layer", ylim=(0, 1), xticks=range(1, len(layers) + 1))
        panel.grid(axis="x", visible=False)
    axes[0].set_ylabel("correlation")
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=7)
    return drawn
