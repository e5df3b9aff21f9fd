"""Appendix: figure 1 for the half disk."""

from collections.abc import Sequence

from feature_alignment import command
from feature_alignment.papers.baratin2021.plots.disks import disk_figure
from feature_alignment.plots import style


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["radius"], disk_figure, argv, images=True)


if __name__ == "__main__":
    command.run(main)
