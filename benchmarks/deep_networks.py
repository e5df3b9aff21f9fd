"""Time of a training step of deep narrow networks: alone, and several seeds stacked in one.

    python benchmarks/deep_networks.py

All contenders take the same SGD steps with momentum on the same batches, from the same weights:
``ours``, one network of ``models/mlp.py`` with the fused optimiser of ``training/optimizers.py``,
as each seed is trained in a process of its own; the same with PyTorch's default optimiser; and
``stacked``, the networks of several seeds as one, with weights (seeds, in, out) and batched matrix
products. Each contender runs in a process of its own; times are process CPU seconds per step and
network, the median of the repeats after one warm-up.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_alignment.models.mlp import mlp
from feature_alignment.training.optimizers import make_optimizer

SGD = {"learning_rate": 1e-3, "momentum": 0.9, "weight_decay": 5e-4}
CONTENDERS = ("ours", "default optimiser", "stacked")


def networks(arguments: argparse.Namespace) -> list[nn.Sequential]:
    """Return one network per seed."""
    options = {"bias": True, "activation": "relu", "initialisation": "he_normal"}
    sizes = arguments.inputs, arguments.depth - 1, arguments.width, 10
    return [
        mlp(*sizes, **options, generator=torch.Generator().manual_seed(seed))
        for seed in range(arguments.seeds)
    ]


def batches(arguments: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Return a batch of inputs and labels for each seed."""
    draw = torch.Generator().manual_seed(0)
    shape = arguments.seeds, arguments.batch_size
    inputs = torch.randn(*shape, arguments.inputs, generator=draw)
    return inputs, torch.randint(10, shape, generator=draw)


def alone(arguments: argparse.Namespace, fused: bool) -> Iterator[list[Tensor]]:
    """Train the first seed's network; yield its weights after every step."""
    network = networks(arguments)[0]
    inputs, labels = (part[0] for part in batches(arguments))
    if fused:
        optimizer = make_optimizer("sgd", network.parameters(), **SGD)
    else:
        rest = {"momentum": SGD["momentum"], "weight_decay": SGD["weight_decay"]}
        optimizer = torch.optim.SGD(network.parameters(), lr=SGD["learning_rate"], **rest)
    while True:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
        yield [parameter.detach() for parameter in network.parameters()]


def stacked(arguments: argparse.Namespace) -> Iterator[list[Tensor]]:
    """Train all seeds' networks as one; yield the first seed's weights after every step."""
    layers = zip(
        *([m for m in network if isinstance(m, nn.Linear)] for network in networks(arguments)),
        strict=True,
    )
    parameters = []
    for of_seeds in layers:
        weights = torch.stack([layer.weight.detach().T for layer in of_seeds])
        biases = torch.stack([layer.bias.detach()[None] for layer in of_seeds])
        parameters += [weights.contiguous().requires_grad_(), biases.requires_grad_()]
    optimizer = make_optimizer("sgd", parameters, **SGD)
    inputs, labels = batches(arguments)
    while True:
        optimizer.zero_grad(set_to_none=True)
        hidden = inputs
        for place in range(0, len(parameters), 2):
            hidden = torch.baddbmm(parameters[place + 1], hidden, parameters[place])
            if place < len(parameters) - 2:
                hidden = F.relu(hidden)
        losses = F.cross_entropy(hidden.flatten(0, 1), labels.flatten(), reduction="none")
        losses.view_as(labels).mean(dim=1).sum().backward()
        optimizer.step()
        yield [
            parameter.detach()[0].T if place % 2 == 0 else parameter.detach()[0, 0]
            for place, parameter in enumerate(parameters)
        ]


def measure(name: str, arguments: argparse.Namespace, answers: multiprocessing.Queue) -> None:
    """Time one contender; send its CPU seconds per step and network, and its first new weights."""
    torch.set_num_threads(1)
    steps = stacked(arguments) if name == "stacked" else alone(arguments, name == "ours")
    share = arguments.seeds if name == "stacked" else 1
    first = [weight.clone().numpy() for weight in next(steps)]
    times = []
    for _ in range(1 + arguments.repeats):
        start = time.process_time()
        for _ in range(arguments.steps):
            next(steps)
        times.append((time.process_time() - start) / arguments.steps / share)
    answers.put((statistics.median(times[1:]), first))


def main() -> None:
    """Run the benchmark and print times and ratios for every depth."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 40])
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    print(
        f"width {arguments.width}, batches of {arguments.batch_size}, {arguments.seeds} seeds "
        f"stacked, 1 thread, float32, torch {torch.__version__}"
    )
    for depth in arguments.depths:
        arguments.depth = depth
        results = {}
        for name in CONTENDERS:
            answers = spawn.Queue()
            process = spawn.Process(target=measure, args=(name, arguments, answers))
            process.start()
            results[name] = answers.get()
            process.join()
        own, mine = results["ours"]
        print(f"depth {depth}")
        for name, (seconds, theirs) in results.items():
            apart = max(
                float(abs(a - b).max() / abs(a).max()) for a, b in zip(mine, theirs, strict=True)
            )
            print(
                f"  {name:<18}{1e3 * seconds:>7.2f} ms a step and network, {seconds / own:.2f}x "
                f"ours; weights {apart:.0e} apart after one step"
            )


if __name__ == "__main__":
    main()
