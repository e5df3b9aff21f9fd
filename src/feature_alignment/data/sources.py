"""Where a dataset's raw files come from, and proof that they are the right ones.

Nothing here parses a raw file: a file that is returned has been checked against its checksum.
"""

import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pooch
import requests

from feature_alignment.data.registry import LOCAL, Dataset, RawFile
from feature_alignment.storage import is_regular, sha256

CLASS_FOLDERS = "class folders"
RETRIES = 2
TIMEOUT_S = 30
MOST_NAMED = 8
"""How many file names a message lists."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Located:
    """Checked raw files: the folder they lie under, which edition they are, and their identity.

    ``files`` holds one mapping per file with ``file`` (relative to ``root``), ``sha256`` and
    ``bytes``.
    """

    root: Path
    edition: str
    files: tuple[dict, ...]


class DatasetUnavailableError(ValueError):
    """A dataset can be had neither from the given folders nor by download."""


def locate(dataset: Dataset, given: Path | None, raw: Path, mirror: str | None = None) -> Located:
    """Find a dataset's raw files, check them, and download them if they are nowhere.

    The order is: the ``given`` folder, the folder of earlier downloads, a download. In a folder,
    the official files come before an archive of class folders named ``<dataset>*.zip``. A local
    dataset is such an archive, or a folder ``<dataset>`` that holds the class folders.

    Args:
        dataset: The dataset.
        given: Folder named by the user, or ``None``.
        raw: Folder for downloads.
        mirror: Address to download from instead of the official ones, without the file's path.

    Raises:
        ValueError: If a file's checksum is wrong; names the file, the checksum expected and the
            one found.
        DatasetUnavailableError: If the dataset cannot be had; names the file, the folders looked
            in and the ways out.
    """
    if given is not None and not given.is_dir():
        problem = "is not a folder" if given.exists() else "does not exist"
        raise DatasetUnavailableError(
            f"the data folder {given} {problem}; correct FEATURE_ALIGNMENT_DATA or the "
            "config's data_dir, or unset it to download"
        )
    folders = [folder for folder in (given, raw) if folder is not None]
    for folder in folders:
        located = find(dataset, folder)
        if located is not None:
            log.info("%s: using the %s edition in %s", dataset.name, located.edition, folder)
            return located
    if dataset.source == LOCAL:
        raise DatasetUnavailableError(
            f"cannot find the local dataset {dataset.name} ({_what_is_there(dataset, folders)}); "
            f"expected {dataset.name}.zip or a folder {dataset.name}, with train/<class>/*.png and "
            "test/<class>/*.png in it; set FEATURE_ALIGNMENT_DATA, or data_dir in the config, to "
            "the folder that holds it"
        )
    log.info("%s: not found (%s)", dataset.name, _what_is_there(dataset, folders))
    return _download(dataset, folders, raw, mirror)


def find(dataset: Dataset, folder: Path) -> Located | None:
    """Return the dataset's checked files in ``folder``, or ``None`` if it holds no whole edition.

    Of files that are published compressed (``.gz``) some may be unpacked and others not. An
    edition that is there as listed is preferred to such a mixture.

    Raises:
        ValueError: If an edition is there but a file of it has the wrong checksum or size, if
            something else than a regular file stands in a file's place, or if there is more than
            one archive of class folders to choose from.
    """
    files_by_path = {file.path: file for files in dataset.editions.values() for file in files}
    there = {path: file for path, file in files_by_path.items() if is_regular(folder / path)}
    whole, mixed = [], []
    for edition, files in dataset.editions.items():
        missing = [file.path for file in files if file.path not in there]
        chosen = [_same_content(file, there) for file in files]
        if not missing:
            whole.append((edition, files))
        elif all(chosen):
            names = [name for name, files in dataset.editions.items() if set(files) & set(chosen)]
            mixed.append((" and ".join(names), tuple(chosen)))
        if 0 < len(missing) < len(files):
            log.warning(
                "%s: %s edition incomplete in %s: no %s",
                dataset.name,
                edition,
                folder,
                ", ".join(missing),
            )
    usable = whole or mixed[:1]
    wrong = {_mismatch(folder, file) for _, files in usable for file in files} - {None}
    if wrong:
        raise ValueError("; ".join(sorted(wrong)))
    if not usable:
        return _find_class_folders(dataset, folder)
    edition, files = usable[0]
    identities = ({"file": file.path, "sha256": file.sha256, "bytes": file.bytes} for file in files)
    return Located(folder, edition, tuple(identities))


def _same_content(file: RawFile, there: Mapping[str, RawFile]) -> RawFile | None:
    """Return the file that is there with the content of ``file``: itself, packed or unpacked."""
    plain = file.path.removesuffix(".gz")
    return next((there[path] for path in (file.path, plain, f"{plain}.gz") if path in there), None)


def walk(folder: Path) -> Iterator[Path]:
    """Yield all files and folders below ``folder``, in the order of their names.

    Raises:
        ValueError: If something is neither, or is a link to a folder, which is not followed: it
            may lead in a circle.
    """
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.is_symlink():
                raise ValueError(f"{path} is a link to a folder; put the folder itself there")
            yield path
            yield from walk(path)
        elif is_regular(path):
            yield path


def _mismatch(folder: Path, file: RawFile) -> str | None:
    path = folder / file.path
    found, size = sha256(path), path.stat().st_size
    if (found, size) == (file.sha256, file.bytes):
        return None
    if found == file.sha256:
        return (
            f"{path} has the right checksum and {size} bytes, but datasets.csv says {file.bytes}; "
            "correct its column 'bytes'"
        )
    return (
        f"wrong checksum of {path}: expected sha256 {file.sha256} ({file.bytes} bytes), "
        f"found {found} ({size} bytes). The file is damaged or not the official one: delete it and "
        "fetch it again"
    )


def _find_class_folders(dataset: Dataset, folder: Path) -> Located | None:
    if not folder.is_dir():
        return None
    # The name must end where the dataset's does: cifar100.zip is not an archive of cifar10.
    pattern = re.compile(rf"{re.escape(dataset.name)}([^0-9A-Za-z].*)?\.(?i:zip)")
    archives = sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))
    for archive in archives:
        is_regular(archive)
    if dataset.source == LOCAL and (folder / dataset.name).is_dir():
        archives.append(folder / dataset.name)
    if not archives:
        return None
    if len(archives) > 1:
        names = ", ".join(path.name for path in archives)
        raise ValueError(f"{folder} holds several archives of {dataset.name}: {names}; keep one")
    archive = archives[0]
    identity = _identity_of_folder(archive) if archive.is_dir() else _identity_of_file(archive)
    return Located(folder, CLASS_FOLDERS, ({"file": archive.name, **identity},))


def _identity_of_file(path: Path) -> dict:
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def _identity_of_folder(folder: Path) -> dict:
    """Return a checksum over names and contents of all files in a folder, and their size."""
    files = sorted(path for path in walk(folder) if not path.is_dir())
    checksum = hashlib.sha256()
    for path in files:
        line = f"{path.relative_to(folder).as_posix()}\0{sha256(path)}\n"
        checksum.update(os.fsencode(line))  # names need not be UTF-8
    return {"sha256": checksum.hexdigest(), "bytes": sum(path.stat().st_size for path in files)}


def listed(names: Iterable[str]) -> str:
    """Return the names, the first few if there are many."""
    names = list(names)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def near_misses(dataset: Dataset, folder: Path) -> list[str]:
    """Return what lies in ``folder`` and looks like the dataset, but is not all that is needed.

    These are listed files of incomplete editions; files in or above their places whose names
    differ from a listed one in the ending ``.gz`` or in other signs than letters and digits; and
    what begins with the dataset's name.
    """
    known = {file.path for files in dataset.editions.values() for file in files}
    parents = {parent for path in known for parent in PurePosixPath(path).parents}
    names = {_letters(path.rpartition("/")[2]) for path in known}
    begins = re.compile(rf"{_letters(dataset.name)}(?![0-9])")
    return sorted(
        (parent / path.name).as_posix()
        for parent in parents | {PurePosixPath()}
        if (folder / parent).is_dir()
        for path in (folder / parent).iterdir()
        if _letters(path.name) in names or begins.match(_letters(path.name))
        if parent / path.name not in parents
    )


def _letters(name: str) -> str:
    """Return a name's letters and digits, without those of an ending ``.gz``."""
    return re.sub("[^a-z0-9]", "", name.lower().removesuffix(".gz"))


def _what_is_there(dataset: Dataset, folders: Sequence[Path]) -> str:
    """Return where was looked, and what resembles the dataset there."""
    places = []
    for folder in folders:
        found = near_misses(dataset, folder)
        places.append(f"{folder}, where there is {listed(found)}" if found else str(folder))
    return f"looked in {', and in '.join(places)}"


def _download(dataset: Dataset, folders: Sequence[Path], raw: Path, mirror: str | None) -> Located:
    for file in dataset.download:
        url = f"{mirror.rstrip('/')}/{file.path}" if mirror else file.url
        log.info("%s: downloading %s (%.1f MB)", dataset.name, url, file.bytes / 1e6)
        store = pooch.create(
            path=raw,
            base_url="",
            registry={file.path: file.sha256},
            urls={file.path: url},
            retry_if_failed=RETRIES,
        )
        downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT_S)
        try:
            store.fetch(file.path, downloader=downloader)
        except (requests.RequestException, OSError, ValueError) as error:
            raise DatasetUnavailableError(_ways_out(dataset, file, url, folders, error)) from error
    located = find(dataset, raw)
    if located is None:
        raise DatasetUnavailableError(f"the download of {dataset.name} left no files in {raw}")
    return located


def _ways_out(
    dataset: Dataset, file: RawFile, url: str, folders: Sequence[Path], error: Exception
) -> str:
    return (
        f"cannot get {file.path} of {dataset.name} ({_what_is_there(dataset, folders)}; "
        "download failed: "
        f"{error}). Three ways out: (1) download {url} by hand to {folders[-1] / file.path}; "
        "(2) set FEATURE_ALIGNMENT_DATA, or data_dir in the config, to a folder that holds "
        "the dataset; (3) run with --config scale=smoke, which needs no download"
    )
