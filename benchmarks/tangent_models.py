"""Time of a training step of a network, its linearisation and its adaptive tangent features.

    python benchmarks/tangent_models.py
    python benchmarks/tangent_models.py --network cnn --steps 30

All contenders take the same SGD steps with momentum on the same batches, from the same network
(LeJeune & Alemohammad, 2024, figure 4). ``full`` trains the network. ``fixed`` and ``adaptive`` are
the models of ``tangents/linearized.py`` and ``tangents/adaptive.py`` on the base's activations,
``in the row space`` in the coordinates of the training images, ``stored`` on stored tangent
features. ``by jvp`` is the same model differentiated by ``torch.func.jvp`` along the same
displacement, and ``by hand`` the fixed one written out without automatic differentiation. Each
contender runs in a process of its own; times are process CPU milliseconds per step, the median over
the steps after a warm-up. The outputs of the contenders after their steps are compared.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn import functional as F

from feature_alignment.models.build import build
from feature_alignment.tangents.adaptive import AdaptiveModel
from feature_alignment.tangents.features import tangent_features
from feature_alignment.tangents.linearized import LinearizedModel, TangentModel, row_space
from feature_alignment.training.optimizers import make_optimizer

RATE, MOMENTUM = 0.01, 0.9
KINDS = {"fixed": LinearizedModel, "adaptive": AdaptiveModel}
CONTENDERS = {
    "mlp": (
        "full",
        "fixed",
        "fixed in the row space",
        "fixed by hand",
        "fixed by jvp",
        "adaptive",
        "adaptive in the row space",
        "adaptive by jvp",
    ),
    "cnn": (
        "full",
        "fixed",
        "fixed stored",
        "fixed by jvp",
        "adaptive",
        "adaptive stored",
        "adaptive by jvp",
    ),
}


def problem(arguments: argparse.Namespace) -> tuple[nn.Sequential, Tensor, Tensor, Tensor]:
    """Return the network, training images, labels, and the indices of each step's batch."""
    draw = torch.Generator().manual_seed(0)
    if arguments.network == "mlp":
        size = (1, 28, 28)
        model = {"architecture": "fully_connected", "hidden_layers": 4, "width": 128}
    else:
        size = (3, 32, 32)
        model = {"architecture": "cnn", "width": arguments.width}
    network = build({**model, "initialisation": "lecun_normal"}, size, 10, draw)
    images = torch.rand(arguments.images, *size, generator=draw)
    labels = torch.randint(10, (arguments.images,), generator=draw)
    shape = (arguments.steps, arguments.batch_size)
    return network, images, labels, torch.randint(arguments.images, shape, generator=draw)


def descend(
    outputs_of: Callable[[Tensor], Tensor], parameters: list[Tensor], labels: Tensor
) -> Callable[[Tensor], None]:
    """Return a step of SGD on the outputs for the chosen examples."""
    optimizer = make_optimizer(
        "sgd", parameters, learning_rate=RATE, momentum=MOMENTUM, weight_decay=0.0
    )

    def step(chosen: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(outputs_of(chosen), labels[chosen])
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def ours(
    kind: str, how: str, network: nn.Sequential, images: Tensor, labels: Tensor
) -> tuple[Callable, Callable]:
    """Return the step, and the outputs for all images, of one of the project's models."""
    basis = row_space(images) if how == "in the row space" else None
    model = KINDS[kind](network, basis)
    if isinstance(network[0], nn.Conv2d):
        model = model.to(memory_format=torch.channels_last)
    stored = tangent_features(network, images) if how == "stored" else model.base_pass(images)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return descend(lambda i: model(stored[i]), trained, labels), lambda: model(stored)


def by_jvp(
    kind: str, network: nn.Sequential, images: Tensor, labels: Tensor
) -> tuple[Callable, Callable]:
    """Return the same of the model differentiated along its displacement by torch.func."""
    model: TangentModel = KINDS[kind](network)
    start = {name: value.detach() for name, value in network.named_parameters()}

    def outputs_of(chosen: Tensor | slice) -> Tensor:
        delta = {}
        for name, displacement in model.displacements.items():
            delta[f"{name}.weight"] = displacement.weight
            delta[f"{name}.bias"] = displacement.bias
        outputs, tangent = jvp(
            lambda parameters: functional_call(network, parameters, (images[chosen],)),
            (start,),
            (delta,),
        )
        return outputs + tangent

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return descend(outputs_of, trained, labels), lambda: outputs_of(slice(None))


def by_hand(network: nn.Sequential, images: Tensor, labels: Tensor) -> tuple[Callable, Callable]:
    """Return the same of the fixed model of linear layers, with its gradient written out."""
    model = LinearizedModel(network)
    base = model.base_pass(images)
    seen = [base.inputs, *base.activations]
    frozen = [m.weight.detach().T.contiguous() for m in network if isinstance(m, nn.Linear)]
    weights = [torch.zeros_like(weight) for weight in frozen]
    biases = [torch.zeros(weight.shape[1]) for weight in frozen]
    speeds = [torch.zeros_like(part) for part in (*weights, *biases)]
    layers = len(frozen)

    @torch.no_grad()
    def tangent(inputs: list[Tensor]) -> Tensor:
        moved = torch.addmm(biases[0], inputs[0], weights[0])
        for place in range(1, layers):
            moved = moved * (inputs[place] > 0)
            own = torch.addmm(biases[place], inputs[place], weights[place])
            moved = torch.addmm(own, moved, frozen[place])
        return moved

    @torch.no_grad()
    def step(chosen: Tensor) -> None:
        inputs, targets = [part[chosen] for part in seen], labels[chosen][:, None]
        chances = (base.outputs[chosen] + tangent(inputs)).log_softmax(dim=1)
        chances.gather(1, targets).mean().item()
        gradient = chances.exp()
        gradient.scatter_add_(1, targets, torch.full(targets.shape, -1.0))
        gradient /= len(chosen)
        for place in reversed(range(layers)):
            speeds[place].addmm_(inputs[place].T, gradient, beta=MOMENTUM)
            speeds[layers + place].mul_(MOMENTUM).add_(gradient.sum(dim=0))
            if place:
                gradient = (gradient @ frozen[place].T) * (inputs[place] > 0)
        torch._foreach_add_([*weights, *biases], speeds, alpha=-RATE)

    return step, lambda: base.outputs + tangent(seen)


def contender(name: str, arguments: argparse.Namespace) -> tuple[float, np.ndarray | None]:
    """Return milliseconds per step, and the outputs after all steps."""
    torch.set_num_threads(1)
    network, images, labels, batches = problem(arguments)
    kind, _, how = name.partition(" ")
    if kind == "full":
        if isinstance(network[0], nn.Conv2d):
            network = network.to(memory_format=torch.channels_last)
        parameters = list(network.parameters())
        step, outputs = descend(lambda i: network(images[i]), parameters, labels), lambda: None
    elif how == "by jvp":
        step, outputs = by_jvp(kind, network, images, labels)
    elif how == "by hand":
        step, outputs = by_hand(network, images, labels)
    else:
        step, outputs = ours(kind, how, network, images, labels)
    times = []
    for chosen in batches:
        started = time.process_time()
        step(chosen)
        times.append(time.process_time() - started)
    with torch.no_grad():
        found = outputs()
    # As an array: a tensor would be shared with a process that is about to end.
    array = None if found is None else found.detach().numpy()
    return 1e3 * statistics.median(times[len(times) // 4 :]), array


def main() -> None:
    """Print the times, ratios to jvp and to the full network, and how far outputs are apart."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--network", choices=CONTENDERS, default="mlp")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--width", type=int, default=16, help="of the CNN")
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    found = {}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in CONTENDERS[arguments.network]:
            found[name] = pool.apply(contender, (name, arguments))
    print(f"{'':28}{'ms/step':>9}{'/ full':>9}{'jvp /':>9}{'apart':>10}")
    for name, (spent, outputs) in found.items():
        peer, _, _ = name.partition(" ")
        slow = found.get(f"{peer} by jvp")
        ratio = f"{slow[0] / spent:9.2f}" if slow else " " * 9
        apart = f"{np.abs(outputs - slow[1]).max():10.1e}" if slow else ""
        print(f"{name:28}{spent:9.2f}{spent / found['full'][0]:9.2f}{ratio}{apart}")


if __name__ == "__main__":
    main()
