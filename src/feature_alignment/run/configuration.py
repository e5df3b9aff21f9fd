"""The configuration: what its schema cannot say, that its folders are there and may be used.

Imported while the workflow is parsed, so it must stay light (no numpy, no torch).
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from feature_alignment.schema import validate
from feature_alignment.storage import at_home

SOURCES = (
    "benchmarks",
    "config",
    "data",
    "docs",
    "figures",
    "papers",
    "profiles",
    "reference",
    "src",
    "tests",
    "workflow",
)
"""Folders of the repository, which results of a run would mix with."""
PUBLISHED = Path("reference")
"""As ``results``: the published tables are read, and nothing is written next to them."""
REDRAWN = Path("results/reference")
"""Where what is made of published tables goes."""
SYSTEM = ("/proc", "/sys", "/dev", "/boot", "/etc")


def check(config: Mapping, schema: Mapping, root: Path, environment: Mapping = os.environ) -> None:
    """Check a configuration, with errors that say how to fix it.

    Args:
        config: What ``config/config.yaml`` and the command line say.
        schema: Its JSON schema.
        root: The folder of the repository.
        environment: Has ``FEATURE_ALIGNMENT_DATA``, maybe, which stands in for ``data_dir``.

    Raises:
        ValueError: If it does not fit the schema, the folder of raw data is not there, or results
            cannot go where they should.
    """
    validate(config, schema, "configuration")
    named = config["data_dir"] or environment.get("FEATURE_ALIGNMENT_DATA")
    key = "data_dir" if config["data_dir"] else "$FEATURE_ALIGNMENT_DATA"
    if named and not at_home(named).is_dir():
        there = "a file" if at_home(named).exists() else "nothing there"
        raise ValueError(
            f"configuration: {key}: expected a folder of raw data, got {named!r}, {there}; make the"
            " folder, correct its name, or leave it out to download what is missing"
        )
    if problem := _problem(config["results"], root.resolve()):
        raise ValueError(
            f"configuration: results: expected a folder for results alone, got"
            f" {config['results']!r}, {problem}; leave it out, or name another, such as"
            " results/mine, or reference to redraw the published tables"
        )


def _problem(results: str, root: Path) -> str:
    """Say why results cannot go to a folder; nothing if they can."""
    if found := re.search(r"[{}<>*?\x00-\x1f]", results):
        return f"with {found[0]!r}, which has a meaning of its own in rules"
    if results != results.strip():
        return "with a blank at an end"
    folder = at_home(results).resolve()
    if folder in (PUBLISHED.resolve(), root / PUBLISHED):
        return ""
    if folder == REDRAWN.resolve():
        return "where what is redrawn from published tables goes"
    if folder in (Path(folder.anchor), Path.home()) or folder in (root, *root.parents):
        return "which holds more than results"
    memory = folder.is_relative_to("/dev/shm")  # a disk like any other
    if any(folder.is_relative_to(system) for system in SYSTEM) and not memory:
        return "which belongs to the system"
    inside = folder.relative_to(root).parts if folder.is_relative_to(root) else ("",)
    if inside[0] in SOURCES or inside[0].startswith("."):
        return f"in {inside[0]}, which belongs to the repository"
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        return f"but {nearest} is a file"
    if not os.access(nearest, os.W_OK):
        return f"but {nearest} cannot be written to"
    return ""
