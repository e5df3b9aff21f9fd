"""Small copies of figures."""

import numpy as np
import pytest
from matplotlib import colors
from PIL import Image, ImageDraw

from feature_alignment.plots import style
from feature_alignment.publish.thumbnails import KEPT, frequent_colours, thumbnail

LINES = ("green", "blue", "orange", "purple", "brown")


def channels(name):
    return tuple(round(255 * part) for part in colors.to_rgb(style.COLOURS[name]))


@pytest.fixture
def figure(tmp_path):
    """A picture with thin lines of several colours above a wide area of many others."""
    picture = Image.fromarray(
        np.uint8(np.mgrid[0:256, 0:256, 128:129].reshape(3, 256, 256).transpose(1, 2, 0))
    ).resize((900, 450))
    paper = Image.new("RGBA", (900, 600), "white")
    paper.paste(picture, (0, 150))
    drawn = ImageDraw.Draw(paper)
    for place, name in enumerate(LINES):
        drawn.line([(100, 20 + 20 * place), (130, 20 + 20 * place)], channels(name), width=4)
    path = tmp_path / "figure.png"
    paper.save(path)
    return path


def test_a_copy_keeps_the_colours_of_thin_lines(figure):
    copy = np.asarray(thumbnail(figure, 600).convert("RGB"), dtype=int).reshape(-1, 3)
    for name in LINES:
        assert np.abs(copy - channels(name)).max(axis=1).min() < 12, name


def test_a_copy_has_the_width_and_256_colours(figure):
    copy = thumbnail(figure, 300)
    assert copy.size == (300, 200)
    assert len(copy.getcolors()) <= 256
    assert copy.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_the_same_figure_gives_the_same_copy(figure):
    assert thumbnail(figure, 300).tobytes() == thumbnail(figure, 300).tobytes()


def test_frequent_colours_are_not_grey_and_come_in_order():
    picture = Image.new("RGB", (10, 10), (90, 90, 90))
    picture.paste((200, 10, 10), (0, 0, 3, 1))
    picture.paste((10, 200, 10), (0, 1, 5, 2))
    assert frequent_colours(picture) == [(10, 200, 10), (200, 10, 10)]
    many = Image.fromarray(np.uint8([[[place, 0, 200] for place in range(200)]]))
    assert len(frequent_colours(many)) == KEPT


def test_what_is_no_picture_is_an_error(tmp_path):
    (tmp_path / "figure.png").write_text("no picture")
    with pytest.raises(ValueError, match="is not an image"):
        thumbnail(tmp_path / "figure.png", 300)
