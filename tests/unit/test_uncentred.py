import pytest
import torch
from test_memorisation import CLASSES, LAYERS, PROBED, SETTINGS, STEPS, splits
from tiny_runs import changed, complete, completed, make_run, random_dataset, values
from torch import nn

from feature_alignment.data.loading import Examples
from feature_alignment.measures.alignment import centered_one_hot
from feature_alignment.probes.kernel import kernel_probe
from feature_alignment.probes.uncentred import uncentred_probe

from reference import kernels as reference

N = 16
"""Examples: more than 40 eigenvalues, and as many of each class, so that centring is exact."""
SPECTRUM = ("eigenvalue_largest", "eigenvalue_mean", "eigenvalue_median", "effective_rank")


def network():
    torch.manual_seed(3)
    layers = nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4)
    return nn.Sequential(*layers).double()


def examples():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(N, 2, 5, 5, generator=generator, dtype=torch.float64)
    return Examples(inputs, torch.arange(N) % CLASSES)


def read(probe, model):
    return {(found.measure, found.layer): found.value for found in probe(model)}


def written_out(rows, y):
    """Return alignment and spectrum from rows of the Jacobian (n, C, parameters)."""
    features = rows.flatten(0, 1)
    values = torch.linalg.svdvals(features.double()).square()
    values = torch.cat([values, values.new_zeros(len(features) - len(values))])
    shares = values[values > 1e-12 * values[0]] / values.sum()
    projected = features.T @ y
    return {
        "alignment": projected @ projected / (values.norm() * (y @ y)),
        "eigenvalue_largest": values[0],
        "eigenvalue_mean": values.mean(),
        "eigenvalue_median": values.quantile(0.5),
        "effective_rank": torch.exp(-(shares * shares.log()).sum()),
        "trace_ratio_40": values[:40].sum() / values.sum(),
    }


def test_measures_equal_those_of_the_jacobian():
    model, given = network(), examples()
    found = read(uncentred_probe({"train": given}, CLASSES), model)
    jacobians = reference.jacobians(model, given.inputs)
    y = centered_one_hot(given.labels, CLASSES).double().flatten()
    expected = written_out(torch.cat(list(jacobians.values()), dim=2), y)
    for measure, value in expected.items():
        assert found[f"{measure}_uncentered", None] == pytest.approx(value.item(), rel=1e-10)
    for layer, rows in jacobians.items():
        value = written_out(rows, y)["alignment"].item()
        assert found["alignment_uncentered", layer] == pytest.approx(value, rel=1e-10)


def test_centring_leaves_the_labels_share_and_lowers_the_norm():
    """Of centred labels yᵀKy is the same with both kernels, so that the centred one aligns more."""
    model, given = network(), {"train": examples()}
    centred = read(kernel_probe(given, CLASSES, spectrum=True), model)
    whole = read(uncentred_probe(given, CLASSES), model)
    for layer in (None, "0", "3"):
        assert whole["alignment_uncentered", layer] < centred["alignment", layer]
    rows = torch.cat(list(reference.jacobians(model, given["train"].inputs).values()), dim=2)
    kernels = [part.flatten(0, 1) for part in (rows, rows - rows.mean(dim=0))]
    norms = [(part @ part.T).norm().item() for part in kernels]
    ratio = whole["alignment_uncentered", None] / centred["alignment", None]
    assert ratio == pytest.approx(norms[1] / norms[0], rel=1e-10)


def test_of_features_without_mean_both_kernels_are_one():
    """The null: a linear model without bias, on inputs that come with their negatives."""
    inputs = torch.randn(6, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    given = {"train": Examples(torch.cat([inputs, -inputs]), torch.arange(12) % 4)}
    model = nn.Linear(3, 4, bias=False).double()
    centred = read(kernel_probe(given, 4, spectrum=True), model)
    whole = read(uncentred_probe(given, 4), model)
    for measure in ("alignment", *SPECTRUM):
        expected = pytest.approx(centred[measure, None], rel=1e-10)
        assert whole[f"{measure}_uncentered", None] == expected


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    sizes = {"n_train": 30, "n_test": 20, "classes": CLASSES}
    return random_dataset(folder, "colours", (3, 32, 32), **sizes)


def test_the_training_is_that_of_figures_2_and_3(tmp_path, dataset):
    """Both experiments give the same numbers where they measure the same."""
    found = {}
    for experiment in ("memorisation", "centring"):
        settings = changed(SETTINGS, draws="shared", dataset__label_noise=0.5)
        run = make_run(experiment, settings, tmp_path / experiment, dataset)
        complete(run)
        found[experiment] = values(run)
    before, now = found.values()
    assert {place: now[place] for place in before} == before
    more = [("alignment_uncentered", layer) for layer in (None, *LAYERS)]
    more += [(f"{measure}_uncentered", None) for measure in SPECTRUM]
    assert set(now) - set(before) == {
        (step, measure, split, layer)
        for step in STEPS
        for split in ("train", "test")
        for measure, layer in more
    }


def test_a_run_reads_the_networks_own_kernel(tmp_path, dataset):
    run = make_run("centring", SETTINGS, tmp_path, dataset)
    model, _ = completed(run)
    found = values(run)
    given = splits(run, PROBED)["test"]
    rows = torch.cat(
        list(reference.jacobians(model.double(), given.inputs.double()).values()), dim=2
    )
    y = centered_one_hot(given.labels, CLASSES).double().flatten()
    expected = written_out(rows, y)
    for measure in ("alignment", *SPECTRUM):
        # Float32 against float64, through nine layers
        value = found[STEPS[-1], f"{measure}_uncentered", "test", None]
        assert value == pytest.approx(expected[measure].item(), rel=2e-4)
