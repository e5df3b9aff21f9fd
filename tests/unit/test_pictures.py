"""Copies of figures that are published."""

import pytest
from PIL import Image

from feature_alignment.publish import pictures


def figure(path, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA", (width, 300), (10, 20, 30, 255)).save(path)
    return path


@pytest.mark.parametrize(
    "width, copied", [(2000, [720, 1400]), (1000, [720, 1000]), (500, [500] * 2)]
)
def test_a_figure_has_a_thumbnail_and_a_picture_no_wider_than_itself(tmp_path, width, copied):
    drawn = figure(tmp_path / "figures" / "toy" / "fig1.png", width)
    pictures.main(["--figures", str(drawn), "--published", str(tmp_path / "out")])
    found = []
    for copies in ("thumbnails", "pictures"):
        with Image.open(tmp_path / "out" / copies / "toy" / "fig1.png") as image:
            found.append(image.width)
    assert found == copied


def test_what_is_not_a_picture_is_an_error(tmp_path):
    (tmp_path / "figure.png").write_text("no picture")
    with pytest.raises(ValueError, match="figure.png is not an image"):
        pictures.publish_pictures([tmp_path / "figure.png"], tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
