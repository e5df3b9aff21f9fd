"""Named random generators: every random choice has its own stream."""

import hashlib

import numpy as np
import torch

PURPOSES = ("init", "order", "labels", "subset", "probe", "augmentation", "rounding")


def seed_sequence(run: str, seed: int, purpose: str, *indices: int) -> np.random.SeedSequence:
    """Return the seed sequence of one random choice of one run.

    Streams of different runs, seeds, purposes or indices are independent; the same four give the
    same stream on every machine. Since a stream depends on nothing drawn before it, a resumed run
    needs no memory of the draws it has made.

    Args:
        run: The run's name, ``paper/run``.
        seed: The replicate, a non-negative integer.
        purpose: One of :data:`PURPOSES`.
        *indices: Further coordinates, such as the epoch for ``order``.

    Raises:
        ValueError: If the purpose is unknown or the seed is negative.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"unknown purpose {purpose!r}; expected one of {', '.join(PURPOSES)}")
    if seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed}")
    name = int.from_bytes(hashlib.sha256(run.encode()).digest()[:8], "little")
    return np.random.SeedSequence(name, spawn_key=(seed, PURPOSES.index(purpose), *indices))


def generator(run: str, seed: int, purpose: str, *indices: int) -> torch.Generator:
    """Return a CPU :class:`torch.Generator` for one random choice; see :func:`seed_sequence`."""
    state = seed_sequence(run, seed, purpose, *indices).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
