"""Time and memory of the pre-activation covariance against torch.func's vmap(jacrev).

    python benchmarks/preactivation_covariance.py
    python benchmarks/preactivation_covariance.py --network vgg11

Both compute K_l of every hidden layer of one network, on the same inputs, in one run: ours with
one forward pass for all layers and one backward pass for all (MLP) or for each (VGG-11) of the
outputs, the peer with the Jacobian of the outputs with respect to every pre-activation, example by
example under vmap, in chunks. Each contender runs in a process of its own, so that peak memory is
its own; times are process CPU seconds, the median of the repeats after one warm-up.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from feature_alignment.models.build import build
from feature_alignment.tangents.preactivations import graph_covariances, preactivation_covariances

DEFAULTS = {
    "mlp": {"examples": 10_000, "width": 256, "chunk": 256, "peer_chunk": 256},
    "vgg11": {"examples": 1000, "width": 16, "chunk": 50, "peer_chunk": 20},
}
"""Sizes by network, for options that are not given; chunks as fast as any that were tried."""


def ours(network: nn.Sequential, inputs: Tensor, chunk: int) -> dict[str, Tensor]:
    """Compute K_l with the project's instrument."""
    if any(isinstance(module, nn.Conv2d) for module in network):
        return graph_covariances(network, inputs.split(chunk))
    return preactivation_covariances(network, inputs.split(chunk))


def peer(network: nn.Sequential, inputs: Tensor, chunk: int) -> dict[str, Tensor]:
    """Compute K_l by adding a shift to every pre-activation and differentiating in the shifts."""
    layers = {
        name: module
        for name, module in network.named_children()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    *hidden, _ = layers

    def shifted(shifts: dict[str, Tensor], x: Tensor) -> Tensor:
        x = x[None]
        for name, module in network.named_children():
            x = module(x) + shifts[name] if name in shifts else module(x)
        return x[0]

    zeros, x = {}, inputs[:1]
    with torch.no_grad():
        for name, module in network.named_children():
            x = module(x)
            if name in hidden:
                zeros[name] = torch.zeros_like(x[0])
    jacobians = torch.func.vmap(torch.func.jacrev(shifted), in_dims=(None, 0))
    totals = {name: torch.zeros(len(zero), len(zero)) for name, zero in zeros.items()}
    for x in inputs.split(chunk):
        for name, jacobian in jacobians(zeros, x).items():
            jacobian = jacobian.detach()
            jacobian = jacobian.flatten(3) if jacobian.ndim > 3 else jacobian[..., None]
            rows = jacobian.movedim(2, 3).flatten(0, 2)  # examples, outputs and positions
            totals[name] += rows.T @ rows
    return totals


CONTENDERS: dict[str, Callable] = {"ours": ours, "vmap(jacrev)": peer}


def problem(arguments: argparse.Namespace) -> tuple[nn.Sequential, Tensor]:
    """Return the network and its inputs."""
    draw = torch.Generator().manual_seed(0)
    model: dict[str, object] = {"width": arguments.width}
    if arguments.network == "mlp":
        shape: tuple[int, ...] = (arguments.inputs,)
        model |= {"architecture": "fully_connected", "bias": False, "initialisation": "he_normal"}
        model["hidden_layers"] = arguments.hidden_layers
    else:
        shape = (3, 32, 32)
        model |= {"architecture": arguments.network, "initialisation": "torchvision_vgg"}
        model |= {"hidden_layers": 2, "dropout": 0.5}
    network = build(model, shape, arguments.outputs, draw).eval()
    return network, torch.randn(arguments.examples, *shape, generator=draw)


def measure(name: str, arguments: argparse.Namespace, answers: multiprocessing.Queue) -> None:
    """Time one contender and send its median time, added peak memory and result."""
    torch.set_num_threads(arguments.threads)
    network, inputs = problem(arguments)
    chunk = arguments.chunk if name == "ours" else arguments.peer_chunk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(1 + arguments.repeats):
        start = time.process_time()
        found = CONTENDERS[name](network, inputs, chunk)
        times.append(time.process_time() - start)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    answers.put(
        (statistics.median(times[1:]), added, {key: value.numpy() for key, value in found.items()})
    )


def main() -> None:
    """Run the benchmark and print times, memory and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", choices=DEFAULTS, default="mlp")
    parser.add_argument("--examples", type=int, help="10000 for the MLP, 1000 for VGG-11")
    parser.add_argument("--inputs", type=int, default=3072, help="of the MLP")
    parser.add_argument("--hidden-layers", type=int, default=5, help="of the MLP")
    parser.add_argument("--width", type=int, help="256 for the MLP, 16 for VGG-11")
    parser.add_argument("--outputs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--chunk", type=int, help="examples at once, ours")
    parser.add_argument("--peer-chunk", type=int, help="examples at once, the peer")
    arguments = parser.parse_args()
    for option, value in DEFAULTS[arguments.network].items():
        if getattr(arguments, option) is None:
            setattr(arguments, option, value)

    spawn = multiprocessing.get_context("spawn")
    results = {}
    for name in CONTENDERS:
        answers = spawn.Queue()
        process = spawn.Process(target=measure, args=(name, arguments, answers))
        process.start()
        results[name] = answers.get()
        process.join()

    size = f"{arguments.network} of width {arguments.width}"
    if arguments.network == "mlp":
        size = f"{arguments.hidden_layers} x {arguments.width}, input {arguments.inputs}"
    print(
        f"K_l of {size}, C = {arguments.outputs}, n = {arguments.examples}, "
        f"{arguments.threads} thread(s), float32, torch {torch.__version__}"
    )
    print(f"{'contender':<14}{'CPU s':>8}{'added peak MiB':>16}")
    for name, (seconds, added, _) in results.items():
        print(f"{name:<14}{seconds:>8.3f}{added:>16.0f}")
    (own, own_memory, mine), (other, other_memory, theirs) = results.values()
    worst = max(
        float(torch.linalg.norm(torch.from_numpy(mine[key] - theirs[key])))
        / float(torch.linalg.norm(torch.from_numpy(theirs[key])))
        for key in theirs
    )
    print(
        f"ratio: {other / own:.2f}x the time, {other_memory / max(own_memory, 1):.1f}x the memory"
    )
    print(f"largest relative difference between the two: {worst:.1e}")


if __name__ == "__main__":
    main()
