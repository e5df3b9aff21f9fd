import shutil

import pandas as pd
import pytest

from conftest import ROOT
from feature_alignment.publish import quotes
from feature_alignment.storage import write_json
from feature_alignment.tables import meta_path, tidy

SCHEMA = ROOT / "workflow" / "schemas" / "quotes.schema.yaml"
PAGES = sorted((ROOT / "papers").glob("*/README.md"))
TABLE = "lou2022/e1_hierarchy"


@pytest.fixture
def published(tmp_path):
    """Published results with two seeds, two layers and two epochs."""
    rows = [
        {"run": "r", "seed": seed, "epoch": epoch, "layer": layer, "measure": "cka", "value": value}
        for (seed, epoch, layer), value in {
            (0, 0, "a"): 0.1,
            (0, 0, "b"): 0.2,
            (0, 5, "a"): 0.3,
            (0, 5, "b"): 0.9,
            (1, 0, "a"): 0.1,
            (1, 0, "b"): 0.2,
            (1, 7, "a"): 0.5,
            (1, 7, "b"): 1.0,
        }.items()
    ]
    folder = tmp_path / "laptop"
    (folder / "tables" / "lou2022").mkdir(parents=True)
    tidy(rows).to_csv(folder / "tables" / f"{TABLE}.csv", index=False)
    write_json(folder / "ledger.json", [{"id": "c", "estimate": 1.5, "low": None, "n": 3}])
    return tmp_path


def quoting(**number):
    return {"quote": "is {:.2f} here", "numbers": [{"table": TABLE, "take": "mean", **number}]}


LAST = {"epoch": "last", "layer": "a"}


@pytest.mark.parametrize(
    "number, expected",
    [
        ({"where": LAST}, 0.4),  # the last epoch of each seed
        ({"where": {"epoch": "first"}, "take": "max"}, 0.2),
        ({"where": {**LAST, "seed": [1, 2]}}, 0.5),
        ({"where": "layer == 'a' and epoch > 0", "take": "sd"}, 0.02**0.5),
        ({"where": {"epoch": "last"}, "by": ["layer"], "take": "max"}, 0.95),
        ({"where": LAST, "over": {"where": {"epoch": "last", "layer": "b"}}}, 0.4 / 0.95),
        (
            {"where": LAST, "minus": {"where": {"epoch": "first", "layer": "a"}}, "by": ["seed"]}
            | {"take": "min"},
            0.2,
        ),
        ({"where": LAST, "times": 100, "nearest": 50}, 50),
        ({"where": {"split": None, "epoch": "last"}, "take": "count"}, 4),
    ],
)
def test_a_number_is_what_the_table_says(published, number, expected):
    found = quotes.value_of({"table": TABLE, "take": "mean", **number}, published)
    assert found == pytest.approx(expected)


def test_an_entry_may_stand_for_several_numbers(published):
    where = {"epoch": "last", "layer": "{l}"}
    number = {"where": where, "each": {"l": ["a", "b"]}, "take": ["min", "mean", "max"]}
    found = quotes.repeated({"table": TABLE, **number})
    assert [(one["where"]["layer"], one["take"]) for one in found] == [
        (layer, take) for layer in "ab" for take in ("min", "mean", "max")
    ]
    assert quotes.value_of(found[1], published) == pytest.approx(0.4)
    words = quotes.words_of(quoting(**number) | {"quote": "{:.1f} {} {} {} {:.2f} {}"}, published)
    assert words.split()[::4] == ["0.3", "0.95"]


def test_a_number_may_be_a_field_of_a_claim(published):
    assert quotes.value_of({"claim": "c", "field": "estimate"}, published) == 1.5


@pytest.mark.parametrize(
    "number, message",
    [
        ({"claim": "d", "field": "n"}, "there is no claim 'd'"),
        ({"claim": "c", "field": "low"}, "claim c has no low"),
        ({"table": TABLE, "where": {"epoch": 3}, "take": "mean"}, "has no rows where"),
        ({"table": TABLE, "where": {"epok": 3}, "take": "mean"}, "no column 'epok'"),
        ({"table": TABLE, "where": "epok == 3", "take": "mean"}, "cannot select rows where"),
        ({"table": TABLE, "where": LAST, "by": ["sed"], "take": "mean"}, "no column 'sed'"),
        (
            {"table": TABLE, "where": {"seed": 0}, "over": {"where": {"seed": 1}}, "by": ["epoch"]}
            | {"take": "mean"},
            "some values have no partner",
        ),
    ],
)
def test_a_number_that_cannot_be_had_is_an_error(published, number, message):
    with pytest.raises(ValueError, match=message):
        quotes.value_of(number, published)


@pytest.mark.parametrize("text", ["it is 0.40 here", "it is\n.40 here", "is .40 here, is .40 here"])
def test_words_that_stand_in_the_page_hold(published, text):
    assert quotes.check(text, [quoting(where=LAST)], published) == []


def test_a_number_that_changed_is_found(published):
    found = quotes.check("it is .41 here", [quoting(where=LAST)], published)
    assert found[0] == "expected 'is .40 here'; the page does not say so"
    assert "no quote says where .41 comes from" in found[1]


def test_every_fraction_and_percentage_needs_a_quote(published):
    given = [{"quote": "the paper's .3", "source": "paper"}]
    text = "the paper's .3, 5 layers, `x=.1`, [a](b/0.2.md), arXiv 2402.05271v1"
    text += "\n<!-- generated: x -->\n.9\n<!-- end: x -->\n"
    assert quotes.check(text, given, published) == []
    for more in ("-.4", "0.25.", "30 %"):
        found = quotes.check(f"{text} {more}", given, published)
        assert len(found) == 1, found


def test_placeholders_and_numbers_must_pair_up(published):
    for words in ("is {:.2f} or {:.2f}", "is so"):
        with pytest.raises(ValueError, match=words.partition(" or")[0]):
            quotes.check("", [quoting(where=LAST) | {"quote": words}], published)


@pytest.mark.parametrize(
    "words",
    ["is {0.__class__} here", "is {:>1000000000} here", "is {0} {{", "is {!r}", "{:.2f} {a}"],
)
def test_a_placeholder_reaches_nothing_but_a_number(published, words):
    with pytest.raises(ValueError, match="expected no braces but"):
        quotes.check("", [quoting(where=LAST) | {"quote": words}], published)


def test_one_way_to_write_numbers():
    assert quotes.plain("\N{MINUS SIGN}0.5  to\n10.05, 28 800 of 1 000 000, 5 10") == (
        "-.5 to 10.05, 28800 of 1000000, 5 10"
    )


def test_pages_quote_the_published_results(capsys):
    quotes.main(arguments(ROOT / "papers"))
    assert capsys.readouterr().out == f"{len(PAGES)} pages quote the published results\n"


def test_a_changed_value_in_a_published_table_is_found(tmp_path):
    shutil.copytree(ROOT / "reference", tmp_path / "reference")
    path = tmp_path / "reference/laptop/tables/joint/both_instruments.csv"
    table = pd.read_csv(path)
    place = (table["layer"] == "linear3") & (table["measure"] == "alignment")
    table.loc[place, "value"] += 0.05
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match="was changed or cut short after it was written"):
        quotes.main(arguments(ROOT / "papers", tmp_path / "reference"))
    meta_path(path).unlink()  # as if another run had made it so
    with pytest.raises(ValueError, match=r"(?s)joint/README\.md: expected .*layer 3 of 5"):
        quotes.main(arguments(ROOT / "papers", tmp_path / "reference"))


def test_a_misspelt_key_is_an_error(tmp_path):
    entry = {"quote": "is {} here", "numbers": [{"claim": "c", "feild": "n"}]}
    shutil.copytree(ROOT / "papers" / "joint", tmp_path / "joint")
    write_json(tmp_path / "joint" / "quotes.yaml", [entry])
    with pytest.raises(ValueError, match=r"joint/quotes\.yaml is not valid"):
        quotes.main(arguments(tmp_path))


def arguments(papers, published=ROOT / "reference"):
    paths = {"papers": papers, "schema": SCHEMA, "published": published}
    return [word for name, path in paths.items() for word in (f"--{name}", str(path))]
