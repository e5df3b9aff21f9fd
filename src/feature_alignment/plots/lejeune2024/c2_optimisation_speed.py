"""Control C2: epochs that each model needs to reach a test error."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from feature_alignment import command
from feature_alignment.plots import style
from feature_alignment.plots.lejeune2024.models import COLOURS, NAMES

PROTOCOLS = {"published": "new images every epoch", "corrected": "one subset"}


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    conditions = ["dataset", "protocol", "model", "n_train", "test_error"]
    style.draw(__doc__, conditions, figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row per dataset and protocol, a column per number of images."""
    epochs = table[table["measure"] == "epochs_to_error"]
    rows = list(epochs.groupby(["dataset", "protocol"], sort=False))
    columns = max(own["n_train"].nunique() for _, own in rows)
    drawn, grid = style.panels(len(rows), columns, sharey=True)
    for panels, ((dataset, protocol), own) in zip(grid, rows, strict=True):
        sizes = sorted(own["n_train"].unique())
        for panel, n in zip(panels, sizes, strict=False):
            panel.set(xscale="log", yscale="log", title=f"{PROTOCOLS[protocol]}, n = {n}")
            for model, colour in COLOURS.items():
                chosen = own[(own["n_train"] == n) & (own["model"] == model)]
                if not chosen.empty:
                    mark = {"marker": "o", "ms": 2.5}
                    style.draw_band(panel, chosen, "test_error", colour, NAMES[model], **mark)
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.set_xticks([0.05, 0.1, 0.2, 0.4, 0.7])
            panel.invert_xaxis()
            panel.set_xlabel("test error")
        panels[0].set_ylabel(f"{style.DATASET_NAMES[dataset]}\nepochs to reach it")
        panels[0].legend(fontsize=6)
        for panel in panels[len(sizes) :]:
            panel.set_axis_off()
    return drawn


if __name__ == "__main__":
    command.run(main)
