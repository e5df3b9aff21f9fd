"""How well a kernel is aligned with labels: kernel–label alignment, and CKA."""

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional as F


def centered_one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return one-hot labels minus their mean over the examples, (n, classes), in float32.

    Args:
        labels: (n,) integers in 0…classes−1.
        classes: C.

    References:
        Baratin et al. (2021), y of the alignment.
    """
    one_hot = F.one_hot(labels, classes).float()
    return one_hot - one_hot.mean(dim=0)


def kernel_alignment(kernel: Tensor, targets: Tensor) -> float:
    """Compute the kernel–label alignment yᵀKy / (‖K‖_F ‖y‖²), in [0, 1] for K ⪰ 0.

    Take the centred kernel and centred targets for the centred alignment. A kernel that is the
    same n × n matrix for each output and zero between outputs reaches at most 1/√(C(C−1)) with
    balanced classes, about 0.105 for ten.

    Args:
        kernel: K, (n, C, n, C), as :mod:`feature_alignment.tangents.kernels` computes it.
        targets: y, (n, C).

    Raises:
        ValueError: If the shapes do not fit, or kernel or targets are zero or not finite.

    References:
        Baratin et al. (2021), centred kernel alignment; Cristianini et al. (2001).
    """
    if targets.ndim != 2:
        raise ValueError(f"expected targets of shape (n, C), got {tuple(targets.shape)}")
    n, outputs = targets.shape
    if kernel.shape != (n, outputs, n, outputs):
        raise ValueError(
            f"expected a kernel of shape {(n, outputs, n, outputs)} for targets of shape "
            f"{(n, outputs)}, got {tuple(kernel.shape)}"
        )
    kernel, targets = kernel.double(), targets.double()
    form = torch.einsum("ic,icjd,jd->", targets, kernel, targets).item()
    return alignment_of(form, kernel.norm().item(), targets)


def alignment_of(form: float, norm: float, targets: Tensor) -> float:
    """Compute the alignment from yᵀKy, ‖K‖_F and y; see :func:`kernel_alignment`.

    Raises:
        ValueError: If the norm or the targets are zero or not finite, for which no alignment is
            defined.
    """
    scale = norm * targets.double().square().sum().item()
    if not 0 < scale < float("inf"):
        raise ValueError("kernel or targets are zero or not finite; no alignment is defined")
    return form / scale


def cka(first: Tensor, second: Tensor) -> float:
    """Compute the centred kernel alignment of two kernels over the same examples.

    CKA(K, L) = ⟨HKH, HLH⟩ / (‖HKH‖_F ‖HLH‖_F) with H = I − 11ᵀ/n. For one output,
    :func:`kernel_alignment` of the centred kernel with centred targets y is CKA(K, yyᵀ).

    Args:
        first: K, (n, n).
        second: L, (n, n).

    Raises:
        ValueError: If the shapes differ or a centred kernel is zero.

    References:
        Cortes, Mohri & Rostamizadeh (2012); Kornblith et al. (2019), linear and kernel CKA.
    """
    if first.shape != second.shape or first.ndim != 2 or first.shape[0] != first.shape[1]:
        raise ValueError(
            f"expected two square kernels of one shape, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    centred, squares = [], []
    for kernel in (first.double(), second.double()):
        scale = kernel.square().sum().item()
        kernel = kernel - kernel.mean(dim=0)
        kernel = kernel - kernel.mean(dim=1, keepdim=True)
        square = kernel.square().sum().item()
        if not 1e-28 * scale < square < float("inf"):  # what rounding leaves of a constant kernel
            raise ValueError("a centred kernel is zero or not finite; CKA is not defined")
        centred.append(kernel)
        squares.append(square)
    return (centred[0] * centred[1]).sum().item() / sqrt(squares[0] * squares[1])
