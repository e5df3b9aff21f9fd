"""Files on disk: whole or not at all, and identified by their checksum."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block succeeds.

    A reader never sees half a file: not after a kill, not on a full disk. If the block raises,
    the temporary file is removed and ``path`` is left as it was.

    Args:
        path: The file to write; missing parent folders are made.

    Yields:
        The temporary path to write to.

    Raises:
        OSError: If the folder cannot be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return which permissions the user withholds from new files; to read it is to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path``, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, value: object) -> None:
    """Write ``value`` as indented JSON with sorted keys; NaN and infinities are refused.

    Raises:
        ValueError: If ``value`` holds NaN or an infinity, which JSON has no word for.
    """
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_arrays(path: Path | str, arrays: Mapping[str, object]) -> None:
    """Write NumPy arrays by name as an ``.npz`` file, whole or not at all."""
    import numpy as np  # not where the workflow is parsed

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def at_home(path: Path | str) -> Path:
    """Return a path that a user wrote, with the home folder for ``~``.

    Raises:
        ValueError: If it is not known whose home is meant.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: ~ means no folder here; write the whole path") from error


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: If the file is not JSON.
        FileNotFoundError: If there is no such file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
