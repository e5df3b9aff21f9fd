"""Verdicts on one claim at several scales."""

import copy
import re
from itertools import pairwise

import pytest
from made_up import ledger_row
from test_page import figure, written  # noqa: F401

from conftest import ROOT
from feature_alignment.audit.criterion import VERDICTS
from feature_alignment.publish import documents
from feature_alignment.publish.scales import (
    REHEARSAL,
    across,
    published_ledgers,
    strongest,
    strongest_rows,
)
from feature_alignment.run.spec import SCALES
from feature_alignment.storage import write_json

SMALL, LARGE = "laptop", SCALES[-1]


def rows(**verdicts):
    return {scale: ledger_row(scale=scale, verdict=verdict) for scale, verdict in verdicts.items()}


ORDER = ["not run", "open", "contradicted"]


@pytest.mark.parametrize("less, more", list(pairwise(ORDER)))
def test_a_verdict_that_fell_is_stronger_wherever_it_fell(less, more):
    assert strongest(rows(**{SMALL: more, LARGE: less})) == SMALL
    assert strongest(rows(**{SMALL: less, LARGE: more})) == LARGE


@pytest.mark.parametrize("verdict", VERDICTS)
def test_of_two_of_a_kind_the_larger_scale_is_stronger(verdict):
    assert strongest(rows(**{SMALL: verdict, LARGE: verdict})) == LARGE


def test_a_support_at_a_small_scale_gives_way_to_a_contradiction_at_a_large_one():
    assert strongest(rows(**{SMALL: "supported", LARGE: "contradicted"})) == LARGE


def test_another_wording_is_another_claim():
    ledgers = {scale: [row] for scale, row in rows(**{SMALL: "open", LARGE: "open"}).items()}
    assert set(across(ledgers)["toy.fig1.m"]) == {SMALL, LARGE}
    ledgers[SMALL][0]["statement"] = "It used to rise."
    assert set(across(ledgers)["toy.fig1.m"]) == {LARGE}


def test_every_claim_has_one_strongest_row():
    ledgers = {scale: [row] for scale, row in rows(**{SMALL: "open", LARGE: "not run"}).items()}
    ledgers[SMALL].append(ledger_row(id="toy.fig1.other"))
    found = [(row["id"], row["scale"]) for row in strongest_rows(ledgers)]
    assert found == [("toy.fig1.m", SMALL), ("toy.fig1.other", SMALL)]


def test_only_scales_that_judge_have_ledgers(tmp_path):
    for name in (REHEARSAL, SMALL, LARGE, "sixteen_seeds"):
        write_json(tmp_path / name / "ledger.json", [ledger_row()])
    assert list(published_ledgers(tmp_path)) == [SMALL, LARGE]


@pytest.fixture(scope="module")
def two_scales():
    """What is published, as if a larger scale were too, at which one claim is decided."""
    published = documents.Published.read(ROOT / "reference" / SMALL, ROOT / "papers")
    larger = [row | {"scale": LARGE, "verdict": "not run"} for row in published.ledger]
    place = next(i for i, row in enumerate(published.ledger) if row["verdict"] == "open")
    larger[place]["verdict"] = "contradicted"
    ledgers = {SMALL: published.ledger, LARGE: larger}
    other = copy.copy(published)
    object.__setattr__(other, "ledgers", ledgers)
    return other, published.ledger[place]


def test_pages_tell_the_verdict_at_each_scale_and_the_strongest(two_scales):
    published, row = two_scales
    table = documents.claim_table([row], across(published.ledgers))
    assert f"{SMALL}: open<br>**{LARGE}: contradicted**" in table
    assert f"{SMALL}:" not in documents.claim_table([row])


def test_counts_are_of_the_strongest_verdicts_and_of_each_scale(two_scales):
    published, row = two_scales
    place = 3 + VERDICTS.index("contradicted")

    def contradicted(line):
        return int(line.split("|")[place])

    part = documents.fill(
        "<!-- generated: scales -->\n<!-- end: scales -->", published
    ).splitlines()
    of_class = [line for line in part if line.split("|")[2:3] == [f" {row['class']} "]]
    counts = {line.split("|")[1].strip(): contradicted(line) for line in of_class}
    assert counts == {SMALL: counts[SMALL], LARGE: 1, "the strongest": counts[SMALL] + 1}
    [total] = [
        line
        for line in documents.verdict_table(published).splitlines()
        if line.startswith(f"| all | {row['class']} ")
    ]
    assert contradicted(total) == counts["the strongest"]


def test_a_page_below_the_root_links_upwards(two_scales):
    published, _ = two_scales
    object.__setattr__(published, "root", "../../")
    text = documents.figure_table(published) + documents.verdict_table(published)
    object.__setattr__(published, "root", "")
    links = re.findall(r'\]\(([^)]*)\)|src="([^"]*)"', text)
    assert links
    for link in map("".join, links):
        assert (ROOT / "reference" / SMALL / link).resolve().exists(), link


def test_a_figure_without_a_table_is_not_yet_there(two_scales):
    published, _ = two_scales
    other = copy.deepcopy(published)
    name, meta = next(iter(other.made.items()))
    meta["notes"] = ["incomplete: 5 seeds planned"]
    assert "<br>incomplete: 5 seeds planned |" in documents.figure_table(other)
    del other.made[name]
    before = documents.figure_table(published).count("| not yet |")
    assert documents.figure_table(other).count("| not yet |") == before + 1


def test_the_ledger_page_tells_other_scales(tmp_path, figure):  # noqa: F811
    row = ledger_row(verdict="open", estimate=1.0, n=3)
    write_json(tmp_path / "larger.json", [row | {"scale": LARGE, "verdict": "supported"}])
    text = written(tmp_path, figure, [row], options=["--others", str(tmp_path / "larger.json")])
    told = " ".join(text.split())
    assert f"{SMALL}: open" in told
    assert f"{LARGE}: supported (the strongest)" in told
    assert f"{SMALL}: open" not in written(tmp_path, figure, [row])


def test_a_claim_that_was_not_run_shows_its_published_verdict(tmp_path, figure):  # noqa: F811
    row = ledger_row(verdict="not run", scale=REHEARSAL)
    published = row | {"scale": SMALL, "verdict": "contradicted", "estimate": 1.0, "n": 3}
    write_json(tmp_path / "published.json", [published])
    options = ["--others", str(tmp_path / "published.json")]
    told = " ".join(written(tmp_path, figure, [row], options=options).split())
    assert f"published, at scale {SMALL}: contradicted" in told
    assert f"{REHEARSAL}: not run" not in told
    assert 'data-verdict="not run"' in told
