"""Experiment E6: alignment of layers during training, at an ordinary and at a tiny rate."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.papers.lou2022.plots.layers import SPLITS
from feature_alignment.plots import style


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["learning_rate", "layer_index"], figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw a column per learning rate: layers' alignment, their range, and accuracy."""
    rates = sorted(table["learning_rate"].unique(), reverse=True)
    drawn, (layers, spreads, fits) = style.panels(3, len(rates), sharex="col", sharey="row")
    for column, rate in enumerate(rates):
        own = table[table["learning_rate"] == rate]
        for panel in (layers[column], spreads[column], fits[column]):
            panel.set_xscale("log")
        depth = own["layer_index"].max()
        test = own[(own["measure"] == "alignment") & (own["split"] == "test")]
        for index, rows in test.groupby("layer_index"):
            colour = plt.get_cmap("viridis")((index - 1) / max(1, depth - 1))
            by_step = rows.groupby("step")["value"].mean()
            by_step = by_step[by_step.index > 0]
            layers[column].plot(by_step.index, by_step, color=colour, label=f"layer {index:.0f}")
        for panel, measure, colour in (
            (spreads[column], "spread", "red"),
            (fits[column], "accuracy", "blue"),
        ):
            for split, line in SPLITS.items():
                rows = own[(own["measure"] == measure) & (own["split"] == split)]
                style.draw_band(panel, rows, "step", style.COLOURS[colour], split, linestyle=line)
        layers[column].set_title(f"learning rate {rate:g}")
        fits[column].set_xlabel("SGD step")
    layers[0].set(ylabel="alignment (test)", ylim=(0, None))
    spreads[0].set(ylabel="range over layers", ylim=(0, None))
    fits[0].set(ylabel="accuracy", ylim=(0, 1.02))
    for row in (layers, spreads, fits):
        row[0].legend(fontsize=5)
    return drawn


if __name__ == "__main__":
    command.run(main)
