"""Control C2: epochs that each model needs to reach a test error."""

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment.papers.lejeune2024.plots.models import (
    COLOURS,
    NAMES,
    error_axis,
    error_ticks,
)
from feature_alignment.plots import style

COLUMNS = ("dataset", "protocol", "model", "n_train", "test_error")
PROTOCOLS = {"published": "new images every epoch", "corrected": "one subset"}


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row per dataset and protocol, a column per number of images."""
    epochs = style.select(table, measure="epochs_to_error")
    rows = list(epochs.groupby(["dataset", "protocol"], sort=False))
    columns = max(own["n_train"].nunique() for _, own in rows)
    drawn, grid = style.panels(len(rows), columns, sharey=True, sharex="row")
    for panels, ((dataset, protocol), own) in zip(grid, rows, strict=True):
        sizes = sorted(own["n_train"].unique())
        for panel, n in zip(panels, sizes, strict=False):
            panel.set(yscale="log", title=f"{PROTOCOLS[protocol]}, n = {n}")
            error_axis(panel, "x")
            for model, colour in COLOURS.items():
                chosen = style.select(own, n_train=n, model=model)
                if not chosen.empty:
                    mark = {"marker": "o", "ms": 2.5}
                    style.draw_band(panel, chosen, "test_error", colour, NAMES[model], **mark)
            panel.set_xlabel("test error")
        panels[0].set_xticks(error_ticks(own["test_error"].min(), own["test_error"].max()))
        panels[0].invert_xaxis()
        panels[0].set_ylabel(f"{style.dataset_name(dataset)}\nepochs to reach it")
        panels[0].legend(fontsize=6)
        for panel in panels[len(sizes) :]:
            panel.set_axis_off()
    return drawn
