import math

import pytest
from made_up import ledger_row
from PIL import Image

from feature_alignment.publish import forest
from feature_alignment.storage import write_json

ROW = ledger_row(
    verdict="supported",
    estimate=4.0,
    low=3.0,
    high=5.0,
    least=2.0,
    n=3,
    values=[3.9, 4.0, 4.1],
    averaged="log",
    reported=7.5,
)


def test_an_effect_is_in_margins_beyond_the_bound():
    assert forest.effect(ROW, 4.0) == pytest.approx(1)  # log 4 is twice log 2
    assert forest.effect(ROW, 1.0) == pytest.approx(-1)  # no effect
    below = ROW | {"least": None, "most": 0.5, "averaged": "plain"}
    assert forest.effect(below, 0.25) == pytest.approx(0.5)
    assert forest.effect(below, 1.0) == pytest.approx(-1)


def test_between_two_bounds_an_effect_is_in_tolerances():
    row = ROW | {"least": 0.2, "most": 0.6, "averaged": "plain"}
    assert [forest.effect(row, value) for value in (0.2, 0.4, 0.6)] == pytest.approx([-1, 0, 1])


def test_where_the_bound_is_no_effect_an_effect_is_in_standard_deviations():
    row = ROW | {"least": 0.0, "averaged": "plain", "values": [1.0, 2.0, 3.0]}
    assert forest.effect(row, 2.0) == pytest.approx(2)


def test_a_paper_is_drawn_with_every_interval_and_its_own_values(tmp_path):
    rows = [ROW, ROW | {"id": "toy.fig1.o", "verdict": "open"}, ledger_row(id="toy.fig1.n")]
    figure = forest.forest(rows)
    [one_sided] = figure.axes  # and no panel for claims between two bounds, of which there are none
    assert [label.get_text() for label in one_sided.get_yticklabels()] == ["fig1.o", "fig1.m"]
    crosses = [line for line in one_sided.get_lines() if line.get_marker() == "x"]
    assert [line.get_xdata()[0] for line in crosses] == pytest.approx(
        [math.log(7.5 / 2) / math.log(2)] * 2
    )
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["supported", "open", "the paper"]
    write_json(tmp_path / "ledger.json", rows)
    arguments = ["--ledger", str(tmp_path / "ledger.json"), "--pdf", str(tmp_path / "f.pdf")]
    forest.main([*arguments, "--png", str(tmp_path / "f.png"), "--paper", "toy"])
    with Image.open(tmp_path / "f.png") as image:
        assert image.width > 500
    with pytest.raises(ValueError, match="expected the key of a paper in the ledger: toy"):
        forest.main([*arguments, "--png", str(tmp_path / "f.png"), "--paper", "other"])


def test_claims_between_two_bounds_have_a_panel_of_their_own():
    one_sided, two_sided = forest.forest([ROW, ROW | {"id": "toy.fig1.two", "most": 8.0}]).axes
    assert [label.get_text() for label in one_sided.get_yticklabels()] == ["fig1.m"]
    assert [label.get_text() for label in two_sided.get_yticklabels()] == ["fig1.two"]
    assert "1" in [label.get_text() for label in two_sided.get_xticklabels()]


def test_a_paper_without_intervals_has_an_empty_plot():
    [panel] = forest.forest([ledger_row(id="toy.fig1.n")]).axes
    assert not panel.get_yticklabels()
