"""What no YAML file may hold, whatever its schema says."""

import math

import pytest

from feature_alignment.schema import LARGEST, read_schema, read_yaml, validate

WRONG = {
    "a: 1\nb: .nan": r"b: expected a finite number, got nan",
    "a: {b: [1, {c: -.inf}]}": r"a\.b\.1\.c: expected a finite number, got -inf",
    f"seeds: {2**70}": r"seeds: expected a number of at most \d+, got one of 71 bits",
    f"seeds: {'9' * 5000}": "page.yaml",
    "? [a, b]\n: 1": r"line 1: expected a key that is text, got \['a', 'b'\]; quote it",
    "a:\n  ? {b: c}\n  : 1": r"line 2: expected a key that is text, got \{'b': 'c'\}",
    "on: 1": "line 1: expected a key that is text, got True; quote it",
    "a:\n  1: x": "line 2: expected a key that is text, got 1; quote it",
    "a: {b: 1, b: 2}": "line 1: key 'b' is given twice",
    "a: 2020-01-02": "a: expected text, a number, a list or keys, got a date",
    "a: 2020-13-42": "page.yaml is not valid YAML: month must be in 1..12",
    "a: !!set {b, c}": r"a: .* got a set",
    "a: !!binary aGk=": r"a: .* got a bytes",
    "a: &a [1, *a]": "page.yaml is not valid YAML: found unconstructable recursive node",
    "a: &a {b: *a}": "page.yaml is not valid YAML",
    "a: !!python/object/apply:os.getcwd []": "page.yaml is not valid YAML",
    "a: [": "page.yaml is not valid YAML",
    "a: \0": "page.yaml is not valid YAML",
    "- " * 5000: r"page.yaml: 0\.0\.0 … is nested more than 60 deep",
    "\n".join(
        ["a0: &a0 [1, 1]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    ): "holds more than 1000000 values",
}


@pytest.mark.parametrize("text", WRONG, ids=[text[:30] for text in WRONG])
def test_what_cannot_be_meant_is_an_error_that_names_file_and_place(tmp_path, text):
    path = tmp_path / "page.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=WRONG[text]) as error:
        read_yaml(path)
    assert "page.yaml" in str(error.value)


def test_what_is_no_text_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "page.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ValueError, match=r"page\.yaml is not valid YAML"):
        read_yaml(tmp_path / "page.yaml")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, LARGEST + 1, {1: 2}, {"b": {3}}])
def test_no_schema_lets_them_pass(value):
    for schema in ({}, {"properties": {"a": {"type": "number"}}}):
        with pytest.raises(ValueError, match=r"file is not valid:\n  a(\.b)?: expected"):
            validate({"a": value}, schema, "file")


EXPLAINED = [
    ([1, 2, 1], {"uniqueItems": True}, "1 is given twice; expected every item once"),
    ("1e-3", {"type": "number"}, "YAML reads it as text, write 0.001"),
    (0.3, {"const": 0.0}, "expected 0.0, got 0.3"),
    ("x" * 10**6, {"type": "integer"}, "xxx … xxx"),
    (True, {"type": "integer"}, "True is not of type 'integer'"),
]


@pytest.mark.parametrize("value, schema, said", EXPLAINED, ids=range(len(EXPLAINED)))
def test_an_error_says_what_was_expected_and_what_came(value, schema, said):
    with pytest.raises(ValueError, match="file is not valid") as error:
        validate({"a": value}, {"properties": {"a": schema}}, "file")
    assert set(said.split()) <= set(str(error.value).split()) | {"xxx"}
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("text", ["[]", "- id: a", "items: {}", "42"])
def test_something_else_in_place_of_a_schema_is_an_error(tmp_path, text):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"claims\.yaml is not a JSON schema"):
        read_schema(tmp_path / "claims.yaml")
