"""Whether a large result fits into memory, asked before it is computed.

Without asking, the system ends the process when memory is gone, and says nothing.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch

SMALL = 2**26
"""Bytes that are never refused, so that asking costs nothing where it says nothing."""

MEMORY = Path("/proc/meminfo")
GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def expect_room(shape: tuple[int, ...], like: torch.Tensor, what: str, lower: str) -> None:
    """Check that a tensor of this shape fits into the memory of a device.

    Args:
        shape: The tensor's shape.
        like: A tensor of the same type on the same device.
        what: What the tensor is, for the error.
        lower: What to lower, for the error.

    Raises:
        MemoryError: If it needs more than there is: says how much of both, and what to lower.
    """
    needed = prod(shape) * like.element_size()
    there = available(like.device) if needed > SMALL else None
    if there is not None and needed > there:
        raise MemoryError(
            f"{what} of shape {tuple(shape)} needs {_gib(needed)} of memory on {like.device}, but "
            f"{_gib(there)} are available; lower {lower}, or run where there is more memory"
        )


def kernels_size(examples: int, outputs: int, layers: int, dtype: torch.dtype) -> int:
    """Return how many bytes the kernels (n, C, n, C) of so many layers take."""
    return layers * (examples * outputs) ** 2 * dtype.itemsize


def available(device: torch.device) -> int | None:
    """Return how many bytes are available on a device; ``None`` where the system does not say.

    On the CPU that is memory and swap not in use, or what the limits of the process's control
    groups (of containers and batch systems) leave, whichever is less.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu" or not MEMORY.is_file():
        return None
    lines = (line.split() for line in MEMORY.read_text().splitlines())
    system = {words[0]: 1024 * int(words[1]) for words in lines}
    return min([system["MemAvailable:"] + system.get("SwapFree:", 0), *_left_by_groups()])


def _left_by_groups() -> Iterator[int]:
    """Yield what each limit on the process's control group, or one above it, leaves."""
    try:
        own = OWN_GROUP.read_text().splitlines()
    except OSError:
        return
    for line in own:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            root, names = GROUPS, ("memory.max", "anon")
        elif controllers == "memory":
            root, names = GROUPS / "memory", ("memory.limit_in_bytes", "total_rss")
        else:
            continue
        folder = root / group.lstrip("/")
        for part in (folder, *folder.parents):
            if part.is_relative_to(root):
                yield from _left(part, *names)


def _left(folder: Path, limit: str, used: str) -> Iterator[int]:
    try:
        allowed = int((folder / limit).read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        yield max(0, allowed - int(dict(line.split() for line in lines)[used]))
    except (OSError, ValueError, KeyError):  # no limit here, or none that this process may see
        return


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
