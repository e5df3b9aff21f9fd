"""Imports point one way, so that an instrument can be read, tested and hashed alone."""

import pytest

from feature_alignment.provenance import PACKAGE, SOURCE_ROOT, import_closure

BASE = {"command", "provenance", "randomness", "spec", "storage", "tables"}
INSTRUMENTS = {"data", "measures", "models", "tangents", "training"}
ALLOWED = {
    "experiments": INSTRUMENTS | BASE,
    "plots": {"command", "storage", "tables"},
    "audit": BASE,
    **{name: {"command", "randomness", "storage"} for name in INSTRUMENTS},
    **{name: BASE for name in BASE},
}
MODULES = sorted(
    path.relative_to(SOURCE_ROOT).with_suffix("").as_posix().replace("/", ".")
    for path in (SOURCE_ROOT / PACKAGE).rglob("*.py")
    if path.name != "__init__.py"
)


def part(module):
    return module.split(".")[1]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_part_may(module):
    imported = {part(name) for name in import_closure(module) if "." in name}
    assert imported - {part(module)} <= ALLOWED[part(module)]


@pytest.mark.parametrize("module", [m for m in MODULES if part(m) == "experiments"])
def test_papers_do_not_import_each_other(module):
    folders = {name.split(".")[2] for name in import_closure(module) if name.count(".") == 3}
    papers = {folder for folder in folders if folder[-4:].isdigit()}
    assert len(papers) <= 1


def test_every_init_is_empty():
    full = [p for p in (SOURCE_ROOT / PACKAGE).rglob("__init__.py") if p.read_text().strip()]
    assert full == []
