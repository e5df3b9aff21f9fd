import json
import math
import re
import subprocess
import sys

import pytest
import yaml

from conftest import ROOT
from feature_alignment.audit.claims import read_claims

SCHEMA = ROOT / "workflow" / "schemas" / "claims.schema.yaml"
ENTRY = {
    "id": "toy.fig1.{name}.rises",
    "each": {"name": ["mnist", "digits"], "least": [2, 0.5]},
    "class": "paper",
    "statement": "On {name}, m rises {least}-fold at least, as L^{3/5}.",
    "source": {"place": "figure 1", "certainty": "code"},
    "untrained": "contrast",
    "kind": "trend",
    "evidence": {"table": "toy/fig1", "where": "dataset == '{name}'"},
    "test": {"criterion": "increases", "x": "epoch", "y": "m", "min_factor": "{least}"},
    "needs": "laptop",
}


@pytest.fixture
def read(tmp_path):
    """Read one claims entry, with changes."""

    def read_one(entry=ENTRY, **changes):
        path = tmp_path / "toy" / "claims.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump([entry | changes], sort_keys=False))
        return read_claims([path], SCHEMA)

    return read_one


def test_an_entry_stands_for_a_claim_per_combination_of_its_values(read):
    first, second = read()
    assert first == {
        **{key: ENTRY[key] for key in ("class", "source", "kind", "needs", "untrained")},
        "id": "toy.fig1.mnist.rises",
        "statement": "On mnist, m rises 2-fold at least, as L^{3/5}.",
        "evidence": {"table": "toy/fig1", "where": "dataset == 'mnist'"},
        "test": {"criterion": "increases", "x": "epoch", "y": "m", "min_factor": 2},
        "paper": "toy",
    }
    assert (second["id"], second["test"]["min_factor"]) == ("toy.fig1.digits.rises", 0.5)
    axes = [{"name": ["mnist", "digits"]}, {"least": [1, 2, 3]}]
    claims = read(each=axes, id="toy.{name}.{least}")
    assert [claim["id"] for claim in claims] == [
        f"toy.{name}.{least}" for name in ("mnist", "digits") for least in (1, 2, 3)
    ]


def test_a_key_that_becomes_null_is_left_out(read):
    each = ENTRY["each"] | {"note": [None, "ours"]}
    assert [claim.get("note") for claim in read(each=each, note="{note}")] == [None, "ours"]
    assert "note" not in read(each=each, note="{note}")[0]


def test_a_claim_needs_scale_laptop_unless_it_says_otherwise(read):
    several = {"each": [{"name": ["a"]}, {"least": [1]}, {"s": ["smoke", "paper"]}]}
    assert {claim["needs"] for claim in read(needs="{s}", id="toy.{s}", **several)} == {
        "smoke",
        "paper",
    }
    left_out = {key: part for key, part in ENTRY.items() if key != "needs"}
    assert [claim["needs"] for claim in read(entry=left_out)] == ["laptop", "laptop"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"each": ENTRY["each"] | {"depth": [1, 2]}}, r"expected \{depth\} somewhere, for its val"),
        ({"note": "on {nme}"}, r"\{nme\} has no values in each, which has: name, least"),
        ({"each": {"name": ["a", "b"], "least": [1]}}, "lists of one length, .*least has 1"),
        ({"each": [{"name": ["a"], "least": [1]}, {"name": ["b"]}]}, "in two axes: least, name"),
        ({"each": "mnist"}, "each is not valid"),
        ({"id": "toy.rises"}, "'toy.rises' is given twice"),
        ({"statement": 3}, "claim toy.fig1.mnist.rises is not valid.*\n.*statement: 3 is not of"),
        ({"untrained": "trend"}, "untrained: 'trend' is not valid under any of the given schemas"),
        ({"untrained": {"where": "step =="}}, "cannot select rows where 'step =='"),
        ({"control": {"test": {"y": 3}}}, "test of a reference is not valid.*\n.*y: 3 is not of"),
        ({"class": "papr"}, r"unknown value 'papr' \(did you mean 'paper'\?\)"),
        ({"eech": {}}, r"unknown key 'eech' \(did you mean 'each'\?\)"),
        ({"test": {"x": "epoch"}}, "test: 'criterion' is a required property$"),
        (
            {"test": ENTRY["test"] | {"min_change": math.nan}},
            r"0\.test\.min_change: expected a fin",
        ),
        ({"each": {"name": ["a"], "least": [math.inf]}}, r"0\.each\.least\.0: expected a finite"),
        ({"test": ENTRY["test"] | {"over": ["layer", "layer"]}}, "over: 'layer' is given twice"),
        (
            {"each": [{"name": [*map(str, range(101))]}, {"least": [*range(1, 101)]}]},
            "expected at most 10000 combinations, got 10100",
        ),
    ],
)
def test_an_entry_that_cannot_be_repeated_is_an_error_that_names_it(read, changes, message):
    with pytest.raises(ValueError, match=message):
        read(**changes)


def test_a_claim_about_training_says_what_is_found_without(read):
    left_out = {key: part for key, part in ENTRY.items() if key != "untrained"}
    with pytest.raises(ValueError, match="expected untrained: what the same question finds"):
        read(entry=left_out)
    assert len(read(entry=left_out, **{"class": "check"})) == 2


@pytest.mark.parametrize("content", [{"id": "a"}, None, 3, ["a"], [[1]]])
def test_what_is_no_list_of_claims_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=r"claims\.yaml is not valid"):
        read_claims([tmp_path / "claims.yaml"], SCHEMA)


def test_a_schema_and_claims_are_not_mixed_up(read):
    claims = ROOT / "papers" / "joint" / "claims.yaml"
    with pytest.raises(ValueError, match=r"claims\.schema\.yaml is not valid:\n  top level"):
        read_claims([SCHEMA], SCHEMA)
    with pytest.raises(ValueError, match=r"claims\.yaml is not a JSON schema"):
        read_claims([claims], claims)
    for other in ("paper", "quotes", "config", "common"):
        path = SCHEMA.with_name(f"{other}.schema.yaml")
        with pytest.raises(ValueError, match=f"{other}.schema.yaml is not the schema of claims"):
            read_claims([claims], path)


@pytest.mark.parametrize("path", sorted((ROOT / "papers").glob("*/claims.yaml")), ids=str)
def test_the_claims_of_every_paper_are_well_formed(path):
    claims = read_claims([path], SCHEMA)
    paper = path.parent.name
    assert claims
    assert all(claim["id"].startswith(f"{paper}.") for claim in claims)
    for claim in claims:  # no statement leans on another
        assert not re.match(r"(So it is|The same|It |They )|.*, (they|it) ", claim["statement"])
    assert all(claim["evidence"]["table"].startswith(f"{paper}/") for claim in claims)


def test_reading_claims_loads_no_library_that_computes():
    code = """
import json, sys
import feature_alignment.audit.claims, feature_alignment.audit.criteria
print(json.dumps([name for name in ("numpy", "pandas", "scipy", "torch") if name in sys.modules]))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(loaded) == []
