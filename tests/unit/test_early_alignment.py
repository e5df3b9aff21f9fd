"""The first step of a quadratic network: its formulas, their prediction, and the run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import changed, make_run

from feature_alignment.measures.ansatz import ansatz_correlations, matrix_correlations
from feature_alignment.measures.early_alignment import (
    InitialMatrices,
    early_feature_matrices,
    expected_matrices,
    initial_matrices,
    predicted_cosine,
    unrelated_correlations,
)
from feature_alignment.measures.orthogonal import haar_orthogonal
from feature_alignment.models.quadratic import quadratic_network
from feature_alignment.papers.beaglehole2024.early_alignment import (
    build_network,
    complete,
    correlations_after_step,
    draw_readout,
    power_law,
    quadratic_teacher,
    teacher_labels,
)
from feature_alignment.run.schema import read_settings, validate
from feature_alignment.tables import read_table

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "seeds": 2,
    "sizes": [
        {"dimension": 12, "width": 6, "examples": 40},
        {"dimension": 16, "width": 20, "examples": 50},
        {"dimension": 12, "width": 6, "examples": None},
    ],
    "alphas": [0, 1.5],
    "epsilons": [0, 0.5],
    "readouts": ["normal", "student_t"],
    "degrees_of_freedom": 3,
    "output_scale": 0.3,
    "step": 1e-5,
    "check": 12,
}
CONDITIONS = ["dimension", "width", "examples", "alpha", "epsilon", "readout"]


def normal(*shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=draw)


def drawn(dimension=8, width=5, examples=30):
    """Weight, readout, inputs and labels, with the network's output as large as the labels."""
    readout = normal(width, seed=1) / width**0.5
    network = quadratic_network(dimension, readout, torch.Generator().manual_seed(2))
    inputs = normal(examples, dimension, seed=3) * power_law(dimension, 1.0).sqrt()
    return network, readout, inputs, normal(examples, seed=4)


def start_of(network, readout, inputs, labels):
    return initial_matrices(network.linear1.weight.detach(), readout, inputs, labels)


def looped(weight, readout, inputs, labels):
    """M, R, Σ, F̈ and G̈ entry by entry, as their formulas are written."""
    weight, readout, inputs, labels = (np.asarray(v) for v in (weight, readout, inputs, labels))
    size, count = weight.shape[1], len(inputs)
    gram, residual, covariance = (np.zeros((size, size)) for _ in range(3))
    outputs = [sum(a * (w @ x) ** 2 for a, w in zip(readout, weight, strict=True)) for x in inputs]
    for i in range(size):
        for j in range(size):
            gram[i, j] = sum(a**2 * w[i] * w[j] for a, w in zip(readout, weight, strict=True))
            for x, y, f in zip(inputs, labels, outputs, strict=True):
                residual[i, j] += (y - f) * x[i] * x[j] / count
                covariance[i, j] += x[i] * x[j] / count
    nfm = residual @ gram @ residual
    agop = residual @ gram @ covariance @ gram @ residual
    return gram, residual, covariance, nfm, agop


def cosine(first, second):
    return np.sum(first * second) / np.sqrt(np.sum(first**2) * np.sum(second**2))


def freely_predicted(gram, residual, covariance):
    """The predicted cosine from the formulas of two and three M, with four M by Möbius inversion.

    κ_4 = m_4 − 4 m_3 m_1 − 2 m_2² + 10 m_2 m_1² − 5 m_1⁴; the word of four has a = Σ and b = R²
    in turn, which leaves nine kinds of terms.
    """

    def tau(*factors):
        return np.trace(np.linalg.multi_dot([np.eye(len(gram)), *factors])) / len(gram)

    m1, m2, m3, m4 = (tau(*[gram] * n) for n in range(1, 5))
    k1, k2, k3 = m1, m2 - m1**2, m3 - 3 * m2 * m1 + 2 * m1**3
    k4 = m4 - 4 * m3 * m1 - 2 * m2**2 + 10 * m2 * m1**2 - 5 * m1**4
    a, b = covariance, residual @ residual
    ta, tb, tab = tau(a), tau(b), tau(a, b)
    inner = k1**3 * tau(b, a, b) + k2 * k1 * (2 * tb * tab + ta * tau(b, b)) + k3 * tb * ta * tb
    nfm = k1**2 * tau(b, b) + k2 * tb**2
    agop = (
        k1**4 * tau(a, b, a, b)
        + 2 * k2 * k1**2 * (ta * tau(b, a, b) + tb * tau(a, b, a) + tab**2)
        + k2**2 * (ta**2 * tau(b, b) + tb**2 * tau(a, a))
        + 4 * k3 * k1 * tab * ta * tb
        + k4 * ta**2 * tb**2
    )
    return inner / np.sqrt(nfm * agop)


def test_the_matrices_are_those_of_the_loops():
    network, *rest = drawn()
    start = start_of(network, *rest)
    found = (start.gram, start.residual, start.covariance, *early_feature_matrices(start))
    for value, expected in zip(found, looped(network.linear1.weight.detach(), *rest), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-13)


def test_expectations_are_the_limit_of_many_examples():
    network, readout, *_ = drawn(dimension=4)
    weight, values = network.linear1.weight.detach(), power_law(4, 1.0)
    teacher = quadratic_teacher(values, 0.5, torch.Generator().manual_seed(0))
    expected = expected_matrices(weight, readout, teacher, torch.diag(values))
    errors = []
    for examples in (4_000, 400_000):
        inputs = normal(examples, 4, seed=1) * values.sqrt()
        found = initial_matrices(weight, readout, inputs, teacher_labels(teacher, values, inputs))
        assert torch.equal(found.gram, expected.gram)
        errors.append(
            [(found.residual - expected.residual).norm(), (found.covariance.diag() - values).norm()]
        )
    # Errors of a hundred times as many examples: a tenth of these, within a factor of two
    assert errors[1][0] < 0.02 * expected.residual.norm()
    assert all(later < errors[0][place] / 5 for place, later in enumerate(errors[1]))
    # The output's mean counts: without it the residual would be another one
    mean = (readout * (weight.square() @ values)).sum()
    assert (mean * values).norm() > 0.2 * expected.residual.norm()


def test_they_are_the_ansatz_of_the_first_step():
    """The same two matrices, from the weight change and the pre-activation covariance."""
    network, readout, *data = drawn()
    start = start_of(network, readout, *data)
    scaled = readout[:, None] * network.linear1.weight.detach()
    expected = ansatz_correlations(scaled @ start.residual, scaled @ start.covariance @ scaled.T)
    found = matrix_correlations(*early_feature_matrices(start))
    assert found.cosine == pytest.approx(expected.cosine, abs=1e-12)
    assert found.pearson == pytest.approx(expected.pearson, abs=1e-12)


def test_one_step_of_training_gives_the_formula():
    network, readout, inputs, labels = drawn()
    start = start_of(network, readout, inputs, labels)
    expected = matrix_correlations(*early_feature_matrices(start)).cosine
    weight = network.linear1.weight.detach().clone()
    errors = []
    for step in (1e-4, 1e-5, 1e-6):
        network.linear1.weight.data.copy_(weight)
        errors.append(correlations_after_step(network, inputs, labels, step).cosine - expected)
    assert abs(errors[2]) < 1e-5
    # What remains comes from the change of K and is linear in the step
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)
    # The residual counts, not the label: the outputs are as large as the labels here
    outputs = network(inputs).detach()[:, 0]
    labels_alone = start_of(network, readout, inputs, labels + outputs)
    wrong = matrix_correlations(*early_feature_matrices(labels_alone)).cosine
    assert abs(wrong - expected) > 1e-2


def test_a_gram_that_is_the_identity_leaves_nothing_to_predict():
    """All free cumulants of the identity but the first are zero, and it is free from everything."""
    data = normal(50, 10, seed=5) * power_law(10, 1.5).sqrt(), normal(50, seed=6)
    weight = haar_orthogonal(10, torch.Generator().manual_seed(0))
    start = initial_matrices(weight, torch.tensor([1.0, -1.0] * 5), *data)
    observed = matrix_correlations(*early_feature_matrices(start)).cosine
    assert observed < 0.99
    assert predicted_cosine(start) == pytest.approx(observed, abs=1e-12)


def test_the_prediction_holds_for_free_and_fails_for_other_matrices():
    size = 200
    spectrum = torch.linspace(0, 1, size, dtype=torch.float64) ** 2
    covariance = torch.diag(power_law(size, 0.5))
    residual = normal(size, size, seed=7)
    residual = (residual + residual.T) / size**0.5 + covariance
    draw = torch.Generator().manual_seed(0)
    for _ in range(3):
        rotation = haar_orthogonal(size, draw)
        free = InitialMatrices(rotation * spectrum @ rotation.T, residual, covariance)
        observed = matrix_correlations(*early_feature_matrices(free)).cosine
        # Traces of a single rotation fluctuate by about one part in the dimension
        assert predicted_cosine(free) == pytest.approx(observed, rel=0.02)
    values, vectors = torch.linalg.eigh(residual)
    order = values.abs().argsort(descending=True)  # the least weight where R is largest
    own = vectors[:, order] * spectrum @ vectors[:, order].T
    bound = InitialMatrices(own, residual, covariance)
    observed = matrix_correlations(*early_feature_matrices(bound)).cosine
    assert predicted_cosine(bound) > 1.04 * observed


def test_unrelated_matrices_correlate_as_their_traces_do():
    first, second = (normal(20, 20, seed=seed) for seed in (1, 2))
    first, second = first @ first.T, second @ second.T
    draw = torch.Generator().manual_seed(0)
    found = [unrelated_correlations(first, second, draw) for _ in range(200)]
    expected = (first.trace() * second.trace() / (20 * first.norm() * second.norm())).item()
    # Single draws spread by about 0.03
    assert np.mean([value.cosine for value in found]) == pytest.approx(expected, abs=0.01)
    # Entries about their mean keep the common diagonal
    assert 0.1 < np.mean([value.pearson for value in found]) < expected
    same = unrelated_correlations(first, second, torch.Generator().manual_seed(0))
    assert same == found[0]


def test_the_network_is_its_formula():
    readout = normal(5)
    network = quadratic_network(7, readout, torch.Generator().manual_seed(1))
    assert [name for name, _ in network.named_children()] == ["linear1", "activation1", "linear2"]
    inputs, weight = normal(9, 7, seed=2), network.linear1.weight
    expected = sum(readout[i] * (inputs @ weight[i]) ** 2 for i in range(5))
    torch.testing.assert_close(network(inputs)[:, 0], expected, rtol=1e-12, atol=1e-14)
    trained = [name for name, value in network.named_parameters() if value.requires_grad]
    assert trained == ["linear1.weight"]
    again = quadratic_network(7, readout, torch.Generator().manual_seed(1))
    assert torch.equal(weight, again.linear1.weight)
    wide = quadratic_network(400, normal(100), torch.Generator().manual_seed(1)).linear1.weight
    assert wide.var().item() == pytest.approx(1 / 400, rel=0.03)  # 40 000 draws: 0.7 %


def test_readouts_have_variance_one_and_heavier_tails():
    plain, heavy = (
        draw_readout(name, 200_000, 5, torch.Generator().manual_seed(3))
        for name in ("normal", "student_t")
    )
    for readout in (plain, heavy):
        assert readout.mean().item() == pytest.approx(0, abs=0.01)
        assert readout.var().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(plain.sign(), heavy.sign())  # the same Gaussian numbers
    assert plain.pow(4).mean() < 3.1 < 5 < heavy.pow(4).mean()  # 9 for 5 degrees of freedom


def test_the_parts_of_the_teacher_weigh_the_same():
    eigenvalues = power_law(6, 1.5)
    assert eigenvalues.mean().item() == pytest.approx(1, rel=1e-12)
    assert (eigenvalues[0] / eigenvalues[3]).item() == pytest.approx(8, rel=1e-12)

    def expected_residual(epsilon, alpha=1.5):
        values = power_law(6, alpha)
        teacher = quadratic_teacher(values, epsilon, torch.Generator().manual_seed(0))
        torch.testing.assert_close(teacher, teacher.T, rtol=0, atol=0)
        product = teacher * values
        assert 2 * (product @ product).trace().item() == pytest.approx(1, rel=1e-12)
        return 2 * torch.outer(values, values) * teacher

    def unit(matrix):
        return matrix / matrix.norm()

    aligned, independent = unit(expected_residual(0)), unit(expected_residual(1))
    torch.testing.assert_close(aligned, unit(torch.diag(eigenvalues)))
    torch.testing.assert_close(independent, unit(expected_residual(1, alpha=0.0)))
    assert torch.linalg.eigvalsh(independent)[0] < -0.1
    torch.testing.assert_close(unit(expected_residual(0.5)), unit(aligned + independent))
    torch.testing.assert_close(unit(expected_residual(0.2)), unit(4 * aligned + independent))


def test_labels_have_the_moments_that_the_teacher_is_made_for():
    values = power_law(4, 1.0)
    teacher = quadratic_teacher(values, 0.5, torch.Generator().manual_seed(0))
    inputs = normal(400_000, 4, seed=1) * values.sqrt()
    labels = teacher_labels(teacher, values, inputs)
    assert labels.mean().item() == pytest.approx(0, abs=0.01)
    assert labels.var().item() == pytest.approx(1, abs=0.02)
    residual = inputs.T @ (labels[:, None] * inputs) / len(inputs)
    expected = 2 * torch.outer(values, values) * teacher
    # The standard error of an entry is about 4 / √400 000
    torch.testing.assert_close(residual, expected, rtol=0, atol=0.05)
    assert expected.abs().max() > 0.3


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = make_run(
        "early_alignment", SETTINGS, tmp_path_factory.mktemp("run"), paper="beaglehole2024"
    )
    complete(run)
    return run


def by_part(run):
    table = read_table(run.out, CONDITIONS)
    assert set(zip(table["step"], table["epoch"], strict=True)) == {(0, 0.0)}
    wide = table.pivot(index=CONDITIONS, columns="measure", values="value")
    assert int(wide.notna().sum().sum()) == len(table)
    return wide


def test_every_part_is_measured(finished):
    parts = by_part(finished)
    assert len(parts) == 3 * 2 * 2 * 2
    checked = parts.index.get_level_values("examples") == 40
    for measure in ("trained_cosine", "trained_error"):
        assert parts[measure].notna().tolist() == checked.tolist()
    assert parts.drop(columns=["trained_cosine", "trained_error"]).notna().all(axis=None)
    errors = parts["predicted_cosine"] / parts["observed_cosine"] - 1
    np.testing.assert_allclose(parts["relative_error"], errors, rtol=0, atol=1e-12)
    assert parts["trained_error"].max() < 1e-3
    differences = (parts["trained_cosine"] - parts["observed_cosine"]).abs()
    np.testing.assert_allclose(parts["trained_error"], differences, rtol=0, atol=1e-12)
    assert parts["observed_cosine"].nunique() == len(parts)


@pytest.mark.parametrize("part", [(12, 6, 40, 1.5, 0.5, "normal"), (16, 20, 50, 0, 0, "student_t")])
def test_the_table_holds_what_loops_give(finished, part):
    dimension, width, examples, alpha, epsilon, distribution = part
    readout = (
        draw_readout(distribution, width, 3, finished.generator("init", 1, dimension, width))
        * 0.3
        / width**0.5
    )
    network = quadratic_network(dimension, readout, finished.generator("init", 0, dimension, width))
    eigenvalues = power_law(dimension, alpha)
    inputs = torch.randn(
        examples, dimension, dtype=torch.float64,
        generator=finished.generator("probe", 0, dimension, examples),
    ) * eigenvalues.sqrt()  # fmt: skip
    teacher = quadratic_teacher(eigenvalues, epsilon, finished.generator("labels", dimension))
    labels = [float(x @ teacher @ x - (teacher @ torch.diag(eigenvalues)).trace()) for x in inputs]
    *matrices, nfm, agop = looped(network.linear1.weight.detach(), readout, inputs, labels)
    found = by_part(finished).loc[part]
    assert found["observed_cosine"] == pytest.approx(cosine(nfm, agop), abs=1e-10)
    centred = cosine(nfm - nfm.mean(), agop - agop.mean())
    assert found["observed_pearson"] == pytest.approx(centred, abs=1e-10)
    assert found["predicted_cosine"] == pytest.approx(freely_predicted(*matrices), rel=1e-9)
    draw = finished.generator("probe", 1, dimension)
    rotation = haar_orthogonal(dimension, draw).numpy()
    turned = cosine(rotation @ nfm @ rotation.T, agop)
    assert found["unrelated_cosine"] == pytest.approx(turned, abs=1e-10)


def test_without_examples_the_table_holds_expectations(finished):
    alpha, epsilon = 1.5, 0.5
    network = build_network(finished, 12, 6, "normal")
    weight, readout = network.linear1.weight.detach(), network.linear2.weight[0]
    covariance = torch.diag(power_law(12, alpha))
    teacher = quadratic_teacher(covariance.diagonal(), epsilon, finished.generator("labels", 12))
    difference = teacher - sum(readout[i] * torch.outer(weight[i], weight[i]) for i in range(6))
    gram = sum(readout[i] ** 2 * torch.outer(weight[i], weight[i]) for i in range(6))
    residual = torch.zeros(12, 12, dtype=torch.float64)
    variances = covariance.diagonal()
    for i in range(12):
        # E[x_j² x_i²] = λ_j λ_i, three times that for i = j; labels have the mean 0
        of_own = sum(
            difference[j, j] * variances[j] * variances[i] * (3 if i == j else 1) for j in range(12)
        )
        residual[i, i] = of_own - (teacher.diagonal() @ variances) * variances[i]
        for j in range(12):
            if i != j:
                residual[i, j] = 2 * difference[i, j] * variances[i] * variances[j]
    nfm = residual @ gram @ residual
    agop = residual @ gram @ covariance @ gram @ residual
    found = by_part(finished).loc[(12, 6, np.inf, alpha, epsilon, "normal")]
    assert found["observed_cosine"] == pytest.approx(cosine(*map(np.asarray, (nfm, agop))))
    matrices = map(np.asarray, (gram, residual, covariance))
    assert found["predicted_cosine"] == pytest.approx(freely_predicted(*matrices), rel=1e-9)


def test_the_same_seed_gives_the_same_bytes(finished, tmp_path):
    for seed, same in ((0, True), (1, False)):
        run = make_run("early_alignment", SETTINGS, tmp_path, seed=seed, paper="beaglehole2024")
        complete(run)
        if same:
            assert run.out.read_bytes() == finished.out.read_bytes()
        else:
            observed = by_part(run)["observed_cosine"]
            assert not np.isclose(observed, by_part(finished)["observed_cosine"]).any()


def test_the_settings_are_those_of_the_schema():
    schemas = read_settings(ROOT / "papers/beaglehole2024/settings.yaml", ROOT / "workflow/schemas")
    schema = schemas["early_alignment"]
    validate(SETTINGS, schema, "settings")
    for name, value in (
        ("alpha", [0]),
        ("sizes", []),
        ("sizes", [{"dimension": 8, "width": 8}]),
        ("sizes", SETTINGS["sizes"][:1] * 2),
        ("epsilons", [1.5]),
        ("sizes", [{"dimension": 8, "width": 8, "examples": 0}]),
        ("readouts", ["cauchy"]),
        ("degrees_of_freedom", 2),
        ("output_scale", 0),
        ("step", 0),
        ("check", 1.5),
    ):
        with pytest.raises(ValueError, match=name):
            validate(changed(SETTINGS, **{name: value}), schema, "settings")


def test_refuses_what_does_not_fit():
    network, readout, inputs, labels = drawn()
    weight = network.linear1.weight.detach()
    with pytest.raises(ValueError, match=r"readout of shape \(5,\).*got \(4,\)"):
        initial_matrices(weight, readout[:4], inputs, labels)
    with pytest.raises(ValueError, match=r"inputs of shape \(30, 8\).*got \(30, 7\)"):
        initial_matrices(weight, readout, inputs[:, :7], labels)
    with pytest.raises(ValueError, match=r"inputs of shape \(29, 8\).*got \(30, 8\)"):
        initial_matrices(weight, readout, inputs, labels[:29])
    with pytest.raises(ValueError, match=r"labels of shape \(30,\).*got \(30, 1\)"):
        initial_matrices(weight, readout, inputs, labels[:, None])
    square = torch.eye(8)
    with pytest.raises(ValueError, match=r"teacher of shape \(8, 8\).*got \(7, 7\)"):
        expected_matrices(weight, readout, square[:7, :7], square)
    with pytest.raises(ValueError, match=r"covariance of shape \(8, 8\).*got \(8,\)"):
        expected_matrices(weight, readout, square, square[0])
    with pytest.raises(ValueError, match=r"readout of shape \(width,\), got \(1, 5\)"):
        quadratic_network(8, readout[None], torch.Generator())
    with pytest.raises(ValueError, match=r"one shape, got \(8, 8\) and \(5, 8\)"):
        unrelated_correlations(inputs.T @ inputs, weight, torch.Generator())
    with pytest.raises(ValueError, match="unknown distribution 'cauchy'.*normal or student_t"):
        draw_readout("cauchy", 4, 3, torch.Generator())
    with pytest.raises(ValueError, match="at least 3 degrees of freedom.*got 2"):
        draw_readout("student_t", 4, 2, torch.Generator())
    with pytest.raises(ValueError, match=r"epsilon in \[0, 1\], got 1.5"):
        quadratic_teacher(power_law(4, 0), 1.5, torch.Generator())
