"""Imports point one way, so that an instrument can be read, tested and hashed alone."""

import importlib
import re
import subprocess
import sys

import pytest

from conftest import ROOT
from feature_alignment.provenance import PACKAGE, SOURCE_ROOT, import_closure
from feature_alignment.run.spec import read_yaml

BASE = {
    "command",
    "evidence",
    "integrity",
    "provenance",
    "randomness",
    "schema",
    "storage",
    "sweep",
    "tables",
}
INSTRUMENTS = {"data", "measures", "models", "tangents", "training"}
PROBES = INSTRUMENTS | {"probes"}
ALLOWED = {
    **{name: BASE for name in BASE},
    **{name: INSTRUMENTS | {"command", "integrity", "randomness", "storage"} for name in PROBES},
    "run": INSTRUMENTS | BASE,
    "papers": PROBES | BASE | {"run"},
    "plots": {"command", "evidence", "integrity", "schema", "storage", "tables"},
    "audit": BASE,
    "surface": set(),  # names its modules, and imports them when they are asked for
    "api": PROBES
    | BASE
    | {"audit", "plots", "publish", "run", "surface"},  # what is offered to users is made of all
    "publish": BASE | {"audit", "plots"},  # the forest plot draws the ledger
}
JUDGING = {"audit.criterion", "audit.inference", "audit.judging", "audit.looks"}
"""How values are judged; figures draw that interval, and know nothing of claims or verdicts."""
PARSED = {"run.spec", "run.schema", "data.registry", "models.architectures"}
"""What says which runs there are; audit and pages may know that."""
UNTRAINED = [
    "baratin2021.supernat",
    "beaglehole2024.early_alignment",
    "beaglehole2024.reversing",
    "lejeune2024.penalties",
    "lejeune2024.ridge",
    "lou2022.information",
]
KEYS = sorted(path.name for path in (ROOT / "papers").iterdir() if path.name != "joint")
MODULES = sorted(
    path.relative_to(SOURCE_ROOT / PACKAGE).with_suffix("").as_posix().replace("/", ".")
    for path in (SOURCE_ROOT / PACKAGE).rglob("*.py")
    if path.name != "__init__.py"
)
PLOTS = [name for name in MODULES if re.match(r"(papers\.\w+\.)?plots\.", name)]


def closure(module):
    """What a module of the package imports, directly or not, by name inside the package."""
    names = import_closure(f"{PACKAGE}.{module}") - {PACKAGE}
    return {name.removeprefix(f"{PACKAGE}.") for name in names}


def room(module):
    return module.split(".")[0]


@pytest.mark.parametrize("module", [name for name in MODULES if name not in PLOTS])
def test_a_module_imports_only_what_its_room_may(module):
    imported = closure(module)
    if module == "run.campaign":
        imported -= {"audit", "audit.looks"}  # the numbers of seeds that are worth running
    if room(module) in ("audit", "publish"):
        imported -= PARSED | set(map(room, PARSED))  # packages, whose __init__ is empty
    assert set(map(room, imported)) - {room(module)} <= ALLOWED[room(module)]


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) == "papers"])
def test_no_paper_imports_another(module):
    paper = module.split(".")[1]
    papers = [name for name in closure(module) if name.startswith("papers.")]
    assert {name.split(".")[1] for name in papers} == {paper}
    if module not in PLOTS:
        assert not [name for name in papers if name.startswith(f"papers.{paper}.plots")]


@pytest.mark.parametrize("module", PLOTS)
def test_plots_import_no_experiment(module):
    imported, folder = closure(module), module.rpartition(".")[0]
    parents = {"papers", folder.removesuffix(".plots")}  # packages, whose __init__ is empty
    others = {name for name in imported if not name.startswith(folder)} - parents
    others -= JUDGING | {"audit"}
    assert set(map(room, others)) - {"plots"} <= ALLOWED["plots"]


@pytest.mark.parametrize("experiment", UNTRAINED)
def test_what_trains_nothing_does_not_depend_on_the_training_loop(experiment):
    """An edit of the loop must not compute it again."""
    imported = closure(f"papers.{experiment}") | closure("run.perform")
    assert "training.loop" not in imported
    assert "training.loop" in closure("papers.baratin2021.memorisation")


@pytest.mark.parametrize("paper", KEYS)
def test_tables_depend_on_no_probe_and_on_no_gradient(paper):
    """An edit of an instrument makes again what it measured, and no other table of the paper."""
    rooms = set(map(room, closure(f"papers.{paper}.tables")))
    assert not rooms & {"tangents", "probes", "training", "models"}


PARSING = """
import importlib, sys
from pathlib import Path
for module in sys.argv[2:]:
    importlib.import_module(module)
from feature_alignment.audit.claims import read_claims
from feature_alignment.provenance import code_hash
root = Path(sys.argv[1])
claims = (root / "papers").glob("*/claims.yaml")
assert read_claims(claims, root / "workflow" / "schemas" / "claims.schema.yaml")
code_hash("feature_alignment.papers.beaglehole2024.ansatz", "feature_alignment.run.perform")
print([name for name in ("torch", "numpy", "pandas", "scipy") if name in sys.modules])
"""


def test_parsing_the_workflow_imports_no_science():
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    modules = re.findall(rf"^ *from ({PACKAGE}[.\w]*) import", rules, re.MULTILINE)
    assert f"{PACKAGE}.run.spec" in modules
    program = [sys.executable, "-c", PARSING, str(ROOT), *modules]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_init_is_empty():
    package = SOURCE_ROOT / PACKAGE
    full = [p for p in package.rglob("__init__.py") if p.read_text().strip()]
    assert full == [package / "__init__.py"]  # which offers names, and imports nothing of ours
    assert import_closure(PACKAGE) == {PACKAGE}


CODE = ("src", "workflow", "config", "profiles", "benchmarks", "data", "Snakefile", "Makefile")


def test_a_paper_s_key_stands_in_its_own_rooms_alone():
    named = []
    for path in (path for part in CODE for path in [ROOT / part, *(ROOT / part).rglob("*")]):
        rooms = {*path.relative_to(ROOT).parts} & set(KEYS)
        installed = any(part.endswith(".egg-info") for part in path.parts)
        if path.is_file() and not installed and path.suffix not in (".pyc", ".safetensors"):
            text = path.read_text(errors="ignore")
            named += [f"{path}: {key}" for key in KEYS if key in text and key not in rooms]
    assert named == []


@pytest.mark.parametrize("paper", [*KEYS, "joint"])
def test_every_table_that_code_makes_is_a_figure_s(paper):
    tables = importlib.import_module(f"feature_alignment.papers.{paper}.tables")
    assert set(tables.TABLES) <= set(read_yaml(ROOT / "papers" / paper / "paper.yaml")["figures"])
