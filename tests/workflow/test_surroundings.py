"""The workflow started from other folders, environments and users' spellings."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from repository import SMOKE, Repository

from conftest import ROOT
from feature_alignment.run.spec import read_yaml

pytestmark = pytest.mark.workflow

RUN = "smoke/runs/beaglehole2024/mlp_mnist/0.csv"
SPEC = "smoke/specs/beaglehole2024/mlp_mnist.json"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy in which nothing is made, with what is published."""
    copied = Repository.copy(tmp_path_factory.mktemp("copy") / "a clone")
    shutil.copytree(ROOT / "reference", copied.path / "reference", dirs_exist_ok=True)
    return copied


@pytest.fixture(scope="module")
def everything(copy):
    """What is planned in the repository itself."""
    return copy.planned(*SMOKE)


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "my work"
    folder.mkdir()
    return folder


def test_the_same_is_planned_in_another_working_directory(copy, everything, elsewhere):
    assert copy.planned("--directory", str(elsewhere), *SMOKE) == everything
    assert sorted(path.name for path in elsewhere.iterdir()) == [".snakemake"]


def test_the_same_is_planned_for_a_configuration_file_elsewhere(copy, everything, elsewhere):
    """Through a symbolic link to the repository, started elsewhere, in a plain locale."""
    (elsewhere / "clone").symlink_to(copy.path)
    (elsewhere / "own.yaml").write_text("scale: smoke\nresults: ./out/\n")
    options = ["all", "--configfile", "own.yaml"]
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Nowhere/There"}
    assert Repository(elsewhere / "clone").planned(*options, at=elsewhere, **locale) == everything


def test_published_tables_are_redrawn_from_elsewhere(copy, elsewhere):
    jobs = copy.planned("figures", "--config", "results=reference", at=elsewhere)
    assert set(jobs) == {name for name in jobs if name.startswith("plot_")} | {"figures"}
    given = f"results={copy.path}/reference/"
    assert copy.planned("figures", "--config", given, at=elsewhere) == jobs


@pytest.mark.parametrize(
    "written, found",
    [
        ("./out//", "out"),
        ("~/My Drive", "{home}/My Drive"),
        ("{home}/linked", "{home}/linked"),
        ("../up", "../up"),
    ],
)
def test_results_lie_where_their_folder_is_written(written, found, copy, elsewhere):
    home = elsewhere.parent
    (home / "linked").symlink_to(elsewhere)
    target = f"{found.format(home=home)}/{SPEC}"
    config = ["scale=smoke", f"results={written.format(home=home)}"]
    made = copy.snakemake(target, "--config", *config, at=elsewhere, HOME=str(home))
    assert made.status == 0, made.text
    assert (elsewhere / target).is_file()
    assert not (elsewhere / "~").exists()


def test_a_home_that_is_not_known_is_an_error(copy):
    for key in ("results", "data_dir"):
        outcome = copy.snakemake("-n", "--config", "scale=smoke", f"{key}=~nobody_here/out")
        assert outcome.status != 0
        assert "~nobody_here/out: ~ means no folder here; write the whole path" in outcome.text


@pytest.fixture(scope="module")
def trained(copy, tmp_path_factory):
    """A folder with one training, made with no environment active and no git repository."""
    folder = tmp_path_factory.mktemp("trained")
    programs = folder / "bin"  # what a bare shell finds under our interpreter's name
    programs.mkdir()
    (programs / "python").write_text("#!/bin/sh\necho the wrong python >&2\nexit 1\n")
    (programs / "python").chmod(0o755)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *SMOKE[1:], "--snakefile"]
    command += [str(copy.path / "Snakefile"), "--", f"results/{RUN}"]
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout + done.stderr


def test_rules_use_the_interpreter_that_runs_the_workflow(trained):
    folder, _ = trained
    assert (folder / "results" / RUN).is_file()
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == [
        "bin",
        "data",
        "results",
    ]


def test_a_run_without_a_commit_says_so(trained):
    folder, text = trained
    note = "the source is not part of a git repository"
    assert f"recorded without the commit of its code: {note}" in text
    meta = json.loads((folder / "results" / RUN.replace(".csv", ".meta.json")).read_text())
    assert meta["git"] == {"commit": None, "tag": None, "dirty": None, "note": note}


def test_data_prepared_again_trains_nothing_anew_and_other_data_do(copy, trained):
    folder, _ = trained
    target = [f"results/{RUN}", *SMOKE[1:]]
    prepared = folder / "data" / "prepared"
    before = {path.name: path.read_bytes() for path in prepared.iterdir()}
    assert len(before["digits.safetensors"]) > 1024**2 > len(before["digits.json"])

    shutil.rmtree(prepared)
    assert copy.planned(*target, at=folder) == {}  # results were restored, their data not yet

    made = copy.snakemake("data/prepared/digits.json", *SMOKE[1:], at=folder)
    assert made.status == 0, made.text
    assert {path.name: path.read_bytes() for path in prepared.iterdir()} == before
    assert copy.planned(*target, at=folder) == {}

    manifest = json.loads(before["digits.json"])
    (prepared / "digits.json").write_text(json.dumps(manifest | {"sha256": "0" * 64}))
    assert copy.planned(*target, at=folder) == {"compute_run_0_1": 1}


@pytest.fixture
def read_only(copy, tmp_path):
    """A checkout that its user may only read, and what a command must begin with to obey that."""
    shared = copy.twin(tmp_path / "shared").path
    for path in [shared, *shared.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield shared
    for path in [shared, *(p for p in shared.rglob("*") if p.is_dir())]:
        path.chmod(0o755)


def as_others(*arguments, at):
    """Run Snakemake as a user whom the modes of files bind, which they do not bind root."""
    binding = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    command = [*(binding if os.geteuid() == 0 else []), sys.executable, "-m", "snakemake"]
    command += ["--cores", "1", *arguments]
    done = subprocess.run(command, cwd=at, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_shared_checkout_that_may_only_be_read(read_only, elsewhere):
    status, text = as_others("-n", *SMOKE, at=read_only)
    assert status != 0
    assert "expected a working directory to write to, got" in text
    assert "name one with --directory" in text

    status, text = as_others(
        f"results/{SPEC}", *SMOKE[1:], "--directory", str(elsewhere), at=read_only
    )
    assert status == 0, text
    assert (elsewhere / "results" / SPEC).is_file()

    status, text = as_others("-n", "publish", "--directory", str(elsewhere), at=read_only)
    assert status != 0
    assert "read-only; publish from a clone" in text


def test_the_profile_of_gpus_reaches_every_rule_that_has_a_device():
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    with_device = {text.split(":")[0] for text in rules.split("\nrule ") if "device=" in text}
    profile = read_yaml(ROOT / "profiles" / "gpu" / "profile.yaml")
    assert {
        name for name, own in profile["set-resources"].items() if "device" in own
    } == with_device
