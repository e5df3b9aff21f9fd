"""Ways to damage a file: its bytes, its tree of keys, its cells, its archived entries.

Each returns a :class:`Damage`, which says what was done and what an error should name.
"""

import csv
import io
import json
import math
import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

LONG = "x" * 200_000
WRONG = (math.nan, math.inf, -math.inf, 2**70, -1, 0.5, True, None, "", [], {}, [[1]], {"a": 1})
STRANGE = ("no such thing", "../../x", "{{ 7 * 7 }}", "{name}", "ä\u202eö", "=1+1", LONG)
Path_ = tuple  # of keys and indices, from the root of a tree to a value


@dataclass(frozen=True)
class Damage:
    """What was done; an error has one of ``names``; ``refused``: only an error will do.

    ``arguments`` are what the damaged program is to be run with, where a command line is damaged.
    """

    what: str
    names: tuple[str, ...]
    refused: bool = False
    arguments: tuple[str, ...] = ()


def damage_bytes(rng: Random, path: Path, *kinds: str) -> Damage:
    """Damage a file without looking at what it holds."""
    kind = rng.choice(kinds or (*CONTENT, *NO_FILE))
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    if kind in NO_FILE:
        path.unlink()
        if kind == "directory":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "loop":
            path.symlink_to(path.name)
    else:
        if kind == "bit":
            content[at] ^= 1 << rng.randrange(8)
        elif kind == "zeros":
            content[at : at + 64] = bytes(len(content[at : at + 64]))
        elif kind == "cut":
            del content[at:]
        elif kind == "append":
            content += rng.choice([b"\0", b"\n", b"1,2\n", content[:at]])
        elif kind == "empty":
            content = bytearray()
        elif kind == "not utf-8":
            content[at:at] = b"\xff\xfe"
        path.write_bytes(content)
    return Damage(f"{path}: {kind} at byte {at}", (path.name,))


CONTENT = ("bit", "zeros", "cut", "append", "empty")
NO_FILE = ("missing", "directory", "fifo", "loop")


def places(tree: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Yield the path and the value of everything in a tree of mappings and lists."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in pairs:
        yield (*path, key), value
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


def damage_tree(
    rng: Random,
    tree: Any,
    wrong: Callable[[Path_, Any], Sequence],
    *,
    keys: Callable[[Path_], bool] = lambda path: True,
    needed: Callable[[Path_], bool] = lambda path: False,
) -> Damage:
    """Damage a tree in place.

    Args:
        rng: Draws the damage.
        tree: Mappings and lists.
        wrong: The values that are not allowed at a path, given the one that is there.
        keys: Whether a key is a word of the format, so that a slip in it is an error.
        needed: Whether what is at a path must not be left out.
    """
    found = [(path, value) for path, value in places(tree)]
    choices = []
    for path, value in found:
        choices += [("set", path, other) for other in wrong(path, value)]
        if isinstance(path[-1], str) and keys(path):
            choices.append(("slip", path, None))
        if needed(path):
            choices.append(("leave out", path, None))
    path = rng.choice(sorted({path for _, path, _ in choices}, key=str))  # not mostly long lists
    kind, _, value = rng.choice([choice for choice in choices if choice[1] == path])
    place = tree
    for key in path[:-1]:
        place = place[key]
    last = path[-1]
    if kind == "set":
        place[last] = value
    elif kind == "leave out":
        del place[last]
    else:
        place[last + "x"] = place.pop(last)
    told = f"{value!r}"[:40] if kind == "set" else ""
    names = [str(key) for key in path if not isinstance(key, int)] + [str(path[-1])]
    return Damage(f"{'.'.join(map(str, path))}: {kind} {told}", tuple(names[-2:]))


def damage_json(rng: Random, path: Path, **options: Any) -> Damage:
    """Damage the tree in a JSON file; see :func:`damage_tree`."""
    tree = {"top": json.loads(path.read_text())}
    done = damage_tree(rng, tree, **options)
    path.write_text(json.dumps(tree.get("top", tree)))
    return Damage(f"{path}: {done.what}", (path.name, *done.names))


def damage_csv(rng: Random, path: Path, *kinds: str) -> Damage:
    """Damage a table of comma-separated values: a column, a row, a cell, or how it is written."""
    kind = rng.choice(kinds or (*TABLE, *CELL))
    [head, *rows] = csv.reader(io.StringIO(path.read_text()))
    row, column = rng.randrange(len(rows)), rng.randrange(len(head))
    delimiter, start = ",", ""
    if kind == "no column":
        head, rows = ([r[:column] + r[column + 1 :] for r in part] for part in ([head], rows))
        [head] = head
    elif kind == "renamed column":
        head[column] += "x"
    elif kind == "column twice":
        head[column] = head[column - 1]
    elif kind == "no rows":
        rows = []
    elif kind == "row twice":
        rows.insert(row, rows[row])
    elif kind == "fewer rows":
        del rows[row]
    elif kind == "short row":
        rows[row] = rows[row][:-1]
    elif kind == "long row":
        rows[row] = rows[row] + ["1"]
    elif kind == "delimiter":
        delimiter = ";"
    elif kind == "mark":
        start = "\ufeff"
    else:
        cells = {"nan": "nan", "inf": "inf", "text": "text", "none": "", "long": LONG, "-1": "-1"}
        numeric = [i for i, cell in enumerate(rows[row]) if re.fullmatch(r"-?[\d.e+-]+", cell)]
        column = rng.choice(numeric) if kind != "long" else column
        rows[row][column] = cells.get(kind, rows[row][column][::-1] + "7")
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([head, *rows])
    path.write_text(start + text.getvalue(), encoding="utf-8")
    told = head[column] if column < len(head) else ""
    return Damage(f"{path}: {kind} at row {row}, {told}", (path.name,))


TABLE = ("no column", "renamed column", "column twice", "no rows", "row twice", "fewer rows")
TABLE += ("short row", "long row", "delimiter", "mark")
CELL = ("nan", "inf", "text", "none", "long", "-1", "other number")


def damage_zip(rng: Random, path: Path, image: Callable[..., bytes]) -> Damage:
    """Damage the entries of an archive of images in class folders.

    Args:
        rng: Draws the damage.
        path: The archive.
        image: Returns a picture of a size and mode that does not belong there.
    """
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    at = rng.randrange(len(entries))
    name, content = entries[at]
    folder, _, stem = name.rpartition("/")
    sizes = [(16, 16, "RGB"), (64, 64, "RGB"), (32, 31, "RGB"), (1, 1, "RGB"), (32, 32, "L")]
    size = rng.choice([*sizes, (32, 32, "RGBA"), (32, 32, "I;16"), (32, 32, "1"), (32, 32, "P")])
    kinds = {
        "wrong image": lambda: [(name, image(*size))],
        "all images wrong": lambda: [],
        "not an image": lambda: [(name, b"no image")],
        "cut image": lambda: [(name, content[: len(content) // 2])],
        "other ending": lambda: [(name.replace(".png", ".bmp"), content)],
        "outside": lambda: [(name, content), (f"../../{folder}/evil.png", content)],
        "absolute": lambda: [(name, content), (f"/tmp/{folder}/evil.png", content)],
        "twice": lambda: [(name, content), (name, image(32, 32, "RGB"))],
        "below two roots": lambda: [(name, content), (f"copy/{folder}/{stem}", content)],
        "strange class": lambda: [(f"{folder}x/{stem}", content)],
        "left out": lambda: [],
        "a word with it": lambda: [(name, content), ("README.txt", b"a word")],
    }
    kind = rng.choice([*kinds, "bytes"])
    if kind == "bytes":
        return damage_bytes(rng, path)
    entries[at : at + 1] = kinds[kind]()
    if kind == "all images wrong":
        entries = [(name, image(*size)) for name, _ in entries]
    path.unlink()
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # of an entry that is there twice
        for entry, data in entries:
            archive.writestr(entry, data)
    told = size if "wrong image" in kind or "images wrong" in kind else ""
    return Damage(f"{path}: {kind} {told} {name}", (path.name, stem))


def copied(source: Path, target: Path) -> None:
    """Copy a folder, links as links."""
    shutil.copytree(source, target, symlinks=True)
