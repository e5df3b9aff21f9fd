"""Control C1: how many times as many images fixed features need as adaptive ones."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.plots import style
from feature_alignment.plots.lejeune2024.models import PROTOCOLS

MARKS = {"sample_ratio": "o", "sample_ratio_above": "^", "sample_ratio_below": "v"}
LABELS = {"sample_ratio_above": "at least", "sample_ratio_below": "at most"}
CLAIMED = 10


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["dataset", "protocol", "n_train"], figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw a column per protocol and a colour per dataset, seeds as points, with intervals."""
    datasets = list(table["dataset"].unique())
    drawn, [panels] = style.panels(1, len(PROTOCOLS), sharey=True)
    for panel, (protocol, name) in zip(panels, PROTOCOLS.items(), strict=True):
        panel.set(xscale="log", yscale="log", title=name, xlabel="images of adaptive features")
        for dataset, colour in zip(datasets, ("blue", "orange"), strict=False):
            own = table[(table["dataset"] == dataset) & (table["protocol"] == protocol)]
            _draw(panel, own, style.COLOURS[colour], style.DATASET_NAMES[dataset])
        panel.axhline(1, color="0.3", linewidth=0.8)
        panel.axhline(CLAIMED, color="0.3", linewidth=0.8, linestyle="--")
        panel.legend(fontsize=6)
    panels[0].set_ylabel("images fixed / images adaptive\nat equal test error")
    return drawn


def _draw(panel: Axes, own: pd.DataFrame, colour: str, name: str) -> None:
    measured = own.groupby("measure")
    for measure, mark in MARKS.items():
        if measure not in measured.groups:
            continue
        rows = measured.get_group(measure)
        label = f"{name}, {LABELS[measure]}" if measure in LABELS else name
        panel.plot(
            rows["n_train"], rows["value"], mark, color=colour, ms=3.5, alpha=0.7, label=label
        )
    if "sample_ratio_low" in measured.groups:
        low, high = (
            measured.get_group(f"sample_ratio_{end}").set_index("n_train")["value"]
            for end in ("low", "high")
        )
        panel.vlines(low.index, low, high[low.index], color=colour, linewidth=1.5)
    if "published_sample_ratio" in measured.groups:
        rows = measured.get_group("published_sample_ratio")
        style.draw_band(
            panel, rows, "n_train", colour, f"{name}, the paper's figure", linestyle="--"
        )


if __name__ == "__main__":
    command.run(main)
