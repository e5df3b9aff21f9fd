import pandas as pd
import pytest

from conftest import ROOT
from feature_alignment.audit.claims import read_claims
from feature_alignment.audit.condition import LONGEST, read_condition, select
from feature_alignment.tables import read_table

SCHEMA = ROOT / "workflow" / "schemas" / "claims.schema.yaml"
CLAIMS = read_claims(sorted((ROOT / "papers").glob("*/claims.yaml")), SCHEMA)
TABLE = pd.DataFrame(
    {
        "seed": pd.array([0, 1, None, 3], dtype="Int64"),
        "noise": [0.0, 0.5, float("nan"), -1.0],
        "layer": pd.array(["conv1", None, "linear1", "conv2"], dtype="string"),
        "dataset": ["mnist", "cifar10", None, "mnist"],
        "mixed": ["random", 0.5, 1, None],
        "centred": [True, False, True, False],
        "depth": [float("nan")] * 4,
    }
)


@pytest.mark.parametrize(
    "where",
    [
        "noise == 0",
        "0 == noise",
        "noise != 0",
        "-1 <= noise < 0.5",
        "noise == -1",
        "noise <= seed",
        "seed > 0",
        "not seed > 0",
        "not (noise > 0)",
        "seed in (0, 3)",
        "seed not in [0, 3]",
        "dataset == 'mnist' and noise < 0 or layer == 'linear1'",
        "dataset == 'mnist' and (noise < 0 or layer == 'linear1')",
        "dataset in ['mnist', 'emnist']",
        "layer not in ['conv1']",
        "layer.str.startswith('conv') and seed < 3",
        "not layer.str.endswith('1')",
        "layer.isna()",
        "seed.notnull()",
        "noise == noise.max()",
        "seed == seed.min()",
        "mixed == 'random' or mixed == 1",
        "centred == True",
        "depth.isnull() and seed == 1",
        "depth == 3",
        "  noise == 0  and seed == 0 \n",
    ],
)
def test_a_condition_selects_what_a_query_of_pandas_does(where):
    expected = TABLE.query(" ".join(where.split()), engine="python")
    pd.testing.assert_frame_equal(select(TABLE, where), expected)


def test_missing_text_neither_begins_nor_ends_with_anything():
    assert list(select(TABLE, "dataset.str.startswith('m')").index) == [0, 3]
    assert list(select(TABLE, "not dataset.str.startswith('m')").index) == [1]


def published_conditions():
    for path in sorted((ROOT / "reference").glob("*/tables/*/*.csv")):
        name = f"{path.parent.name}/{path.stem}"
        evidence = [claim["evidence"] for claim in CLAIMS if claim["evidence"]["table"] == name]
        wheres = sorted({part["where"] for part in evidence if "where" in part})
        if wheres:
            yield pytest.param(path, wheres, id=str(path.relative_to(ROOT / "reference")))


@pytest.mark.parametrize("path, wheres", list(published_conditions()))
def test_every_claim_rests_on_the_rows_that_a_query_selects(path, wheres):
    table = read_table(path)
    for where in wheres:
        pd.testing.assert_frame_equal(select(table, where), table.query(where, engine="python"))


@pytest.mark.parametrize(
    "where, message",
    [
        ("", "there is no condition"),
        (" \n", "there is no condition"),
        ("noise", "expected a comparison such as noise == 0, .*; got noise"),
        ("centred", "got centred"),
        ("1", "got 1"),
        ("'noise'", "got 'noise'"),
        ("1 == 1", "expected a column on one side of a comparison; got 1"),
        ("(noise == 0", r"'\(' was never closed"),
        ("noise == 0)", r"unmatched '\)'"),
        ("noise = 0", "invalid syntax"),
        ("noise == 0 & seed == 1", "expected a column, a number or a text in quotes; got 0 & seed"),
        ("noise == 0 and", "invalid syntax"),
        ("noise + 1 == 2", r"a column, a number or a text in quotes; got noise \+ 1"),
        ("noise == 10 ** 9", "a number or a text in quotes; got 10"),
        ("noise is 0", "expected one of ==, !="),
        ("noise in 3", r"expected column in \[1, 2\], a list of values; got 3"),
        ("noise in [seed]", "a number or a text in quotes; got seed"),
        ("'mnist' in dataset", "expected column in"),
        ("noise == None", "a number or a text in quotes; got None"),
        ("noise == 1j", "got 1j"),
        ("noise == f'{seed}'", "a text in quotes; got f'{seed}'"),
        ("noise.sum() == 1", r"got noise.sum\(\)"),
        ("noise.max(0) == 1", r"got noise.max\(0\)"),
        ("dataset.str.contains('m')", "got dataset.str.contains"),
        ("layer.str.startswith(dataset)", "got layer.str.startswith"),
        ("noise == 0\0", "null"),
        ("not " * 200 + "noise", "got noise"),
        ("not " * LONGEST + "noise", f"expected {LONGEST} characters at most, got 4005"),
        ("(" * 300 + "noise" + ")" * 300, "nested"),
    ],
)
def test_another_form_is_refused_before_there_is_a_table(where, message):
    with pytest.raises(ValueError, match=rf"cannot select rows where (?s:.*): .*{message}"):
        read_condition(where)


@pytest.mark.parametrize(
    "where, message",
    [
        ("nois == 0", "no column 'nois'; the table has: seed, noise, layer, dataset, mixed, "),
        ("T == 0", "no column 'T'"),
        ("noise == '0'", "cannot compare noise, numbers, with '0', text"),
        ("dataset == 0", "cannot compare dataset, text, with 0, numbers"),
        ("noise in [0, 'none']", "cannot compare noise, numbers, with 'none', text"),
        ("seed == True", "cannot compare seed, numbers, with True, True or False"),
        ("centred == 1", "cannot compare centred, True or False, with 1, numbers"),
        ("dataset > noise", "cannot compare dataset, text, with noise, numbers"),
        ("noise.str.startswith('a')", "cannot compare noise, numbers, with a text, text"),
        ("dataset.max() == 1", r"cannot compare dataset.max\(\)"),
        ("mixed > 0", "not supported"),
    ],
)
def test_what_a_table_cannot_answer_is_an_error(where, message):
    with pytest.raises(ValueError, match=rf"cannot select rows where .*: .*{message}"):
        select(TABLE, where)


ATTACKS = [
    "@pd.io.common.os.system('touch {mark}')",
    "@__builtins__['open']('{mark}', 'w')",
    "__import__('os').system('touch {mark}')",
    "noise == __import__('os').system('touch {mark}')",
    "noise.to_csv('{mark}')",
    "noise.to_csv('{mark}') == 0",
    "noise.__class__.__mro__[1].__subclasses__() == 0",
    "noise.map(lambda x: open('{mark}', 'w')) == 0",
    "[open('{mark}', 'w') for _ in noise] == noise",
    "(noise := open('{mark}', 'w')) == 0",
    "noise == f\"{{open('{mark}', 'w')}}\"",
    "open('{mark}', 'w') or noise == 0",
    "dataset.str.startswith(open('{mark}', 'w'))",
    "layer.str.__class__.startswith('a')",
    "noise.values.tofile('{mark}')",
    "noise in [open('{mark}', 'w')]",
    "noise == 0; import os",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_a_condition_runs(attack, tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(ValueError, match="cannot select rows where"):
        select(TABLE, attack.format(mark=mark))
    assert not mark.exists()


def test_the_error_names_the_claim(tmp_path):
    path = tmp_path / "toy" / "claims.yaml"
    path.parent.mkdir()
    path.write_text(
        "[{id: toy.fig1.rises, class: ours, statement: It rises., kind: trend, needs: laptop,"
        " source: {place: figure 1, certainty: code}, untrained: contrast,"
        " evidence: {table: toy/fig1, where: noise},"
        " test: {criterion: increases, x: epoch, y: m}}]"
    )
    with pytest.raises(ValueError, match=r"claim toy\.fig1\.rises: cannot select rows where 'noi"):
        read_claims([path], SCHEMA)
