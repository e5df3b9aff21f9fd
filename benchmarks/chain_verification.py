"""Cost of verifying that a network computes what a walk along its modules computes.

    python benchmarks/chain_verification.py

Each instrument that walks a chain compares outputs and gradients of one example with automatic
differentiation (``tangents/chain.py``), once for all batches where the network has no hooks. For
tangent models, which are checked once before they are trained, the time is that of the base pass
and ten epochs of SGD in batches of 50. Times are process CPU seconds with the check and with the
check replaced by nothing, alternating, the median of the repeats after a warm-up. The results of
both must be the same bits.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from feature_alignment.models.build import build
from feature_alignment.tangents import linearized, preactivations
from feature_alignment.tangents.adaptive import AdaptiveModel
from feature_alignment.tangents.linearized import LinearizedModel, TangentModel

EPOCHS = 10
MLP = {"architecture": "fully_connected", "hidden_layers": 5, "width": 256}
DENSE = {"architecture": "fully_connected", "hidden_layers": 4, "width": 128}
CNN = {"architecture": "cnn", "width": 16}
GRAY, COLOUR = (1, 28, 28), (3, 32, 32)


def covariances(network: torch.nn.Sequential, inputs: Tensor) -> list[Tensor]:
    """Compute K_l of all hidden layers."""
    return list(preactivations.preactivation_covariances(network, inputs.split(256)).values())


def trained(kind: type[TangentModel], network: torch.nn.Sequential, inputs: Tensor) -> list[Tensor]:
    """Run the base of a tangent model and train the model to return zeros."""
    model = kind(network)
    stored = model.base_pass(inputs)
    parameters = list(model.displacements.parameters())
    optimizer = torch.optim.SGD(parameters, lr=1e-3)
    for part in EPOCHS * list(stored.split(50)):
        optimizer.zero_grad(set_to_none=True)
        model(part).square().mean().backward()
        optimizer.step()
    return [stored.outputs, *stored.activations, *parameters]


fixed, adaptive = partial(trained, LinearizedModel), partial(trained, AdaptiveModel)


CASES: dict[str, tuple[Callable, dict, tuple[int, ...], int]] = {
    "covariances, 5 x 256, n = 500": (covariances, MLP, COLOUR, 500),
    "covariances, 5 x 256, n = 2000": (covariances, MLP, COLOUR, 2000),
    "covariances, 5 x 256, n = 10000": (covariances, MLP, COLOUR, 10_000),
    "fixed, 4 x 128, n = 500": (fixed, DENSE, GRAY, 500),
    "adaptive, 4 x 128, n = 500": (adaptive, DENSE, GRAY, 500),
    "fixed, cnn of width 16, n = 200": (fixed, CNN, COLOUR, 200),
}


def main() -> None:
    """Print times with and without the check and the share that the check takes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':38}{'verified':>10}{'without':>10}{'share':>8}")
    for name, (instrument, model, shape, examples) in CASES.items():
        draw = torch.Generator().manual_seed(0)
        network = build({**model, "initialisation": "he_normal"}, shape, 10, draw).eval()
        inputs = torch.rand(examples, *shape, generator=draw)
        times: dict[bool, list[float]] = {True: [], False: []}
        results = {}
        for _ in range(1 + arguments.repeats):
            for verified in (True, False):
                started = time.process_time()
                if verified:
                    results[verified] = instrument(network, inputs)
                else:
                    with (
                        patch.object(preactivations, "verify_walk"),
                        patch.object(linearized, "verify_walk"),
                    ):
                        results[verified] = instrument(network, inputs)
                times[verified].append(time.process_time() - started)
        for one, other in zip(results[True], results[False], strict=True):
            if not torch.equal(one, other):
                raise ValueError(f"{name}: the check changed a result")
        slow, fast = (statistics.median(times[kind][1:]) for kind in (True, False))
        print(f"{name:38}{slow:9.3f}s{fast:9.3f}s{slow / fast - 1:8.1%}", flush=True)


if __name__ == "__main__":
    main()
