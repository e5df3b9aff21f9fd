"""Networks on which all that is said of tangent features is tested: a case is one line."""

import copy
from functools import cache, partial

import torch
from torch import nn
from torch.nn import functional as F

from feature_alignment.models.build import build as build_network
from feature_alignment.models.cnn import cnn
from feature_alignment.models.mlp import mlp
from feature_alignment.models.resnet import ResidualBlock
from feature_alignment.models.vgg import vgg

from reference import kernels as reference

NORMS = (
    nn.modules.batchnorm._NormBase,  # of batches and of instances
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


def randomised(network, seed=0):
    """Give every parameter and running statistic of the network a random float64 value."""
    draw = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    for module in network.modules():
        for value in module.parameters(recurse=False):
            fan_in = value[0].numel() if value.ndim > 1 else 4
            value.data.normal_(0, fan_in**-0.5, generator=draw)
        if isinstance(module, NORMS) and module.weight is not None:
            module.weight.data.add_(1)
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.normal_(generator=draw)
            module.running_var.uniform_(0.5, 2, generator=draw)
    return network


def points(*shape, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=draw)


def initial():
    return {"initialisation": "he_normal", "generator": torch.Generator().manual_seed(0)}


def perceptron(bias=True, activation="relu", inputs=12, hidden_layers=3, width=7, outputs=3):
    options = {"bias": bias, "activation": activation, **initial()}
    return randomised(mlp(inputs, hidden_layers, width, outputs, **options))


def convolutional(architecture, width=2, outputs=3):
    model = {"architecture": architecture, "width": width, "initialisation": "he_normal"}
    return build_network(model, (3, 32, 32), outputs, torch.Generator().manual_seed(0))


def without_shift(norm):
    norm.register_parameter("bias", None)
    return norm


def strided():
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(6, 12, (3, 2), padding=(2, 1), dilation=(2, 1), groups=6),
        nn.Tanh(),
        nn.Conv2d(12, 5, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(5, 3, (2, 3), stride=(2, 1), padding=(0, 2), bias=False),
        nn.Flatten(),
        nn.Linear(72, 3),
    )


def rectified():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(3, 4, (1, 2), bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


def pooled():
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(5, 4, (3, 2), padding=(1, 0), stride=(1, 2)),
        nn.Tanh(),
        nn.Conv2d(4, 4, 2, dilation=2, padding=1, bias=False),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(32, 6),
        nn.GELU(),
        nn.Linear(6, 3),
    )


def padded(mode):
    return nn.Sequential(
        nn.Conv2d(2, 3, (3, 4), padding="same", dilation=(2, 1), padding_mode=mode),
        nn.Tanh(),
        nn.Conv2d(3, 2, (2, 3), padding=(2, 1), padding_mode=mode),
        nn.Conv2d(2, 2, (4, 3), padding="valid", padding_mode=mode),
        nn.Flatten(),
        nn.Linear(50, 3),
    )


def layer_norms():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.LayerNorm((3, 4, 5)),
        nn.GELU(),
        without_shift(nn.LayerNorm((4, 5))),
        nn.LayerNorm(5, elementwise_affine=False),
        nn.LayerNorm(5),
        nn.Flatten(),
        nn.Linear(60, 3),
    )


def batch_norms():
    return nn.Sequential(
        nn.BatchNorm2d(2, eps=0.1),
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4, affine=False),
        nn.ReLU(inplace=True),
        nn.Flatten(2),
        without_shift(nn.BatchNorm1d(4)),
        nn.BatchNorm1d(4, eps=0.01),
        nn.Tanh(),
        nn.Flatten(),
        nn.BatchNorm1d(36),
        nn.Linear(36, 3),
    )


def reshaping(channels, block, size):
    return nn.Sequential(ResidualBlock(channels, block), nn.Flatten(), nn.Linear(size, 3))


class Residual(nn.Module):
    """A block with a batch norm, a convolution as its shortcut, and a shared in-place ReLU."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(4, 4, 1)
        self.activation = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.activation(self.norm(self.stem(x)))
        x = self.activation(self.inner(x) + self.shortcut(x))
        return self.head(x.mean(dim=(2, 3)))


class Tokens(nn.Module):
    """Linear layers on (n, T, d), attention among the tokens of an example, then their mean."""

    def __init__(self, inplace=False, bias=True):
        super().__init__()
        self.embed = nn.Linear(5, 6, bias=bias)
        self.query = nn.Linear(6, 6, bias=bias)
        self.key = nn.Linear(6, 6, bias=bias)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 3, bias=bias)
        self.activation = nn.ReLU(inplace)

    def forward(self, x):
        x = self.activation(self.embed(x))
        weights = (self.query(x) @ self.key(x).transpose(1, 2)).softmax(dim=2)
        return self.head(self.norm(x + weights @ x).mean(dim=1))


class Graph(nn.Module):
    """A residual connection, an activation used thrice, gates, slices and concatenation."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(10, 3)
        self.first = nn.Linear(5, 6)
        self.second = nn.Linear(6, 6)
        self.gate = nn.Linear(6, 4)
        self.side = nn.Linear(2, 6, bias=False)
        self.activation = nn.Tanh()

    def forward(self, x):
        hidden = self.activation(self.first(x))
        hidden = hidden + self.activation(self.second(hidden)) + self.side(x[:, 1:3])
        gate = torch.sigmoid(self.gate(F.gelu(hidden)))
        hidden = self.activation(hidden)
        return self.head(torch.cat([hidden, gate * hidden[:, :4]], dim=1))


class InPlace(nn.Module):
    """Operations that overwrite what layers returned, or a part of it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu_(self.conv(x))
        x = self.norm(x)
        x[:, 1:3].mul_(0.5)
        x = F.relu_(x).mean(dim=(2, 3))
        x = self.linear(x)
        x += 1
        return self.head(F.elu_(x))


class Calling(nn.Module):
    """A network of given layers, with ``forward`` from outside."""

    def __init__(self, function, layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.function(self, x)


def calling(function, **layers):
    """Return a factory of a network of these layers with this ``forward``."""
    return lambda: Calling(function, copy.deepcopy(layers))


def cut(how):
    """Return a factory of a network that cuts its first layer off by ``how``."""
    return calling(
        lambda m, x: m.head(input=m.after(how(m, x)).relu_()),  # a keyword argument
        cut=nn.Linear(5, 4),
        after=nn.Linear(4, 4),
        head=nn.Linear(4, 3),
    )


def of(*modules):
    """Return a factory of a chain."""
    return lambda: copy.deepcopy(nn.Sequential(*modules))


def hooked(*, before=None, after=None):
    """Return a factory of a chain with hooks of a user's at its second linear layer."""

    def make():
        network = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3))
        if before:
            network[2].register_forward_pre_hook(before)
        if after:
            network[2].register_forward_hook(after)
        return network

    return make


def without_scale(norm):
    norm.register_parameter("weight", None)
    return norm


class Encoder(nn.Module):
    """Two layers of attention, with a mask, on (n, T, d)."""

    def __init__(self, bias=True):
        super().__init__()
        options = {"dropout": 0.0, "batch_first": True, "bias": bias}
        layers = [nn.TransformerEncoderLayer(4, 2, 6, **options) for _ in range(2)]
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        for layer in self.layers:
            x = layer(x, src_mask=mask)
        return self.head(x[:, -1])


class Words(nn.Module):
    """Embeddings of what the signs and sizes of numbers say, one word of which is padding."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 4, padding_idx=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.words((2 * x).round().clamp(-2, 2).long() + 2).tanh().mean(dim=1))


CASES = {
    # name: what builds the network, shape of the inputs
    "mlp": (perceptron, (5, 3, 2, 2)),
    "mlp without bias": (partial(perceptron, False), (5, 12)),
    "gelu mlp without bias": (partial(perceptron, False, "gelu"), (5, 12)),
    "one linear layer": (partial(nn.Linear, 4, 3), (5, 4)),
    "one output": (partial(perceptron, outputs=1), (5, 12)),
    "one example": (perceptron, (1, 12)),
    "many outputs": (partial(perceptron, outputs=23), (2, 12)),
    "strides, groups, dilation": (strided, (4, 4, 11, 9)),
    "strides that leave a rest": (
        of(nn.Conv2d(2, 3, 2, stride=(3, 2), dilation=2), nn.Flatten(), nn.Linear(36, 3)),
        (4, 2, 11, 10),
    ),
    "strides and ReLUs": (rectified, (4, 2, 8, 9)),
    "strides and pools": (pooled, (5, 2, 16, 16)),
    "shortcut and shared ReLU": (Residual, (5, 2, 5, 5)),
    "tokens of a chain": (
        of(nn.Linear(5, 4), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)),
        (5, 6, 5),
    ),
    "a convolution as the last layer": (
        of(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 3, 5), nn.Flatten()),
        (4, 2, 7, 7),
    ),
    "cnn": (partial(cnn, 3, 16, 5, width=2, **initial()), (4, 3, 16, 16)),
    "vgg11": (partial(convolutional, "vgg11"), (3, 3, 32, 32)),
    "vgg11_bn": (partial(convolutional, "vgg11_bn"), (3, 3, 32, 32)),
    "vgg11 with a hidden layer and dropout": (
        lambda: vgg(
            "vgg11", 2, 3, width=2, batch_norm=False, hidden_layers=1, dropout=0.5, **initial()
        ),
        (5, 2, 32, 32),
    ),
    "resnet18": (partial(convolutional, "resnet18"), (2, 3, 8, 8)),
    "resnet50": (partial(convolutional, "resnet50", width=1), (2, 3, 8, 8)),
    "residual block that reshapes": (
        partial(reshaping, 3, [(4, 3, 2), (4, 3, 1)], 36),
        (4, 3, 5, 5),
    ),
    "bottleneck block": (
        partial(reshaping, 4, [(2, 1, 1), (2, 3, 1), (4, 1, 1)], 100),
        (4, 4, 5, 5),
    ),
    "layer norm over one dimension": (
        of(nn.Linear(5, 6), nn.LayerNorm(6, eps=0.1), nn.Tanh(), nn.Linear(6, 3)),
        (4, 5),
    ),
    "layer norm over all and some dimensions": (layer_norms, (4, 2, 4, 5)),
    "batch norms": (batch_norms, (4, 2, 5, 5)),
    "tokens": (Tokens, (4, 6, 5)),
    "as many tokens as examples, no bias": (partial(Tokens, bias=False), (4, 4, 5)),
    "tokens, activation in place": (partial(Tokens, True), (4, 6, 5)),
    "tokens, activation in place, no bias": (partial(Tokens, True, False), (4, 6, 5)),
    "linear on a grid": (
        of(nn.Linear(2, 4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(48, 3)),
        (4, 4, 3, 2),
    ),
    "graph": (Graph, (4, 5)),
    "in place": (InPlace, (4, 2, 4, 5)),
    "in place first": (of(nn.ReLU(inplace=True), nn.Linear(5, 3)), (4, 5)),
    "some outputs only": (
        calling(
            lambda m, x: torch.cat([m.first(x), m.second(x).tanh()], dim=1),
            first=nn.Linear(5, 2),
            second=nn.Linear(5, 1),
        ),
        (4, 5),
    ),
    "idle layers": (  # never called; result thrown away; a ReLU that is never on
        calling(
            lambda m, x: (
                m.dropped(x),
                m.used(x.flatten(1)) + F.relu(m.dead(x) - 1e6).sum(dim=(1, 2, 3))[:, None],
            )[1],
            unused=nn.Linear(4, 4),
            used=nn.Linear(12, 3),
            dropped=nn.Conv2d(3, 2, 2),
            dead=nn.Conv2d(3, 5, 1),
        ),
        (4, 3, 2, 2),
    ),
    "a hook that doubles an output": (hooked(after=lambda _, __, output: 2 * output), (4, 5)),
    "a hook that changes an output in place": (
        hooked(after=lambda _, __, output: output.mul_(2)),
        (4, 5),
    ),
    "a hook that bends an output": (hooked(after=lambda _, __, output: output.tanh()), (4, 5)),
    "a hook that changes what a layer sees": (
        hooked(before=lambda _, given: (given[0].square(),)),
        (4, 5),
    ),
    "hooks on both sides": (
        hooked(before=lambda _, given: given[0].tanh(), after=lambda _, __, output: output * 3),
        (4, 5),
    ),
    "norms with a shift but no scale": (
        of(
            nn.Conv2d(2, 4, 3),
            without_scale(nn.BatchNorm2d(4)),
            nn.Tanh(),
            nn.Flatten(),
            without_scale(nn.LayerNorm(36)),
            without_scale(nn.BatchNorm1d(36)),
            nn.Linear(36, 3),
        ),
        (4, 2, 5, 5),
    ),
    "norms of an example": (
        of(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)),
        (4, 2, 5, 5),
    ),
    "outputs that are all zero": (
        calling(lambda m, x: (h := m.only(x)) - h, only=nn.Linear(5, 3)),
        (4, 5),
    ),
    "examples that leave their order and come back": (
        calling(
            lambda m, x: m.head(m.first(x).flip(0).tanh().flip(0)),
            first=nn.Linear(5, 4),
            head=nn.Linear(4, 3),
        ),
        (4, 5),
    ),
    "no dropout in evaluation": (of(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, 3)), (4, 5)),
    "padding zeros": (partial(padded, "zeros"), (4, 2, 5, 7)),
    "padding reflect": (partial(padded, "reflect"), (4, 2, 5, 7)),
    "padding replicate": (partial(padded, "replicate"), (4, 2, 5, 7)),
    "padding circular": (partial(padded, "circular"), (4, 2, 5, 7)),
    "sequences": (
        of(
            nn.Conv1d(4, 6, 3, stride=2, dilation=2, padding=1, groups=2),
            nn.InstanceNorm1d(6, affine=True),
            nn.Tanh(),
            nn.Conv1d(6, 3, 2, padding="same", padding_mode="circular"),
            nn.Flatten(),
            nn.Linear(15, 3),
        ),
        (4, 4, 11),
    ),
    "volumes": (
        of(
            nn.Conv3d(2, 4, (3, 2, 1), stride=(1, 2, 1), padding=(1, 0, 1)),
            nn.BatchNorm3d(4),
            nn.Tanh(),
            nn.InstanceNorm3d(4, affine=True),
            nn.Flatten(),
            nn.Linear(160, 3),
        ),
        (4, 2, 4, 4, 3),
    ),
    "norms of groups and instances": (
        of(
            nn.Conv2d(2, 4, 3),
            nn.GroupNorm(2, 4),
            nn.PReLU(),
            nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
            nn.PReLU(4),
            without_shift(nn.GroupNorm(4, 4)),
            nn.Flatten(),
            nn.Linear(36, 3),
        ),
        (4, 2, 5, 5),
    ),
    "root mean squares": (of(nn.Linear(5, 6), nn.RMSNorm(6), nn.Linear(6, 3)), (4, 5)),
    "transposed convolution of sequences": (
        of(
            nn.ConvTranspose1d(
                4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=2
            ),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(84, 3),
        ),
        (4, 4, 6),
    ),
    "transposed convolution": (
        of(
            nn.ConvTranspose2d(2, 3, (3, 2), stride=(2, 1), bias=False),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(105, 3),
        ),
        (4, 2, 3, 4),
    ),
    "transposed convolution of volumes": (
        of(nn.ConvTranspose3d(2, 3, 2, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(288, 3)),
        (4, 2, 2, 3, 2),
    ),
    "attention": (Encoder, (3, 5, 4)),
    "attention without bias": (partial(Encoder, bias=False), (4, 4, 4)),
    "embedding": (Words, (4, 6)),
    "cut by detach": (cut(lambda m, x: m.cut(x).relu().detach()), (4, 5)),
    "cut by no_grad": (cut(lambda m, x: torch.no_grad()(m.cut)(x).relu()), (4, 5)),
    "cut by binary inputs": (cut(lambda m, x: m.cut((x > 0).to(x.dtype))), (4, 5)),
}


def build(name, examples=None):
    """Return a case's network and inputs, in float64 and evaluation mode."""
    make, (n, *shape) = CASES[name]
    return randomised(make()), points(examples or n, *shape)


@cache
def jacobians(name):
    """Return the oracle: the Jacobian (n, C, P) of every layer of a case, by brute force."""
    return reference.jacobians(*build(name))


def assert_equal(found, expected, scales=None, within=1e-10):
    """Compare tensors by name, relative to their own norm or to the norms of ``scales``."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        # float64 rounding only: sums of products of a few hundred factors
        scale = (scales or expected)[name].norm()
        assert (found[name] - value).norm() <= within * scale, name
