"""Archived runs: taken instead of trained, certified over a change of code, made by campaigns."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from repository import Repository

from feature_alignment.integrity import meta_path
from feature_alignment.run.archive import Archive
from feature_alignment.tables import read_meta

pytestmark = pytest.mark.workflow

PAPER = "beaglehole2024"
TABLE = f"results/smoke/tables/{PAPER}/b5_initial_scale.csv"
FIGURE = f"figures/smoke/{PAPER}/b5_initial_scale.pdf"
TABLES = (TABLE, f"results/smoke/tables/{PAPER}/b1_nfa_emergence.csv")
REUSE = ("--config", "scale=smoke", "reuse=reference")
ARCHIVED = ("--config", "scale=smoke", "seeds=archived")
WHOLE = ("all", *REUSE)
COMMIT = "git add --all && git -c user.name=t -c user.email=t@example.org commit --quiet -m change"


def committed(path):
    """Return a copy of the repository with a history of one commit."""
    repository = Repository.copy(path)
    outcome = repository.shell(f"git init --quiet && {COMMIT}")
    assert outcome.status == 0, outcome.text
    return repository


@pytest.fixture(scope="module")
def archived(made_once, tmp_path_factory):
    """A clean clone in whose archive every run at smoke is; only read."""
    repository = committed(tmp_path_factory.mktemp("archived") / "clone")
    shutil.copytree(made_once.path / "results/smoke/runs", repository.path / "results/smoke/runs")
    outcome = repository.snakemake("archive", "--config", "scale=smoke")
    assert outcome.status == 0, outcome.text
    count = len(made_once.files("results/smoke/runs/*/*/*.csv"))
    assert f"{count} new, 0 renewed, 0 known, 0 not archived" in outcome.text
    shutil.rmtree(repository.path / "results")
    return repository


@pytest.fixture
def clone(archived, tmp_path):
    return archived.twin(tmp_path / "clone")


def computing(jobs):
    return {name: n for name, n in jobs.items() if name.startswith(("compute", "prepare"))}


def test_everything_is_taken_and_nothing_trained(archived):
    jobs = archived.planned(*WHOLE)
    assert computing(jobs) == {}
    taken = [name for name in jobs if name.startswith("reuse_")]
    assert len(taken) == jobs["write_spec"]
    assert archived.planned("all", "--config", "scale=smoke").keys().isdisjoint(taken)


def test_what_is_made_of_taken_runs_has_the_same_bytes(clone, made_once):
    outcome = clone.snakemake(*TABLES, FIGURE, *REUSE)
    assert outcome.status == 0, outcome.text
    made = [*TABLES, FIGURE, *clone.files("results/smoke/runs/*/*/*.csv")]
    for path in made:
        assert (clone.path / path).read_bytes() == (made_once.path / path).read_bytes(), path
    assert clone.planned(*TABLES, FIGURE, *REUSE) == {}


def test_one_setting_changed_trains_that_run_alone(clone):
    clone.edit("papers/beaglehole2024/paper.yaml", "value: 0.05}", "value: 0.06}")
    outcome = clone.snakemake("--dry-run", *WHOLE)
    computed = re.findall(
        r"^rule (compute_run\w*):.*?wildcards: ([^\n]*)", outcome.text, re.M | re.S
    )
    [(rule, wildcards)] = dict.fromkeys(computed)
    assert rule == "compute_run_0_1"
    assert wildcards == "paper=beaglehole2024, run=mlp_cifar10"
    other = "Not taken, made with other settings: beaglehole2024/mlp_cifar10, seed 0; "
    assert other in outcome.text


def test_other_code_is_not_taken(clone):
    path = "src/feature_alignment/tangents/preactivations.py"
    clone.edit(path, "covariances[names[-1]] *= chain.readout.T @ chain.readout", "pass")
    outcome = clone.snakemake("--dry-run", *WHOLE)
    assert computing(clone.planned(*WHOLE))["compute_run_0_1"] == 14
    assert "Not taken, made by other code: " in outcome.text
    assert computing(clone.planned(*WHOLE, "reuse_despite=[code]")) == {}


def test_a_figure_is_made_of_the_seeds_there_are_and_says_so(clone):
    archive = Archive(clone.path / "reference/smoke")
    meta_path(archive.path(PAPER, "initial_scale", 1)).unlink()
    outcome = clone.snakemake(TABLE, FIGURE, *ARCHIVED)
    assert outcome.status == 0, outcome.text
    assert read_meta(clone.path / TABLE)["notes"] == ["incomplete: 2 seeds planned"]
    assert read_meta(clone.path / TABLE)["seeds"] == [1]
    meta_path(archive.path(PAPER, "initial_scale", 0)).unlink()
    outcome = clone.snakemake("--dry-run", "all", *ARCHIVED)
    assert outcome.status == 0, outcome.text
    assert "Left out, since some run has no archived seed: beaglehole2024/b5_" in outcome.text
    assert "compute_run" not in outcome.text


PENALTIES_RUN = "results/smoke/runs/lejeune2024/penalties/0.csv"
PENALTIES = "src/feature_alignment/measures/penalties.py"
CERTIFY = "python -m feature_alignment.run.certify --archive reference/smoke --runs"


def test_a_refactoring_is_certified_and_other_numbers_are_not(clone):
    first = "lejeune2024/penalties"
    source = clone.path / PENALTIES
    text = source.read_text()
    source.write_text(text + "\n\ndef _added() -> float:\n    return 1.0\n")
    assert clone.shell(COMMIT).status == 0
    assert "made by other code" in clone.snakemake("--dry-run", *WHOLE).text
    outcome = clone.shell(f"{CERTIFY} {first}")
    assert outcome.status == 0, outcome.text
    assert "1 of 1 runs have the same bytes" in outcome.text
    assert computing(clone.planned(PENALTIES_RUN, *REUSE)) == {}

    clone.edit(PENALTIES, "return (_at_least(z, 1) - 1) ** 2", "return (_at_least(z, 1) - 1) ** 3")
    assert clone.shell(COMMIT).status == 0
    outcome = clone.shell(f"{CERTIFY} {first}")
    assert outcome.status == 0, outcome.text
    assert f"0 of 1 runs have the same bytes; other bytes: {first}" in outcome.text
    assert "Of the code of" in outcome.text
    assert computing(clone.planned(PENALTIES_RUN, *REUSE)) == {"compute_run": 1}


def test_a_campaign_killed_five_times_loses_no_finished_run(made_once, tmp_path):
    clone = committed(tmp_path / "clone")
    shutil.copytree(made_once.path / "data/prepared", clone.path / "data/prepared")
    archive = Archive(clone.path / "reference/smoke")
    command = [sys.executable, "-m", "feature_alignment.run.campaign", "--scale", "smoke"]
    command += ["--hours", "9"]  # it is killed before
    kept = {}
    for _ in range(5):
        with subprocess.Popen(
            command,
            cwd=clone.path,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(clone.path / "src")},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            wait_for_another(archive, len(kept), process)
            process.send_signal(signal.SIGKILL)
            told = process.stderr.read()
        assert process.returncode == -signal.SIGKILL, told
        now = clone.files("reference/smoke/runs/*/*/*.csv")
        assert kept.items() <= now.items()
        assert len(now) > len(kept), told
        kept = now
    for path, content in kept.items():
        made = path.replace("reference/smoke", "results/smoke")
        assert content == (made_once.path / made).read_bytes()
        meta = json.loads(meta_path(clone.path / path).read_text())
        assert meta["git"]["commit"]


def wait_for_another(archive, count, process):
    """Wait until more than ``count`` runs are archived, or the campaign ends by itself."""
    while process.poll() is None:
        if len(list(archive.folder.glob("runs/*/*/*.meta.json"))) > count:
            return
        time.sleep(0.05)
