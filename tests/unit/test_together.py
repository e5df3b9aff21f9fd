"""Runs that share a process: the same bytes as alone, and nothing finished is lost."""

import importlib

import pytest
from test_run import DISK
from tiny_runs import Killed, complete, make_run

from feature_alignment.integrity import sealed
from feature_alignment.run import perform, together
from feature_alignment.run.together import perform_together
from feature_alignment.storage import write_json
from feature_alignment.tables import meta_path, read_meta
from feature_alignment.training.readings import DivergenceError

MODULE = importlib.import_module("feature_alignment.papers.baratin2021.eigenfunctions")
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The table and the arrays of each seed, made on its own."""
    runs = runs_in(tmp_path_factory.mktemp("alone"))
    return [(complete(run), arrays(run)) for run in runs]


@pytest.fixture
def runs(tmp_path):
    return runs_in(tmp_path)


def runs_in(folder):
    return [make_run("eigenfunctions", DISK, folder, seed=seed) for seed in SEEDS]


def arrays(run):
    return run.out.with_suffix(".npz").read_bytes()


def made(runs):
    assert not list(runs[0].checkpoint.parent.iterdir())
    return [(run.out.read_bytes(), arrays(run)) for run in runs]


@pytest.fixture
def measured(monkeypatch):
    """The seeds that are measured; those in ``failing`` raise what it has for them."""
    seeds, failing, measure = [], {}, MODULE.measure

    def measuring(run):
        seeds.append(run.seed)
        if run.seed in failing:
            raise failing[run.seed]
        measure(run)

    monkeypatch.setattr(MODULE, "measure", measuring)
    return seeds, failing


def test_together_is_as_alone(runs, alone):
    perform_together(runs)
    assert made(runs) == alone
    metas = [read_meta(run.out) for run in runs]
    assert [meta["seed"] for meta in metas] == [*SEEDS]
    assert [meta["fingerprint"] for meta in metas] == [run.fingerprint for run in runs]


@pytest.mark.parametrize("end", [Killed(), MemoryError("too large")])
def test_what_is_finished_outlives_a_kill(runs, alone, measured, end):
    seeds, failing = measured
    failing[2] = end
    with pytest.raises(type(end)):
        perform_together(runs)
    assert not runs[0].out.exists()
    failing.clear()
    perform_together(runs)
    assert seeds == [0, 1, 2, 2]
    assert made(runs) == alone


def test_a_run_that_diverges_lets_the_others_finish(runs, alone, measured):
    seeds, failing = measured
    failing |= {0: DivergenceError("seed 0 became nan", []), 2: DivergenceError("so did 2", [])}
    with pytest.raises(DivergenceError, match="seed 0 became nan; so did 2"):
        perform_together(runs)
    assert seeds == [0, 1, 2]
    failing.clear()
    perform_together(runs)
    assert seeds == [0, 1, 2, 0, 2]
    assert made(runs) == alone


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def of_other_code(run):
    write_json(meta_path(run.out), sealed(read_meta(run.out) | {"fingerprint": "another"}))


DAMAGES = {
    "table": lambda run: cut(run.out),
    "arrays": lambda run: cut(run.out.with_suffix(".npz")),
    "provenance": lambda run: cut(meta_path(run.out)),
    "no provenance": lambda run: meta_path(run.out).unlink(),
    "no arrays": lambda run: run.out.with_suffix(".npz").unlink(),
    "of other code": of_other_code,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_finished_is_taken_only_whole(runs, alone, measured, damage):
    seeds, failing = measured
    failing[1] = Killed()
    with pytest.raises(Killed):
        perform_together(runs)
    DAMAGES[damage](together.kept(runs[0]))
    failing.clear()
    perform_together(runs)
    assert seeds == [0, 1, 0, 1, 2]
    assert made(runs) == alone


@pytest.mark.usefixtures("restored_torch")
def test_the_program_takes_several_seeds(runs, alone, tmp_path):
    write_json(tmp_path / "spec.json", runs[0].spec)
    places = ["--out", *(str(run.out) for run in runs)]
    places += ["--checkpoint", *(str(run.checkpoint) for run in runs)]
    perform.main([f"--spec={tmp_path / 'spec.json'}", "--seed", *map(str, SEEDS), *places])
    assert made(runs) == alone


@pytest.mark.parametrize("out", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_each_seed_has_a_place_of_its_own(runs, tmp_path, out):
    write_json(tmp_path / "spec.json", runs[0].spec)
    with pytest.raises(ValueError, match="expected one --out for each --seed, all of them diff"):
        perform.parse(
            [f"--spec={tmp_path / 'spec.json'}", "--seed", "0", "1", "--checkpoint", "c", "d"]
            + ["--out", *out]
        )
