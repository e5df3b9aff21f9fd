"""Finished runs are kept, found and taken whole; what differs is said."""

import numpy as np
import pytest
from archived_runs import DATA, certificate, change_meta, write_run
from test_run import DISK
from tiny_runs import complete, make_run, random_dataset

from feature_alignment.integrity import meta_path
from feature_alignment.run import archive as program
from feature_alignment.run.archive import (
    KEPT,
    KNOWN,
    NO_ARRAYS,
    RENEWED,
    Archive,
    asked,
    finished,
    told,
)
from feature_alignment.storage import read_json, write_arrays
from feature_alignment.tables import read_arrays, read_meta, read_table

STUDENTS = "lejeune2024", "students"
SHOWN = ["lejeune2024/students"]


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "archive" / "smoke")


@pytest.fixture
def path(tmp_path):
    """The measurements of a finished run."""
    return write_run(tmp_path / "runs", *STUDENTS, 0)


def test_what_is_taken_is_what_was_kept(archive, path, tmp_path):
    assert archive.keep(path, SHOWN) == KEPT
    out = tmp_path / "results" / "runs" / "lejeune2024" / "students" / "0.csv"
    archive.take(out)
    for ending in (".csv", ".npz"):
        assert out.with_suffix(ending).read_bytes() == path.with_suffix(ending).read_bytes()
    assert read_meta(out) == read_meta(path)
    assert archive.seeds(*STUDENTS) == [0]


def test_arrays_are_kept_of_the_first_seeds_of_runs_that_show_them(archive, tmp_path):
    for seed in (0, 1, 100):
        path = write_run(tmp_path / "runs", *STUDENTS, seed)
        assert archive.keep(path, SHOWN) == KEPT
    assert [archive.has_arrays(*STUDENTS, seed) for seed in (0, 1, 100)] == [True, False, True]
    out = tmp_path / "results" / "lejeune2024" / "students" / "1.csv"
    archive.take(out)
    assert out.with_suffix(".npz").read_bytes() == NO_ARRAYS
    with pytest.raises(ValueError, match="holds no arrays"):
        read_arrays(out.with_suffix(".npz"))
    assert len(read_table(out)) == 1


def test_no_arrays_are_written_as_numpy_does(tmp_path):
    write_arrays(tmp_path / "none.npz", {})
    assert (tmp_path / "none.npz").read_bytes() == NO_ARRAYS


def test_arrays_are_added_when_a_figure_comes_to_show_them(archive, path):
    assert archive.keep(path, []) == KEPT
    assert archive.keep(path, SHOWN) == RENEWED
    assert archive.has_arrays(*STUDENTS, 0)


def test_what_is_archived_stays(archive, path, tmp_path):
    archive.keep(path, SHOWN)
    again = write_run(tmp_path / "again", *STUDENTS, 0, value=2.0, processor="another")
    assert archive.keep(again, SHOWN) == KNOWN
    assert archive.meta(*STUDENTS, 0)["processor"] == "an abacus"


def test_what_other_code_made_is_renewed_and_never_the_other_way(archive, path, tmp_path):
    old = write_run(tmp_path / "old", *STUDENTS, 0, value=2.0, code_hash="0" * 16)
    assert archive.keep(old, SHOWN) == KEPT
    assert archive.keep(path, SHOWN) == RENEWED
    assert archive.path(*STUDENTS, 0).read_bytes() == path.read_bytes()
    assert "made by other code than is here" in archive.keep(old, SHOWN)
    assert archive.path(*STUDENTS, 0).read_bytes() == path.read_bytes()


def test_what_certified_code_made_is_not_renewed(archive, path, tmp_path):
    old = write_run(tmp_path / "old", *STUDENTS, 0, code_hash="0" * 16)
    archive.keep(old, SHOWN)
    certificate(archive.folder, "one", ("0" * 16, read_meta(path)["code_hash"], True))
    assert Archive(archive.folder).keep(path, SHOWN) == KNOWN


@pytest.mark.parametrize("git", [{"commit": None}, {"commit": "1" * 40, "dirty": True}], ids=str)
def test_code_without_a_commit_is_refused(archive, tmp_path, git):
    git = {"tag": None, "dirty": None} | git
    path = write_run(tmp_path, *STUDENTS, 0, git=git, code_hash="0" * 16)
    assert "by code that no commit has" in archive.keep(path, [])
    assert archive.seeds(*STUDENTS) == []


def test_code_that_is_here_has_the_commit_from_here(archive, tmp_path, monkeypatch):
    here = {"commit": "2" * 40, "tag": "v2", "dirty": False}
    monkeypatch.setattr(program, "git_state", lambda: here)
    path = write_run(tmp_path, *STUDENTS, 0, git={"commit": None, "tag": None, "dirty": None})
    assert archive.keep(path, []) == KEPT
    assert archive.meta(*STUDENTS, 0)["git"] == here
    monkeypatch.setattr(program, "git_state", lambda: here | {"dirty": True})
    path = write_run(tmp_path, *STUDENTS, 1, git={"commit": None, "tag": None, "dirty": None})
    assert "by code that no commit has" in archive.keep(path, [])


def test_the_processor_is_said_or_not_recorded(archive, tmp_path):
    for seed, named in ((0, None), (1, "an abacus")):
        path = write_run(tmp_path, *STUDENTS, seed)
        meta = read_json(meta_path(path))
        del meta["processor"], meta["seal"]
        meta_path(path).unlink()
        program.write_json(meta_path(path), program.sealed(meta))
        archive.keep(path, [], named)
    assert archive.meta(*STUDENTS, 0)["processor"] == "not recorded"
    assert archive.meta(*STUDENTS, 1)["processor"] == "an abacus"


def test_damaged_files_are_neither_kept_nor_taken(archive, path, tmp_path):
    archive.keep(path, SHOWN)
    out = tmp_path / "results" / "lejeune2024" / "students" / "0.csv"
    for kept in (path, archive.path(*STUDENTS, 0)):
        kept.write_bytes(kept.read_bytes()[:-3])
    with pytest.raises(ValueError, match="was changed or cut short"):
        archive.keep(path, SHOWN)
    with pytest.raises(ValueError, match="was changed or cut short"):
        archive.take(out)
    assert not meta_path(out).exists()


def test_provenance_of_another_run_is_refused(archive, path):
    archive.keep(path, SHOWN)
    path.rename(path.with_name("1.csv"))
    meta_path(path).rename(meta_path(path.with_name("1.csv")))
    assert "another run" in archive.keep(path.with_name("1.csv"), SHOWN)
    change_meta(archive.path(*STUDENTS, 0), seed=3)
    with pytest.raises(ValueError, match="got that of lejeune2024/students, seed 3"):
        archive.meta(*STUDENTS, 0)


def test_a_run_writes_what_is_asked_for(tmp_path):
    """The identity that is computed without torch is that of the run itself."""
    dataset = random_dataset(tmp_path, "plain", (1, 4, 4), n_train=12, n_test=5, classes=3)
    run = make_run("eigenfunctions", DISK, tmp_path, dataset, seed=4)
    complete(run)
    meta = read_meta(run.out)
    assert told(meta) == asked(run.spec, 4, {"plain": dataset.manifest["sha256"]})
    assert meta["processor"]


DIFFERENT = {
    "settings": ("settings", {"other": 1}, "made with other settings"),
    "seed": ("seed", 7, "made with other settings"),
    "data": ("data", {"mnist": "e" * 64}, "made from another copy of mnist"),
    "code": ("code", "0" * 16, "made by other code"),
    "device": ("device", "cuda", "made with device cpu, here it is cuda"),
    "threads": ("threads", 2, "made with threads 1, here it is 2"),
    "torch": ("torch", "9.9", "here it is 9.9"),
    "numpy": ("numpy", "9.9", "here it is 9.9"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_difference_is_told(archive, path, case):
    known = told(read_meta(path)) | {"data": {"mnist": DATA}}
    assert archive.differences(known, known) == {}
    key, value, words = DIFFERENT[case]
    [(name, text)] = archive.differences(known, known | {key: value}).items()
    assert name == ("settings" if case == "seed" else case)
    assert text.endswith(words)


def test_data_that_are_not_here_are_not_compared(archive, path):
    known = told(read_meta(path)) | {"data": {"mnist": DATA}}
    assert archive.differences(known, known | {"data": {}}) == {}


def test_certificates_vouch_for_code_in_steps(archive):
    certificate(archive.folder, "one", ("a", "b", True), ("a", "b", True), ("c", "d", False))
    certificate(archive.folder, "two", ("b", "e", True), ("x", "y", True), ("x", "y", False))
    valid = {(old, new) for old in "abcxd" for new in "abcdexy" if archive.is_valid(old, new)}
    assert valid - {(name, name) for name in "abcdx"} == {("a", "b"), ("a", "e"), ("b", "e")}


def test_finished_runs_are_found_beside_checkpoints_too(tmp_path):
    first = write_run(tmp_path / "runs", *STUDENTS, 0)
    waiting = write_run(tmp_path / "checkpoints", *STUDENTS, 1)
    write_run(tmp_path / "checkpoints", *STUDENTS, 0)  # seed 0 is among the results as well
    half = write_run(tmp_path / "runs", *STUDENTS, 2)
    meta_path(half).unlink()
    first.with_name("0.partial.csv").write_text("")
    assert sorted(finished(tmp_path)) == sorted([waiting, first])


def test_the_program_keeps_and_takes(archive, tmp_path, capsys):
    write_run(tmp_path / "smoke" / "runs", *STUDENTS, 0)
    bad = {"commit": None, "tag": None, "dirty": None}
    write_run(tmp_path / "smoke" / "runs", *STUDENTS, 1, git=bad, code_hash="0" * 16)
    arguments = ["--archive", str(archive.folder)]
    program.main([*arguments, "keep", "--results", str(tmp_path / "smoke")])
    told = capsys.readouterr().out
    assert "1 new, 0 renewed, 0 known, 1 not archived" in told
    assert "1.csv: not archived: it was made by code that no commit has" in told
    out = tmp_path / "out" / "lejeune2024" / "students" / "0.csv"
    program.main([*arguments, "take", "--out", str(out)])
    assert np.array_equal(read_arrays(out.with_suffix(".npz"))["a"], [1.0])
