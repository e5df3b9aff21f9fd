import math

import pandas as pd
import pytest

from feature_alignment.tables import (
    COLUMNS,
    guarded,
    meta_path,
    read_meta,
    read_table,
    tidy,
    unguarded,
    write_table,
)

ROW = {"paper": "p", "run": "r", "seed": 0, "step": 3, "epoch": 0.5, "measure": "m"}


def test_values_come_back_bit_by_bit(tmp_path):
    values = [0.1, 1 / 3, 1e-300, math.pi, -0.0]
    table = tidy([{**ROW, "value": value} for value in values])
    write_table(tmp_path / "t.csv", table, {"a": 1})
    back = read_table(tmp_path / "t.csv")
    assert [x.hex() for x in back["value"]] == [x.hex() for x in values]
    assert list(back.columns) == list(COLUMNS)
    assert read_meta(tmp_path / "t.csv") == {"a": 1}
    assert meta_path("x/t.csv").name == "t.meta.json"


def test_the_same_table_gives_the_same_bytes(tmp_path):
    table = tidy([{**ROW, "at": 40, "value": 0.5, "noise": 0.2}], conditions=["noise"])
    for name in ("one.csv", "two.csv"):
        write_table(tmp_path / name, table, {})
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert (tmp_path / "one.csv").read_text() == (
        "paper,run,seed,step,epoch,layer,split,at,noise,measure,value\n"
        "p,r,0,3,0.5,,,40.0,0.2,m,0.5\n"
    )


def test_columns_that_do_not_apply_stay_empty(tmp_path):
    write_table(tmp_path / "t.csv", tidy([{"measure": "m", "value": 1.0}]), {})
    assert read_table(tmp_path / "t.csv")[["seed", "at"]].isna().all(axis=None)


def test_a_table_may_lack_coordinates(tmp_path):
    write_table(tmp_path / "t.csv", tidy([{**ROW, "value": 1.0}]).drop(columns="at"), {})
    table = read_table(tmp_path / "t.csv")
    assert list(table.columns) == [name for name in COLUMNS if name != "at"]
    assert table.dtypes["seed"] == "Int64"


def test_an_unknown_column_is_an_error():
    with pytest.raises(ValueError, match="unknown column 'nois'"):
        tidy([{**ROW, "value": 1.0, "nois": 0.2}], conditions=["noise"])


def test_a_missing_column_is_an_error_that_lists_the_columns(tmp_path):
    pd.DataFrame([{**ROW, "layer": "", "split": ""}]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match=r"t.csv lacks the column 'value'; it has: paper, run"):
        read_table(tmp_path / "t.csv")
    write_table(tmp_path / "u.csv", tidy([{**ROW, "value": 1.0}]), {})
    with pytest.raises(ValueError, match="lacks the column 'dataset'"):
        read_table(tmp_path / "u.csv", ["dataset"])


@pytest.mark.parametrize("text", ["", "paper,run\n1,2,3\n1\n"])
def test_something_else_is_no_table(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=r"t\.csv"):
        read_table(tmp_path / "t.csv")


def test_text_in_place_of_a_number_is_an_error(tmp_path):
    write_table(tmp_path / "t.csv", tidy([{**ROW, "value": 1.0}]), {})
    text = (tmp_path / "t.csv").read_text().replace(",m,1.0", ",m,high")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match="not a number"):
        read_table(tmp_path / "t.csv")


def test_provenance_holds_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_table(tmp_path / "t.csv", tidy([]), {"a": math.nan})


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-a", "@SUM(A1)", "\t=1", "'=1", "''@x", "=1\n=2"]
WORDS = ["", "a=b", "1-2", "'quoted'", "'", "-0.5", "+1e-3", "-inf", "conv1", "\N{MINUS SIGN}1"]


def test_no_cell_is_a_formula_and_all_come_back(tmp_path):
    texts = [*FORMULAS, *filter(None, WORDS)]
    rows = [{**ROW, "run": text, "layer": text, "said": text, "value": -1.0} for text in texts]
    table = tidy(rows, conditions=["said"])
    write_table(tmp_path / "t.csv", table, {})
    written = pd.read_csv(tmp_path / "t.csv", dtype=str)
    for column in ("run", "layer", "said"):
        cells = list(written[column])
        assert cells == [f"'{text}" for text in FORMULAS] + texts[len(FORMULAS) :]
    assert list(written["value"]) == ["-1.0"] * len(texts)
    assert list(read_table(tmp_path / "t.csv")["said"]) == texts


def test_a_table_without_formulas_stays_as_it_is():
    table = pd.DataFrame({"text": WORDS, "value": -1.0, "mixed": [1, "a", None, True, -2.5] * 2})
    assert guarded(table) is table
    assert unguarded(table) is table
