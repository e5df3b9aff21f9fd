"""Figure 4: test error against the number of images, as published and with a fixed subset."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.plots import style
from feature_alignment.plots.lejeune2024.models import COLOURS, NAMES, PROTOCOLS


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["dataset", "protocol", "model", "n_train"], figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw a row per dataset and a column per protocol; the paper's own values are dashed."""
    datasets = list(table["dataset"].unique())
    drawn, grid = style.panels(len(datasets), len(PROTOCOLS), sharey="row", sharex="row")
    for row, dataset in zip(grid, datasets, strict=True):
        for panel, (protocol, name) in zip(row, PROTOCOLS.items(), strict=True):
            own = table[(table["dataset"] == dataset) & (table["protocol"] == protocol)]
            panel.set(xscale="log", yscale="log", title=name)
            if own.empty:
                panel.text(
                    0.5, 0.5, "not run at this scale", ha="center", transform=panel.transAxes
                )
            for model in COLOURS:
                rows = own[own["model"] == model]
                errors = rows[rows["measure"] == "error"]
                if errors.empty:
                    continue
                colour = COLOURS[model]
                style.draw_band(panel, errors, "n_train", colour, NAMES[model], marker="o", ms=3)
                published = rows[rows["measure"] == "published_error"]
                if not published.empty:
                    label = "the paper's figure" if model == "full" else None
                    style.draw_band(panel, published, "n_train", colour, label, linestyle="--")
            panel.set_xlabel("images (per epoch)" if protocol == "published" else "images")
        row[0].set_ylabel(f"{style.DATASET_NAMES[dataset]}\ntest error")
        handles = max((panel.get_legend_handles_labels() for panel in row), key=lambda h: len(h[0]))
        row[-1].legend(*handles, fontsize=6)
    return drawn


if __name__ == "__main__":
    command.run(main)
