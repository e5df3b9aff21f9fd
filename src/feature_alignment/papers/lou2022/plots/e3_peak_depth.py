"""Experiment E3: the most aligned layer against depth, and the laws for it."""

from collections.abc import Sequence

from feature_alignment import command
from feature_alignment.papers.lou2022.plots.peaks import peaks_figure
from feature_alignment.plots import style


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["dataset", "depth", "layer_index"], peaks_figure, argv)


if __name__ == "__main__":
    command.run(main)
