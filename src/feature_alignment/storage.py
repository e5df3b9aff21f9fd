"""Files on disk: whole or not at all, and identified by their checksum."""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to ``path`` that takes its place when the block succeeds.

    A reader never sees half a file: not after a kill, not on a full disk. If the block raises,
    the temporary file is removed and ``path`` is left as it was. What killed writers of the same
    file left behind is removed first.

    Args:
        path: The file to write; missing parent folders are made.

    Yields:
        The temporary path to write to.

    Raises:
        OSError: If the folder or the file cannot be written; names ``path``.
    """
    path = Path(path)
    try:
        with scratch_folder(path) as folder:
            temporary = folder / "new"
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    except Exception as error:
        # safetensors reports a full disk by an error of its own, which is not an OSError
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        raise _unwritten(path, error) from error


@contextmanager
def scratch_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty folder next to ``path`` that is gone after the block.

    What killed processes left behind of the same name is removed first.

    Args:
        path: What the folder is for; missing parent folders are made.

    Raises:
        OSError: If the folder cannot be made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_orphans(path)
    folder, lock = _locked_folder(path)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_orphans(path: Path | str) -> None:
    """Remove what killed writers of ``path`` left next to it.

    A writer holds a lock in its folder, which ends with the process, however it ends. On a file
    system without locks nothing is removed.
    """
    path = Path(path)
    name = re.compile(re.escape(f".{path.name}.") + "[a-z0-9_]{8}" + re.escape(_TEMPORARY))
    for folder in path.parent.iterdir() if path.parent.is_dir() else ():
        if not name.fullmatch(folder.name):
            continue
        with suppress(OSError):  # its writer is alive, or done by now
            if not (folder / _LOCK).exists():
                folder.rmdir()  # only if it is empty
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                _hold(lock, wait=False)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


_TEMPORARY, _LOCK = ".tmp", "lock"


def _locked_folder(path: Path) -> tuple[Path, int]:
    """Make a folder next to ``path`` with a lock in it; return it and the lock, to be closed."""
    while True:
        name = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=_TEMPORARY)
        folder = Path(name)
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
        except OSError:
            if not folder.exists():  # another process took it for an orphan before the lock
                continue
            folder.rmdir()
            raise
        with suppress(OSError):
            _hold(lock, wait=True)
        if (folder / _LOCK).exists():
            return folder, lock
        os.close(lock)


def _hold(lock: int, *, wait: bool) -> None:
    """Lock an open file; an :class:`OSError` where another has it, or there are no locks."""
    try:
        import fcntl
    except ModuleNotFoundError as error:
        raise OSError("this system has no locks of files") from error
    fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _unwritten(path: Path, error: Exception) -> OSError:
    """Return the error that ``path`` could not be written, with what to do."""
    told = re.search(r"os error (\d+)", str(error))  # by safetensors
    number = int(told[1]) if told else getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error)
    about = getattr(error, "filename", None)
    if about and path.parent not in Path(str(about)).parents:
        reason += f" ({about})"
    first = "make space" if number in _FULL else "mend that"
    found = OSError(
        f"cannot write {path}: {reason}; {first} and run the same again. {path.name} is as it was"
    )
    found.errno = number
    return found


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


def is_regular(path: Path) -> bool:
    """Return whether there is a file at ``path``, perhaps through a link.

    Raises:
        ValueError: If there is something else, which may never end when it is read: a folder, a
            pipe, a socket, a device, or a link that leads nowhere.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise ValueError(
                f"{path} is a link that leads nowhere (to {path.readlink()}); mend or delete it"
            ) from None
        return False
    if stat.S_ISREG(mode):
        return True
    kinds = {"d": "a folder", "p": "a pipe (FIFO)", "s": "a socket"}
    kind = kinds.get(stat.filemode(mode)[0], "a device")
    raise ValueError(f"{path}: expected a regular file, found {kind}; put the file in its place")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: If the file is not JSON, or is none.
        FileNotFoundError: If there is no such file.
    """
    is_regular(Path(path))
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    is_regular(Path(path))
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
