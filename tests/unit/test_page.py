import base64
import io
import re
from importlib import resources

import pytest
import tinycss2
from made_up import ledger_row
from PIL import Image

from feature_alignment.publish import page
from feature_alignment.publish.interval import drawing
from feature_alignment.storage import write_json

ROW = ledger_row(
    id="toy.fig1.rises",
    verdict="supported",
    estimate=2.0,
    low=1.5,
    high=2.5,
    least=0.5,
    n=3,
    values=[1.9, 2.0, 2.1],
    p=0.01,
    q=0.02,
    seeds="0 to 2",
    phase="exploration",
    group="layer <1>",
    statement="m < 1 & rises.",
    note="a <note>",
)
OPEN = {"verdict": "not run", "estimate": None, "low": None, "high": None, "n": None, "note": None}


@pytest.fixture
def figure(tmp_path):
    path = tmp_path / "figures" / "toy" / "fig1.png"
    path.parent.mkdir(parents=True)
    Image.new("RGBA", (1280, 640), (10, 20, 30, 255)).save(path)
    return path


def written(tmp_path, figure, rows, name="fig1", title="A figure <title>.", options=()):
    out = tmp_path / "audit" / "ledger.html"
    paper = tmp_path / "papers" / "toy" / "paper.yaml"
    write_json(tmp_path / "ledger.json", rows)
    write_json(paper, {"figures": {name: {"title": title}}})  # JSON is YAML
    page.main(
        ["--ledger", str(tmp_path / "ledger.json"), "--figures", str(figure)]
        + ["--papers", str(paper), "--out", str(out), *options]
    )
    return out.read_text()


def test_every_claim_is_there_and_escaped(tmp_path, figure):
    text = written(tmp_path, figure, [ROW, ROW | OPEN | {"id": "toy.fig1.other"}])
    rows = re.findall(r'<tr id="([\w.]+)" data-paper="toy" data-verdict="([\w ]+)"', text)
    assert rows == [("toy.fig1.rises", "supported"), ("toy.fig1.other", "not run")]
    assert "m &lt; 1 &amp; rises." in text
    assert "a &lt;note&gt;" in text
    assert "numbers at layer &lt;1&gt;" in text
    assert "1 supported</button>" in text
    assert "0 contradicted</button>" in text
    assert "p 0.01;" in text
    assert "seeds 0 to 2, exploration;" in text
    assert "<p>A figure &lt;title&gt;.</p>" in text


def test_no_text_of_a_claim_is_taken_for_markup_or_a_placeholder(tmp_path, figure):
    said = '[[figures]] {{ 1 }} {% raw %} <script>"</script>'
    shown = "[[figures]] {{ 1 }} {% raw %} &lt;script&gt;&#34;&lt;/script&gt;"
    row = ROW | {"statement": f"S {said}", "note": f"N {said}", "group": f"G {said}"}
    text = written(tmp_path, figure, [row], title=f"T {said}")
    for start in ("S", "N", "numbers at G", 'alt="T', "<p>T"):
        assert f"{start} {shown}" in text
    assert text.count("<script") == text.count("</script") == 1


def test_a_row_without_a_field_is_an_error(tmp_path, figure):
    row = {key: value for key, value in ROW.items() if key != "criterion"}
    with pytest.raises(ValueError, match="'criterion' is a required property"):
        written(tmp_path, figure, [row])


def test_the_style_sheet_has_no_parse_error():
    text = resources.files("feature_alignment.publish").joinpath("templates/ledger.css").read_text()

    def check(nodes, *expected):
        for node in nodes:
            where = f"line {node.source_line} of ledger.css"
            assert node.type in expected, where
            if node.type != "declaration":
                assert node.content, where
                assert "error" not in {token.type for token in node.prelude}, where
                inside = tinycss2.parse_blocks_contents(node.content, True, True)
                check(inside, "declaration" if node.type == "qualified-rule" else "qualified-rule")

    check(tinycss2.parse_stylesheet(text, True, True), "qualified-rule", "at-rule")


def test_the_page_needs_no_other_file(tmp_path, figure):
    text = written(tmp_path, figure, [ROW])
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert not re.findall(r"url\(|@import|https?://", text)
    [image] = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    with Image.open(io.BytesIO(base64.b64decode(image))) as small:
        assert small.size == (page.FIGURE_WIDTH, page.FIGURE_WIDTH // 2)
        assert small.convert("RGB").getpixel((5, 5)) == (10, 20, 30)


def test_a_page_beside_its_figures_links_to_them(tmp_path, figure):
    text = written(tmp_path, figure, [ROW], options=["--linked"])
    assert re.findall(r'src="([^"]+)"', text) == ["../figures/toy/fig1.png"]
    assert 'loading="lazy"' in text
    assert "data:image" not in text


def test_the_whole_figure_is_named_relative_to_the_page(tmp_path, figure):
    assert 'data-link="../figures/toy/fig1.png"' in written(tmp_path, figure, [ROW])


def test_a_link_is_a_relative_address_whatever_folders_are_called(tmp_path, figure):
    strange = tmp_path / "audit" / "javascript:alert(1)#?%20" / "toy" / "fig1.png"
    strange.parent.mkdir(parents=True)
    figure.rename(strange)
    text = written(tmp_path, strange, [ROW])
    assert 'data-link="javascript%3Aalert%281%29%23%3F%2520/toy/fig1.png"' in text


def test_every_field_of_a_ledger_is_escaped(tmp_path, figure):
    enemy = "\"'><script>alert(1)</script>"
    numbers = {
        "estimate",
        "low",
        "high",
        "least",
        "most",
        "p",
        "q",
        "n",
        "needed",
        "values",
        "reported",
    }
    closed = {"table", "verdict", "scale", "needs", "class", "phase", "beaten", "averaged"}
    fields = set(ROW) - numbers - closed
    row = ROW | {field: f"{enemy}{field}" for field in fields}
    text = written(tmp_path, figure, [row], title=enemy)
    assert "<script>alert" not in text
    assert "'>" not in text
    assert all(f"&lt;/script&gt;{field}" in text for field in fields)


def test_a_figure_without_title_or_image_is_an_error(tmp_path, figure):
    with pytest.raises(ValueError, match=r"toy\.fig1\.rises: expected a title of figure toy/fig1"):
        written(tmp_path, figure, [ROW], name="fig2")
    with pytest.raises(ValueError, match=r"expected an image of figure toy/fig2"):
        written(tmp_path, figure, [ROW | {"table": "toy/fig2"}], name="fig2")


def test_a_figure_that_is_no_image_is_an_error(tmp_path, figure):
    figure.write_text("no image")
    with pytest.raises(ValueError, match=r"fig1\.png is not an image"):
        written(tmp_path, figure, [ROW])


def test_an_interval_is_drawn_with_its_claimed_side_and_seeds(tmp_path, figure):
    drawn = drawing(ROW)
    assert drawn in written(tmp_path, figure, [ROW])
    assert drawn.count('class="seed"') == 3
    claimed = re.search(r'class="claimed" x="([\d.]+)" y="2" width="([\d.]+)"', drawn)
    left, width = map(float, claimed.groups())
    low, high = map(float, re.search(r'"interval" x1="([\d.]+)" x2="([\d.]+)"', drawn).groups())
    assert left < low < high <= left + width
    below = drawing(ROW | {"least": None, "most": 1.0})
    claimed = re.search(r'class="claimed" x="([\d.]+)" y="2" width="([\d.]+)"', below)
    assert float(claimed[1]) == 0
    assert float(claimed[2]) < float(re.search(r'"interval" x1="([\d.]+)"', below)[1])
    assert drawing(ROW | OPEN) == ""
    assert 'class="interval"' not in drawing(ROW | {"low": None, "values": [], "least": 2.0})
