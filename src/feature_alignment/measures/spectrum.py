"""The spectrum of a kernel: eigenvalues, effective rank, trace ratios, energy of labels."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Spectrum = NDArray[np.float64]
Vectors = NDArray[np.float64]


def eigenvalues(kernel: Tensor) -> Spectrum:
    """Return the eigenvalues of a symmetric kernel, largest first, negative ones set to 0.

    Args:
        kernel: (N, N), or (n, C, n, C), which is taken as a matrix of n · C rows; positive
            semi-definite up to rounding.

    Returns:
        N eigenvalues, computed in float64.

    Raises:
        ValueError: If the kernel is not square, symmetric and finite, or an eigenvalue is more
            negative than rounding in the kernel's own precision explains.
    """
    matrix, rounding = _matrix(kernel)
    return _sorted(torch.linalg.eigvalsh(matrix), rounding)


def eigensystem(kernel: Tensor) -> tuple[Spectrum, Vectors]:
    """Return the eigenvalues as :func:`eigenvalues` does, and their eigenvectors.

    Args:
        kernel: As for :func:`eigenvalues`.

    Returns:
        N eigenvalues, largest first, and as many orthonormal eigenvectors, the columns of (N, N).
        Of eigenvalues that are the same, vectors are any of their space.

    Raises:
        ValueError: As in :func:`eigenvalues`.
    """
    matrix, rounding = _matrix(kernel)
    values, vectors = torch.linalg.eigh(matrix)
    return _sorted(values, rounding), vectors.flip(1).cpu().numpy()


def label_energy(vectors: Vectors, targets: Tensor, count: int) -> float:
    """Compute Σ_{j ≤ k} (u_jᵀ y)² / ‖y‖², the share of labels in the first k eigenvectors.

    Of random eigenvectors the mean is k / N.

    Args:
        vectors: u_j, the columns of (N, N), as :func:`eigensystem` returns them.
        targets: y, with N entries in the order of the kernel's rows, such as (n, C).
        count: k.

    Raises:
        ValueError: If the targets have another number of entries, or are zero or not finite, or
            there are fewer eigenvectors.

    References:
        Baratin et al. (2021), of the disk: labels in the first eigenfunctions.
    """
    if not 1 <= count <= vectors.shape[1]:
        raise ValueError(f"expected a count from 1 to {vectors.shape[1]}, got {count}")
    y = targets.double().flatten().cpu().numpy()
    if len(y) != len(vectors):
        raise ValueError(f"expected targets with {len(vectors)} entries, got {len(y)}")
    total = float(y @ y)
    if not 0 < total < math.inf:
        raise ValueError("the targets are zero or not finite; they have no energy")
    return float(np.square(vectors[:, :count].T @ y).sum()) / total


def _matrix(kernel: Tensor) -> tuple[Tensor, float]:
    """Return a kernel as a matrix in float64, and the rounding of its own precision."""
    half = kernel.ndim // 2
    if kernel.ndim not in (2, 4) or kernel.shape[:half] != kernel.shape[half:]:
        raise ValueError(f"expected a square kernel, got the shape {tuple(kernel.shape)}")
    if not torch.isfinite(kernel).all():
        raise ValueError("the kernel is not finite; it has no spectrum")
    size = math.prod(kernel.shape[:half])
    rounding = torch.finfo(kernel.dtype).eps ** 0.5  # generous: sums of many products
    matrix = kernel.reshape(size, size).double()
    if (matrix - matrix.T).abs().max() > rounding * matrix.abs().max():
        raise ValueError("expected a symmetric kernel; its eigenvalues would not be real")
    return matrix, rounding


def _sorted(rising: Tensor, rounding: float) -> Spectrum:
    values = rising.flip(0).cpu().numpy()
    if values[-1] < -rounding * values[0]:
        raise ValueError(
            f"expected a positive semi-definite kernel, got the eigenvalue {values[-1]:g} beside "
            f"{values[0]:g}"
        )
    return np.maximum(values, 0)


def effective_rank(spectrum: Spectrum) -> float:
    """Compute exp(−Σ p_j log p_j) with p_j = λ_j / Σλ: between 1 and the number of eigenvalues.

    Raises:
        ValueError: If the spectrum is zero.

    References:
        Baratin et al. (2021), figure 2; Roy & Vetterli (2007).
    """
    shares = _shares(spectrum)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def trace_ratio(spectrum: Spectrum, count: int) -> float:
    """Compute T_k = Σ_{j ≤ k} λ_j / Σ_j λ_j, the share of the ``count`` largest eigenvalues.

    Raises:
        ValueError: If the spectrum is zero or has fewer eigenvalues.

    References:
        Baratin et al. (2021), figure 2.
    """
    if not 1 <= count <= len(spectrum):
        raise ValueError(f"expected a count from 1 to {len(spectrum)}, got {count}")
    return float(_shares(spectrum)[:count].sum())


def _shares(spectrum: Spectrum) -> Spectrum:
    total = spectrum.sum()
    if not 0 < total < math.inf:
        raise ValueError("the spectrum is zero or not finite; its shares are not defined")
    return np.sort(spectrum)[::-1] / total
