"""The datasets by name: which official files each is made of, and their checksums."""

import csv
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

BUNDLED = ("digits", "photo_patches")
LOCAL = "local"
"""The source of a dataset of one's own: class folders, which nobody publishes a checksum of."""
COLUMNS = (
    "name",
    "source",
    "classes",
    "edition",
    "file",
    "sha256",
    "bytes",
    "url",
    "licence",
    "citation",
)


@dataclass(frozen=True)
class RawFile:
    """One file of a dataset: its path in torchvision's layout, sha256, size and address."""

    path: str
    sha256: str
    bytes: int
    url: str


@dataclass(frozen=True)
class Dataset:
    """A dataset and the *editions* of its raw files, each of which is enough to prepare it.

    Editions are, say, the compressed files as published and the same files unpacked. A dataset of
    one's own, whose source is :data:`LOCAL`, has none.
    """

    name: str
    source: str
    classes: int
    licence: str
    citation: str
    editions: Mapping[str, tuple[RawFile, ...]]

    @property
    def download(self) -> tuple[RawFile, ...]:
        """The files of the edition that can be downloaded."""
        return next(files for files in self.editions.values() if all(file.url for file in files))


def read_registry(path: Path | str) -> dict[str, Dataset]:
    """Read ``data/datasets.csv``.

    Returns:
        Datasets by name.

    Raises:
        ValueError: If a column is missing, a name is not one word, a file lies outside the folder
            of raw files, a checksum is malformed, or a published dataset has no
            edition that can be downloaded.
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path}: expected the columns {COLUMNS}, got {reader.fieldnames}")
        rows = list(reader)
    by_dataset: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        by_dataset[row["name"]].append(row)
    return {name: _dataset(name, rows, path) for name, rows in by_dataset.items()}


def _dataset(name: str, rows: list[dict], path: Path | str) -> Dataset:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"{path}: expected a name of letters, digits, _ and -, got {name!r}")
    editions: dict[str, list[RawFile]] = defaultdict(list)
    local = rows[0]["source"] == LOCAL
    if local and (len(rows) > 1 or not rows[0]["classes"].isdecimal()):
        raise ValueError(f"{path}: {name}: expected one row of a local dataset, with its classes")
    for row in [] if local else rows:
        if None in row.values() or not (row["bytes"] + row["classes"]).isdecimal():
            raise ValueError(f"{path}: {name}: malformed row {list(row.values())}")
        file = RawFile(row["file"], row["sha256"], int(row["bytes"]), row["url"])
        if PurePath(file.path).is_absolute() or ".." in PurePath(file.path).parts:
            raise ValueError(f"{path}: {name}: expected a file in the raw folder, got {file.path}")
        if not re.fullmatch("[0-9a-f]{64}", file.sha256):
            raise ValueError(
                f"{path}: {name}: expected 64 hexadecimal digits as sha256 of {file.path}, "
                f"got {file.sha256!r}"
            )
        editions[row["edition"]].append(file)
    if not local and not any(all(file.url for file in files) for files in editions.values()):
        raise ValueError(f"{path}: {name}: no edition has a url for each of its files")
    frozen = {edition: tuple(files) for edition, files in editions.items()}
    first = rows[0]
    return Dataset(
        name, first["source"], int(first["classes"]), first["licence"], first["citation"], frozen
    )
