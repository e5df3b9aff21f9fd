"""What a configuration may say, and where results may go."""

import math
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from feature_alignment.run import configuration
from feature_alignment.schema import read_schema

SCHEMA = read_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
USUAL = {"scale": "smoke", "seeds": None, "first_seed": 0, "together": None}
USUAL |= {"data_dir": None, "reuse": None, "reuse_despite": [], "results": "results"}


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Check the usual configuration with changes, in a repository of folders alone."""
    root = tmp_path / "clone"
    for folder in (*configuration.SOURCES, "reference/laptop", ".git"):
        (root / folder).mkdir(parents=True)
    (root / "Snakefile").write_text("")
    monkeypatch.chdir(root)
    return lambda environment=(), **changes: configuration.check(
        USUAL | changes, SCHEMA, root, dict(environment)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": 1},
        {"seeds": 10000},
        {"seeds": "archived"},
        {"reuse": "reference", "reuse_despite": ["code", "torch"]},
        {"first_seed": 100},
        {"together": 100},
        {"results": "results/mine"},
        {"results": "out"},
        {"results": "../my results"},
        {"results": "/dev/shm/mine"},
        {"results": "reference"},
        {"results": "./reference/"},
        {"data_dir": "data"},
        {"data_dir": ".."},
    ],
    ids=str,
)
def test_what_makes_sense_passes(check, change):
    check(**change)


SEEDS = [0, -1, 10001, 2**70, True, 1.0, "3", "archive", [3], math.nan, math.inf]


@pytest.mark.parametrize("seeds", SEEDS)
def test_the_number_of_seeds_is_bounded(check, seeds):
    with pytest.raises(ValueError, match="configuration is not valid:\n  seeds: "):
        check(seeds=seeds)


@pytest.mark.parametrize("count", [0, 101, "2", 1.5])
def test_the_number_of_seeds_that_share_a_process_is_bounded(check, count):
    with pytest.raises(ValueError, match="configuration is not valid:\n  together: "):
        check(together=count)


RESULTS = {
    "src": "in src, which belongs to the repository",
    "data": "in data, which",
    "data/prepared": "in data, which",
    "papers/new": "in papers, which",
    "workflow": "in workflow, which",
    "figures": "in figures, which",
    "reference/laptop": "in reference, which",
    "reference/mine": "in reference, which",
    ".git/x": "in .git, which",
    ".": "which holds more than results",
    "..": "which holds more than results",
    "/": "which holds more than results",
    "results/../src": "in src, which",
    "/proc": "which belongs to the system",
    "/proc/self": "which belongs to the system",
    "/dev/shm/../null": "which belongs to the system",
    "results/reference": "where what is redrawn from published tables goes",
    "results/{run}": "with '{', which has a meaning of its own in rules",
    "<results>/x": "with '<', which",
    "a\nb": r"with '\\n', which",
    "results ": "with a blank at an end",
    "Snakefile": "Snakefile is a file",
    "Snakefile/x": "Snakefile is a file",
}


@pytest.mark.parametrize("results", RESULTS)
def test_results_go_where_nothing_else_is(check, results):
    with pytest.raises(ValueError, match=RESULTS[results]) as error:
        check(results=results)
    assert f"results: expected a folder for results alone, got {results!r}" in str(error.value)
    assert "results/mine" in str(error.value)


def test_a_link_to_a_source_folder_is_one(check):
    Path("elsewhere").symlink_to("src")
    with pytest.raises(ValueError, match="in src, which"):
        check(results="elsewhere/x")


def test_every_folder_of_the_repository_is_known():
    done = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:  # else this is no checkout
        folders = {path.split("/")[0] for path in done.stdout.splitlines() if "/" in path}
    else:
        folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert {name for name in folders if not name.startswith(".")} <= set(configuration.SOURCES)


@pytest.mark.parametrize("wrong", [[1], 3, "", {"a": 1}])
def test_the_folder_of_raw_data_is_one_name(check, wrong):
    with pytest.raises(ValueError, match="configuration is not valid:\n  data_dir: "):
        check(data_dir=wrong)


@pytest.mark.parametrize("named, there", [("nowhere", "nothing there"), ("Snakefile", "a file")])
def test_the_folder_of_raw_data_is_there(check, named, there):
    said = f"expected a folder of raw data, got '{named}', {there}; make the folder"
    with pytest.raises(ValueError, match=f"configuration: data_dir: {said}"):
        check(data_dir=named)
    with pytest.raises(ValueError, match=f"FEATURE_ALIGNMENT_DATA: {said}"):
        check({"FEATURE_ALIGNMENT_DATA": named})
    check({"FEATURE_ALIGNMENT_DATA": named}, data_dir="data")


def test_a_cluster_groups_rules_that_there_are_and_needs_no_number_of_cores():
    rules = "\n".join(path.read_text() for path in ROOT.glob("workflow/rules/*.smk"))
    groups = set(re.findall(r'group:\s+"(\w+)"', rules))
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())
    assert set(profile["group-components"]) == groups
    cores = re.findall(r"(\S+ \S+) workflow\.cores", rules)
    assert cores  # asked for when a rule is read, where there is no number of cores, it is an error
    assert set(cores) == {"lambda wildcards:"}
