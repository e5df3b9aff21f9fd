import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from conftest import ROOT
from feature_alignment.provenance import PACKAGE, SOURCE_ROOT, import_closure

IMPORTED_AS = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "yaml": "pyyaml",
    "markupsafe": "jinja2",  # which needs it
}
STAGES = {"plots": ["plot", "audit", "publish"], "compute": ["data", "compute", "collect"]}
CHOSEN = {  # modules that a command line names, next to those in the rules
    "plots": "papers/*/plots/*.py",
    "compute": "papers/*/*.py",
}
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


def ranges(environment):
    lines = yaml.safe_load((ROOT / environment).read_text())["dependencies"]
    return dict(re.fullmatch(r"([a-z0-9-]+)(.*)", x).groups() for x in lines if isinstance(x, str))


def third_parties(module):
    """What a module imports, directly or not, that is neither ours nor Python's."""
    names = set()
    for name in import_closure(module):
        path = SOURCE_ROOT.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split(".")[0])
    return {IMPORTED_AS.get(n, n) for n in names - set(sys.stdlib_module_names) - {PACKAGE}}


@pytest.mark.parametrize("stage", STAGES)
def test_the_environment_of_a_stage_has_what_its_rules_import(stage):
    text = "".join((ROOT / f"workflow/rules/{name}.smk").read_text() for name in STAGES[stage])
    modules = set(re.findall(r"python -m ([\w.]+)", text))
    paths = (SOURCE_ROOT / PACKAGE).glob(CHOSEN[stage])
    modules |= {".".join(path.relative_to(SOURCE_ROOT).with_suffix("").parts) for path in paths}
    modules.discard(f"{PACKAGE}.run.certify")  # trains, and has the other environment
    assert len(modules) > 10
    there = ranges(f"workflow/envs/{stage}.yml")
    assert set().union(*map(third_parties, modules)) <= set(there)
    assert there.items() <= ranges("environment.yml").items()
    assert ("pytorch" in there) == (stage == "compute")


def test_the_lock_file_has_every_constraint_with_a_checksum():
    text = (ROOT / "requirements.lock").read_text()
    entries = re.findall(
        r"^([\w.-]+)==([^ ]+)[^\n]*\\\n((?:    --hash=sha256:\w{64}.*\n)+)", text, re.M
    )
    locked = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version, _ in entries}
    pinned = {re.sub(r"[-_.]+", "-", name): version for name, version in constraints().items()}
    assert pinned.items() <= locked.items()
    assert len(entries) == len(re.findall(r"^[^ #\n]", text, re.M))


def test_the_named_pythons_are_the_required_ones():
    _, project = requirements()
    named = [c.rpartition(" ")[2] for c in project["classifiers"] if "Python :: 3." in c]
    assert project["requires-python"].startswith(f">={named[0]}.")
    assert named == [f"3.{minor}" for minor in range(11, 15)]


def test_the_instruments_need_nothing_that_only_unix_has():
    program = """
import sys
sys.modules["resource"] = sys.modules["fcntl"] = None  # as on Windows
import torch, feature_alignment as fa
from feature_alignment.provenance import describe
x, y = torch.randn(8, 3), torch.arange(8) % 2
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
probe = fa.Probe(model, x, y)
probe(epoch=0)
assert len(probe.table) and describe(["feature_alignment.storage"], {})["peak_memory_mib"] is None
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


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
    files = {path for path in package.rglob("*.*") if path.suffix != ".py"}
    files = {path for path in files if path.parent.name != "__pycache__"}
    assert files
    assert files == installed


def test_torch_and_torchvision_are_a_pair():
    needed = [Requirement(line) for line in metadata.requires("torchvision")]
    [torch] = [requirement for requirement in needed if requirement.name == "torch"]
    assert Version(metadata.version("torch")) in torch.specifier


def test_the_page_on_the_configuration_tells_every_key():
    keys = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "config/README.md").read_text(), re.M)
    assert told == list(keys)


def test_the_citation_is_of_this_version_and_of_the_papers_that_are_here():
    project = requirements()[1]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert project["description"].startswith(citation["title"])
    index = (ROOT / "docs" / "index.md").read_text()
    for reference in citation["references"]:
        [identifier] = reference["identifiers"]
        assert identifier["value"].removeprefix("arXiv:") in index
