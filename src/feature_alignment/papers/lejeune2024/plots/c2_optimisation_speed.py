"""Control C2: epochs that each model needs to reach a test error."""

import pandas as pd
from matplotlib.axes import Axes
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

CLAIM, FASTER, JUDGED_AT = "lejeune2024.c2.published.faster", 1, (0.2, (125, 500))


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row per dataset and protocol, a column per number of images."""
    epochs = style.select(table, measure="epochs_to_error")
    rows = list(epochs.groupby(["dataset", "protocol"], sort=False))
    columns = max(own["n_train"].nunique() for _, own in rows)
    drawn, grid = style.panels(len(rows), columns)
    slots = []
    for panels, ((dataset, protocol), own) in zip(grid, rows, strict=True):
        sizes = sorted(own["n_train"].unique())
        for panel, n in zip(panels, sizes, strict=False):
            panel.set(yscale="log", title=f"{PROTOCOLS[protocol]}, n = {n}")
            panel.title.set_fontsize(7)
            error_axis(panel, "x")
            for model, colour in COLOURS.items():
                chosen = style.select(own, n_train=n, model=model)
                if not chosen.empty:
                    mark = {"marker": "o", "ms": 2.5}
                    style.draw_band(panel, chosen, "test_error", colour, NAMES[model], **mark)
            panel.set_xlabel("test error")
            low, high = own["test_error"].min(), own["test_error"].max()
            panel.set_xticks(error_ticks(low, high))
            panel.set(xlim=(1.05 * high, 0.95 * low), ylim=(0.7, 1.5 * epochs["value"].max()))
        panels[0].set_ylabel(f"{style.dataset_name(dataset)}\nepochs to reach it")
        slots += panels[len(sizes) :]
    if slots:
        _draw_ratios(slots[0], table)
        for panel in slots[1:]:
            panel.set_axis_off()
    style.legend(drawn, style.CLAIMED)
    return drawn


def _draw_ratios(panel: Axes, table: pd.DataFrame) -> None:
    """Draw how many times as many epochs fixed features need as adaptive ones."""
    error, sizes = JUDGED_AT
    own = style.select(
        table, dataset="mnist", protocol="published", measure="epochs_ratio", test_error=error
    )
    for place, n in enumerate(sizes):
        values = style.select(own, n_train=n)["value"]
        if len(values):
            # Judged by which comes earlier, in each seed
            style.draw_seeds(panel, place, values, style.COLOURS["brown"], interval=False)
    style.draw_claimed(panel, CLAIM, FASTER)
    panel.set_xticks(range(len(sizes)), [f"n = {n}" for n in sizes])
    panel.set(xlim=(-0.6, len(sizes) - 0.4), ylim=(0, None), ylabel="epochs fixed / adaptive")
    panel.set_title(f"new images every epoch, error {error:g}", fontsize=7)
