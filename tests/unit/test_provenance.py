import textwrap

import pytest

from feature_alignment import provenance


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of our name with one module that imports another, and one that stands alone."""
    sources = {
        "__init__": "",
        "part/__init__": "",
        "part/leaf": "def leaf():\n    return 1\n",
        "part/middle": "from . import leaf\n",
        "top": "def top():\n    from feature_alignment.part.middle import leaf\n    return leaf\n",
        "alone": '"""Alone."""\nimport json\n\n\ndef alone():\n    """Doc."""\n    return 2\n',
    }
    root = tmp_path / "feature_alignment"
    for name, source in sources.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    monkeypatch.setattr(provenance, "SOURCE_ROOT", tmp_path)
    return root


def forget():
    for cached in (provenance._path_of, provenance._imports, provenance._executable_source):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def afresh():
    yield
    forget()


def code_hash(*modules):
    forget()
    return provenance.code_hash(*(f"feature_alignment.{module}" for module in modules))


def test_closure_follows_relative_imports_and_imports_inside_functions(package):
    code_hash("top")
    assert provenance.import_closure("feature_alignment.top") == {
        "feature_alignment",
        "feature_alignment.top",
        "feature_alignment.part",
        "feature_alignment.part.middle",
        "feature_alignment.part.leaf",
    }


def test_an_edit_changes_the_hash_of_every_module_that_imports_it(package):
    before = {name: code_hash(name) for name in ("top", "part.middle", "part.leaf", "alone")}
    (package / "part/leaf.py").write_text("def leaf():\n    return 10\n")
    changed = {name for name, value in before.items() if code_hash(name) != value}
    assert changed == {"top", "part.middle", "part.leaf"}


def test_docstrings_comments_and_layout_do_not_count(package):
    before = code_hash("alone")
    (package / "alone.py").write_text(
        textwrap.dedent('''
        """Another docstring."""

        import json  # a comment


        def alone():
            """Another."""

            return (2)
        ''')
    )
    assert code_hash("alone") == before
    (package / "alone.py").write_text(
        'import json\n\n\ndef alone():\n    "x" + "y"\n    return 2\n'
    )
    assert code_hash("alone") != before


def test_an_unknown_module_is_an_error(package):
    with pytest.raises(ValueError, match="no module 'feature_alignment.nowhere'"):
        code_hash("nowhere")


def test_the_hash_of_several_modules_changes_with_each(package):
    both = code_hash("alone", "part.leaf")
    assert code_hash("part.leaf", "alone") == both
    assert len({both, code_hash("alone"), code_hash("part.leaf")}) == 3
    (package / "alone.py").write_text("def alone():\n    return 3\n")
    assert code_hash("alone", "part.leaf") != both


def test_modules_that_exist_are_told_from_others(package):
    names = ["feature_alignment.alone", "feature_alignment.part", "feature_alignment.part.nowhere"]
    forget()
    assert provenance.existing(*names) == names[:2]


def test_of_a_module_elsewhere_only_the_name_counts(package):
    hashes = [
        provenance.code_hash("feature_alignment.alone", *others)
        for others in ([], ["torchvision.models"], ["torchvision.ops"])
    ]
    assert len(set(hashes)) == 3


def test_description_names_code_data_and_packages():
    manifest = {"name": "toy", "origin": "here", "note": "", "sha256": "0", "files": [], "x": 1}
    module = "feature_alignment.storage"
    meta = provenance.describe([module, "elsewhere"], {"a": 1}, [manifest], device="cpu")
    assert meta["module"] == module
    assert meta["code_hash"] == provenance.code_hash(module, "elsewhere")
    assert meta["datasets"]["toy"]["sha256"] == "0"
    assert meta["packages"]["torch"]
    assert meta["peak_memory_mib"] > 10
    assert meta["device"] == "cpu"
