"""Figure 1: eigenfunctions of the tangent kernel of a network that learns a disk."""

from collections.abc import Sequence

from feature_alignment import command
from feature_alignment.plots import style
from feature_alignment.plots.baratin2021.disks import disk_figure


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure; see ``--help`` for the arguments."""
    style.draw(__doc__, ["radius"], disk_figure, argv, images=True)


if __name__ == "__main__":
    command.run(main)
