"""The penalties of lejeune2024 by brute force: minimise over a fine grid, then polish."""

import numpy as np
from scipy.optimize import minimize, minimize_scalar


def w1(z):
    return (z - 1) ** 2


def w2(z):
    return abs(z - 1)


def minimum(function, low, high):
    grid = np.linspace(low, high, 2001)
    values = [function(z) for z in grid]
    best = int(np.argmin(values))
    bracket = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(function, bounds=bracket, method="bounded", options={"xatol": 1e-13})
    return min(float(found.fun), values[best])


def w3(v):
    return minimum(lambda z: w1(z) + w2(v / z), 1, v) if v > 1 else 0.0


def effective(penalty, v):
    return minimum(lambda z: penalty(z) + v**2 / z**2, 1, 2 + 2 * v)


def effective_w3(v):
    """Both factors at once: min (a − 1)² + (b − 1) + v²/(ab)² over a, b ≥ 1."""

    def cost(factors):
        a, b = factors
        return w1(a) + w2(b) + (v / (a * b)) ** 2

    starts = [(1.0, 1.0), (1.3, 1.0), (2.0, 2.0), (1 + v / 4, 1 + v / 4)]
    options = {"ftol": 1e-16, "gtol": 1e-12}
    found = [
        minimize(cost, start, bounds=[(1, None)] * 2, method="L-BFGS-B", options=options).fun
        for start in starts
    ]
    return min(found)
