"""The mean-field recursion by its formula, and where two curves cross, step by step."""

import math
from itertools import pairwise

import numpy as np


def correlations(first: float, depth: int) -> tuple[list[float], list[float]]:
    """c^1 … c^L and c̃^1 … c̃^L in extended precision, from F and F′ as they are written."""
    one, pi = np.longdouble(1), np.longdouble(math.pi)
    forward = [np.longdouble(first)]
    for _ in range(depth - 1):
        c = forward[-1]
        forward.append((np.sqrt(one - c * c) + c * (pi - np.arccos(c))) / pi)
    backward = [one]
    for c in reversed(forward[:-1]):
        backward.append(backward[-1] * (one - np.arccos(c) / pi))
    return forward, backward[::-1]


def crossing(forward: list[float], backward: list[float]) -> float:
    """Where the straight lines between log(1 − c^l) − log c̃^l at layers 1, 2, … first meet 0."""
    gaps = [math.log(1 - c) - math.log(b) for c, b in zip(forward, backward, strict=True)]
    for layer, (before, after) in enumerate(pairwise(gaps), start=1):
        if before > 0 >= after:
            return layer + before / (before - after)
    raise AssertionError("the curves do not cross")
