from itertools import combinations
from math import comb

import pytest
import torch

from feature_alignment.measures.free_probability import (
    free_cumulants,
    kreweras_complement,
    mixed_moment,
    noncrossing_partitions,
    trace_moments,
)
from feature_alignment.measures.orthogonal import haar_orthogonal

CATALAN = [1, 2, 5, 14, 42, 132, 429]


def normal(*shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=draw)


def tau(*factors):
    product = torch.eye(len(factors[0]), dtype=torch.float64)
    for factor in factors:
        product = product @ factor
    return product.trace().item() / len(product)


def all_partitions(elements):
    """Put the first element in a block of its own, or in any block of the others."""
    if not elements:
        return [[]]
    first, *rest = elements
    return [
        grown
        for blocks in all_partitions(rest)
        for grown in (
            [[first], *blocks],
            *([[first, *b] if b is c else c for c in blocks] for b in blocks),
        )
    ]


def crosses(blocks):
    where = {element: place for place, block in enumerate(blocks) for element in block}
    return any(
        where[i] == where[k] != where[j] == where[m]
        for i, j, k, m in combinations(sorted(where), 4)
    )


def canonical(blocks):
    return tuple(sorted(tuple(sorted(block)) for block in blocks))


@pytest.mark.parametrize("size", range(1, 8))
def test_the_partitions_are_all_that_do_not_cross(size):
    found = noncrossing_partitions(size)
    assert len(found) == CATALAN[size - 1]
    every = all_partitions(list(range(1, size + 1)))
    assert set(found) == {canonical(blocks) for blocks in every if not crosses(blocks)}


@pytest.mark.parametrize(
    "partition, expected",
    [
        (((1,), (2,), (3,)), ((1, 2, 3),)),
        (((1, 2, 3),), ((1,), (2,), (3,))),
        (((1, 2), (3,)), ((1,), (2, 3))),
        (((1, 3), (2,)), ((1, 2), (3,))),
        (((1,), (2, 3)), ((1, 3), (2,))),
        # Nica & Speicher (2006), after Definition 9.21
        (((1, 2, 7), (3,), (4, 6), (5,), (8,)), ((1,), (2, 3, 6), (4, 5), (7, 8))),
    ],
)
def test_known_complements(partition, expected):
    assert kreweras_complement(partition) == expected
    assert kreweras_complement([block[::-1] for block in partition[::-1]]) == expected


def test_the_complement_has_the_largest_blocks_that_do_not_cross():
    for partition in noncrossing_partitions(5):
        between = [tuple(element - 0.5 for element in block) for block in partition]
        fitting = [b for b in noncrossing_partitions(5) if not crosses([*between, *b])]
        largest = min(fitting, key=len)
        assert sum(len(blocks) == len(largest) for blocks in fitting) == 1
        assert kreweras_complement(partition) == largest


def test_the_complement_of_the_complement_is_a_rotation():
    for partition in noncrossing_partitions(6):
        turned = canonical([[(e - 2) % 6 + 1 for e in block] for block in partition])
        assert kreweras_complement(kreweras_complement(partition)) == turned


def test_the_semicircle_has_one_free_cumulant():
    moments = torch.tensor([0, 1, 0, 2, 0, 5, 0, 14], dtype=torch.float64)
    assert free_cumulants(moments).tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("rate", [0.25, 1.0, 3.0])
def test_the_free_cumulants_of_marchenko_pastur_are_its_rate(rate):
    moments = [
        sum(comb(n, k) * comb(n, k - 1) / n * rate**k for k in range(1, n + 1)) for n in range(1, 7)
    ]
    found = free_cumulants(torch.tensor(moments, dtype=torch.float64))
    # Moments of up to 3e3 cancel to numbers of order one
    torch.testing.assert_close(found, torch.full_like(found, rate), rtol=1e-11, atol=0)


def test_the_moments_are_traces_of_powers():
    matrix = normal(6, 6)  # not symmetric
    expected = [tau(*[matrix] * n) for n in range(1, 8)]
    for count in (1, 2, 5, 7):
        assert trace_moments(matrix, count).tolist() == pytest.approx(expected[:count], rel=1e-12)


def test_mixed_moments_are_the_formulas_written_out():
    k1, k2, k3, k4 = kappas = [0.7, 1.3, -0.4, 2.1]
    a, b, c, d = matrices = [normal(4, 4, seed=seed) + torch.eye(4) for seed in range(4)]
    # The order of factors matters for such matrices
    assert abs(tau(a, b, c) - tau(c, b, a)) > 0.1
    one = k1 * tau(a)
    two = k1**2 * tau(a, b) + k2 * tau(a) * tau(b)
    pairs = tau(a) * tau(b, c) + tau(b) * tau(c, a) + tau(c) * tau(a, b)
    three = k1**3 * tau(a, b, c) + k2 * k1 * pairs + k3 * tau(a) * tau(b) * tau(c)
    four = sum(
        [
            k1**4 * tau(a, b, c, d),
            k2 * k1**2 * tau(a) * tau(b, c, d),
            k2 * k1**2 * tau(b) * tau(c, d, a),
            k2 * k1**2 * tau(c) * tau(d, a, b),
            k2 * k1**2 * tau(d) * tau(a, b, c),
            k2 * k1**2 * tau(a, b) * tau(c, d),
            k2 * k1**2 * tau(b, c) * tau(d, a),
            k2**2 * tau(a) * tau(c) * tau(b, d),
            k2**2 * tau(b) * tau(d) * tau(a, c),
            k3 * k1 * tau(a, b) * tau(c) * tau(d),
            k3 * k1 * tau(b, c) * tau(d) * tau(a),
            k3 * k1 * tau(c, d) * tau(a) * tau(b),
            k3 * k1 * tau(d, a) * tau(b) * tau(c),
            k4 * tau(a) * tau(b) * tau(c) * tau(d),
        ]
    )
    cumulants = torch.tensor(kappas, dtype=torch.float64)
    for count, expected in enumerate([one, two, three, four], start=1):
        assert mixed_moment(cumulants, matrices[:count]) == pytest.approx(expected, rel=1e-12)


def test_with_identities_between_the_mixed_moment_is_the_moment():
    matrix = normal(8, 8)
    moments = trace_moments(matrix @ matrix.T, 6)
    cumulants = free_cumulants(moments)
    for order in range(1, 7):
        found = mixed_moment(cumulants, [torch.eye(8)] * order)
        assert found == pytest.approx(moments[order - 1].item(), rel=1e-11)


def test_haar_random_eigenvectors_make_the_mixed_moments():
    """Average τ(Q D Qᵀ A_1 …) over Q: the formula up to terms of order 1 / dimension²."""
    size, draws = 120, 100
    spectrum = torch.linspace(0, 1, size, dtype=torch.float64) ** 3 * 4
    first, second = (normal(size, size, seed=seed) / size**0.5 for seed in (1, 2))
    first = first @ first.T
    second = second + first @ first  # depends on the first, and is not symmetric
    words = {2: [first, second], 3: [second, first, second], 4: [first, second, second, first]}
    cumulants = free_cumulants(trace_moments(torch.diag(spectrum), 4))
    draw = torch.Generator().manual_seed(0)
    found = {order: [] for order in words}
    for _ in range(draws):
        rotation = haar_orthogonal(size, draw)
        matrix = rotation * spectrum @ rotation.T
        for order, word in words.items():
            found[order].append(tau(*(factor for a in word for factor in (matrix, a))))
    for order, word in words.items():
        values = torch.tensor(found[order], dtype=torch.float64)
        mean, standard_error = values.mean().item(), values.std().item() / draws**0.5
        assert standard_error < 0.02 * mean
        assert mixed_moment(cumulants, word) == pytest.approx(mean, abs=3 * standard_error)
        # If M commuted with the others and were independent of them
        apart = spectrum.pow(order).mean().item() * tau(*word)
        assert abs(apart - mean) > 10 * standard_error


def test_haar_orthogonal_matrices_have_no_preferred_sign():
    draw = torch.Generator().manual_seed(0)
    corners = []
    for _ in range(400):
        rotation = haar_orthogonal(3, draw)
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
        corners.append(rotation.diagonal())
    # Entries are uniform on [−1, 1]: a mean of 400 has the standard error 0.03. The signs of
    # Householder reflections would make the first entry negative throughout, with mean −1/2.
    assert torch.stack(corners).mean(dim=0).abs().max() < 0.1
    assert torch.stack(corners).square().mean(dim=0).sub(1 / 3).abs().max() < 0.06
    assert haar_orthogonal(3, draw, torch.float32).dtype == torch.float32


def test_refuses_what_has_no_answer():
    with pytest.raises(ValueError, match="at least one element to partition, got 0"):
        noncrossing_partitions(0)
    with pytest.raises(ValueError, match=r"do not cross, got \(\(1, 3\), \(2, 4\)\)"):
        kreweras_complement([(1, 3), (2, 4)])
    for blocks in ([(1, 2), (2, 3)], [(1, 3)], [(0, 1)], []):
        with pytest.raises(ValueError, match="each of 1, …, p once"):
            kreweras_complement(blocks)
    with pytest.raises(ValueError, match=r"shape \(p,\), p > 0, got \(2, 2\)"):
        free_cumulants(torch.eye(2))
    with pytest.raises(ValueError, match=r"got \(0,\)"):
        free_cumulants(torch.ones(0))
    with pytest.raises(ValueError, match=r"square matrices of one shape, got \(2, 3\)"):
        trace_moments(torch.ones(2, 3), 2)
    with pytest.raises(ValueError, match="at least one moment to compute, got 0"):
        trace_moments(torch.eye(2), 0)
    with pytest.raises(ValueError, match="expected 2 free cumulants for a word with 2 matrices"):
        mixed_moment(torch.ones(1), [torch.eye(2)] * 2)
    with pytest.raises(ValueError, match=r"got \(2, 2\), \(3, 3\)"):
        mixed_moment(torch.ones(2), [torch.eye(2), torch.eye(3)])
    with pytest.raises(ValueError, match="got no matrix"):
        mixed_moment(torch.ones(2), [])
    with pytest.raises(ValueError, match="size of at least 1, got 0"):
        haar_orthogonal(0, torch.Generator())
