"""Random orthogonal matrices."""

import torch
from torch import Tensor


def haar_orthogonal(
    size: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Draw an orthogonal matrix from the Haar measure, under which no direction is special.

    It is the factor Q of a Gaussian matrix QR, with the signs chosen such that the diagonal of R
    is positive. With the signs that a library happens to give, Q would not be uniform.

    Args:
        size: d, at least 1.
        generator: Source of the Gaussian matrix, on the CPU.
        dtype: Floating-point type of the result.

    Returns:
        (d, d), on the CPU.

    Raises:
        ValueError: If the size is less than 1.

    References:
        Mezzadri, How to generate random matrices from the classical compact groups (2007).
    """
    if size < 1:
        raise ValueError(f"expected a size of at least 1, got {size}")
    return haar_frame(size, size, generator, dtype)


def haar_frame(
    size: int, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Draw the first ``count`` columns of a Haar-random orthogonal matrix, (size, count).

    Arguments and source as for :func:`haar_orthogonal`.

    Raises:
        ValueError: If there are more columns than dimensions, or none.
    """
    if not 1 <= count <= size:
        raise ValueError(f"expected 1 to {size} columns, got {count}")
    q, r = torch.linalg.qr(torch.randn(size, count, generator=generator, dtype=dtype))
    return torch.where(r.diagonal() < 0, -q, q)
