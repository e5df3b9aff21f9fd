"""Which archived runs are taken, and what figures made of them say."""

import shutil
from dataclasses import replace

import pytest
from archived_runs import COMMIT, DATA, PAPERS, certificate, change_meta, write_run

from conftest import ROOT
from feature_alignment.audit.looks import CONFIRMING
from feature_alignment.integrity import meta_path, sealed
from feature_alignment.run.archive import CONDITIONS, FIRST_SEEDS, Archive, shown_arrays
from feature_alignment.run.reuse import Reuse, first_seed, reuse_of
from feature_alignment.run.spec import SCALES
from feature_alignment.storage import write_json
from feature_alignment.tables import read_meta

PAPER, FIGURE = "beaglehole2024", "b1_nfa_emergence"
RUNS = PAPERS[PAPER].runs_of(FIGURE, "smoke")


@pytest.fixture
def reuse(tmp_path):
    """An archive at smoke in which every run of a figure has seeds 0 and 1, as planned."""
    archive = Archive(tmp_path / "archive" / "smoke")
    for run in RUNS:
        assert PAPERS[PAPER].seeds(run, "smoke") == 2
        for seed in (0, 1):
            write_run(archive.folder / "runs", PAPER, run, seed)
    return Reuse(archive, PAPERS, "smoke", prepared=tmp_path / "prepared")


def add(reuse, seeds, runs=RUNS, **changes):
    for run in runs:
        for seed in seeds:
            write_run(reuse.archive.folder / "runs", PAPER, run, seed, **changes)


def remove(reuse, run, *seeds):
    for seed in seeds:
        meta_path(reuse.archive.path(PAPER, run, seed)).unlink()


def again(reuse, **changes):
    """Look anew, as a workflow that is started does."""
    kept = {name: getattr(reuse, name) for name in ("first_seed", "despite", "prepared", "device")}
    return Reuse(Archive(reuse.archive.folder), PAPERS, "smoke", **(kept | changes))


def test_equal_runs_are_taken(reuse):
    assert all(reuse.is_taken(PAPER, run, seed) for run in RUNS for seed in (0, 1))
    assert not reuse.is_taken(PAPER, RUNS[0], 2)


@pytest.mark.parametrize("despite", CONDITIONS)
def test_a_run_is_taken_despite_what_is_said_alone(reuse, despite):
    path = reuse.archive.path(PAPER, RUNS[0], 0)
    packages = read_meta(path)["packages"]
    changes = {
        "code": {"code_hash": "0" * 16},
        "device": {"device": "cuda"},
        "threads": {"threads": 2},
        "torch": {"packages": packages | {"torch": "1"}},
        "numpy": {"packages": packages | {"numpy": "1"}},
    }
    change_meta(path, **changes[despite])
    others = [name for name in CONDITIONS if name != despite]
    assert not again(reuse, despite=others).is_taken(PAPER, RUNS[0], 0)
    assert again(reuse, despite=[despite]).is_taken(PAPER, RUNS[0], 0)


def test_other_settings_are_never_taken(reuse):
    path = reuse.archive.path(PAPER, RUNS[0], 0)
    spec = read_meta(path)["spec"]
    change_meta(path, spec=spec | {"settings": spec["settings"] | {"epochs": 10**6}})
    assert not again(reuse, despite=CONDITIONS).is_taken(PAPER, RUNS[0], 0)


def test_prepared_data_must_be_the_same(reuse):
    name = next(iter(read_meta(reuse.archive.path(PAPER, RUNS[0], 0))["datasets"]))
    for checksum in (DATA, "e" * 64):
        write_json(reuse.prepared / f"{name}.json", sealed({"sha256": checksum}))
        found = again(reuse, despite=CONDITIONS)
        assert found.is_taken(PAPER, RUNS[0], 0) == (checksum == DATA)


def test_arrays_of_the_first_seed_are_needed_where_a_figure_shows_them(reuse):
    [run, *_] = [name.split("/")[1] for name in shown_arrays(PAPERS, "smoke") if PAPER in name]
    for seed in (0, 1):
        path = write_run(reuse.archive.folder / "runs", PAPER, run, seed)
        path.with_suffix(".npz").unlink()
    found = again(reuse)
    assert not found.is_taken(PAPER, run, 0)
    assert "without the arrays" in found.told([(PAPER, run, 0)])[1]
    assert found.is_taken(PAPER, run, 1)


def test_seeds_have_no_gap_and_explore_or_confirm(reuse):
    add(reuse, (3, 100, 101, 103))
    assert reuse.seeds(PAPER, RUNS[0]) == [0, 1]
    assert again(reuse, first_seed=100).seeds(PAPER, RUNS[0]) == [100, 101]
    add(reuse, range(2, 100))
    assert again(reuse).seeds(PAPER, RUNS[0]) == [*range(100)]


def test_a_whole_figure_has_the_seeds_that_are_planned(reuse):
    assert reuse.seeds_of_figure(PAPER, FIGURE) == {run: [0, 1] for run in RUNS}
    assert reuse.notes(PAPER, FIGURE) == []


def test_more_seeds_are_taken_once_all_runs_have_them(reuse):
    add(reuse, (2,), RUNS[1:])
    assert again(reuse).seeds_of_figure(PAPER, FIGURE) == {run: [0, 1] for run in RUNS}
    add(reuse, (2,), RUNS[:1])
    assert again(reuse).seeds_of_figure(PAPER, FIGURE) == {run: [0, 1, 2] for run in RUNS}


def test_an_incomplete_figure_has_the_seeds_of_all_its_runs_and_says_so(reuse):
    remove(reuse, RUNS[0], 1)
    found = again(reuse)
    assert found.seeds_of_figure(PAPER, FIGURE) == {run: [0] for run in RUNS}
    assert found.notes(PAPER, FIGURE) == ["incomplete: 2 seeds planned"]
    remove(reuse, RUNS[0], 0)
    assert again(reuse).seeds_of_figure(PAPER, FIGURE) == {}


def test_runs_of_which_fewer_seeds_are_planned_hold_the_others_back_no_further(reuse):
    planned = {run: 2 if run == RUNS[0] else 4 for run in RUNS}
    of = replace(
        PAPERS[PAPER],
        settings={
            (run, scale): {**settings, "seeds": planned.get(run, settings["seeds"])}
            for (run, scale), settings in PAPERS[PAPER].settings.items()
        },
    )

    def seeds(count):
        add(reuse, range(2, count), RUNS[1:])
        found = Reuse(Archive(reuse.archive.folder), {PAPER: of}, "smoke")
        return {len(seeds) for seeds in found.seeds_of_figure(PAPER, FIGURE).values()}

    assert seeds(3) == {2, 3}
    assert seeds(4) == {2, 4}
    assert seeds(6) == {2, 6}


def test_a_figure_says_which_other_code_made_its_runs(reuse):
    add(reuse, (0,), RUNS[:1], code_hash="0" * 16)
    found = again(reuse, despite=["code"])
    assert found.notes(PAPER, FIGURE) == [f"runs made by the code of {COMMIT[:12]}"]
    code = read_meta(reuse.archive.path(PAPER, RUNS[0], 1))["code_hash"]
    certificate(reuse.archive.folder, "one", ("0" * 16, code, True))
    assert again(reuse, despite=["code"]).notes(PAPER, FIGURE) == []


def test_reasons_are_told_in_a_line_each(reuse):
    add(reuse, (1,), RUNS[:1], device="cuda")
    wanted = [(PAPER, run, seed) for run in RUNS for seed in (0, 1, 2)]
    first, *others = again(reuse).told(wanted)
    count = 2 * len(RUNS) - 1
    assert first == f"{count} of {len(wanted)} runs are taken from {reuse.archive.folder}."
    name = f"{PAPER}/{RUNS[0]}"
    assert others[0] == f"Not taken, made with device cuda, here it is cpu: {name}, seed 1."
    assert others[1].startswith(f"Not taken, not archived: {name}, seed 2; ")
    assert len(others) == 2


def test_runs_begin_with_the_seeds_that_confirm():
    assert FIRST_SEEDS[1] == CONFIRMING
    assert [first_seed(None, scale) for scale in SCALES] == [0, *[100] * (len(SCALES) - 1)]
    assert first_seed(0, "laptop") == 0


def test_there_must_be_an_archive(reuse, tmp_path):
    config = {"scale": "laptop", "seeds": None, "first_seed": 0, "reuse_despite": ["torch"]}
    config["reuse"] = str(reuse.archive.folder.parent)
    with pytest.raises(ValueError, match="expected archived runs .* found none; choose a scale"):
        reuse_of(config, ROOT, PAPERS)
    shutil.copytree(reuse.archive.folder, reuse.archive.folder.with_name("laptop"))
    assert reuse_of(config, ROOT, PAPERS).despite == ("torch",)
    assert reuse_of(config | {"seeds": "archived"}, ROOT, PAPERS).despite == CONDITIONS
