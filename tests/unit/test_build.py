"""Networks by the settings of a run: those of the package and the user's own."""

import os
import subprocess
import sys

import pytest
import torch
from test_provenance import forget
from tiny_runs import MLP, make_run, random_dataset
from torch import nn

from feature_alignment import provenance
from feature_alignment.models.architectures import ARCHITECTURES, RESNETS, VGGS, model_modules
from feature_alignment.models.build import build
from feature_alignment.models.initialisation import INITIALISATIONS
from feature_alignment.storage import write_json
from feature_alignment.tables import read_meta, read_table

WIDTH = {"width": 2, "initialisation": "he_normal"}
MODELS = {name: {"architecture": name, **WIDTH} for name in ARCHITECTURES}
MODELS["fully_connected"] = MLP


def built(model, shape=(3, 32, 32), outputs=10, seed=0):
    return build(model, shape, outputs, torch.Generator().manual_seed(seed))


def linear_layers(network):
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def test_the_architectures_are_those_that_papers_name():
    named = {"fully_connected", "cnn", *VGGS, *(f"{name}_bn" for name in VGGS), *RESNETS}
    assert set(ARCHITECTURES) == named


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("channels, outputs", [(3, 10), (1, 4)])
def test_a_model_maps_images_to_outputs(architecture, channels, outputs):
    shape = (channels, 32, 32)
    network = built(MODELS[architecture], shape, outputs)
    assert network.training
    found = network.eval()(torch.randn(3, *shape))
    assert found.shape == (3, outputs)
    assert found.isfinite().all()
    assert found.requires_grad
    for name, value in network.named_parameters():
        # Weights are made without values at first: a forgotten layer could hold anything
        assert value.isfinite().all(), name
        assert value.device.type == "cpu"
        assert value.requires_grad


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_weights_depend_on_the_generator_alone(architecture, initialisation):
    model = MODELS[architecture] | {"initialisation": initialisation}
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = built(model).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second, other = built(model).state_dict(), built(model, seed=1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name, value in first.items():
        if value.ndim > 1:  # no bias, no norm
            assert not torch.equal(value, other[name]), name


@pytest.mark.parametrize("architecture", ["fully_connected", "vgg11", "vgg16_bn"])
@pytest.mark.parametrize("hidden_layers", [0, 2])
def test_hidden_layers_count_linear_layers_but_the_last(architecture, hidden_layers):
    network = built(MODELS[architecture] | {"hidden_layers": hidden_layers})
    assert len(linear_layers(network)) == hidden_layers + 1


def test_examples_of_any_shape_are_flattened_by_a_fully_connected_network():
    for shape, inputs in (((7,), 7), ((2, 3, 4), 24)):
        assert linear_layers(built(MLP, shape))[0].in_features == inputs


def test_a_model_is_left_as_it_was():
    model = dict(MLP)
    built(model)
    assert model == MLP


@pytest.mark.parametrize(
    "name",
    [
        "vgg12",
        "vgg11_BN",
        "resnet18_bn",
        "vgg",
        "",
        "alexnet",
        ":net",
        "nets:",
        ".nets:net",
        "a/b:c",
    ],
)
def test_unknown_architectures_are_errors_that_list_the_known(name):
    message = f"unknown architecture '{name}'.*fully_connected.*vgg19_bn.*resnet50, or module:func"
    with pytest.raises(ValueError, match=message):
        built({"architecture": name})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_unknown_initialisations_are_errors(architecture):
    with pytest.raises(ValueError, match="unknown initialisation 'he'.*he_normal"):
        built(MODELS[architecture] | {"initialisation": "he"})


OWN = '''
from torch import nn


def network(shape, *, outputs, generator, units=3):
    """Two linear layers."""
    first, second = nn.Linear(shape[0] * shape[1] * shape[2], units), nn.Linear(units, outputs)
    for layer in (first, second):
        nn.init.normal_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second)
'''
OURS = {"architecture": "own_networks:network", "units": 5}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A file with a network of the user's in the working directory, where Python finds it."""
    path = tmp_path / "own_networks.py"
    path.write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield path
    sys.modules.pop("own_networks", None)
    forget()


@pytest.mark.usefixtures("own")
def test_a_function_in_the_working_directory_builds_a_network_with_its_options():
    first, again, other = (built(OURS, (1, 4, 4), 3, seed) for seed in (0, 0, 1))
    assert [(layer.in_features, layer.out_features) for layer in linear_layers(first)] == [
        (16, 5),
        (5, 3),
    ]
    assert torch.equal(first[1].weight, again[1].weight)
    assert not torch.equal(first[1].weight, other[1].weight)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    "architecture, message",
    [
        ("own_network:network", "no architecture 'own_network:network': No module named"),
        ("own_networks:net", "has no attribute 'net'; expected a function .shape.* beside the Sn"),
        ("own_networks", "unknown architecture 'own_networks'; .* or module:function"),
    ],
)
def test_a_function_that_is_not_found_is_an_error_that_says_where_it_belongs(architecture, message):
    with pytest.raises(ValueError, match=message):
        built({"architecture": architecture})


@pytest.mark.parametrize(
    "architecture",
    ["os:system", "sys:exit", "subprocess:call", "this:s", "torch.hub:load", "antigravity:fly"],
)
def test_a_spec_imports_no_module_from_elsewhere(architecture, own):
    loaded = set(sys.modules)
    with pytest.raises(ValueError, match="expected the module .* beside the Snakefile; found "):
        built({"architecture": architecture})
    assert set(sys.modules) == loaded


def test_a_module_that_another_hides_is_refused(own):
    (own.parent / "json.py").write_text(OWN)
    with pytest.raises(ValueError, match="found .*json.*; move it there, or give it a name"):
        built(OURS | {"architecture": "json:network"}, (1, 4, 4))


def test_a_package_in_the_working_directory_builds_a_network_too(own):
    for folder in ("own_package", "own_package/parts"):
        (own.parent / folder).mkdir()
    (own.parent / "own_package" / "__init__.py").write_text("")
    (own.parent / "own_package" / "parts" / "networks.py").write_text(OWN)
    model = OURS | {"architecture": "own_package.parts.networks:network"}
    assert linear_layers(built(model, (1, 4, 4)))
    (own.parent / "own_folder").mkdir()
    (own.parent / "own_folder" / "networks.py").write_text(OWN)
    assert linear_layers(built(OURS | {"architecture": "own_folder.networks:network"}, (1, 4, 4)))


def test_the_modules_of_a_run_are_those_of_all_its_networks():
    settings = {
        "model": {"architecture": "vgg11", "width": 3},
        "student": {"model": OURS, "n_train": 3},
        "loss": "mse",
    }
    assert list(model_modules(settings)) == ["feature_alignment.models.vgg", "own_networks"]
    assert list(model_modules({"architecture": "cnn"})) == ["feature_alignment.models.cnn"]
    assert list(model_modules({"steps": 3, "measure": {"every": 1}})) == []


def test_the_code_of_a_run_is_that_of_its_own_network_too(own, tmp_path):
    def identity(**model):
        forget()
        run = make_run("difficulty", {"model": OURS | model}, tmp_path)
        return provenance.code_hash(*run.modules), run.checkpointing().fingerprint

    first = identity()
    assert identity(architecture="vgg11")[0] != first[0]
    own.write_text("# What follows is a network.\n" + OWN.replace("Two linear", "A few"))
    assert identity() == first
    own.write_text(OWN.replace("ReLU", "Tanh"))
    second = identity()
    assert all(one != other for one, other in zip(first, second, strict=True))


def test_a_run_trains_a_network_of_ones_own_by_the_program(own, tmp_path):
    dataset = random_dataset(tmp_path, "plain", (1, 4, 4), n_train=12, n_test=5, classes=3)
    settings = {
        "dataset": {"name": "plain", "n_train": 12, "n_test": 5, "label_noise": 0.0},
        "model": OURS,
        "loss": "cross_entropy",
        "learning_rate": 0.05,
        "momentum": 0.9,
        "batch_size": 10,
        "epochs": 1,
        "measure": {"kernel_examples": 4, "fit_examples": 5, "ratio": 2.0},
    }
    run = make_run("memorisation", settings, tmp_path, dataset)
    write_json(tmp_path / "spec.json", run.spec)
    paths = {"spec": tmp_path / "spec.json", "out": run.out, "checkpoint": run.checkpoint}
    paths |= {"data": dataset.arrays, "manifest": dataset.arrays.with_suffix(".json")}
    program = [sys.executable, "-m", "feature_alignment.run.perform", "--seed=0"]
    program += [f"--{name}={path}" for name, path in paths.items()]
    environment = os.environ | {"PYTHONPATH": str(provenance.SOURCE_ROOT)}
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"1", "3"} <= set(read_table(run.out)["layer"].dropna())
    assert read_meta(run.out)["code_hash"] == provenance.code_hash(*run.modules)
