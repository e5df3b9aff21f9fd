"""Keep the arrays of a run as those of a figure: checked, and copied whole or not at all."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from feature_alignment import command
from feature_alignment.integrity import verify
from feature_alignment.storage import replacing


def main(argv: Sequence[str] | None = None) -> None:
    """Copy arrays; see ``--help`` for the arguments.

    Raises:
        ValueError: If they are not those that the provenance next to them describes.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrays", type=Path, required=True, help="arrays of a run (NPZ)")
    parser.add_argument("--out", type=Path, required=True, help="arrays of a figure (NPZ)")
    arguments = parser.parse_args(argv)
    verify(arguments.arrays)
    with replacing(arguments.out) as temporary:
        shutil.copyfile(arguments.arrays, temporary)


if __name__ == "__main__":
    command.run(main)
