"""Where a dataset's raw files come from, and proof that they are the right ones.

Nothing here parses a raw file: a file that is returned has been checked against its checksum.
"""

import hashlib
import logging
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests

from feature_alignment.data.registry import LOCAL, Dataset, RawFile
from feature_alignment.storage import sha256

CLASS_FOLDERS = "class folders"
RETRIES = 2
TIMEOUT_S = 30

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
        raise DatasetUnavailableError(
            f"the data folder {given} does not exist; correct FEATURE_ALIGNMENT_DATA or the "
            "config's data_dir, or unset it to download"
        )
    folders = [folder for folder in (given, raw) if folder is not None]
    for folder in folders:
        located = find(dataset, folder)
        if located is not None:
            log.info("%s: using the %s edition in %s", dataset.name, located.edition, folder)
            return located
    if dataset.source == LOCAL:
        looked_in = ", ".join(map(str, folders))
        raise DatasetUnavailableError(
            f"cannot find the local dataset {dataset.name} (looked in {looked_in}); expected "
            f"{dataset.name}.zip or a folder {dataset.name}, with train/<class>/*.png and "
            "test/<class>/*.png in it; set FEATURE_ALIGNMENT_DATA, or data_dir in the config, to "
            "the folder that holds it"
        )
    return _download(dataset, folders, raw, mirror)


def find(dataset: Dataset, folder: Path) -> Located | None:
    """Return the dataset's checked files in ``folder``, or ``None`` if it holds no whole edition.

    Raises:
        ValueError: If an edition is there but a file of it has the wrong checksum, or if there
            is more than one archive of class folders to choose from.
    """
    found = None
    for edition, files in dataset.editions.items():
        missing = [file.path for file in files if not (folder / file.path).is_file()]
        if 0 < len(missing) < len(files):
            listed = ", ".join(missing)
            log.warning(
                "%s: %s edition incomplete in %s: no %s", dataset.name, edition, folder, listed
            )
        if not missing:
            wrong = [message for file in files if (message := _mismatch(folder, file))]
            if wrong:
                raise ValueError(
                    "; ".join(wrong)
                    + ". The file is damaged or not the official one: delete it and fetch it again"
                )
            identities = tuple(
                {"file": file.path, "sha256": file.sha256, "bytes": file.bytes} for file in files
            )
            found = found or Located(folder, edition, identities)
    return found or _find_class_folders(dataset, folder)


def _mismatch(folder: Path, file: RawFile) -> str | None:
    path = folder / file.path
    found = sha256(path)
    if found == file.sha256:
        return None
    return (
        f"wrong checksum of {path}: expected sha256 {file.sha256} ({file.bytes} bytes), "
        f"found {found} ({path.stat().st_size} bytes)"
    )


def _find_class_folders(dataset: Dataset, folder: Path) -> Located | None:
    # The name must end where the dataset's does: cifar100.zip is no archive of cifar10.
    pattern = re.compile(rf"{re.escape(dataset.name)}([^0-9A-Za-z].*)?\.zip")
    archives = sorted(path for path in folder.glob("*.zip") if pattern.fullmatch(path.name))
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
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    checksum = hashlib.sha256()
    for path in files:
        checksum.update(f"{path.relative_to(folder).as_posix()}\0{sha256(path)}\n".encode())
    return {"sha256": checksum.hexdigest(), "bytes": sum(path.stat().st_size for path in files)}


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
    dataset: Dataset, file: RawFile, url: str, folders: Iterable[Path], error: Exception
) -> str:
    looked_in = ", ".join(str(folder) for folder in folders)
    return (
        f"cannot get {file.path} of {dataset.name} (looked in {looked_in}; download failed: "
        f"{error}). Three ways out: (1) download {url} by hand to {list(folders)[-1] / file.path}; "
        "(2) set FEATURE_ALIGNMENT_DATA, or data_dir in the config, to a folder that holds "
        "the dataset; (3) run with --config scale=smoke, which needs no download"
    )
