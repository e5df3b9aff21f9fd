import math
from collections import Counter

import pytest
import torch
import torchvision
from torch import nn

from feature_alignment.models.architectures import ARCHITECTURES, RESNETS
from feature_alignment.models.build import build as build_model
from feature_alignment.models.initialisation import INITIALISATIONS
from feature_alignment.models.resnet import resnet
from feature_alignment.models.vgg import vgg

KINDS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
LAYERS = {
    # convolutions, batch norms, linear layers
    "vgg11": (8, 0, 1),
    "vgg13": (10, 0, 1),
    "vgg16": (13, 0, 1),
    "vgg19": (16, 0, 1),
    "vgg11_bn": (8, 8, 1),
    "vgg13_bn": (10, 10, 1),
    "vgg16_bn": (13, 13, 1),
    "vgg19_bn": (16, 16, 1),
    "resnet18": (20, 20, 1),
    "resnet34": (36, 36, 1),
    "resnet50": (53, 53, 1),
}
VGGS = [name for name in LAYERS if name.startswith("vgg")]


def build(architecture, *, width=4, initialisation="he_normal"):
    model = {"architecture": architecture, "width": width, "initialisation": initialisation}
    return build_model(model, (3, 32, 32), 10, torch.Generator().manual_seed(0))


def published(architecture):
    """Return torchvision's network, without values for its weights."""
    with torch.device("meta"):
        return getattr(torchvision.models, architecture)()


def shapes(network):
    return [tuple(parameter.shape) for parameter in network.parameters()]


def test_every_architecture_is_tested():
    elsewhere = {"fully_connected", "cnn"}  # test_mlp.py, test_build.py
    assert set(LAYERS) == set(ARCHITECTURES) - elsewhere


@pytest.mark.parametrize("architecture", LAYERS)
def test_layer_counts(architecture):
    network = build(architecture)
    owners = [m for m in network.modules() if any(True for _ in m.parameters(recurse=False))]
    counts = Counter(type(module) for module in owners)
    assert tuple(counts[kind] for kind in KINDS) == LAYERS[architecture]
    assert len(owners) == sum(LAYERS[architecture])


@pytest.mark.parametrize("architecture", VGGS)
def test_vgg_layers_are_numbered_by_depth(architecture):
    convolutions, norms, _ = LAYERS[architecture]
    network = build(architecture)
    for kind, name, count in ((nn.Conv2d, "conv", convolutions), (nn.BatchNorm2d, "norm", norms)):
        found = [key for key, module in network.named_children() if isinstance(module, kind)]
        assert found == [f"{name}{depth}" for depth in range(1, count + 1)]
    assert list(dict(network.named_children()))[-2:] == ["flatten", "linear1"]
    assert network.linear1.in_features == 32
    assert all(module.bias is not None for module in network.modules() if isinstance(module, KINDS))


def test_resnet18_has_41_layers_with_parameters():
    names = [
        name
        for name, module in build("resnet18").named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    assert len(names) == 41
    assert names[:4] == ["conv1", "norm1", "stage1.block1.conv1", "stage1.block1.norm1"]
    assert names[-1] == "linear1"
    shortcuts = [name for name in names if name.endswith("shortcut")]
    assert shortcuts == [f"stage{stage}.block1.shortcut" for stage in (2, 3, 4)]


@pytest.mark.parametrize("architecture", VGGS)
def test_vgg_features_have_the_published_shapes(architecture):
    # the head differs: one linear layer here, three for 224 × 224 pixels there
    network = build(architecture, width=64)
    assert shapes(network)[:-2] == shapes(published(architecture).features)
    assert shapes(network)[-2:] == [(10, 512), (10,)]


@pytest.mark.parametrize("architecture", RESNETS)
def test_resnets_have_the_published_shapes_between_stem_and_head(architecture):
    network, theirs = build(architecture, width=64), published(architecture)
    assert shapes(network)[1:-2] == shapes(theirs)[1:-2]
    # the stem: 3 × 3 instead of 7 × 7; the head: ten classes instead of a thousand
    assert (shapes(network)[0], shapes(theirs)[0]) == ((64, 3, 3, 3), (64, 3, 7, 7))
    features = network.linear1.in_features
    counts = [sum(map(math.prod, shapes(model))) for model in (theirs, network)]
    assert counts[0] - counts[1] == 64 * 3 * (49 - 9) + (features + 1) * 990


def test_resnet18_has_the_known_number_of_parameters():
    # 11 689 512 in the published network, whose stem and head are larger
    count = sum(map(math.prod, shapes(build("resnet18", width=64))))
    assert count == 11_689_512 - 64 * 3 * 40 - 513 * 990


def with_classifier(*, width=64, seed=0, **options):
    """Return VGG-11 with the classifier of the published network, for 32 × 32 pixels."""
    options = {"hidden_layers": 2, "dropout": 0.5, "outputs": 1000} | options
    return vgg(
        "vgg11",
        3,
        width=width,
        batch_norm=False,
        initialisation="torchvision_vgg",
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


def kinds(network):
    """Return the modules without children as (kind, shapes of parameters)."""
    leaves = [module for module in network.modules() if not list(module.children())]
    return [(type(module).__name__, shapes(module)) for module in leaves]


def test_vgg_with_a_classifier_has_the_published_layers():
    ours, theirs = kinds(with_classifier()), kinds(published("vgg11"))
    features = len(published("vgg11").features)
    assert ours[:features] == theirs[:features]
    # between: flatten here, pooling to 7 × 7 pixels there, whose first linear layer sees 49 times
    # as many inputs
    assert (ours[features], theirs[features]) == (("Flatten", []), ("AdaptiveAvgPool2d", []))
    assert ours[features + 1] == ("Linear", [(4096, 512), (4096,)])
    assert theirs[features + 1] == ("Linear", [(4096, 512 * 49), (4096,)])
    assert ours[features + 2 :] == theirs[features + 2 :]
    dropouts = [m.p for m in with_classifier(width=1) if isinstance(m, nn.Dropout)]
    assert dropouts == [m.p for m in published("vgg11").classifier if isinstance(m, nn.Dropout)]


def test_vgg_with_a_classifier_starts_like_the_published_network():
    ours = with_classifier()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = torchvision.models.vgg11()
    pairs = zip(ours.named_parameters(), theirs.parameters(), strict=True)
    for (name, mine), other in pairs:
        if name.endswith("bias"):
            assert not mine.any()
            assert not other.any()
        else:
            # the relative error of a deviation is about 1/√(2 m) for m draws
            tolerance = 5 * math.sqrt(1 / (2 * mine.numel()) + 1 / (2 * other.numel()))
            assert mine.std().item() == pytest.approx(other.std().item(), rel=tolerance), name


def test_vgg_classifier_is_named_by_depth_and_grows_with_the_width():
    network = with_classifier(width=2, outputs=7)
    names = list(dict(network.named_children()))
    assert names[names.index("flatten") + 1 :] == [
        *("linear1", "activation9", "dropout1"),
        *("linear2", "activation10", "dropout2"),
        "linear3",
    ]
    assert shapes(network)[-6::2] == [(128, 16), (128, 128), (7, 128)]
    without = with_classifier(width=2, dropout=0.0)
    assert not [module for module in without if isinstance(module, nn.Dropout)]
    inputs = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(network.eval()[:-1](inputs), without[:-1](inputs), rtol=0, atol=0)


def test_vgg_classifier_drops_units_in_training():
    network = with_classifier(width=2)
    inputs = torch.randn(2, 3, 32, 32)
    assert not torch.equal(network(inputs), network(inputs))
    assert torch.equal(network.eval()(inputs), network(inputs))


def test_vgg_without_hidden_layers_draws_as_ever():
    network = build("vgg11", width=2, initialisation="he_normal")
    draw = torch.Generator().manual_seed(0)
    for module in network:
        if isinstance(module, nn.Conv2d | nn.Linear):
            expected = torch.empty_like(module.weight, requires_grad=False)
            expected.normal_(0, math.sqrt(2 / module.weight[0].numel()), generator=draw)
            assert torch.equal(module.weight, expected)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"hidden_layers": -1, "dropout": 0.0}, "hidden_layers of at least 0, got -1"),
        ({"dropout": 1.0}, r"dropout in \[0, 1\).*got 1.0"),
        ({"dropout": -0.1}, r"dropout in \[0, 1\).*got -0.1"),
        ({"hidden_layers": 0}, "0 without hidden layers.*got 0.5 with 0"),
    ],
)
def test_vgg_classifiers_that_make_no_sense_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        with_classifier(width=1, **options)


@pytest.mark.parametrize("architecture", ["vgg11", "vgg16_bn"])
def test_vgg_computes_what_the_published_features_do(architecture):
    network = build(architecture).eval()
    layers = [module for module in network if isinstance(module, nn.Conv2d | nn.MaxPool2d)]
    plan = [m.out_channels if isinstance(m, nn.Conv2d) else "M" for m in layers]
    features = torchvision.models.vgg.make_layers(plan, batch_norm=architecture.endswith("_bn"))
    copy(network, features.eval(), slice(None, -2))
    inputs = torch.randn(2, 3, 32, 32)
    expected = network.linear1(features(inputs).flatten(1))
    torch.testing.assert_close(network(inputs), expected)


@pytest.mark.parametrize("architecture", RESNETS)
def test_resnets_compute_what_the_published_blocks_do(architecture):
    draw = torch.Generator().manual_seed(1)
    network, theirs = build(architecture, width=64).eval(), published(architecture)
    with torch.device("meta"):
        theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        theirs.maxpool = nn.Identity()
        theirs.fc = nn.Linear(network.linear1.in_features, 10)
    theirs = theirs.to_empty(device="cpu").eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1, generator=draw)
            norm.running_var.uniform_(0.5, 2, generator=draw)
    copy(network, theirs, slice(None))
    inputs = torch.randn(2, 3, 16, 16, generator=draw).double()
    torch.testing.assert_close(network.double()(inputs), theirs.double()(inputs))


@torch.no_grad()
def copy(network, other, part):
    """Copy parameters and statistics in their order, which is that of the published networks."""
    for target, value in zip(other.parameters(), list(network.parameters())[part], strict=True):
        target.copy_(value)
    for target, value in zip(other.buffers(), network.buffers(), strict=True):
        target.copy_(value)


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
@pytest.mark.parametrize("architecture", ["vgg11_bn", "resnet50"])
def test_weights_have_the_stated_deviation(architecture, initialisation):
    checked = 0
    for module in build(architecture, width=16, initialisation=initialisation).modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert (module.running_mean == 0).all()
            assert (module.running_var == 1).all()
        elif isinstance(module, KINDS):
            weight = module.weight
            fan_in = weight[0].numel()
            fan_out = weight[:, 0].numel()
            variance = {
                "pytorch": 1 / (3 * fan_in),
                "he_normal": 2 / fan_in,
                "xavier_normal": 2 / (fan_in + fan_out),
                "lecun_normal": 1 / fan_in,
                "torchvision_vgg": 1e-4 if isinstance(module, nn.Linear) else 2 / fan_out,
            }[initialisation]
            # the relative error of a deviation is about 1/√(2 m) for m draws
            tolerance = 5 / math.sqrt(2 * weight.numel())
            assert weight.std().item() == pytest.approx(math.sqrt(variance), rel=tolerance)
            assert abs(weight.mean().item()) < 5 * math.sqrt(variance / weight.numel())
            if module.bias is not None and initialisation != "pytorch":
                assert (module.bias == 0).all()
            checked += 1
    assert checked == LAYERS[architecture][0] + LAYERS[architecture][2]


@pytest.mark.parametrize("family, wrong", [(vgg, "resnet18"), (resnet, "vgg11")])
def test_families_know_their_own(family, wrong):
    options = {"batch_norm": False} if family is vgg else {}
    with pytest.raises(ValueError, match=f"unknown architecture '{wrong}'; expected one of"):
        family(wrong, 3, 10, width=2, initialisation="he_normal", generator=None, **options)


@pytest.mark.parametrize("architecture", RESNETS)
def test_narrow_networks_have_the_same_gradients_in_both_layouts(architecture):
    """In a process with AVX2 alone, oneDNN's strided 1 × 1 convolution crashes here."""
    draw = torch.Generator().manual_seed(2)
    inputs = torch.randn(32, 3, 32, 32, generator=draw)
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = build(architecture).to(memory_format=layout).eval()
        outputs = network(inputs.contiguous(memory_format=layout))
        (outputs * torch.arange(10)).sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        # Float32 sums in another order
        assert (one - other).norm() <= 1e-4 * one.norm()
