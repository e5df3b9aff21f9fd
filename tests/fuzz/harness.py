"""Damage one thing at a time and see how it ends: each attempt in a process and folder of its own.

An attempt may end in a *clear error* (one that the program's users see as a sentence, with the name
of the file or key in it) or in a result *equal* to that of the undamaged files. All else is a
*fault*: a traceback, another result, no end, a file outside the folder.
"""

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from damages import Damage, copied

ENDING = "ending.json"
CLEAR, EQUAL, FAULT = "clear errors", "equal results", "faults"
MEMORY = 12 << 30
LONGEST = 2000
"""Characters that an error may have: more is no sentence."""


@dataclass(frozen=True)
class Area:
    """Files of one kind.

    Attributes:
        lay_out: Writes undamaged files to the working directory, given the shared stage.
        damage: Damages them, in the working directory.
        observe: Returns what the program makes of the files there.
        seconds: How long that may take.
    """

    lay_out: Callable[[Path], None]
    damage: Callable[[Random], Damage]
    observe: Callable[[Damage], object]
    seconds: int = 30


@dataclass(frozen=True)
class Ending:
    """How an attempt ended, with the words for it."""

    kind: str
    case: str
    what: str
    found: str


def attempt(area: Area, case: str, undamaged: str | None, folder: Path) -> Ending:
    """Damage the files in ``folder/work`` and judge how reading them ends.

    Without a result to compare with, nothing is damaged, and ``found`` is the result.
    """
    os.chdir(folder / "work")
    plain = undamaged is None
    damage = Damage("nothing", ()) if plain else area.damage(Random(case))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    said = io.StringIO()
    lasting = Ending(FAULT, case, damage.what, f"killed, or no end within {area.seconds} s")
    write(folder, lasting)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            result = area.observe(damage)
    except SystemExit as stop:
        kind, found = (CLEAR, said.getvalue()) if stop.code else (FAULT, "ended without a result")
    except (ValueError, OSError, ArithmeticError) as error:  # as in command.run
        kind, found = CLEAR, str(error)
    except BaseException:
        kind, found = FAULT, traceback.format_exc()
    else:
        if plain:
            return Ending(EQUAL, case, damage.what, json.dumps(told(result)))
        same = told(result).items() <= json.loads(undamaged).items()
        kind, found = (EQUAL, "") if same else (FAULT, "another result")
        if damage.refused:
            kind, found = FAULT, "accepted"
    if kind == CLEAR and "Traceback" in found:
        kind = FAULT
    elif kind == CLEAR and not any(name and name in found for name in damage.names):
        kind, found = FAULT, f"names none of {damage.names}: {found}"
    elif kind == CLEAR and len(found) > LONGEST:
        kind, found = FAULT, f"{len(found)} characters: {found[:200]}"
    strange = sorted({path.name for path in folder.iterdir()} - {"work", ENDING})
    if strange:
        kind, found = FAULT, f"wrote {', '.join(strange)} outside"
    return Ending(kind, case, damage.what, found)


def told(result: object) -> dict[str, str]:
    """Return results by name as words to compare."""
    parts = result if isinstance(result, dict) else {"result": result}
    return {name: repr(part) for name, part in parts.items()}


def start(area: Area, case: str, undamaged: str | None, source: Path, folder: Path) -> int:
    """Start an attempt in a process of its own and return its number."""
    folder.mkdir(parents=True)
    copied(source, folder / "work")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads only wait for work
        process = os.fork()
    if process:
        return process
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(area.seconds)
    status = 1
    with contextlib.suppress(BaseException):
        write(folder, attempt(area, case, undamaged, folder))
        status = 0
    os._exit(status)


def write(folder: Path, ending: Ending) -> None:
    """Write down how an attempt ended, for the process that started it."""
    (folder / ENDING).write_text(json.dumps(vars(ending)))


def ending_of(folder: Path) -> Ending:
    """Return how the attempt in a folder ended."""
    return Ending(**json.loads((folder / ENDING).read_text()))


class Grounds:
    """Undamaged files of areas, with what programs make of them; areas may have the same ones."""

    def __init__(self, stage: Path, folder: Path):
        self.stage, self.folder = stage, folder
        self._known: dict[tuple, tuple[Path, str]] = {}

    def of(self, area: Area) -> tuple[Path, str]:
        """Return the folder of an area's files, and the results."""
        key = (area.lay_out, area.observe)
        if key not in self._known:
            files = self.folder / f"files{len(self._known)}"
            files.mkdir(parents=True)
            os.chdir(files)
            area.lay_out(self.stage)
            plain = files.with_name(f"plain{len(self._known)}")
            os.waitpid(start(area, "undamaged", None, files, plain), 0)
            ending = ending_of(plain)
            if ending.kind != EQUAL:
                raise RuntimeError(f"the undamaged files are not read: {ending.found}")
            self._known[key] = (files, ending.found)
        return self._known[key]


def endings(area: Area, cases: list[str], grounds: Grounds, jobs: int) -> Iterator[Ending]:
    """Yield how each case of an area ends, several at a time."""
    files, expected = grounds.of(area)
    waiting, running = list(cases), {}
    while waiting or running:
        if waiting and len(running) < jobs:
            case = waiting.pop(0)
            own = grounds.folder / case.replace("/", ".")
            running[start(area, case, expected, files, own)] = own
            continue
        own = running.pop(os.wait()[0])
        yield ending_of(own)
        shutil.rmtree(own)


def tell(fault: Ending) -> None:
    """Print a fault: what repeats it, what was done, how it ended."""
    words = fault.found.strip().splitlines() or [""]
    line = words[-1] if "Traceback" in fault.found else words[0]
    print(f"{fault.case}: {fault.what[:160]}\n    {line[:240]}", flush=True)


def table(found: dict[str, list[Ending]]) -> str:
    """Return how many attempts ended in which way, by area."""
    row = "{:<16}{:>8}{:>15}{:>16}{:>9}"
    lines = [row.format("area", "tried", CLEAR, EQUAL, FAULT)]
    everything = [ending for part in found.values() for ending in part]
    for name, part in [*found.items(), ("all", everything)]:
        counts = [sum(ending.kind == kind for ending in part) for kind in (CLEAR, EQUAL, FAULT)]
        lines.append(row.format(name, len(part), *counts))
    return "\n".join(lines)
