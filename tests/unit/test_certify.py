"""What a certificate compares, and what it is worth."""

from dataclasses import replace

import pytest
from archived_runs import COMMIT, PAPERS, write_run

from feature_alignment.integrity import read_sealed
from feature_alignment.run import certify
from feature_alignment.run.archive import Archive
from feature_alignment.run.certify import Made, compare, outdated, summary, worth
from feature_alignment.tables import read_meta

NAMES = [("lejeune2024", "students", 0), ("lejeune2024", "students", 1), ("joint", "mlp", 0)]
NOW = "2" * 40


@pytest.fixture
def before():
    return {name: Made("old", {"n": 1}, {"numpy": "2"}, (str(name), "npz")) for name in NAMES}


@pytest.fixture
def after(before):
    return {name: replace(made, code="new") for name, made in before.items()}


def test_the_same_bytes_are_the_same(before, after):
    found = compare(before, after)
    assert [row["same"] for row in found["runs"]] == [True] * 3
    assert {(row["code_before"], row["code_after"]) for row in found["runs"]} == {("old", "new")}
    assert summary(found) == "3 of 3 runs have the same bytes"


@pytest.mark.parametrize("written", [("another", "npz"), (str(NAMES[1]), "another")])
def test_another_table_or_array_is_seen(before, after, written):
    after[NAMES[1]] = replace(after[NAMES[1]], written=written)
    found = compare(before, after)
    assert [row["run"] for row in found["runs"] if not row["same"]] == ["students"]
    assert summary(found) == ("2 of 3 runs have the same bytes; other bytes: lejeune2024/students")


def test_what_cannot_be_compared_is_evidence_of_nothing(before, after):
    after[NAMES[0]] = replace(after[NAMES[0]], settings={"n": 2})
    del after[NAMES[1]]
    after["new", "run", 0] = after[NAMES[2]]
    found = compare(before, after)
    assert [row["paper"] for row in found["runs"]] == ["joint"]
    assert summary(found) == "1 of 1 runs have the same bytes; 3 could not be compared"


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Two runs of older code and one of the present code, which has a commit."""
    state = {"commit": NOW, "tag": None, "dirty": False}
    monkeypatch.setattr(certify, "git_state", lambda: state)
    folder = tmp_path / "laptop"
    for seed, changes in enumerate(({"code_hash": "a" * 16}, {"code_hash": "b" * 16}, {})):
        write_run(folder / "runs", "lejeune2024", "students", seed, "laptop", **changes)
    return Archive(folder)


def code_here(archive):
    return read_meta(archive.path("lejeune2024", "students", 2))["code_hash"]


def test_runs_of_other_code_are_named_by_commit(archive):
    assert [meta["seed"] for meta in outdated(archive)] == [0, 1]
    assert worth(archive) == [
        "1 of 3 archived runs are valid for the present code.",
        f"Of the code of {COMMIT[:12]} alone: lejeune2024/students.",
    ]


def test_a_certificate_is_kept_and_counts(archive, before, capsys, monkeypatch):
    made = {
        COMMIT: {name: replace(one, code="a" * 16) for name, one in before.items()},
        NOW: {name: replace(one, code=code_here(archive)) for name, one in before.items()},
    }
    monkeypatch.setattr(certify, "made_by", lambda commit, runs, cores: made[commit])
    certify.main(["--archive", str(archive.folder)])
    told = capsys.readouterr().out
    assert "3 of 3 runs have the same bytes" in told
    assert "2 of 3 archived runs are valid for the present code" in told
    [path] = (archive.folder / "certificates").iterdir()
    kept = read_sealed(path)
    assert (kept["before"], kept["after"], kept["scale"]) == (COMMIT, NOW, "smoke")
    assert {"processor", "platform", "python", "packages"} <= set(kept)
    assert [meta["seed"] for meta in outdated(Archive(archive.folder))] == [1]


def test_nothing_is_run_when_all_is_valid(archive, capsys, monkeypatch):
    for seed in (0, 1):
        write_run(archive.folder / "runs", "lejeune2024", "students", seed, "laptop")
    monkeypatch.setattr(certify, "made_by", None)
    certify.main(["--archive", str(archive.folder)])
    assert "All archived runs are of the present code" in capsys.readouterr().out


def test_code_that_is_gone_is_other_code(archive):
    gone = "feature_alignment.papers.lejeune2024.no_longer"
    write_run(archive.folder / "runs", "lejeune2024", "students", 2, "laptop", module=gone)
    assert len(outdated(Archive(archive.folder))) == 3


def test_the_present_code_must_have_a_commit(archive, monkeypatch):
    monkeypatch.setattr(certify, "git_state", lambda: {"commit": NOW, "dirty": True})
    with pytest.raises(ValueError, match="expected the present code to be that of a commit"):
        certify.main(["--archive", str(archive.folder)])


def test_a_commit_that_is_not_there_is_said():
    with pytest.raises(ValueError, match="cannot be checked out"):
        certify.made_by("0" * 40, None, 1)


def test_the_runs_of_the_made_up_archive_exist():
    assert "students" in PAPERS["lejeune2024"].runs_at("laptop")
