"""Small copies of figures."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = 256
KEPT = 64
"""Colours that are taken from the figure as they are, so that those of its legend stay apart."""
WHITE = (255, 255, 255)
LEAST_SATURATION = 40
"""How far the channels of a colour are apart, of 255, else it is a shade of grey."""


def thumbnail(figure: Path, width: int) -> Image.Image:
    """Return a copy of a figure with the given width in pixels, on a white ground, in 256 colours.

    A quarter of them are the most frequent colours of the figure itself, but for greys: the colour
    of a thin curve would be merged with one like it if all were chosen for the copy.

    Raises:
        ValueError: If the file is not an image.
    """
    try:
        with Image.open(figure) as image:
            flat = image.convert("RGB")
    except OSError as error:
        raise ValueError(f"{figure} is not an image: {error}") from error
    height = round(flat.height * width / flat.width)
    small = flat.resize((width, height), Image.Resampling.LANCZOS)
    chosen = [channel for colour in [WHITE, *frequent_colours(flat)] for channel in colour]
    others = small.quantize(COLOURS - KEPT - 1, dither=Image.Dither.NONE).getpalette() or []
    palette = np.reshape((chosen + others)[: 3 * COLOURS], (-1, 3))
    codes = np.asarray(small, dtype=int).reshape(-1, 3) @ (65536, 256, 1)
    found, places = np.unique(codes, return_inverse=True)  # most of a figure is its ground
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    copy = Image.fromarray(nearest(colours, palette)[places].reshape(height, width))
    copy.putpalette(palette.ravel().tolist())
    return copy


def nearest(colours: NDArray, palette: NDArray) -> NDArray[np.uint8]:
    """Return the place in a palette of the colour next to each one; both have rows of RGB.

    The search of the image library is coarse, and makes white ground grey.
    """
    lengths = (palette**2).sum(axis=1)
    parts = np.array_split(colours, 1 + len(colours) // 4096)
    found = [np.argmin(lengths - 2 * part @ palette.T, axis=1) for part in parts]
    return np.concatenate(found).astype(np.uint8)


def frequent_colours(flat: Image.Image) -> list[tuple[int, int, int]]:
    """Return the most frequent colours of an image in RGB that are not grey, at most ``KEPT``."""
    counted = flat.getcolors(flat.width * flat.height) or []
    coloured = [
        (-count, colour)
        for count, colour in counted
        if max(colour) - min(colour) >= LEAST_SATURATION
    ]
    return [colour for _, colour in sorted(coloured)[:KEPT]]
