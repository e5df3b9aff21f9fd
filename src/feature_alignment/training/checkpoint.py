"""Checkpoints of a training run, in one safetensors file that is whole, verified or absent."""

import hashlib
import itertools
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from feature_alignment.storage import remove_orphans, replacing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpointing:
    """Where to save the state of a run, whose state it is, and how often.

    ``fingerprint`` identifies spec, code and data: a checkpoint with another one is ignored.
    """

    path: Path
    fingerprint: str
    interval_s: float

    def part(self, name: object) -> "Checkpointing":
        """Return where one of several trainings of a run saves its state."""
        path = self.path.with_suffix(f".{name}{self.path.suffix}")
        return Checkpointing(path, f"{self.fingerprint}/{name}", self.interval_s)


def save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    fingerprint: str,
    progress: Mapping,
    observed: Sequence[Mapping] = (),
) -> None:
    """Save everything that the rest of the run depends on.

    Args:
        path: The checkpoint file.
        model: Its parameters and buffers are saved.
        optimizer: Its state is saved.
        fingerprint: Identifies spec, code and data; only a run with the same one may resume.
        progress: JSON-ready position and measurements.
        observed: The state of each observer: tensors and JSON-ready values by name.

    Raises:
        OSError: If the file cannot be written; the checkpoint before it stays.
    """
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    state = optimizer.state_dict()
    optimizer_plain = _part_with_tensors("optimizer/", state["state"], tensors)
    observer_plain = _part_with_tensors("observer/", dict(enumerate(observed)), tensors)
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    contents = {
        "fingerprint": fingerprint,
        "progress": progress,
        "optimizer": {"param_groups": state["param_groups"], "plain": optimizer_plain},
        "observers": observer_plain,
    }
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(contents)
    metadata = {"contents": text, "checksum": _checksum(text, contiguous)}
    with replacing(path) as temporary:
        save_file(contiguous, temporary, metadata=metadata)


def load(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, fingerprint: str
) -> tuple[dict, list[dict]] | None:
    """Restore model, optimizer and global random state; return what was saved with them.

    Nothing is restored that was not verified: a file that is damaged, or no checkpoint at all, is
    set aside as ``<name>.damaged``, and a log line says so. What killed writers left is removed.

    Args:
        path: The checkpoint file.
        model: Restored in place.
        optimizer: Restored in place.
        fingerprint: Of the run that wants to resume.

    Returns:
        The progress and the observers' states, tensors on the CPU, or ``None`` if there is no
        checkpoint, it is damaged, or it belongs to another spec, code or dataset; in the latter
        cases a log line says so.

    Raises:
        OSError: If the file cannot be read or renamed.
    """
    remove_orphans(path)
    if not os.path.lexists(path):
        return None
    try:
        contents, tensors = _verified(path)
    except _DamagedError as error:
        log.warning("%s is damaged (%s): set aside as %s", path, error, _set_aside(path))
        return None
    if contents["fingerprint"] != fingerprint:
        log.info("ignoring %s: it belongs to another spec, code or dataset", path)
        return None
    model.load_state_dict(_under("model/", tensors))
    state = _rejoined("optimizer/", contents["optimizer"]["plain"], tensors)
    groups = contents["optimizer"]["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    _lay_out_like_parameters(optimizer)
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])
    observed = _rejoined("observer/", contents["observers"], tensors)
    return contents["progress"], [observed[index] for index in sorted(observed)]


class _DamagedError(Exception):
    """A checkpoint is not what was saved."""


def _verified(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """Read a checkpoint: its JSON part and its tensors.

    Raises:
        _DamagedError: If it is not exactly what was saved.
    """
    if not path.is_file():
        raise _DamagedError("it is not a regular file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, UnicodeDecodeError, RuntimeError, TypeError, ValueError) as error:
        raise _DamagedError(error) from error
    text, expected = metadata.get("contents"), metadata.get("checksum")
    if text is None or expected is None:
        raise _DamagedError("it has no checksum")
    found = _checksum(text, tensors)
    if found != expected:
        raise _DamagedError(f"expected contents of sha256 {expected}, found {found}")
    return json.loads(text), tensors


def _checksum(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """Return a checksum over the JSON part and names, types, shapes and bytes of all tensors."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _set_aside(path: Path) -> Path:
    """Rename a file to ``<name>.damaged``, or ``<name>.damaged2``, … if there is one already."""
    names = (f"{path.name}.damaged{number}" for number in itertools.chain([""], itertools.count(2)))
    free = next(path.with_name(name) for name in names if not os.path.lexists(path.with_name(name)))
    return path.rename(free)


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's state the memory layout of its parameters, say ``channels_last``.

    Fused optimizers go through memory in order and would silently pair different elements.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                like = torch.empty_like(parameter, dtype=value.dtype, device=value.device)
                state[name] = like.detach().copy_(value)


def _part_with_tensors(
    prefix: str, states: Mapping[int, Mapping], tensors: dict[str, torch.Tensor]
) -> dict[str, dict]:
    """Move the tensors of numbered states to ``tensors``; return the rest, ready for JSON."""
    plain: dict[str, dict] = {}
    for index, entries in states.items():
        plain[str(index)] = {}
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{prefix}{index}/{name}"] = value
            else:
                plain[str(index)][name] = value
    return plain


def _rejoined(
    prefix: str, plain: Mapping[str, Mapping], tensors: Mapping[str, torch.Tensor]
) -> dict[int, dict]:
    """Undo :func:`_part_with_tensors`."""
    states = {int(index): dict(entries) for index, entries in plain.items()}
    for key, tensor in _under(prefix, tensors).items():
        index, _, name = key.partition("/")
        states[int(index)][name] = tensor
    return states


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
