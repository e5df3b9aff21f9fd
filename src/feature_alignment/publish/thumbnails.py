"""Small copies of figures."""

from pathlib import Path

from PIL import Image

COLOURS = 256
KEPT = 64
"""Colours that are taken from the figure as they are, so that those of its legend stay apart."""
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
    chosen = [channel for colour in frequent_colours(flat) for channel in colour]
    others = small.quantize(COLOURS - KEPT, dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette((chosen + others)[: 3 * COLOURS])
    return small.quantize(palette=palette, dither=Image.Dither.NONE)


def frequent_colours(flat: Image.Image) -> list[tuple[int, int, int]]:
    """Return the most frequent colours of an image in RGB that are not grey, at most ``KEPT``."""
    counted = flat.getcolors(flat.width * flat.height) or []
    coloured = [
        (-count, colour)
        for count, colour in counted
        if max(colour) - min(colour) >= LEAST_SATURATION
    ]
    return [colour for _, colour in sorted(coloured)[:KEPT]]
