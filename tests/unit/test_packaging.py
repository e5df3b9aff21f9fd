import re
import tomllib
from importlib import metadata

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from conftest import ROOT

CONDA_NAMES = {
    "matplotlib": "matplotlib-base",
    "seaborn": "seaborn-base",
    "snakemake": "snakemake-minimal",
    "torch": "pytorch",
}


def requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    waiting, found = [*project["dependencies"], *extras["test"]], []
    while waiting:
        requirement = Requirement(waiting.pop(0))
        if requirement.name == project["name"]:
            waiting += [line for extra in requirement.extras for line in extras[extra]]
        else:
            found.append(requirement)
    return found, project


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))


def test_the_conda_environment_has_the_same_packages_and_ranges():
    ours, project = requirements()
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    *environment, without_conda = environment  # packages that only PyPI has come last
    lines = [*environment, *without_conda["pip"]]
    found = dict(re.fullmatch(r"([a-z0-9-]+)(.*)", line).groups() for line in lines)
    assert found.pop("python") == project["requires-python"]
    assert found.pop("pip") == ""
    expected = {CONDA_NAMES.get(r.name, r.name): set(str(r.specifier).split(",")) for r in ours}
    assert {name: set(limits.split(",")) for name, limits in found.items()} == expected


def test_the_constraints_pin_every_requirement_inside_its_range():
    pinned = constraints()
    for requirement in requirements()[0]:
        assert Version(pinned[requirement.name]) in requirement.specifier, requirement.name


def test_every_file_of_the_package_that_is_not_python_is_installed_with_it():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    source = ROOT / "src"
    installed = {
        path
        for package, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for path in source.joinpath(*package.split(".")).glob(pattern)
    }
    package = source / "feature_alignment"
    files = {path for path in package.rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert files
    assert files == installed


def test_torch_and_torchvision_are_a_pair():
    needed = [Requirement(line) for line in metadata.requires("torchvision")]
    [torch] = [requirement for requirement in needed if requirement.name == "torch"]
    assert Version(metadata.version("torch")) in torch.specifier


def test_the_citation_is_of_this_version_and_of_the_papers_that_are_here():
    project = requirements()[1]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert project["description"].startswith(citation["title"])
    readme = (ROOT / "README.md").read_text()
    for reference in citation["references"]:
        [identifier] = reference["identifiers"]
        assert identifier["value"].removeprefix("arXiv:") in readme
