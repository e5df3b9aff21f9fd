"""What made a result: a hash of the code behind it, and the conditions of the run.

Standard library only, since the workflow calls :func:`code_hash` while it is parsed.
"""

import ast
import contextlib
import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGE = "feature_alignment"
SOURCE_ROOT = Path(__file__).resolve().parent.parent
RECORDED_PACKAGES = ("numpy", "scipy", "pandas", "torch", "torchvision", "safetensors", "snakemake")


def code_hash(*modules: str) -> str:
    """Hash the code that modules run: their own and that of the package modules they import.

    Docstrings and comments are left out, so that only an edit which can change a result changes
    the hash. Imports are followed wherever they stand, inside functions too, and a module brings
    the packages above it along.

    Args:
        *modules: Dotted names inside the package, such as ``feature_alignment.data.prepare``, or of
            modules in the working directory. Of any other module only the name counts.

    Returns:
        Sixteen hexadecimal digits.

    Raises:
        ValueError: If the package has no such module.
    """
    digest = hashlib.sha256()
    for name in sorted(set().union(*map(import_closure, modules))):
        source = _read(name).executable if _path_of(name) else ""
        digest.update(name.encode() + b"\0" + source.encode() + b"\0")
    return digest.hexdigest()[:16]


@functools.cache
def import_closure(module: str) -> frozenset[str]:
    """Return the package modules that ``module`` imports, directly or not, and itself.

    Raises:
        ValueError: If the package has no such module.
    """
    if _path_of(module) is None and module.split(".")[0] == PACKAGE:
        raise ValueError(f"no module {module!r} under {SOURCE_ROOT}; check the name's spelling")
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_imports(name))
    return frozenset(found)


def existing(*modules: str) -> list[str]:
    """Return those modules, by dotted name, that there are."""
    return [module for module in modules if _path_of(module) is not None]


@functools.cache
def _path_of(module: str) -> Path | None:
    root = SOURCE_ROOT if module.split(".")[0] == PACKAGE else Path()
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _imports(module: str) -> frozenset[str]:
    if _path_of(module) is None:
        return frozenset()
    names = set()
    for level, base, imported in _read(module).imports:
        base = _absolute_base(module, level, base)
        names.update(f"{base}.{name}".lstrip(".") for name in imported)
        names.add(base)
    parents = {name.rpartition(".")[0] for name in names} | {module.rpartition(".")[0]}
    ours = {name for name in names | parents if name.split(".")[0] == PACKAGE}
    return frozenset(name for name in ours if _path_of(name) is not None)


def _absolute_base(module: str, level: int, base: str) -> str:
    if not level:
        return base
    parts = module.split(".")
    if _path_of(module).name == "__init__.py":
        parts.append("__init__")
    return ".".join(parts[:-level] + ([base] if base else []))


@dataclass(frozen=True)
class _Source:
    """What counts of a module: its text without documentation, and what it imports.

    Of each import statement: how many packages up, the module that names come from, the names.
    """

    imports: Sequence[tuple[int, str, Sequence[str]]]
    executable: str


@functools.cache
def _read(module: str) -> _Source:
    """Return what counts of a module, kept next to its bytecode since parsing takes long."""
    path = _path_of(module)
    content = path.read_bytes()
    key = hashlib.sha256(_own_code() + content).hexdigest()
    kept = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.code.json"
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        found_key, checksum, source = json.loads(kept.read_bytes())
        if (found_key, checksum) == (key, _checksum(source)):
            return _Source(*source)
    source = _parsed(content)
    if not sys.dont_write_bytecode:
        _keep(kept, [key, _checksum(source), source])
    return _Source(*source)


def _parsed(content: bytes) -> list:
    tree = ast.parse(content)
    statements = list(_statements(tree))
    imports: list[list] = []
    for node in statements:
        if isinstance(node, ast.Import):
            imports.append([0, "", [alias.name for alias in node.names]])
        elif isinstance(node, ast.ImportFrom):
            imports.append([node.level, node.module or "", [alias.name for alias in node.names]])
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in statements:
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return [imports, ast.unparse(tree)]


@functools.cache
def _own_code() -> bytes:
    return Path(__file__).read_bytes()


def _checksum(source: object) -> str:
    return hashlib.sha256(json.dumps(source).encode()).hexdigest()


def _keep(path: Path, content: object) -> None:
    """Write a file whole or not at all; where none can be written, the next process parses too."""
    temporary = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        try:
            temporary.write_text(json.dumps(content))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and the statements inside it, but no expressions, of which there are most."""
    yield node
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        for inner in getattr(node, field, None) or ():
            yield from _statements(inner)


STARTED = time.monotonic()
"""When this process began its work."""


def describe(
    modules: Sequence[str],
    spec: Mapping,
    datasets: Iterable[Mapping] = (),
    *,
    started: float = STARTED,
    **conditions: object,
) -> dict:
    """Describe how a result came about, for the ``.meta.json`` next to it.

    Args:
        modules: The module that made the result, and others that it depends on by name.
        spec: The resolved spec, or whatever identifies the result's settings.
        datasets: Manifests of the datasets that were read.
        started: When the work on the result began, by :func:`time.monotonic`.
        **conditions: Further facts, such as ``device`` and ``threads``.

    Returns:
        A JSON-ready mapping with the spec, code hash, git commit, package versions, dataset
        checksums, wall time in seconds since the work began (not counting what a resumed run did
        before) and peak memory of this process so far in MiB, which Windows does not tell.
    """
    return {
        "module": modules[0],
        "code_hash": code_hash(*modules),
        "git": git_state(),
        "spec": dict(spec),
        "datasets": {
            manifest["name"]: {key: manifest[key] for key in ("origin", "note", "sha256", "files")}
            for manifest in datasets
        },
        "packages": _versions(RECORDED_PACKAGES),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "wall_time_s": round(time.monotonic() - started, 3),
        "peak_memory_mib": _peak_memory(),
        **conditions,
    }


def _peak_memory() -> float | None:
    try:
        import resource
    except ModuleNotFoundError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 if sys.platform != "darwin" else 1024**2), 1)


def processor() -> str:
    """Return the model of this machine's processor and the widest vectors that it has.

    Both decide how sums are rounded.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    facts = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    flags = facts.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "")
    return " ".join(filter(None, (facts.get("model name", platform.machine()), widest)))


def _versions(names: Iterable[str]) -> dict[str, str]:
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def git_state() -> dict:
    """Return the commit of the source tree, its tag, and whether the package has changes since.

    The tag is ``None`` where the commit has none. What git does not tell is ``None`` too, and then
    ``note`` says why: git is not installed, the source is not part of a repository (an unpacked
    archive, say, in a folder of another one), belongs to another user, or the repository is broken.
    """
    state = {"commit": None, "tag": None, "dirty": None}
    try:
        _git("ls-files", "--error-unmatch", "--", f"{PACKAGE}/{Path(__file__).name}")
        state["commit"] = _git("rev-parse", "HEAD")
        state["dirty"] = bool(_git("status", "--porcelain", "--", PACKAGE))
    except (OSError, subprocess.CalledProcessError) as error:
        return {**state, "note": _why_untold(error)}
    with contextlib.suppress(subprocess.CalledProcessError):
        state["tag"] = _git("describe", "--tags", "--exact-match")
    return state


def _git(*arguments: str) -> str:
    # A hook of git names its own repository in the environment; English, for what we look for
    others = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
    environment = {key: value for key, value in os.environ.items() if key not in others}
    return subprocess.run(
        ["git", "-C", str(SOURCE_ROOT), *arguments],
        capture_output=True,
        check=True,
        encoding="utf-8",
        errors="replace",
        env=environment | {"LC_ALL": "C", "LANGUAGE": ""},
    ).stdout.strip()


def _why_untold(error: OSError | subprocess.CalledProcessError) -> str:
    """Say in words, which name no folder of the machine, why git told nothing of the source."""
    if isinstance(error, OSError):
        return "git is not installed, or cannot be run"
    if "dubious ownership" in error.stderr:
        return (
            "the repository belongs to another user, so git does not read it; allow it with"
            " git config --global --add safe.directory FOLDER"
        )
    if "not a git repository" in error.stderr or "did not match any file" in error.stderr:
        return "the source is not part of a git repository"
    lines = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
    told = lines[0].replace(str(SOURCE_ROOT.parent), "the repository")
    return f"git {error.cmd[3]}: {told}"
