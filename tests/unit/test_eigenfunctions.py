import json
import math

import numpy as np
import pytest
import torch
from tiny_runs import Killed, changed, kill_at, make_run, values

from feature_alignment.data.disk import disk_labels, grid_points
from feature_alignment.models.mlp import mlp
from feature_alignment.papers.baratin2021 import eigenfunctions
from feature_alignment.papers.baratin2021.eigenfunctions import (
    LEADING,
    RANKS,
    RINGS,
    Eigenfunctions,
    descend,
)
from feature_alignment.tables import read_table

from reference import kernels as reference

SIDE, POINTS = 20, 40
SETTINGS = {
    "variant": "disk",
    "n_train": POINTS,
    "model": {
        "hidden_layers": 2,
        "width": 12,
        "bias": True,
        "activation": "relu",
        "initialisation": "pytorch",
    },
    "learning_rate": 0.2,
    "measure": {"grid": SIDE, "steps": [20, 0, 3]},
}
STEPS = [0, 3, 20]
KERNEL_MEASURES = ("alignment", "eigenvalue_ratio", "effective_rank", "label_energy")


def recorder_of(run):
    measure = run.settings["measure"]
    return Eigenfunctions(measure["grid"], run.settings["variant"], sorted(measure["steps"]))


def complete(folder, *, seed=0, **changes):
    """Run as :func:`eigenfunctions.main` does; return run and images."""
    run = make_run("eigenfunctions", changed(SETTINGS, **changes), folder, seed=seed)
    recorder = recorder_of(run)
    run.complete(lambda _: descend(run, recorder))
    recorder.save(run.out.with_suffix(".npz"))
    with np.load(run.out.with_suffix(".npz"), allow_pickle=False) as arrays:
        return run, dict(arrays)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run with its images and its network at the end."""
    networks = []

    def keeping(*arguments, **options):
        networks.append(mlp(*arguments, **options))
        return networks[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eigenfunctions, "mlp", keeping)
        run, images = complete(tmp_path_factory.mktemp("finished"))
    return run, images, networks[0]


def network_at(finished, step):
    run, _, network = finished
    if not step:
        network = mlp(2, **SETTINGS["model"], outputs=1, generator=run.generator("init"))
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
        *((m, "train") for m in ("loss", "accuracy")),
        *((m, "grid") for m in ("accuracy", "trace")),
        *((f"{m}_{k}", "grid") for m in KERNEL_MEASURES for k in ("centered", "uncentered")),
        *((f"angular_mean_{k}", "grid") for k in range(RINGS)),
    }
    assert set(values(run)) == {(step, *place, None) for step in STEPS for place in expected}
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
    for k, members in rings.items():
        # 2e-3: eigenfunctions of a float32 kernel
        assert found[step, f"angular_mean_{k}", "grid", None] == pytest.approx(
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
    readings = Eigenfunctions(SIDE, "disk", [0])(Ring(weight))
    found = {reading.measure: reading.value for reading in readings}
    means = [found[f"angular_mean_{k}"] for k in range(RINGS)]
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
    network = mlp(2, **{**SETTINGS["model"], "hidden_layers": 0}, outputs=1,
                  generator=torch.Generator().manual_seed(0))  # fmt: skip
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
    first, second = recorder.images[0].reshape(len(RANKS), -1)[:2]
    slopes = points.numpy() / math.sqrt(strength)
    for function in (first, second):
        inside = slopes @ (slopes.T @ function)
        np.testing.assert_allclose(inside, function, atol=1e-4)
        assert np.mean(function**2) == pytest.approx(1)


def test_the_variant_of_the_labels_matters(finished, tmp_path):
    run, _ = complete(tmp_path, variant="half_disk")
    first, second = values(finished[0]), values(run)
    assert first[20, "loss", "train", None] != second[20, "loss", "train", None]
    place = (0, "alignment_centered", "grid", None)
    assert first[place] != second[place]
    assert first[0, "trace", "grid", None] == second[0, "trace", "grid", None]
    with pytest.raises(ValueError, match="unknown variant 'ring'"):
        complete(tmp_path, variant="ring")


def test_the_seed_alone_decides_table_and_images(finished, tmp_path):
    run = finished[0]
    torch.manual_seed(99)
    again, _ = complete(tmp_path)
    other, _ = complete(tmp_path, seed=1)
    for ending in (".csv", ".npz"):
        content, same, differs = (
            r.out.with_suffix(ending).read_bytes() for r in (run, again, other)
        )
        assert same == content
        assert differs != content


def test_a_killed_run_leaves_nothing_and_starts_anew(finished, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, "binary_cross_entropy", 10)
        with pytest.raises(Killed):
            complete(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    run, _ = complete(tmp_path)
    assert run.out.read_bytes() == finished[0].out.read_bytes()


@pytest.mark.usefixtures("restored_torch")
def test_the_program_writes_table_and_images(finished, tmp_path):
    run = finished[0]
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(run.spec))
    paths = [f"--{name}={tmp_path / file}" for name, file in (
        ("spec", "spec.json"), ("out", "0.csv"), ("checkpoint", "0.safetensors")
    )]  # fmt: skip
    eigenfunctions.main([*paths, "--seed", "0"])
    assert (tmp_path / "0.csv").read_bytes() == run.out.read_bytes()
    images = run.out.with_suffix(".npz").read_bytes()
    assert (tmp_path / "0.npz").read_bytes() == images
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"spec.json", "0.csv", "0.meta.json", "0.npz"}
