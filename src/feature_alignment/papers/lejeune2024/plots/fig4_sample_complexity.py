"""Figure 4: test error against the number of images, as published and with a fixed subset."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lejeune2024.plots.models import (
    COLOURS,
    NAMES,
    PROTOCOLS,
    error_axis,
    error_ticks,
    image_axis,
)
from feature_alignment.plots import style

COLUMNS = ("dataset", "protocol", "model", "n_train")


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row per dataset and a column per protocol; the paper's own values are dashed."""
    datasets = list(table["dataset"].unique())
    drawn, grid = style.panels(len(datasets), len(PROTOCOLS), sharey="row", sharex="row")
    for row, dataset in zip(grid, datasets, strict=True):
        shown = style.select(table, dataset=dataset, measure="error")
        sizes = shown["n_train"].unique()
        for panel, (protocol, name) in zip(row, PROTOCOLS.items(), strict=True):
            own = style.select(table, dataset=dataset, protocol=protocol)
            panel.set(title=name)
            error_axis(panel, "y")
            image_axis(panel, sizes)
            if own.empty:
                panel.text(
                    0.5, 0.5, "not run at this scale", ha="center", transform=panel.transAxes
                )
            for model in COLOURS:
                rows = style.select(own, model=model)
                errors = style.select(rows, measure="error")
                if errors.empty:
                    continue
                colour = COLOURS[model]
                style.draw_band(panel, errors, "n_train", colour, NAMES[model], marker="o", ms=3)
                published = style.select(rows, measure="published_error")
                if protocol == "published" and not published.empty:
                    label = "the paper's figure" if model == "full" else None
                    style.draw_band(panel, published, "n_train", colour, label, linestyle="--")
            panel.set_xlabel("images (per epoch)" if protocol == "published" else "images")
        row[0].set_yticks(error_ticks(shown["value"].min(), shown["value"].max()))
        row[0].set_ylabel(f"{style.dataset_name(dataset)}\ntest error")
    known = {}
    for panel in (panel for row in grid for panel in row):
        known |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    drawn.legend(known.values(), known, fontsize=7, ncols=len(known), loc="outside upper center")
    return drawn
