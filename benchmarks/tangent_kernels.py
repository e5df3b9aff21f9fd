"""Time and memory of layer-wise alignment against nngeometry and torch.func.

    python benchmarks/tangent_kernels.py
    python benchmarks/tangent_kernels.py --networks mlp80 vgg19 --contenders ours library

Every contender computes the centred alignment of each layer's tangent kernel, for the same
networks, inputs and labels, in float32, in a process of its own, so that peak memory is its own:

- ``ours``: one forward and C backward passes for all layers;
- ``layers``: what the authors' code does with nngeometry. For each layer a layer collection of
  that layer alone, and its Gram matrix pair of outputs by pair of outputs, with a forward and C
  backward passes through the whole network for every output. Their import,
  ``nngeometry.generator.Jacobian`` of version 0.2.1, is gone from version 0.4; the routine behind
  it is not, and is called here under its new name, ``TorchHooksJacobianBackend``;
- ``library``: the best use of nngeometry, the Jacobian of all layers in one pass, then a Gram
  matrix of each layer's columns;
- ``jacrev``: ``vmap(jacrev)`` over the parameters of all layers, a few examples at a time, then
  the same.

Times are of the process on its processor, and on the wall; the median after a warm-up, or of one
run where that took longer than ``--long`` seconds. For ``layers`` on the convolutional networks one
layer of each kind, weight shape and output shape is timed and its time counted for all of them,
which is marked ``est``; ``--all-layers`` times them all. On a GPU, where there is one, ratios are
of wall times, each taken after the device has finished, and memory is the device's.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata

import torch
from nngeometry import Jacobian
from nngeometry.backend import TorchHooksJacobianBackend
from nngeometry.layercollection import LayerCollection
from nngeometry.object import FMatDense
from nngeometry.object.vector import FVector
from torch import Tensor, nn

from feature_alignment.measures.alignment import alignment_of, centered_one_hot, kernel_alignment
from feature_alignment.models.build import build
from feature_alignment.tangents.kernels import summarise_kernels

NETWORKS = {
    "mlp80": "MLP 784-6x80-10",
    "mlp256": "MLP 784-6x256-10",
    "vgg19": "VGG19, width {width}",
    "resnet18": "ResNet18, width {width}, batch norm in evaluation mode",
}
Alignments = dict[str, float]


def ours(network: nn.Module, inputs: Tensor, targets: Tensor) -> Alignments:
    """Compute the alignments with the project's instrument."""
    summaries, _ = summarise_kernels(network, inputs, targets, centered=True)
    return {name: alignment_of(s.form, s.norm, targets) for name, s in summaries.items()}


def one_layer(network: nn.Module, inputs: Tensor, targets: Tensor, name: str) -> float:
    """Compute one layer's alignment in the way of the authors' code."""
    single = LayerCollection()
    single.add_layer(name, LayerCollection.from_model(network).layers[name])
    backend = TorchHooksJacobianBackend(network, centering=True, layer_collection=single)
    kernel = FMatDense(backend, examples=(inputs,))
    form = kernel.vTMv(FVector(vector_repr=targets.T.contiguous()))
    return (form / (kernel.frobenius_norm() * torch.norm(targets) ** 2)).item()


def layers(network: nn.Module, inputs: Tensor, targets: Tensor) -> Alignments:
    """Compute the alignments layer by layer, in the way of the authors' code."""
    names = LayerCollection.from_model(network).layers
    return {name: one_layer(network, inputs, targets, name) for name in names}


def library(network: nn.Module, inputs: Tensor, targets: Tensor) -> Alignments:
    """Compute the alignments from nngeometry's Jacobian of all layers."""
    collection = LayerCollection.from_model(network)
    jacobian = Jacobian(network, (inputs,), layer_collection=collection).to_torch()
    jacobian -= jacobian.mean(dim=1, keepdim=True)  # (C, n, P)
    starts = collection.p_pos
    return {
        name: _alignment(jacobian[:, :, starts[name] : starts[name] + layer.numel()], targets)
        for name, layer in collection.layers.items()
    }


def jacrev(network: nn.Module, inputs: Tensor, targets: Tensor, chunk: int = 10) -> Alignments:
    """Compute the alignments from Jacobians by vmap(jacrev), ``chunk`` examples at a time."""
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def outputs(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(network, values, (x[None],))[0]

    jacobians = torch.func.vmap(torch.func.jacrev(outputs), in_dims=(None, 0))
    sizes: dict[str, int] = defaultdict(int)
    for name, value in parameters.items():
        sizes[name.rpartition(".")[0]] += value.numel()
    shape = (targets.shape[1], len(inputs))
    rows = {layer: inputs.new_empty(*shape, size) for layer, size in sizes.items()}
    for start in range(0, len(inputs), chunk):
        filled: dict[str, int] = defaultdict(int)
        for name, part in jacobians(parameters, inputs[start : start + chunk]).items():
            layer, columns = name.rpartition(".")[0], part.flatten(2).transpose(0, 1)
            low, high = filled[layer], filled[layer] + columns.shape[2]
            rows[layer][:, start : start + chunk, low:high] = columns
            filled[layer] = high
    for values in rows.values():
        values -= values.mean(dim=1, keepdim=True)
    return {layer: _alignment(values, targets) for layer, values in rows.items()}


def _alignment(jacobian: Tensor, targets: Tensor) -> float:
    """Return the alignment of a layer from its centred Jacobian (C, n, P), a slice or whole."""
    classes, n, _ = jacobian.shape
    flat = jacobian.flatten(0, 1) if jacobian.is_contiguous() else _merged(jacobian)
    kernel = (flat @ flat.T).view(classes, n, classes, n)
    return kernel_alignment(kernel.permute(1, 0, 3, 2), targets)


def _merged(jacobian: Tensor) -> Tensor:
    """Merge the first two axes of a slice of columns without a copy."""
    classes, n, size = jacobian.shape
    return jacobian.as_strided((classes * n, size), jacobian.stride()[1:])


CONTENDERS: dict[str, Callable[[nn.Module, Tensor, Tensor], Alignments]] = {
    "ours": ours,
    "layers": layers,
    "library": library,
    "jacrev": jacrev,
}


@dataclass(frozen=True)
class Measurement:
    """What one contender took: seconds, MiB beyond the start, and how the time was found."""

    processor: float
    wall: float
    added: float
    runs: str
    alignments: Alignments


def problem(name: str, arguments: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the network, its inputs and the centred labels."""
    draw = torch.Generator().manual_seed(0)
    if name.startswith("mlp"):
        width, shape = int(name.removeprefix("mlp")), (784,)
        model = {"architecture": "fully_connected", "hidden_layers": 6, "width": width}
    else:
        model, shape = {"architecture": name, "width": arguments.width}, (3, 32, 32)
    network = build({**model, "initialisation": "he_normal"}, shape, 10, draw).eval()
    inputs = torch.randn(arguments.examples, *shape, generator=draw)
    return network, inputs, centered_one_hot(torch.arange(arguments.examples) % 10, 10)


def finish() -> None:
    """Wait until a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak(device: str) -> float:
    """Return the peak memory so far, MiB, of the process or on the GPU."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return torch.cuda.max_memory_allocated() / 2**20


def timed(function: Callable, *given: object) -> tuple[object, float, float]:
    """Call a function and return its result, processor seconds and wall seconds."""
    finish()
    wall, processor = time.perf_counter(), time.process_time()
    result = function(*given)
    finish()
    return result, time.process_time() - processor, time.perf_counter() - wall


def alike(network: nn.Module, inputs: Tensor) -> list[list[str]]:
    """Return the names of layers in groups of one kind, weight shape and output shape."""
    groups: dict[tuple, list[str]] = defaultdict(list)
    hooks = []
    for name in LayerCollection.from_model(network).layers:

        def note(module: nn.Module, _: tuple, output: Tensor, name: str = name) -> None:
            groups[type(module), module.weight.shape, output.shape[1:]].append(name)

        hooks.append(network.get_submodule(name).register_forward_hook(note))
    network(inputs[:1])
    for hook in hooks:
        hook.remove()
    return list(groups.values())


def measure(network_name: str, contender: str, arguments: argparse.Namespace) -> Measurement:
    """Time one contender on one network."""
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # float32 for every contender
    given = [part.to(arguments.device) for part in problem(network_name, arguments)]
    before = peak(arguments.device)
    function = CONTENDERS[contender]
    alignments: Alignments
    if contender == "layers" and "mlp" not in network_name and not arguments.all_layers:
        alignments, processor, wall = {}, 0.0, 0.0
        for names in alike(*given[:2]):
            chosen = names[len(names) // 2]
            alignments[chosen], *seconds = timed(one_layer, *given, chosen)
            processor += len(names) * seconds[0]
            wall += len(names) * seconds[1]
        runs = f"est {len(alignments)}"
    else:
        alignments, processor, wall = timed(function, *given)
        runs = "1"
        if wall <= arguments.long:
            repeats = [timed(function, *given)[1:] for _ in range(arguments.repeats)]
            processor, wall = map(statistics.median, zip(*repeats, strict=True))
            runs = f"med {arguments.repeats}"
    added = peak(arguments.device) - before
    return Measurement(processor, wall, added, runs, alignments)


def report(network: str, results: dict[str, Measurement], arguments: argparse.Namespace) -> None:
    """Print one network's table."""
    print(f"\n{NETWORKS[network].format(width=arguments.width)}")
    print(
        f"{'contender':<10}{'CPU s':>10}{'wall s':>10}{'runs':>8}{'ratio':>8}{'peak MiB':>10}"
        f"{'max diff':>10}"
    )
    own = results.get("ours")
    clock = "processor" if arguments.device == "cpu" else "wall"
    for name, found in results.items():
        ratio = f"{getattr(found, clock) / getattr(own, clock):.1f}" if own else ""
        differences = [
            abs(value - own.alignments[layer]) for layer, value in found.alignments.items() if own
        ]
        difference = f"{max(differences):.1e}" if differences and name != "ours" else ""
        print(
            f"{name:<10}{found.processor:>10.3f}{found.wall:>10.3f}{found.runs:>8}{ratio:>8}"
            f"{found.added:>10.0f}{difference:>10}",
            flush=True,
        )


def main() -> None:
    """Run the benchmark and print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--width", type=int, default=16, help="of the convolutional networks")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long", type=float, default=15, help="seconds beyond which one run does")
    parser.add_argument("--all-layers", action="store_true", help="no estimates")
    parser.add_argument("--quick", action="store_true", help="20 examples, width 4")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.examples, arguments.width = 20, 4

    print(
        f"Centred alignment of every layer, n = {arguments.examples}, C = 10, "
        f"{arguments.device}, {arguments.threads} thread(s), float32, torch {torch.__version__}, "
        f"nngeometry {metadata.version('nngeometry')}"
    )
    spawn = multiprocessing.get_context("spawn")
    for network in arguments.networks:
        results = {}
        for contender in arguments.contenders:
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                results[contender] = pool.submit(measure, network, contender, arguments).result()
        report(network, results, arguments)


if __name__ == "__main__":
    main()
