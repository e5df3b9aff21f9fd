import math

import numpy as np
import pytest
import torch
from tiny_runs import MLP, changed, complete, completed, make_run, values

from feature_alignment.data.disk import grid_points, random_points
from feature_alignment.data.yin_yang import EYE, RADIUS, yin_yang_labels
from feature_alignment.papers.baratin2021.kernel_maps import (
    LABELS,
    SHOWN,
    boundary,
    class_correlation,
)

from reference import kernels as reference

SIDE, STEPS = 12, [0, 3, 20]
SETTINGS = {
    "variant": "yin_yang",
    "n_train": 30,
    "model": changed(MLP, width=9, initialisation="pytorch"),
    "learning_rate": 0.2,
    "measure": {"grid": SIDE, "steps": [20, 0, 3]},
}


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_yin_and_yang_is_its_own_opposite_turned_by_half():
    points = random_points(5000, torch.Generator().manual_seed(0))
    labels = yin_yang_labels(points)
    assert torch.equal(yin_yang_labels(-points), -labels)
    assert labels.dtype == torch.float32
    outside = points.norm(dim=1) > RADIUS
    assert torch.equal(labels[outside], torch.sign(points[outside, 0]))


@pytest.mark.parametrize("sign", [1, -1])
def test_halves_and_eyes_of_the_yin_and_yang(sign):
    half = RADIUS / 2
    left_of_the_upper_middle = (-0.5 * half, half)
    places = [left_of_the_upper_middle, (0, half), (0, half * (1 - 1.01 * EYE)), (0.9 * RADIUS, 0)]
    labels = yin_yang_labels(sign * torch.tensor(places))
    assert (sign * labels).tolist() == [1, -1, 1, 1]


def test_cells_at_the_boundary_have_a_neighbour_of_the_other_class():
    labels = LABELS["disk"](grid_points(SIDE)).reshape(SIDE, SIDE)
    found = boundary(labels)
    for i in range(SIDE):
        for j in range(SIDE):
            near = [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
            near = [labels[a, b] for a, b in near if 0 <= a < SIDE and 0 <= b < SIDE]
            assert found[i, j] == any(label != labels[i, j] for label in near)
    assert not boundary(torch.ones(4, 4)).any()


def test_the_class_correlation_is_the_mean_of_correlations_of_rows():
    features, labels = draw(20, 7), torch.where(draw(20, seed=1) > 0.3, 1.0, -1.0)
    kernel = features @ features.T
    rows = [np.corrcoef(row, sign * labels)[0, 1] for row, sign in zip(kernel, labels, strict=True)]
    assert class_correlation(kernel, labels) == pytest.approx(np.mean(rows), rel=1e-10)


def test_of_the_kernel_of_the_labels_it_is_one_and_of_random_features_near_zero():
    labels = torch.where(draw(400, seed=2) > 0, 1.0, -1.0)
    assert class_correlation(torch.outer(labels, labels), labels) == pytest.approx(1, rel=1e-12)
    features = draw(400, 300, seed=3)
    # The null: of 400 rows, each with a deviation of 1/√400, that go together little
    assert abs(class_correlation(features @ features.T, labels)) < 4 / math.sqrt(400)


def tiny(folder, **changes):
    return make_run("kernel_maps", changed(SETTINGS, **changes), folder)


@pytest.fixture(scope="module", params=["disk", "yin_yang"])
def finished(tmp_path_factory, request):
    run = tiny(tmp_path_factory.mktemp("finished"), variant=request.param)
    network, _ = completed(run)
    with np.load(run.out.with_suffix(".npz"), allow_pickle=False) as arrays:
        return run, network, dict(arrays)


def kernel_of(network, points):
    rows = torch.cat(
        [part.double() for part in reference.jacobians(network, points).values()], dim=2
    )[:, 0]
    return rows @ rows.T


def test_maps_are_those_of_the_kernel_written_out(finished):
    _, network, arrays = finished
    network, points = network.double(), grid_points(SIDE).double()
    kernel = kernel_of(network, points)
    shape = (SIDE, SIDE)
    single = {"rtol": 1e-4, "atol": 1e-5}  # kept in float32
    norms = kernel.diagonal().sqrt().reshape(shape)
    np.testing.assert_allclose(arrays["gradient_norms"][-1], norms, **single)
    for cut, at, near in zip(arrays["cuts"][-1], arrays["points"], SHOWN, strict=True):
        assert np.abs(at - near).max() <= 1 / SIDE + 1e-6
        cell = int((points - torch.from_numpy(at).double()).norm(dim=1).argmin())
        np.testing.assert_allclose(cut, kernel[cell].reshape(shape), **single)
    with torch.no_grad():
        np.testing.assert_allclose(
            arrays["outputs"][-1], network(points)[:, 0].reshape(shape), **single
        )
    centred = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    first = torch.from_numpy(arrays["eigenfunctions"][-1]).double().flatten() / SIDE
    largest = torch.linalg.eigvalsh(centred)[-1]
    assert (first @ centred @ first).item() == pytest.approx(largest.item(), rel=1e-4)


def test_measures_are_those_of_the_kernel_written_out(finished):
    run, network, _ = finished
    found, points = values(run), grid_points(SIDE)
    kernel = kernel_of(network.double(), points.double())
    variant = run.settings["variant"]
    [other] = set(LABELS) - {variant}
    y, another = (LABELS[name](points) for name in (variant, other))
    near = boundary(y.reshape(SIDE, SIDE)).flatten()
    norms, centred = kernel.diagonal().sqrt(), y.double() - y.double().mean()
    about_mean = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    alignment = centred @ about_mean @ centred / (about_mean.norm() * centred.square().sum())
    expected = {
        "alignment_centered": alignment.item(),
        "class_correlation": class_correlation(kernel, y),
        "class_correlation_other": class_correlation(kernel, another),
        "boundary_ratio": (norms[near].mean() / norms[~near].mean()).item(),
    }
    for measure, value in expected.items():
        # y − mean y of the alignment is taken in float32
        within = 1e-6 if measure == "alignment_centered" else 1e-10
        assert found[STEPS[-1], measure, "grid", None] == pytest.approx(value, rel=within)
    assert {step for step, *_ in found} == set(STEPS)


def test_the_seed_alone_decides_table_and_maps(tmp_path):
    contents = []
    for name in ("first", "second"):
        run = tiny(tmp_path / name)
        contents.append((complete(run), run.out.with_suffix(".npz").read_bytes()))
    assert contents[0] == contents[1]
