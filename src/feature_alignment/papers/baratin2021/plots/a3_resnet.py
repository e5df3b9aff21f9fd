"""Appendix: alignment of a ResNet18's tangent kernel with labels, and of its layers."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.papers.baratin2021.plots.noise import SPLITS, draw_accuracy, draw_layers, of
from feature_alignment.plots import style


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["label_noise", "depth"], figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, alignment, alignment by layer in time, and by depth at the end."""
    [level] = table["label_noise"].unique()
    drawn, [[accuracy, whole], [layers, depth]] = style.panels(2, 2)
    for panel in (accuracy, whole, layers):
        panel.set_xscale("log")
        panel.set_xlabel("SGD step")
    draw_accuracy(accuracy, table, level)
    draw_layers(layers, table, level, "train")
    final = table[table["measure"] == "final_layer_alignment"]
    for split, line in SPLITS.items():
        colour = style.COLOURS["red"]
        rows = of(table, level, "alignment", split)
        style.draw_band(whole, rows, "step", colour, split, linestyle=line)
        ends = final[final["split"] == split]
        style.draw_band(depth, ends, "depth", colour, split, linestyle=line)
    accuracy.set_ylabel("accuracy")
    whole.set_ylabel("alignment")
    layers.set_ylabel("layer alignment (train)")
    depth.set(xlabel="layer with parameters, in order of depth", ylabel="final layer alignment")
    for panel in (accuracy, whole, layers):
        panel.legend(fontsize=6)
    return drawn


if __name__ == "__main__":
    command.run(main)
