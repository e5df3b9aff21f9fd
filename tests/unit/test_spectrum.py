import math

import numpy as np
import pytest
import torch

from feature_alignment.measures.spectrum import (
    effective_rank,
    eigensystem,
    eigenvalues,
    label_energy,
    trace_ratio,
)

from reference import kernels as reference


def random_kernel(n=5, outputs=3, parameters=40):
    draw = torch.Generator().manual_seed(0)
    return reference.kernel(
        torch.randn(n, outputs, parameters, dtype=torch.float64, generator=draw)
    )


def test_eigenvalues_are_those_of_numpy():
    kernel = random_kernel()
    expected = np.linalg.eigvalsh(kernel.reshape(15, 15).numpy())[::-1]
    for shaped in (kernel, kernel.reshape(15, 15)):
        np.testing.assert_allclose(eigenvalues(shaped), expected, rtol=1e-12)


def test_eigenvalues_sum_to_the_trace_and_square_to_the_norm():
    kernel = random_kernel()
    found = eigenvalues(kernel)
    assert found.sum() == pytest.approx(torch.einsum("icic->", kernel).item(), rel=1e-13)
    assert math.sqrt((found**2).sum()) == pytest.approx(kernel.norm().item(), rel=1e-13)


def test_eigenvalues_of_a_kernel_that_is_no_view():
    kernel = random_kernel().permute(1, 0, 3, 2)
    np.testing.assert_allclose(eigenvalues(kernel), eigenvalues(random_kernel()), rtol=1e-10)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_rounding_below_zero_is_zero(precision):
    kernel = random_kernel(parameters=4).to(precision)  # 15 rows of rank 4
    found = eigenvalues(kernel)
    assert found.dtype == np.float64
    assert (found >= 0).all()
    assert (found[4:] <= 15 * torch.finfo(precision).eps * found[0]).all()


def test_eigenvalues_of_zero_are_zero():
    assert eigenvalues(torch.zeros(3, 3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape", [(3, 4), (2, 8), (9,), (2, 3, 2, 4), (4, 1, 2, 2), (4, 4, 4)])
def test_eigenvalues_want_a_square_kernel(shape):
    with pytest.raises(ValueError, match="expected a square kernel"):
        eigenvalues(torch.ones(shape))


def test_eigenvalues_want_a_symmetric_kernel():
    kernel = torch.eye(3)
    kernel[0, 1] = 0.5
    with pytest.raises(ValueError, match="symmetric"):
        eigenvalues(kernel)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_eigenvalues_want_a_finite_kernel(value):
    kernel = torch.eye(3)
    kernel[1, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        eigenvalues(kernel)


@pytest.mark.parametrize("values", [[1, -1e-3, 1], [-1, -1, -1]])
def test_eigenvalues_want_a_positive_semidefinite_kernel(values):
    with pytest.raises(ValueError, match="positive semi-definite.*eigenvalue -"):
        eigenvalues(torch.diag(torch.tensor(values, dtype=torch.float64)))


@pytest.mark.parametrize("size", [1, 7])
def test_effective_rank_of_the_identity_is_its_size(size):
    assert effective_rank(eigenvalues(3 * torch.eye(size))) == pytest.approx(size, rel=1e-12)


def test_effective_rank_of_rank_one_is_one():
    y = torch.arange(1.0, 7, dtype=torch.float64)
    assert effective_rank(eigenvalues(torch.outer(y, y))) == pytest.approx(1, rel=1e-12)


def test_effective_rank_is_the_exponential_of_the_entropy():
    # shares 1/2, 1/4, 1/4: the entropy is 1.5 log 2
    assert effective_rank(np.array([4.0, 2, 2, 0])) == pytest.approx(2**1.5, rel=1e-14)
    assert effective_rank(np.array([2.0, 0, 4, 2]) * 1e-9) == pytest.approx(2**1.5, rel=1e-14)


def test_trace_ratios_are_shares_of_the_largest():
    spectrum = np.array([6.0, 3, 1, 0])
    assert [trace_ratio(spectrum, k) for k in (1, 2, 3, 4)] == pytest.approx([0.6, 0.9, 1, 1])
    assert trace_ratio(spectrum[::-1], 1) == pytest.approx(0.6)
    assert trace_ratio(eigenvalues(torch.eye(5)), 2) == pytest.approx(0.4)


@pytest.mark.parametrize("count", [0, -1, 5])
def test_trace_ratio_wants_a_count_within_the_spectrum(count):
    with pytest.raises(ValueError, match=f"from 1 to 4, got {count}"):
        trace_ratio(np.ones(4), count)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_shares_want_a_finite_spectrum_above_zero(value):
    spectrum = np.full(3, value)
    with pytest.raises(ValueError, match="not defined"):
        effective_rank(spectrum)
    with pytest.raises(ValueError, match="not defined"):
        trace_ratio(spectrum, 1)


def test_the_eigensystem_is_that_of_the_kernel():
    kernel = random_kernel()
    values, vectors = eigensystem(kernel)
    np.testing.assert_allclose(values, eigenvalues(kernel), rtol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(15), atol=1e-12)
    np.testing.assert_allclose(vectors * values @ vectors.T, kernel.reshape(15, 15), atol=1e-10)
    with pytest.raises(ValueError, match="positive semi-definite"):
        eigensystem(-torch.eye(3))
    with pytest.raises(ValueError, match="symmetric"):
        eigensystem(torch.eye(3) + torch.diag(torch.ones(2), 1))


def projected(kernel, y, count):
    """The energy by another route: leading vectors from powers of the kernel."""
    n = y.numel()
    matrix, total = kernel.reshape(n, n).numpy(), 0.0
    for _ in range(count):  # one vector at a time by power iteration, and then deflated
        vector = np.linalg.matrix_power(matrix / np.linalg.norm(matrix, 2), 2**13)
        vector = vector[:, np.argmax(np.abs(np.diag(vector)))]
        vector = vector / np.linalg.norm(vector)
        total += (vector @ y.flatten().numpy()) ** 2
        matrix = matrix - np.outer(vector, vector) * (vector @ matrix @ vector)
    return total / y.square().sum().item()


def test_label_energy_is_that_of_vectors_found_one_by_one():
    kernel = random_kernel()
    y = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    _, vectors = eigensystem(kernel)
    for count in (1, 2, 5):
        expected = projected(kernel, y, count)
        assert label_energy(vectors, y, count) == pytest.approx(expected, abs=1e-10)
    assert label_energy(vectors, y, 15) == pytest.approx(1, abs=1e-12)


def test_label_energy_of_a_label_among_the_eigenvectors():
    _, vectors = eigensystem(torch.diag(torch.tensor([1.0, 5, 3, 2])))
    y = torch.tensor([[0.0, 0], [2, 1]])
    # The eigenvalue 3 comes second, with 4 of the labels' 5
    assert [label_energy(vectors, y, k) for k in (1, 2, 3)] == pytest.approx([0, 0.8, 1])


def test_label_energy_wants_targets_that_fit():
    vectors = np.eye(4)
    for count in (0, 5):
        with pytest.raises(ValueError, match=f"from 1 to 4, got {count}"):
            label_energy(vectors, torch.ones(4), count)
    with pytest.raises(ValueError, match="expected targets with 4 entries, got 3"):
        label_energy(vectors, torch.ones(3), 1)
    with pytest.raises(ValueError, match="zero or not finite"):
        label_energy(vectors, torch.zeros(2, 2), 1)
