"""What pages for users of the instruments show is run, and what is generated is current."""

import re
import warnings

import matplotlib
import pytest
import torch

from conftest import ROOT
from feature_alignment import surface
from feature_alignment.api.page import page

BLOCK = re.compile(
    r"^(?:<!-- needs: (?P<needs>[\w ]+) -->\n)?```python\n(?P<code>.*?)^```$", re.M | re.S
)
MEASURE = (ROOT / "docs" / "measure-your-network.md").read_text()
BLOCKS = {
    title: match
    for title, text in zip(
        ["Five lines", *re.findall("^## (.*)$", MEASURE, re.M)],
        re.split("^## .*$", MEASURE, flags=re.M),
        strict=True,
    )
    for match in BLOCK.finditer(text)
}
NOTEBOOK = ROOT / "docs" / "notebooks" / "from_mnist_to_the_plot.py"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run in an empty folder, without data and without a window."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATURE_ALIGNMENT_DATA", raising=False)
    matplotlib.use("Agg")
    torch.manual_seed(0)
    return tmp_path


def test_every_section_with_code_is_known():
    assert len(BLOCKS) == MEASURE.count("```python") == 7


@pytest.mark.parametrize("section", BLOCKS)
def test_the_page_for_users_runs(section, elsewhere):
    block = BLOCKS[section]
    with warnings.catch_warnings():
        if block["needs"]:
            warnings.simplefilter("ignore")  # of other libraries
        for name in (block["needs"] or "").split():
            pytest.importorskip(name, reason=f"needs {name}")
        exec(compile(block["code"], section, "exec"), {"__name__": "page"})
    if section == "A network while it trains":
        assert (elsewhere / "layers.pdf").stat().st_size > 1000
        assert (elsewhere / "run.csv").stat().st_size > 1000


README = (ROOT / "README.md").read_text()
SMALLER = {"range(1, 6)": "range(1, 2)", "[-50:]": "[-4:]", "randperm(1000)": "randperm(8)"}
"""What of the README's example is made smaller: it is a ResNet18."""


def test_the_example_of_the_readme_runs(elsewhere):
    [match] = BLOCK.finditer(README)
    code = match["code"]
    assert len(code.strip().splitlines()) <= 20
    for long, short in SMALLER.items():
        assert long in code
        code = code.replace(long, short)
    exec(compile(code, "README", "exec"), {"__name__": "page"})
    assert (elsewhere / "layers.png").stat().st_size > 1000


def test_the_notebook_runs(elsewhere):
    text = NOTEBOOK.read_text()
    assert "range(1, 6)" in text
    found = {"__name__": "notebook"}
    exec(compile(text.replace("range(1, 6)", "range(1, 3)"), NOTEBOOK.name, "exec"), found)
    assert (elsewhere / "layers.png").stat().st_size > 1000
    assert (elsewhere / "against.png").stat().st_size > 1000
    alignment = found["table"].query("measure == 'alignment' and layer.isna()")["value"]
    assert alignment.iloc[-1] > alignment.iloc[0]  # as the notebook says
    assert found["verdict"].verdict == "open"


def test_the_page_of_public_names_is_current():
    path = ROOT / "docs" / "api.md"
    remedy = "write it again: python -m feature_alignment.api.page --out docs/api.md"
    assert path.read_text() == page(), remedy
    assert all(f"## `fa.{name}`" in path.read_text() for name in surface.NAMES)


@pytest.mark.parametrize("name", ["measure-your-network", "instruments", "networks", "api"])
def test_links_between_pages_lead_somewhere(name):
    path = ROOT / "docs" / f"{name}.md"
    for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target
