import sys

import pytest

from feature_alignment.run.targets import asked_for, explained, of_snakemake, problems

RULES = ["all", "plot_toy_b1", "plot_toy_b2", "toy"]
FIGURES = [f"figures/laptop/toy/{name}.pdf" for name in ("b1_curves", "b2_spectra")]
KNOWN = [*RULES, *FIGURES, "data/prepared/mnist.json"]


def told(target):
    return explained(target, KNOWN.__contains__, KNOWN, "laptop")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("target", [*KNOWN, f"./{FIGURES[0]}", "figures//laptop/toy/b1_curves.pdf"])
def test_what_something_makes_is_let_pass(target):
    assert told(target) is None


def test_a_file_that_is_there_is_let_pass(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert told("notes.txt") is None
    assert told("note.txt")


@pytest.mark.parametrize(
    "target, near",
    [
        ("plot_toy_b9", "near it: plot_toy_b2, plot_toy_b1"),
        ("toi", "near it: toy"),
        ("figures/laptop/toy/b1_curve.pdf", f"near it: {FIGURES[0]}"),
        ("data/prepared/minst.json", "near it: data/prepared/mnist.json"),
        ("nothing like it", "snakemake --list-target-rules tells what there is"),
    ],
)
def test_near_names_are_told(target, near):
    assert f"nothing makes {target!r}; {near}" in told(target)


def test_the_scale_to_set_is_told():
    words = told("figures/smoke/toy/b1_curves.pdf")
    assert "of scale smoke, and this run is of scale laptop; add --config scale=smoke" in words
    assert "near" not in words


def test_of_a_file_of_another_scale_the_near_names_are_of_that_scale():
    words = told("figures/smoke/toy/b1_curve.pdf")
    assert "add --config scale=smoke; near it: figures/smoke/toy/b1_curves.pdf" in words


def test_every_target_that_nothing_makes_is_told_once():
    found = problems(["toi", "toy", "al", "toi"], KNOWN.__contains__, KNOWN, "laptop")
    assert [words.split("'")[1] for words in found] == ["toi", "al"]


def test_targets_are_read_as_snakemake_reads_them():
    line = "--cores 2 --config scale=smoke b=c --forcerun d -U e --omit-from f -n -- a g"
    assert asked_for(line.split()) == ["a", "g", "d", "e", "f"]
    assert asked_for(["--cores", "2", "--config", "scale=smoke", "all"]) != ["all"]


@pytest.mark.parametrize(
    "program, arguments",
    [
        ("/somewhere/bin/snakemake", ["x"]),
        ("/site-packages/snakemake/__main__.py", ["x"]),
        ("/somewhere/bin/pytest", []),
        ("/another/package/__main__.py", []),
    ],
)
def test_only_the_command_line_of_snakemake_is_read(program, arguments):
    assert of_snakemake([program, "x"]) == arguments
    assert of_snakemake(sys.argv) == []
