"""Appendix: easy against difficult examples in networks of several depths."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from feature_alignment import command
from feature_alignment.papers.baratin2021.plots.easy_difficult import easy_difficult_figure
from feature_alignment.plots import style


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["depth"], figure, argv)


def figure(table: pd.DataFrame) -> Figure:
    """Draw accuracies, alignments and their ratio, a column per depth."""
    titles = {depth: f"{depth} hidden layers" for depth in sorted(table["depth"].unique())}
    return easy_difficult_figure(table, "depth", titles)


if __name__ == "__main__":
    command.run(main)
