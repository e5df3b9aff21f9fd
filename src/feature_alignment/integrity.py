"""What one job hands to another is what was written: seals in JSON files, checksums next to others.

A JSON mapping carries a checksum of its own contents, its seal. The provenance next to a table, its
arrays or a ledger carries the checksums of those files.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feature_alignment.storage import read_json, sha256

_REMEDY = (
    "Delete it and run snakemake again, which makes it anew; a published file is restored by "
    "git checkout"
)


def sealed(value: Mapping) -> dict:
    """Return a JSON-ready mapping with a checksum of its contents, the ``seal``, added."""
    return {**value, "seal": _seal(value)}


def read_sealed(path: Path | str) -> Any:
    """Read a JSON file, and check its contents against the seal, if it has one.

    Returns:
        The contents without the seal.

    Raises:
        ValueError: If the file is not JSON, or its contents are not those that were sealed.
        FileNotFoundError: If there is no such file.
    """
    try:
        value = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error}. {_REMEDY}") from error
    if not isinstance(value, dict) or "seal" not in value:
        return value
    expected, found = value.pop("seal"), _seal(value)
    if found != expected:
        raise ValueError(
            f"{path} was changed after it was written: expected contents of sha256 {expected}, "
            f"found {found}. {_REMEDY}"
        )
    return value


def _seal(value: Mapping) -> str:
    text = json.dumps(json.loads(json.dumps(value)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def meta_path(path: Path | str) -> Path:
    """Return the path of the provenance next to a table, its arrays or a ledger."""
    return Path(path).with_suffix(".meta.json")


def verify(path: Path | str) -> None:
    """Check a file against the checksum in the provenance next to it.

    Provenance without a checksum of the file, from before they were kept, vouches for nothing,
    and so does provenance that is not there.

    Raises:
        ValueError: If the file or its provenance was changed or cut short since it was written.
    """
    path = Path(path)
    if not (path.is_file() and meta_path(path).is_file()):
        return
    meta = read_sealed(meta_path(path))
    expected = meta.get("checksums", {}).get(path.suffix[1:]) if isinstance(meta, dict) else None
    if expected is not None and (found := sha256(path)) != expected:
        raise ValueError(
            f"{path} was changed or cut short after it was written: expected sha256 {expected}, "
            f"found {found}. Delete it and run snakemake again, whose rule {_rule(path, meta)} "
            "makes it anew; a published file is restored by git checkout"
        )


def _rule(path: Path, meta: Mapping) -> str:
    """Return the name of the workflow's rule that writes a file with such provenance."""
    if path.suffix == ".json":
        return "judge_claims"
    if "run" in meta.get("spec", {}):
        return "compute_run"
    if path.suffix == ".npz":
        return "keep_arrays"
    return f"collect_{path.parent.name}_{path.stem.split('_')[0]}"


def checksum_of(path: Path | str) -> str | None:
    """Return the checksum that the provenance next to a file has of it, if it has one."""
    meta = read_sealed(meta_path(path))
    return meta.get("checksums", {}).get(Path(path).suffix[1:])


def read_verified(path: Path | str) -> Any:
    """Read a JSON file without a seal, such as a ledger, checked as :func:`verify` does.

    Raises:
        ValueError: If the file is not JSON, or was changed since it was written.
        FileNotFoundError: If there is no such file.
    """
    verify(path)
    return read_json(path)
