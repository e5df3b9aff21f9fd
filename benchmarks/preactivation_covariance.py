"""Time and memory of the pre-activation covariance against torch.func's vmap(jacrev).

    python benchmarks/preactivation_covariance.py

Both compute K_l of every hidden layer of one network, on the same inputs, in one run: ours with
one forward and one backward pass for all layers, the peer with the Jacobian of the outputs with
respect to every pre-activation, example by example under vmap, in chunks. Each contender runs in
a process of its own, so that peak memory is its own; times are process CPU seconds, the median of
the repeats after one warm-up.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from feature_alignment.models.mlp import mlp
from feature_alignment.tangents.preactivations import preactivation_covariances


def ours(network: nn.Sequential, inputs: Tensor, chunk: int) -> dict[str, Tensor]:
    """Compute K_l with the project's instrument."""
    return preactivation_covariances(network, inputs.split(chunk))


def peer(network: nn.Sequential, inputs: Tensor, chunk: int) -> dict[str, Tensor]:
    """Compute K_l by adding a shift to every pre-activation and differentiating in the shifts."""
    linears = [name for name, module in network.named_children() if isinstance(module, nn.Linear)]
    hidden = linears[:-1]

    def shifted(shifts: dict[str, Tensor], x: Tensor) -> Tensor:
        x = x[None]
        for name, module in network.named_children():
            x = module(x) + shifts[name] if name in shifts else module(x)
        return x[0]

    zeros = {name: torch.zeros(network.get_submodule(name).out_features) for name in hidden}
    jacobians = torch.func.vmap(torch.func.jacrev(shifted), in_dims=(None, 0))
    totals = {name: torch.zeros(len(zero), len(zero)) for name, zero in zeros.items()}
    for x in inputs.split(chunk):
        for name, jacobian in jacobians(zeros, x).items():
            rows = jacobian.detach().flatten(0, 1)
            totals[name] += rows.T @ rows
    return totals


CONTENDERS: dict[str, Callable] = {"ours": ours, "vmap(jacrev)": peer}


def problem(arguments: argparse.Namespace) -> tuple[nn.Sequential, Tensor]:
    """Return the network and its inputs."""
    draw = torch.Generator().manual_seed(0)
    network = mlp(
        arguments.inputs,
        arguments.hidden_layers,
        arguments.width,
        arguments.outputs,
        bias=False,
        activation="relu",
        initialisation="he_normal",
        generator=draw,
    )
    return network, torch.randn(arguments.examples, arguments.inputs, generator=draw)


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
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--inputs", type=int, default=3072)
    parser.add_argument("--hidden-layers", type=int, default=5)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--outputs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=256, help="examples at once, ours")
    parser.add_argument("--peer-chunk", type=int, default=256, help="examples at once, the peer")
    arguments = parser.parse_args()

    spawn = multiprocessing.get_context("spawn")
    results = {}
    for name in CONTENDERS:
        answers = spawn.Queue()
        process = spawn.Process(target=measure, args=(name, arguments, answers))
        process.start()
        results[name] = answers.get()
        process.join()

    print(
        f"K_l of {arguments.hidden_layers} x {arguments.width}, input {arguments.inputs}, "
        f"C = {arguments.outputs}, n = {arguments.examples}, {arguments.threads} thread(s), "
        f"float32, torch {torch.__version__}"
    )
    print(f"{'contender':<14}{'CPU s':>8}{'added peak MiB':>16}")
    for name, (seconds, added, _) in results.items():
        print(f"{name:<14}{seconds:>8.3f}{added:>16.0f}")
    (own, own_memory, mine), (other, other_memory, theirs) = results.values()
    worst = max(
        float(torch.linalg.norm(torch.from_numpy(mine[key] - theirs[key])))
        / float(torch.linalg.norm(torch.from_numpy(theirs[key])))
        for key in mine
    )
    print(
        f"ratio: {other / own:.2f}x the time, {other_memory / max(own_memory, 1):.1f}x the memory"
    )
    print(f"largest relative difference between the two: {worst:.1e}")


if __name__ == "__main__":
    main()
