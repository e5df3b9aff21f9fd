"""Figure 4: the tangent kernel aligns with easy examples before difficult ones."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.papers.baratin2021.plots.easy_difficult import easy_difficult_figure
from feature_alignment.plots import style


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["difficult"], figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracies, alignments and their ratio, a column per kind of difficult examples."""
    names = {"random_labels": "random labels", **style.DATASET_NAMES}
    kinds = sorted(table["difficult"].unique(), key=lambda kind: kind != "random_labels")
    titles = {kind: f"difficult: {names[kind]}" for kind in kinds}
    return easy_difficult_figure(table, "difficult", titles)


if __name__ == "__main__":
    command.run(main)
