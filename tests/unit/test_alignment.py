import math

import pytest
import torch

from feature_alignment.measures.alignment import (
    alignment_of,
    centered_one_hot,
    cka,
    kernel_alignment,
)
from feature_alignment.tangents.kernels import center_kernel

from reference import kernels as reference


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def random_kernel(n=6, outputs=3, seed=0):
    return reference.kernel(draw(n, outputs, 40, seed=seed))


def random_gram(n=6, seed=0):
    rows = draw(n, 4, seed=seed)
    return rows @ rows.T


def balanced_targets(per_class=4, classes=3):
    return centered_one_hot(torch.arange(classes).repeat(per_class), classes).double()


def test_centered_one_hot():
    found = centered_one_hot(torch.tensor([0, 2, 2, 1]), 4)
    expected = [
        [0.75, -0.25, -0.5, 0],
        [-0.25, -0.25, 0.5, 0],
        [-0.25, -0.25, 0.5, 0],
        [-0.25, 0.75, -0.5, 0],
    ]
    assert found.tolist() == expected
    assert found.dtype == torch.float32


def test_alignment_is_the_formula():
    kernel, targets = random_kernel(), draw(6, 3, seed=1)
    found = kernel_alignment(kernel, targets)
    assert found == pytest.approx(reference.alignment(kernel, targets), rel=1e-13)
    assert 0 < found < 1


def test_alignment_needs_only_the_form_and_the_norm():
    kernel, targets = random_kernel(), draw(6, 3, seed=1)
    form = torch.einsum("ic,icjd,jd", targets, kernel, targets).item()
    found = alignment_of(form, kernel.norm().item(), targets)
    assert found == pytest.approx(kernel_alignment(kernel, targets), rel=1e-13)


def test_a_kernel_made_of_the_targets_is_fully_aligned():
    targets = draw(6, 3)
    kernel = torch.einsum("ic,jd->icjd", targets, targets)
    assert kernel_alignment(kernel, targets) == pytest.approx(1, rel=1e-13)
    orthogonal = draw(6, 3, seed=1)
    orthogonal -= (orthogonal * targets).sum() / targets.square().sum() * targets
    assert kernel_alignment(kernel, orthogonal) == pytest.approx(0, abs=1e-14)


def test_the_identity_has_the_least_alignment_of_equal_eigenvalues():
    identity = torch.eye(18, dtype=torch.float64).view(6, 3, 6, 3)
    found = kernel_alignment(identity, draw(6, 3))
    assert found == pytest.approx(1 / math.sqrt(18), rel=1e-13)


@pytest.mark.parametrize("kernel_scale, target_scale", [(1e-9, 1), (1, -3), (1e6, 1e-4)])
def test_alignment_does_not_depend_on_scale(kernel_scale, target_scale):
    kernel, targets = random_kernel(), draw(6, 3, seed=1)
    found = kernel_alignment(kernel_scale * kernel, target_scale * targets)
    assert found == pytest.approx(kernel_alignment(kernel, targets), rel=1e-12)


def test_centring_the_targets_leaves_the_form_of_a_centred_kernel():
    kernel, targets = center_kernel(random_kernel()), draw(6, 3, seed=1)
    centred = targets - targets.mean(dim=0)
    share = centred.square().sum() / targets.square().sum()
    found = kernel_alignment(kernel, targets)
    assert found == pytest.approx(kernel_alignment(kernel, centred) * share.item(), rel=1e-12)


def test_float32_is_summed_in_float64():
    kernel, targets = random_kernel(30, 10).float(), draw(30, 10, seed=1).float()
    expected = kernel_alignment(kernel.double(), targets.double())
    assert kernel_alignment(kernel, targets) == expected


def test_alignment_of_one_output_is_cka_with_the_targets():
    kernel, targets = random_kernel(8, 1), draw(8, 1, seed=1)
    found = kernel_alignment(center_kernel(kernel), targets - targets.mean(dim=0))
    expected = cka(kernel.view(8, 8), targets @ targets.T)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_alignment_of_a_kernel_diagonal_in_the_outputs_is_cka_of_its_block(seed):
    targets = balanced_targets()
    block = random_gram(12, seed)
    diagonal = torch.einsum("ij,cd->icjd", block, torch.eye(3, dtype=torch.float64))
    gram = targets @ targets.T
    factor = gram.norm() / (math.sqrt(3) * targets.square().sum())
    expected = cka(block, gram) * factor.item()
    assert kernel_alignment(center_kernel(diagonal), targets) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_kernel_diagonal_in_the_outputs_is_bounded(classes):
    targets = balanced_targets(classes=classes)
    identity = torch.eye(classes, dtype=torch.float64)
    bound = 1 / math.sqrt(classes * (classes - 1))
    best = torch.einsum("ij,cd->icjd", targets @ targets.T, identity)
    assert kernel_alignment(best, targets) == pytest.approx(bound, rel=1e-6)  # float32 one-hot
    for seed in range(5):
        other = torch.einsum("ij,cd->icjd", random_gram(len(targets), seed), identity)
        assert kernel_alignment(center_kernel(other), targets) < bound


@pytest.mark.parametrize("shape", [(6, 3, 6, 2), (3, 6, 3, 6), (18, 18), (5, 3, 5, 3)])
def test_alignment_wants_fitting_shapes(shape):
    with pytest.raises(ValueError, match=r"expected a kernel of shape \(6, 3, 6, 3\)"):
        kernel_alignment(torch.ones(shape), torch.ones(6, 3))


def test_alignment_wants_a_column_per_output():
    with pytest.raises(ValueError, match=r"targets of shape \(n, C\), got \(6,\)"):
        kernel_alignment(torch.ones(6, 1, 6, 1), torch.ones(6))


@pytest.mark.parametrize(
    "kernel, targets",
    [
        (torch.zeros(2, 1, 2, 1), torch.ones(2, 1)),
        (torch.ones(2, 1, 2, 1), torch.zeros(2, 1)),
        (torch.full((2, 1, 2, 1), math.nan), torch.ones(2, 1)),
        (torch.full((2, 1, 2, 1), math.inf), torch.ones(2, 1)),
        (torch.ones(2, 1, 2, 1), torch.tensor([[1.0], [math.nan]])),
        (torch.ones(2, 1, 2, 1), torch.tensor([[1.0], [math.inf]])),
    ],
)
def test_no_alignment_without_kernel_or_targets(kernel, targets):
    with pytest.raises(ValueError, match="zero or not finite"):
        kernel_alignment(kernel, targets)


def test_cka_is_the_formula():
    first, second = random_gram(seed=0), random_gram(seed=1)
    found = cka(first, second)
    assert found == pytest.approx(reference.cka(first, second), rel=1e-12)
    assert found == pytest.approx(cka(second, first), rel=1e-14)
    assert 0 < found < 1


def test_cka_of_a_kernel_with_itself_is_one():
    assert cka(random_gram(), random_gram()) == pytest.approx(1, rel=1e-14)


def test_cka_ignores_scale_and_shifts_of_features():
    rows, other = draw(6, 4), random_gram(seed=1)
    shifted = 3 * (rows + draw(4, seed=2))
    assert cka(shifted @ shifted.T, other) == pytest.approx(cka(rows @ rows.T, other), rel=1e-12)


def test_cka_of_float32_is_summed_in_float64():
    first, second = random_gram(seed=0).float(), random_gram(seed=1).float()
    assert cka(first, second) == cka(first.double(), second.double())


@pytest.mark.parametrize("first, second", [((4, 4), (5, 5)), ((4, 5), (4, 5)), ((4,), (4,))])
def test_cka_wants_two_square_kernels(first, second):
    with pytest.raises(ValueError, match="two square kernels of one shape"):
        cka(torch.ones(first), torch.ones(second))


@pytest.mark.parametrize("n, value", [(7, 0.0), (7, 1.0), (29, 0.832909869751677), (7, math.nan)])
def test_no_cka_of_a_constant_kernel(n, value):
    # the third has a mean that is not its value in float64: rounding is left after centring
    constant = torch.full((n, n), value, dtype=torch.float64)
    with pytest.raises(ValueError, match="centred kernel is zero or not finite"):
        cka(random_gram(n), constant)
