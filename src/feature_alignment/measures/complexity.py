"""Capacity measures of networks with one hidden layer, to compare with the path complexity.

The network is f(x) = V φ(U x + a) + b with U (hidden × in) and V (out × hidden); U₀ and V₀ are
their initial values. Norm-based measures look at U and V and leave the biases a and b out, as the
papers they are from have none; the parameter count includes them. None of the measures is divided
by the margin, and constants are left out. Everything is computed in float64.

References:
    Neyshabur, Li, Bhojanapalli, LeCun & Srebro, "Towards understanding the role of
    over-parametrization in generalization of neural networks" (2018), who collect such measures
    for networks of this kind and train them to a cross-entropy of 0.01. Baratin et al. (2021),
    figure 6, compares its path complexity with some of them. Departs from: which of them and how
    scaled is not known to us; the choice is ours.
"""

import torch
from torch import Tensor


def parameter_count(hidden: Tensor, output: Tensor, *, biases: bool) -> int:
    """Count the parameters: h · d + C · h, and h + C more with biases.

    Up to constants and logarithms, the VC dimension of the class.

    Args:
        hidden: U, (h, d).
        output: V, (C, h).
        biases: Whether both layers have biases.

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Harvey, Liaw & Mehrabian (2017).
    """
    _check(hidden, output)
    return hidden.numel() + output.numel() + (len(hidden) + len(output)) * biases


def frobenius_product(hidden: Tensor, output: Tensor) -> float:
    """Return ‖U‖_F ‖V‖_F.

    Args:
        hidden: U, (h, d).
        output: V, (C, h).

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Neyshabur, Tomioka & Srebro (2015); Golowich, Rakhlin & Shamir (2018).
    """
    _check(hidden, output)
    return _frobenius(hidden.double()) * _frobenius(output.double())


def spectral_complexity(
    hidden: Tensor, output: Tensor, initial_hidden: Tensor, initial_output: Tensor
) -> float:
    """Return the spectral complexity around the initial weights.

    R = ‖U‖₂ ‖V‖₂ ((‖(U − U₀)ᵀ‖₂,₁ / ‖U‖₂)^{2/3} + (‖(V − V₀)ᵀ‖₂,₁ / ‖V‖₂)^{2/3})^{3/2}
      = ((‖V‖₂ ‖(U − U₀)ᵀ‖₂,₁)^{2/3} + (‖U‖₂ ‖(V − V₀)ᵀ‖₂,₁)^{2/3})^{3/2},

    with ‖·‖₂ the largest singular value and ‖Aᵀ‖₂,₁ the sum over units (rows of A) of the length
    of their incoming weights. The second line, which is computed, needs no division.

    Args:
        hidden: U, (h, d).
        output: V, (C, h).
        initial_hidden: U₀, (h, d).
        initial_output: V₀, (C, h).

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Bartlett, Foster & Telgarsky (2017), equation 1.2, for activations with Lipschitz
        constant 1 and the initial weights as reference matrices.
    """
    _check(hidden, output, initial_hidden, initial_output)
    terms = (
        _spectral(output) * _row_lengths(hidden, initial_hidden),
        _spectral(hidden) * _row_lengths(output, initial_output),
    )
    return sum(term ** (2 / 3) for term in terms) ** (3 / 2)


def path_norm(hidden: Tensor, output: Tensor) -> float:
    """Return the ℓ₂ path norm, (Σ over paths i → j → k of (U_ji V_kj)²)^{1/2}.

    Computed as (Σ_j ‖U_j·‖² ‖V_·j‖²)^{1/2}. Rescaling a ReLU unit leaves it as it is.

    Args:
        hidden: U, (h, d).
        output: V, (C, h).

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Neyshabur, Tomioka & Srebro (2015).
    """
    _check(hidden, output)
    incoming = hidden.double().square().sum(dim=1)
    outgoing = output.double().square().sum(dim=0)
    return (incoming @ outgoing).sqrt().item()


def distance_from_initialisation(hidden: Tensor, initial_hidden: Tensor) -> float:
    """Return ‖U − U₀‖_F.

    Args:
        hidden: U, (h, d).
        initial_hidden: U₀, (h, d).

    Raises:
        ValueError: If the shapes differ.

    References:
        Neyshabur et al. (2018), where it enters the bound for two layers; Nagarajan & Kolter
        (2017).
    """
    if hidden.shape != initial_hidden.shape:
        raise ValueError(
            f"expected initial weights of shape {tuple(hidden.shape)}, got "
            f"{tuple(initial_hidden.shape)}"
        )
    return _frobenius(hidden.double() - initial_hidden.double())


def _frobenius(matrix: Tensor) -> float:
    return torch.linalg.vector_norm(matrix).item()


def _spectral(matrix: Tensor) -> float:
    return torch.linalg.matrix_norm(matrix.double(), 2).item()


def _row_lengths(matrix: Tensor, initial: Tensor) -> float:
    return torch.linalg.vector_norm(matrix.double() - initial.double(), dim=1).sum().item()


def _check(
    hidden: Tensor,
    output: Tensor,
    initial_hidden: Tensor | None = None,
    initial_output: Tensor | None = None,
) -> None:
    if hidden.ndim != 2 or output.ndim != 2 or output.shape[1] != len(hidden):
        raise ValueError(
            "expected weights of shapes (h, d) and (C, h), got "
            f"{tuple(hidden.shape)} and {tuple(output.shape)}"
        )
    for matrix, initial in ((hidden, initial_hidden), (output, initial_output)):
        if initial is not None and matrix.shape != initial.shape:
            raise ValueError(
                f"expected initial weights of shape {tuple(matrix.shape)}, got "
                f"{tuple(initial.shape)}"
            )
