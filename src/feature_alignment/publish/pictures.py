"""Publish copies of figures: thumbnails for lists, and pictures to look at.

python -m feature_alignment.publish.pictures --figures FIGURE.png … --published reference/laptop
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from feature_alignment import command
from feature_alignment.publish.thumbnails import thumbnail
from feature_alignment.storage import replacing

WIDTHS = {"thumbnails": 720, "pictures": 1400}
"""Folders of copies, with how many pixels wide they are; no copy is wider than its figure."""


def main(argv: Sequence[str] | None = None) -> None:
    """Publish copies of figures; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="figures (PNG)")
    parser.add_argument("--published", type=Path, required=True, help="folder to publish in")
    arguments = parser.parse_args(argv)
    publish_pictures(arguments.figures, arguments.published)


def publish_pictures(figures: Iterable[Path], folder: Path) -> None:
    """Write ``<copies>/<paper>/<figure>.png`` for every figure ``…/<paper>/<figure>.png``.

    Args:
        figures: The figures.
        folder: Where to write, ``reference/<scale>``.

    Raises:
        ValueError: If a figure is not an image.
    """
    for figure in figures:
        for copies, width in WIDTHS.items():
            with replacing(folder / copies / figure.parent.name / figure.name) as temporary:
                copy = thumbnail(figure, min(width, _width(figure)))
                copy.save(temporary, format="PNG", optimize=True)


def _width(figure: Path) -> int:
    try:
        with Image.open(figure) as image:
            return image.width
    except OSError as error:
        raise ValueError(f"{figure} is not an image: {error}") from error


if __name__ == "__main__":
    command.run(main)
