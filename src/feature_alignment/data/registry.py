"""The datasets by name: what each holds, which official files it is made of, their checksums."""

import csv
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

BUNDLED = ("digits", "photo_patches")
LOCAL = "local"
"""The source of a dataset of one's own: class folders, which nobody publishes a checksum of."""
SOURCES = ("MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "SVHN", "STL10", "GTSRB")
"""The classes of torchvision that read the official files of published datasets."""
FACTS = ("source", "classes", "shape", "train", "test", "licence", "citation")
"""The columns in which all rows of a dataset agree."""
COLUMNS = (
    "name",
    "source",
    "classes",
    "shape",
    "train",
    "test",
    "edition",
    "file",
    "sha256",
    "bytes",
    "url",
    "licence",
    "citation",
)
_NUMBER = "[1-9][0-9]{0,14}"
_SIDE = "[1-9][0-9]{0,4}"
_FORMS = {
    "name": ("[A-Za-z0-9][A-Za-z0-9_-]*", "letters, digits, _ and -"),
    "source": ("|".join(SOURCES), f"{', '.join(SOURCES)} or {LOCAL}"),
    "classes": (_NUMBER, "a number"),
    "shape": (f"[13]x{_SIDE}x{_SIDE}", "1x<height>x<width> (grey) or 3x<height>x<width> (colour)"),
    "train": (_NUMBER, "the number of training images"),
    "test": (_NUMBER, "the number of test images"),
    "edition": (".+", "the name of an edition"),
    "file": (r"[^/\\:]+(/[^/\\:]+)*", "a path below the data folder, with /"),
    "sha256": ("[0-9a-f]{64}", "64 hexadecimal digits"),
    "bytes": (_NUMBER, "the file's size"),
    "url": (r"(https?://\S+)?", "an http address or nothing"),
}
_LOCAL_FORMS = {
    "name": _FORMS["name"],
    "classes": _FORMS["classes"],
    **{
        column: (f"({_FORMS[column][0]})?", f"{_FORMS[column][1]}, or nothing")
        for column in ("shape", "train", "test")
    },
    **{
        column: ("", "nothing in the row of a local dataset")
        for column in ("edition", "file", "sha256", "bytes", "url")
    },
}


@dataclass(frozen=True)
class RawFile:
    """One file of a dataset: its path in torchvision's layout, sha256, size and address."""

    path: str
    sha256: str
    bytes: int
    url: str


@dataclass(frozen=True)
class Dataset:
    """A dataset, what it holds, and the *editions* of its raw files, each enough to prepare it.

    Editions are, say, the compressed files as published and the same files unpacked. A dataset of
    one's own, whose source is :data:`LOCAL`, has none.

    ``shape`` is that of a prepared image, (channels, height, width), with one channel for grey
    and three for colour; ``train`` and ``test`` are the numbers of images. A local dataset may
    leave each of them ``None``: what is found is then what is declared.
    """

    name: str
    source: str
    classes: int
    shape: tuple[int, int, int] | None
    train: int | None
    test: int | None
    licence: str
    citation: str
    editions: Mapping[str, tuple[RawFile, ...]]

    @property
    def download(self) -> tuple[RawFile, ...]:
        """The files of the edition that can be downloaded."""
        return next(files for files in self.editions.values() if all(file.url for file in files))

    @property
    def counts(self) -> dict[str, int | None]:
        """The declared numbers of images by split."""
        return {"train": self.train, "test": self.test}


def read_registry(path: Path | str) -> dict[str, Dataset]:
    """Read ``data/datasets.csv``.

    Returns:
        Datasets by name.

    Raises:
        ValueError: If the file is not such a table, a cell is not what its column holds, rows of
            one dataset contradict each other, or a published dataset has no edition that can be
            downloaded; names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: expected the table of datasets, found no regular file there")
    by_dataset: dict[str, list[dict]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval=None)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError(f"{path}: expected the columns {COLUMNS}, got {reader.fieldnames}")
            for row in reader:
                _check_row(row, f"{path}, line {reader.line_num}")
                by_dataset[row["name"]].append(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a table of datasets (CSV, UTF-8): {error}") from error
    if not by_dataset:
        raise ValueError(f"{path}: expected at least one dataset, got the header alone")
    return {name: _dataset(name, rows, path) for name, rows in by_dataset.items()}


def _check_row(row: dict, where: str) -> None:
    if "" in row or None in row.values():
        cells = sum(value is not None for key, value in row.items() if key) + len(row.get("", []))
        raise ValueError(f"{where}: malformed row: expected {len(COLUMNS)} cells, got {cells}")
    for column, (form, expected) in (_LOCAL_FORMS if row["source"] == LOCAL else _FORMS).items():
        if not re.fullmatch(form, row[column]):
            raise ValueError(
                f"{where}: {row['name'][:80]}: malformed row: expected {expected} as {column} of "
                f"{(row['file'] or row['name'])[:80]}, got {row[column][:80]!r}"
            )
    for column in COLUMNS:
        if re.search("[\0-\x1f\x7f]", row[column]):
            raise ValueError(
                f"{where}: {row['name']}: malformed row: expected no control characters in the "
                f"column {column!r}"
            )
    if row["name"] in BUNDLED:
        raise ValueError(f"{where}: {row['name']} is the name of a bundled stand-in; take another")
    if ".." in PurePosixPath(row["file"]).parts:
        raise ValueError(f"{where}: {row['name']}: expected a path without .., got {row['file']!r}")


def _dataset(name: str, rows: list[dict], path: Path) -> Dataset:
    first = rows[0]
    if first["source"] == LOCAL and len(rows) > 1:
        raise ValueError(f"{path}: {name}: expected one row of a local dataset, got {len(rows)}")
    for column in FACTS:
        if len(different := {row[column] for row in rows}) > 1:
            raise ValueError(
                f"{path}: {name}: expected the same {column} in all rows, got {sorted(different)}"
            )
    editions: dict[str, list[RawFile]] = defaultdict(list)
    for row in [] if first["source"] == LOCAL else rows:
        file = RawFile(row["file"], row["sha256"], int(row["bytes"]), row["url"])
        if file.path in {other.path for files in editions.values() for other in files}:
            raise ValueError(f"{path}: {name}: {file.path} is listed twice")
        editions[row["edition"]].append(file)
    for edition, files in editions.items():
        unpacked = [file.path.removesuffix(".gz") for file in files]
        if twice := {name for name in unpacked if unpacked.count(name) > 1}:
            raise ValueError(
                f"{path}: {name}: edition {edition} has {min(twice)} twice, packed and unpacked; "
                "expected editions that are each one whole"
            )
    if editions and not any(all(file.url for file in files) for files in editions.values()):
        raise ValueError(f"{path}: {name}: no edition has a url for each of its files")
    shape = tuple(map(int, first["shape"].split("x"))) if first["shape"] else None
    counts = (int(first[split]) if first[split] else None for split in ("train", "test"))
    return Dataset(
        name,
        first["source"],
        int(first["classes"]),
        shape,
        *counts,
        first["licence"],
        first["citation"],
        {edition: tuple(files) for edition, files in editions.items()},
    )
