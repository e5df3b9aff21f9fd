"""What the verification of the instruments costs: its share of the time of each.

    python benchmarks/verification.py

Kernels, traces, covariances and stored features check on a few examples, run without the others,
that the network is what they take it for (``feature_alignment.tangents.verify``), at the first call
with a network and then at every tenth. Printed are the time of a call without it, what it adds to
such a call and to ten calls on average, and what running those examples forward and backward once
adds, below which no such check can be; the least over some calls, in float32.
"""

import argparse
import copy
import time
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor, nn

from feature_alignment.measures.alignment import centered_one_hot
from feature_alignment.models.build import build
from feature_alignment.tangents import capture
from feature_alignment.tangents.features import tangent_features
from feature_alignment.tangents.kernels import layer_traces, summarise_kernels
from feature_alignment.tangents.preactivations import graph_covariances
from feature_alignment.tangents.verify import EVERY, EXAMPLES, verify

NETWORKS = {
    "mlp 784-6x80": ({"architecture": "fully_connected", "hidden_layers": 6, "width": 80}, (784,)),
    "mlp 784-6x256": (
        {"architecture": "fully_connected", "hidden_layers": 6, "width": 256},
        (784,),
    ),
    "vgg19": ({"architecture": "vgg19", "width": 16}, (3, 32, 32)),
    "resnet18": ({"architecture": "resnet18", "width": 16}, (3, 32, 32)),
}
INSTRUMENTS: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "summaries": lambda network, x: summarise_kernels(
        network, x, centered_one_hot(torch.arange(len(x)) % 10, 10), centered=True
    ),
    "traces": layer_traces,
    "covariances": lambda network, x: graph_covariances(network, [x]),
    "features": tangent_features,
}


def cost(network: nn.Module, inputs: Tensor, instrument: str, calls: int) -> tuple[float, float]:
    """Return the seconds of a call that is not verified, and those of the verification."""
    inside: list[float] = []

    def timed(*given: object) -> None:
        start = time.perf_counter()
        verify(*given)
        inside.append(time.perf_counter() - start)

    rests = []
    with mock.patch.object(capture, "verify", timed):
        for _ in range(calls * EVERY):
            before, start = sum(inside), time.perf_counter()
            INSTRUMENTS[instrument](network, inputs)
            rests.append(time.perf_counter() - start - (sum(inside) - before))
    return min(rests), min(inside)


def floor(network: nn.Module, inputs: Tensor, calls: int) -> float:
    """Return the seconds of one forward and one backward pass for so few examples."""
    times = []
    for _ in range(calls * EVERY):
        start = time.perf_counter()
        torch.autograd.grad(network(inputs[:EXAMPLES]).sum(), list(network.parameters()))
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print one line for each network and instrument."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calls", type=int, default=2, help="times ten")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"n = {arguments.examples}, C = 10, {arguments.threads} thread(s), float32")
    heads = ("call, s", "verified", "of ten", "floor")
    print(f"{'network':<16}{'instrument':<14}{''.join(f'{head:>10}' for head in heads)}")
    for name in arguments.networks:
        model, shape = NETWORKS[name]
        draw = torch.Generator().manual_seed(0)
        network = build({**model, "initialisation": "he_normal"}, shape, 10, draw).eval()
        inputs = torch.randn(arguments.examples, *shape, generator=draw)
        least = floor(network, inputs, arguments.calls)
        for instrument in INSTRUMENTS:
            if instrument == "features" and name == "resnet18":
                continue  # which has norms, whose features are not stored
            # As no call is shared by two instruments, each starts with a network of its own.
            rest, added = cost(copy.deepcopy(network), inputs, instrument, arguments.calls)
            shares = (added / rest, added / rest / EVERY, least / rest)
            printed = "".join(f"{share:>10.1%}" for share in shares)
            print(f"{name:<16}{instrument:<14}{rest:>10.4f}{printed}", flush=True)


if __name__ == "__main__":
    main()
