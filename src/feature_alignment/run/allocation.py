"""How the process gets its memory from the operating system."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of glibc's ``mallopt``, by their numbers in ``malloc.h``."""


def keep_freed_memory() -> bool:
    """Keep memory that tensors free, for the tensors to come.

    A training frees and takes the same few hundred megabytes at every step. By default glibc hands
    large pieces back to the operating system, which clears every page anew when it is touched
    again: up to a fifth of a step. What is kept is the largest that was in use at one time, so the
    peak stays what it was. No result depends on it.

    Returns:
        Whether the C library is glibc and complied; others stay as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # No trimming of the heap's end (−1: never), and no mapping of its own for a large piece.
    return bool(mallopt(TRIM_THRESHOLD, -1) and mallopt(MMAP_MAX, 0))
