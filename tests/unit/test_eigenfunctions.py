import math

import numpy as np
import pytest
import torch
from tiny_runs import (
    MLP,
    Killed,
    changed,
    complete,
    completed,
    kill_at,
    make_run,
    perform_run,
    values,
)

from feature_alignment.data.disk import disk_labels, grid_points
from feature_alignment.models.build import build
from feature_alignment.papers.baratin2021.eigenfunctions import (
    LEADING,
    RANKS,
    RINGS,
    Eigenfunctions,
)
from feature_alignment.tables import read_table

from reference import kernels as reference

SIDE, POINTS = 20, 40
SETTINGS = {
    "variant": "disk",
    "n_train": POINTS,
    "model": changed(MLP, width=12, initialisation="pytorch"),
    "learning_rate": 0.2,
    "measure": {"grid": SIDE, "steps": [20, 0, 3]},
}
STEPS = [0, 3, 20]
KERNEL_MEASURES = ("alignment", "eigenvalue_ratio", "effective_rank", "label_energy")


RADII = [(k + 0.5) / RINGS for k in range(RINGS)]


def tiny(folder, *, seed=0, **changes):
    return make_run("eigenfunctions", changed(SETTINGS, **changes), folder, seed=seed)


def arrays_of(run):
    with np.load(run.out.with_suffix(".npz"), allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run with its images and its network at the end."""
    run = tiny(tmp_path_factory.mktemp("finished"))
    network, _ = completed(run)
    return run, arrays_of(run), network


def network_at(finished, step):
    run, _, network = finished
    if not step:
        network = build(SETTINGS["model"], (2,), 1, run.generator("init"))
    return network.double().eval()


def kernel_at(finished, step, kind):
    """Return the kernel on the grid, (n, n), from Jacobians written out."""
    n = SIDE**2
    points = grid_points(SIDE).double()
    rows = torch.cat(list(reference.jacobians(network_at(finished, step), points).values()), dim=2)
    matrix = reference.kernel(rows).reshape(n, n)
    if kind == "uncentered":
        return matrix
    centring = torch.eye(n, dtype=torch.float64) - torch.full((n, n), 1 / n, dtype=torch.float64)
    return centring @ matrix @ centring


def targets():
    labels = disk_labels(grid_points(SIDE), "disk").double()
    return labels - labels.mean()


def test_every_measure_is_read_at_every_step(finished):
    run, _, _ = finished
    expected = {
        *((m, "train", None) for m in ("loss", "accuracy")),
        *((m, "grid", None) for m in ("accuracy", "trace")),
        *((f"{m}_{k}", "grid", None) for m in KERNEL_MEASURES for k in ("centered", "uncentered")),
        *(("angular_mean", "grid", None, radius) for radius in RADII),
    }
    assert set(values(run)) == {(step, *place) for step in STEPS for place in expected}
    assert read_table(run.out)["step"].drop_duplicates().tolist() == STEPS


@pytest.mark.parametrize("step", [0, 20])
@pytest.mark.parametrize("kind", ["centered", "uncentered"])
def test_kernel_measures_are_those_of_the_kernel_written_out(finished, step, kind):
    kernel, y = kernel_at(finished, step, kind), targets()
    spectrum, vectors = torch.linalg.eigh(kernel)
    spectrum, vectors = spectrum.flip(0).clamp(min=0), vectors.flip(1)
    shares = spectrum / spectrum.sum()
    shares = shares[shares > 0]
    energy = (vectors[:, :LEADING].T @ y).square().sum() / y.square().sum()
    expected = {
        "alignment": y @ kernel @ y / (torch.linalg.matrix_norm(kernel) * y.square().sum()),
        "eigenvalue_ratio": spectrum[19] / spectrum[0],
        "effective_rank": torch.exp(-(shares * shares.log()).sum()),
        "label_energy": energy,
    }
    found = values(finished[0])
    for measure, value in expected.items():
        # Float32 against float64; small eigenvalues are differences of large numbers
        assert found[step, f"{measure}_{kind}", "grid", None] == pytest.approx(
            value.item(), rel=2e-3
        )
    assert 0 <= found[step, f"label_energy_{kind}", "grid", None] <= 1


@pytest.mark.parametrize("step", [0, 20])
def test_trace_and_fits_are_those_of_the_network(finished, step):
    run, _, _ = finished
    network, found = network_at(finished, step), values(run)
    trace = kernel_at(finished, step, "uncentered").trace().item() / SIDE**2
    assert found[step, "trace", "grid", None] == pytest.approx(trace, rel=1e-5)  # float32
    grid = grid_points(SIDE)
    right = (network(grid.double())[:, 0] > 0) == (disk_labels(grid, "disk") > 0)
    assert found[step, "accuracy", "grid", None] == right.double().mean().item()
    draw = run.generator("subset")
    points = 2 * torch.rand(POINTS, 2, generator=draw) - 1
    signs = torch.where(points.square().sum(dim=1) <= 2 / math.pi, 1.0, -1.0)
    outputs = network(points.double())[:, 0]
    loss = torch.log(1 + torch.exp(-signs * outputs)).mean().item()
    assert found[step, "loss", "train", None] == pytest.approx(loss, rel=1e-5)
    right = (outputs.sign() == signs).double().mean().item()
    assert found[step, "accuracy", "train", None] == right


def test_training_is_gradient_descent_on_all_points(finished):
    run, _, end = finished
    network = network_at(finished, 0)
    points = 2 * torch.rand(POINTS, 2, generator=run.generator("subset")) - 1
    signs = disk_labels(points, "disk").double()
    for _ in range(20):
        network.zero_grad()
        torch.log(1 + torch.exp(-signs * network(points.double())[:, 0])).mean().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.2 * parameter.grad
    for one, other in zip(network.parameters(), end.double().parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)  # float32, 20 steps


def test_images_have_the_stated_shapes(finished):
    images = finished[1]
    assert images["steps"].tolist() == STEPS
    assert images["ranks"].tolist() == list(RANKS)
    assert images["eigenfunctions"].shape == (len(STEPS), len(RANKS), SIDE, SIDE)
    assert images["outputs"].shape == (len(STEPS), SIDE, SIDE)
    assert {images[name].dtype for name in ("eigenfunctions", "outputs")} == {np.dtype("float32")}
    assert set(images) == {"steps", "ranks", "eigenfunctions", "outputs"}


def test_outputs_are_rows_from_the_lowest(finished):
    _, images, _ = finished
    for place, step in ((0, 0), (2, 20)):
        network = network_at(finished, step)
        for row, column in ((0, 0), (0, 19), (7, 3), (19, 0)):
            point = [(2 * column + 1) / SIDE - 1, (2 * row + 1) / SIDE - 1]
            output = network(torch.tensor([point], dtype=torch.float64)).item()
            found = images["outputs"][place, row, column]
            assert found == pytest.approx(output, abs=1e-5)  # float32


@pytest.mark.parametrize("place, step", [(0, 0), (2, 20)])
def test_images_are_eigenfunctions_of_the_centred_kernel_by_rank(finished, place, step):
    functions = finished[1]["eigenfunctions"][place].reshape(len(RANKS), -1).astype(float)
    n = SIDE**2
    # 1e-3: the kernel is float32
    np.testing.assert_allclose(functions @ functions.T / n, np.eye(len(RANKS)), atol=1e-3)
    np.testing.assert_allclose(functions.mean(axis=1), 0, atol=1e-3)
    kernel = kernel_at(finished, step, "centered").numpy()
    spectrum = np.linalg.eigvalsh(kernel)[::-1]
    for rank, function in zip(RANKS, functions, strict=True):
        image, largest = kernel @ function, spectrum[rank - 1]
        np.testing.assert_allclose(image, largest * function, atol=1e-3 * spectrum[0])
        assert function[np.abs(function).argmax()] > 0


@pytest.mark.parametrize("step", [0, 20])
def test_angular_means_are_those_of_the_most_correlated_function(finished, step):
    vectors = np.linalg.eigh(kernel_at(finished, step, "centered").numpy())[1][:, ::-1]
    y = targets().numpy()
    correlations = [np.corrcoef(vectors[:, k], y)[0, 1] for k in range(LEADING)]
    best = int(np.argmax(np.abs(correlations)))
    function = vectors[:, best] / np.sqrt(np.mean(vectors[:, best] ** 2))
    if correlations[best] > 0:
        function = -function
    rings = {k: [] for k in range(RINGS)}
    for (x1, x2), value in zip(grid_points(SIDE).tolist(), function, strict=True):
        for k in rings:
            if k / RINGS <= math.hypot(x1, x2) < (k + 1) / RINGS:
                rings[k].append(value)
    found = values(finished[0])
    for radius, members in zip(RADII, rings.values(), strict=True):
        # 2e-3: eigenfunctions of a float32 kernel
        assert found[step, "angular_mean", "grid", None, radius] == pytest.approx(
            np.mean(members), abs=2e-3
        )


class Ring(torch.nn.Module):
    """f = w · s(x), whose centred kernel has one eigenfunction: s less its mean."""

    def __init__(self, weight):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(self.layer.weight, weight)

    def forward(self, x):
        return self.layer(x.square().sum(dim=1, keepdim=True))


@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_angular_means_rise_with_the_radius_where_the_function_is_the_radius(weight):
    readings = list(Eigenfunctions(SIDE, "disk", [0])(Ring(weight)))
    found = {reading.measure: reading.value for reading in readings}
    means = [reading.value for reading in readings if reading.measure == "angular_mean"]
    assert [reading.at for reading in readings if reading.measure == "angular_mean"] == RADII
    assert means == sorted(means)
    assert means[0] < 0 < means[-1]
    radii = grid_points(SIDE).double().square().sum(dim=1)
    centred = radii - radii.mean()
    expected = abs(torch.corrcoef(torch.stack([centred, targets()]))[0, 1].item())
    assert found["alignment_centered"] == pytest.approx(expected**2, rel=1e-5)  # float32
    assert found["effective_rank_centered"] == pytest.approx(1, abs=1e-3)
    norm = (radii @ radii).item()
    form = (radii @ targets()).item() ** 2 / (norm * targets().square().sum().item())
    assert found["alignment_uncentered"] == pytest.approx(form, rel=1e-4)
    assert found["trace"] == pytest.approx(norm / SIDE**2, rel=1e-5)


@pytest.mark.parametrize("variant", ["disk", "half_disk"])
def test_a_linear_network_has_its_known_kernel(variant):
    """f = w·x + b has K = x·x′ + 1: a constant and, equally strong, two slopes."""
    draw = torch.Generator().manual_seed(0)
    network = build(changed(SETTINGS["model"], hidden_layers=0), (2,), 1, draw)
    recorder = Eigenfunctions(SIDE, variant, [0])
    found = {reading.measure: reading.value for reading in recorder(network)}
    points = grid_points(SIDE).double()
    n, strength = SIDE**2, points[:, 0].square().sum().item()
    y = disk_labels(grid_points(SIDE), variant).double()
    y = y - y.mean()
    assert found["trace"] == pytest.approx(1 + 2 * strength / n, rel=1e-5)
    assert found["effective_rank_centered"] == pytest.approx(2, rel=1e-3)
    assert found["eigenvalue_ratio_centered"] == pytest.approx(0, abs=1e-6)
    shares = np.array([n, strength, strength]) / (n + 2 * strength)
    rank = np.exp(-(shares * np.log(shares)).sum())
    assert found["effective_rank_uncentered"] == pytest.approx(rank, rel=1e-3)
    slope = (y @ points).square().sum().item() / y.square().sum().item()
    expected = slope / (math.sqrt(2) * strength)
    assert found["alignment_centered"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert (expected > 0.02) == (variant == "half_disk")
    # The first two functions span the slopes, and the mean square of each is 1
    first, second = recorder.functions[0].reshape(len(RANKS), -1)[:2]
    slopes = points.numpy() / math.sqrt(strength)
    for function in (first, second):
        inside = slopes @ (slopes.T @ function)
        np.testing.assert_allclose(inside, function, atol=1e-4)
        assert np.mean(function**2) == pytest.approx(1)


def test_the_variant_of_the_labels_matters(finished, tmp_path):
    run = tiny(tmp_path, variant="half_disk")
    complete(run)
    first, second = values(finished[0]), values(run)
    assert first[20, "loss", "train", None] != second[20, "loss", "train", None]
    place = (0, "alignment_centered", "grid", None)
    assert first[place] != second[place]
    assert first[0, "trace", "grid", None] == second[0, "trace", "grid", None]
    with pytest.raises(ValueError, match="unknown variant 'ring'"):
        complete(tiny(tmp_path, variant="ring"))


def test_the_seed_alone_decides_table_and_images(finished, tmp_path):
    torch.manual_seed(99)
    runs = [finished[0], tiny(tmp_path), tiny(tmp_path, seed=1)]
    for run in runs[1:]:
        complete(run)
    for ending in (".csv", ".npz"):
        content, same, differs = (run.out.with_suffix(ending).read_bytes() for run in runs)
        assert same == content
        assert differs != content


def test_a_killed_run_leaves_nothing_and_starts_anew(finished, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, "binary_cross_entropy", 10)
        with pytest.raises(Killed):
            complete(tiny(tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert complete(tiny(tmp_path)) == finished[0].out.read_bytes()


@pytest.mark.usefixtures("restored_torch")
def test_the_program_writes_table_and_images(finished, tmp_path):
    run = tiny(tmp_path)
    assert perform_run(run) == finished[0].out.read_bytes()
    images = (path.with_suffix(".npz").read_bytes() for path in (run.out, finished[0].out))
    assert len(set(images)) == 1
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"spec.json", "0.csv", "0.meta.json", "0.npz"}
