"""Capacity measures and path complexity, written out in loops."""

import math
from itertools import pairwise

import torch


def frobenius_product(hidden, output):
    """Return ‖U‖_F ‖V‖_F from sums over entries."""
    return math.prod(
        math.sqrt(sum(w**2 for row in m.tolist() for w in row)) for m in (hidden, output)
    )


def path_norm(hidden, output):
    """Return the square root of Σ (U_ji V_kj)² over paths input i → unit j → output k."""
    paths = [
        output[k, j].item() * hidden[j, i].item()
        for i in range(hidden.shape[1])
        for j in range(hidden.shape[0])
        for k in range(output.shape[0])
    ]
    return math.sqrt(sum(path**2 for path in paths))


def spectral_complexity(weights, initial):
    """Return Π‖W_l‖₂ (Σ_l (‖(W_l − W_l⁰)ᵀ‖₂,₁ / ‖W_l‖₂)^{2/3})^{3/2} over any number of layers."""
    product, total = 1.0, 0.0
    for weight, start in zip(weights, initial, strict=True):
        spectral = math.sqrt(torch.linalg.eigvalsh(weight @ weight.T).max().item())
        columns = (weight - start).T  # ‖A‖₂,₁ sums the lengths of the columns of A
        mixed = sum(columns[:, j].norm().item() for j in range(columns.shape[1]))
        product *= spectral
        total += (mixed / spectral) ** (2 / 3)
    return product * total ** (3 / 2)


def distance(first, second):
    """Return the Frobenius distance from a sum over entries."""
    return math.sqrt(sum(d**2 for row in (first - second).tolist() for d in row))


def kernel_trace(model, inputs):
    """Return the trace of the tangent kernel from one gradient per example and output."""
    parameters = list(model.parameters())
    outputs = model(inputs)
    total = 0.0
    for value in outputs.flatten():
        gradients = torch.autograd.grad(value, parameters, retain_graph=True)
        total += sum(gradient.square().sum().item() for gradient in gradients)
    return total


def path_sums(path, traces, examples, refresh, logged):
    """Return path complexity, its coarse sum and the length, from all weights and traces.

    ``path`` and ``traces`` hold the weights and the kernel's trace after 0, 1, … steps.
    """
    complexity = length = coarse = 0.0
    for t in range(len(path) - 1):
        step = (path[t + 1] - path[t]).norm().item()
        complexity += step * math.sqrt(traces[t - t % refresh] / examples)
        length += step
    stations = [s for s in range(1, len(path)) if s == 1 or s in logged or s == len(path) - 1]
    for before, after in pairwise(stations):
        step = (path[after] - path[before]).norm().item()
        coarse += step * math.sqrt(traces[after] / examples)
    return complexity, coarse, length
