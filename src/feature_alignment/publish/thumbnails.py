"""Small copies of figures."""

from pathlib import Path

from PIL import Image

COLOURS = 64


def thumbnail(figure: Path, width: int) -> Image.Image:
    """Return a copy of a figure with the given width in pixels, on a white ground, in 64 colours.

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
    return small.quantize(COLOURS, dither=Image.Dither.NONE)
