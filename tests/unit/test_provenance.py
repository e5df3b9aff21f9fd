import re
import shutil
import subprocess
import sys
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
    known = (provenance._path_of, provenance._imports, provenance._read, provenance.import_closure)
    for cached in known:
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


@pytest.fixture
def kept(package, monkeypatch):
    """What is kept of the module ``part.leaf``, once it has been hashed."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    code_hash("part.leaf")
    [path] = package.glob("part/__pycache__/leaf.*")
    return path


def refuse(*_):
    raise AssertionError("nothing is to be parsed")


def test_what_was_parsed_once_is_read(kept, monkeypatch):
    before = code_hash("top", "part.leaf", "alone")
    monkeypatch.setattr(provenance.ast, "parse", refuse)
    assert code_hash("top", "part.leaf", "alone") == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-9],
        lambda text: "[]",
        lambda text: "[1, 2, 3]",
        lambda text: text.replace("return 1", "return 2"),
    ],
)
def test_what_is_kept_and_damaged_changes_no_hash(kept, damage):
    before, text = code_hash("top"), kept.read_text()
    kept.write_text(damage(text))
    assert kept.read_text() != text
    assert code_hash("top") == before
    assert kept.read_text() == text


def test_where_nothing_can_be_kept_all_is_parsed(kept, package, monkeypatch):
    before = code_hash("top")
    shutil.rmtree(kept.parent)
    kept.parent.write_text("a file where a folder should be")
    assert code_hash("top") == before
    kept.parent.unlink()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert code_hash("top") == before
    assert not kept.parent.exists()


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


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository that tracks a package of our name, from which provenance seems to be read."""
    package = tmp_path / "repository" / "src" / provenance.PACKAGE
    package.mkdir(parents=True)
    (package / "provenance.py").write_text("")
    root = package.parent.parent
    git(tmp_path, "init", "-q", str(root))
    git(root, "add", ".")
    git(root, "commit", "-qm", "First")
    monkeypatch.setattr(provenance, "SOURCE_ROOT", package.parent)
    return root


def test_the_commit_its_tag_and_changes_since_are_told(repository):
    commit = git(repository, "rev-parse", "HEAD")
    assert provenance.git_state() == {"commit": commit, "tag": None, "dirty": False}
    git(repository, "tag", "v1")
    (repository / "src" / provenance.PACKAGE / "provenance.py").write_text("changed")
    assert provenance.git_state() == {"commit": commit, "tag": "v1", "dirty": True}


def test_another_repository_s_hook_is_not_asked(repository, tmp_path, monkeypatch):
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "nowhere"))
    assert provenance.git_state()["commit"]


def owned_by_another(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")


def without_git(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")


def unpacked(repository, monkeypatch):
    shutil.rmtree(repository / ".git")


def unpacked_in_another(repository, monkeypatch):
    shutil.rmtree(repository / ".git")
    git(repository.parent, "init", "-q")
    git(repository.parent, "commit", "-q", "--allow-empty", "-m", "Another project")


def without_a_commit(repository, monkeypatch):
    shutil.rmtree(repository / ".git")
    git(repository, "init", "-q")
    git(repository, "add", ".")


def with_a_broken_index(repository, monkeypatch):
    (repository / ".git" / "index").write_bytes(b"broken")


@pytest.mark.parametrize(
    "make, words",
    [
        (owned_by_another, "belongs to another user, .* --add safe.directory FOLDER"),
        (without_git, "git is not installed"),
        (unpacked, "not part of a git repository"),
        (unpacked_in_another, "not part of a git repository"),
        (without_a_commit, "git rev-parse: fatal: "),
        (with_a_broken_index, "git ls-files: .*index"),
    ],
)
def test_no_commit_is_told_with_the_reason(make, words, repository, monkeypatch):
    make(repository, monkeypatch)
    state = provenance.git_state()
    assert {key: state[key] for key in ("commit", "tag", "dirty")} == {
        "commit": None,
        "tag": None,
        "dirty": None,
    }
    assert re.search(words, state["note"]), state["note"]
    assert str(repository.parent) not in state["note"]


def test_a_package_whose_files_were_left_half_removed_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "broken-1.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert provenance.describe(["feature_alignment.storage"], {})["packages"]["torch"]
