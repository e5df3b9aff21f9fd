"""What a command line asks Snakemake for, and what to say of a target that nothing makes.

Imported while the workflow is parsed, so it must stay light (no numpy, no torch).
"""

import difflib
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from feature_alignment.run.spec import SCALES

SCALED = ("figures", "results", "reference")
"""Folders whose files lie in a folder of their scale."""
NEAR = 4
"""How many near names are told."""
LIKENESS = 0.6
"""How alike names must be to be told, from 0 to 1."""


def asked_for(arguments: Sequence[str]) -> list[str]:
    """Return what a command line names of rules and files: targets, and what to force or leave out.

    Args:
        arguments: Those of ``snakemake``, which has accepted them.
    """
    from snakemake.cli import get_argument_parser

    given = get_argument_parser().parse_args(list(arguments))
    named = (given.forcerun, given.until, given.omit_from, given.prioritize)  # without an order
    return [*map(str, given.targets), *(name for part in named for name in sorted(part or ()))]


def of_snakemake(argv: Sequence[str]) -> list[str]:
    """Return the arguments of a program that is Snakemake; none of another that embeds it."""
    program = Path(argv[0])
    is_module = (program.parent.name, program.name) == ("snakemake", "__main__.py")
    return list(argv[1:]) if is_module or program.stem == "snakemake" else []


def explained(
    target: str, made: Callable[[str], bool], known: Iterable[str], scale: str
) -> str | None:
    """Say what is wrong with a target that nothing makes; nothing if something does.

    Args:
        target: The name of a rule or file.
        made: Whether something makes a target of this name.
        known: Names of rules and files that there are, at this scale.
        scale: The scale of the run.

    Returns:
        Words that name what is near, and the scale to set where the target is of another.
    """
    path = target if Path(target).is_absolute() else os.path.relpath(target)  # as Snakemake does
    if made(target) or made(path) or Path(target).exists():
        return None
    other = _scale_of(path)
    if other is None or other == scale:
        return f"nothing makes {target!r}; {_near(path, known)}"
    here = _at(path, scale)
    there = f"it is of scale {other}, and this run is of scale {scale}"
    told = f"nothing makes {target!r}: {there}; add --config scale={other}"
    if made(here):
        return told
    names = [_at(name, other) for name in known if _scale_of(name) == scale]
    return f"{told}; {_near(path, names)}"


def _near(name: str, known: Iterable[str]) -> str:
    known = list(dict.fromkeys(known))
    found = difflib.get_close_matches(name, known, n=NEAR, cutoff=LIKENESS)
    if found:
        return f"near it: {', '.join(found)}"
    return "snakemake --list-target-rules tells what there is"


def _scale_of(path: str) -> str | None:
    """Return the scale in whose folder a file lies, if it does."""
    parts = PurePosixPath(path).parts
    return parts[1] if len(parts) > 2 and parts[0] in SCALED and parts[1] in SCALES else None


def _at(path: str, scale: str) -> str:
    """Return the same file at another scale."""
    first, _, *rest = PurePosixPath(path).parts
    return str(PurePosixPath(first, scale, *rest))


def problems(
    targets: Iterable[str], made: Callable[[str], bool], known: Collection[str], scale: str
) -> list[str]:
    """Return what :func:`explained` says of each target that nothing makes."""
    told = (explained(target, made, known, scale) for target in dict.fromkeys(targets))
    return [words for words in told if words]
