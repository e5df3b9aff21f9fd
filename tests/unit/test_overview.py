"""The pictures on the first page: curves of published tables, and the way to a verdict."""

import re

import pytest
from PIL import Image

from conftest import ROOT
from feature_alignment.publish import findings, overview
from feature_alignment.tables import read_table

PUBLISHED = ROOT / "reference" / "laptop"
FOLDERS = {"reference": "published"}
"""Names that folders have in rules, where these are others."""
PANELS = overview.panels_of(findings.read_findings(ROOT / "papers"))


def test_every_curve_of_the_picture_has_the_rows_of_its_table():
    figure = overview.overview(PANELS, PUBLISHED / "tables")
    for axes, panel in zip(figure.axes, PANELS, strict=True):
        assert [line.get_label() for line in axes.lines] == list(panel["curves"])
        table = read_table(PUBLISHED / "tables" / f"{panel['table']}.csv")
        for line, where in zip(axes.lines, panel["curves"].values(), strict=True):
            rows = overview.select(table, where)
            assert list(line.get_xdata()) == sorted(rows[panel["x"]].unique())
            assert rows["value"].min() <= line.get_ydata().min()
            assert line.get_ydata().max() <= rows["value"].max()


def test_the_picture_is_published():
    with Image.open(PUBLISHED / overview.NAME) as image:
        assert image.width > 1000


def test_a_table_that_is_not_published_yet_is_said(tmp_path):
    figure = overview.overview(PANELS[:1], tmp_path / "laptop" / "tables")
    assert [text.get_text() for text in figure.axes[0].texts] == ["not published yet"]
    overview.plt.close(figure)


def test_a_curve_without_rows_is_an_error():
    panel = PANELS[0] | {"curves": {"none": {"measure": "no such measure"}}}
    with pytest.raises(ValueError, match=r"fig3_alignment\.csv has no rows where .*mend findings"):
        overview.overview([panel], PUBLISHED / "tables")
    overview.plt.close("all")


def test_the_drawing_of_the_way_names_rules_and_folders_that_exist():
    drawing = (ROOT / "docs" / "from-data-to-verdict.svg").read_text()
    blocks = re.findall(
        r'<rect class="(given|box)".*?\n\s*<text class="name"[^>]*>(.*?)</text>'
        r'.*?<text class="file"[^>]*>(.*?)</text>',
        drawing,
        re.S,
    )
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    named = set(re.findall(r"^rule (\w+):", rules, re.M))
    named |= set(re.findall(r'name:\s+f"(\w+)_\{', rules))
    assert len(blocks) == 9
    assert {name for kind, name, _ in blocks if kind == "box"} <= named
    assert sum(kind == "given" for kind, *_ in blocks) == 3
    for kind, _, file in blocks:
        if kind == "given":
            assert list(ROOT.glob(file.replace("&lt;key&gt;", "*")))
        elif not file.startswith("data/"):
            folder, _, inside = file.partition("/&lt;scale&gt;/")
            assert f"<{FOLDERS.get(folder, folder)}>/{inside}" in rules
