"""Kernels of all layers of torchvision's ResNet18 and vision transformers, by four ways.

    python benchmarks/any_network.py

- ``rules``: ``fa.layer_kernels`` as it is: rules, and the fallback for bare parameters alone.
- ``fallback``: the same, with every rule taken away, so that all is differentiated as it stands.
- ``vmap(jacrev)``: what a user would write: Jacobians of some examples at a time, then products.
- ``nngeometry``: its Jacobian of all layers in one pass, then a product for each. It has no rule
  for sequences of vectors, so that it takes no part in the transformers.

One transformer has the width and depth of DeiT-Tiny, the other is small: where the Jacobian is not
large, to write it down is the quicker way, if not the one that takes less memory.

Each way runs in a process of its own, the least processor time of ``--repeats`` after a warm-up,
and peak memory beyond that of the network. Kernels must agree.
"""

import argparse
import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from unittest.mock import patch

import torch
from nngeometry import Jacobian
from nngeometry.layercollection import LayerCollection
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models import resnet18
from torchvision.models.vision_transformer import VisionTransformer

import feature_alignment as fa
from feature_alignment.tangents import capture

Kernels = dict[str, Tensor]


def rules(network: nn.Module, inputs: Tensor) -> Kernels:
    """Compute kernels as users do."""
    return fa.layer_kernels(network, inputs)


def fallback(network: nn.Module, inputs: Tensor) -> Kernels:
    """Compute kernels as if no layer had a rule."""
    with (
        patch.object(capture, "lacks_rule", lambda _: "taken away"),
        patch.object(capture, "projection_of", lambda *_: None),
    ):
        return fa.layer_kernels(network, inputs)


def jacrev(network: nn.Module, inputs: Tensor, chunk: int = 4) -> Kernels:
    """Compute kernels from Jacobians by vmap(jacrev)."""
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def outputs(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(network, values, (x[None],))[0]

    jacobians = torch.func.vmap(torch.func.jacrev(outputs), in_dims=(None, 0), chunk_size=chunk)
    with sdpa_kernel(SDPBackend.MATH):
        found = jacobians(parameters, inputs)
    kernels: Kernels = {}
    for name, rows in found.items():
        layer, flat = name.rpartition(".")[0], rows.flatten(2).flatten(0, 1)
        product = flat @ flat.T
        kernels[layer] = kernels[layer] + product if layer in kernels else product
    shape = 2 * rows.shape[:2]
    return {layer: kernel.view(shape) for layer, kernel in kernels.items()}


def nngeometry(network: nn.Module, inputs: Tensor) -> Kernels:
    """Compute kernels from nngeometry's Jacobian."""
    collection = LayerCollection.from_model(network)
    jacobian = Jacobian(network, (inputs,), layer_collection=collection).to_torch()  # (C, n, P)
    kernels = {}
    for name, layer in collection.layers.items():
        start = collection.p_pos[name]
        rows = jacobian[:, :, start : start + layer.numel()].flatten(0, 1)
        count, n = jacobian.shape[:2]
        kernels[name] = (rows @ rows.T).view(count, n, count, n).permute(1, 0, 3, 2)
    return kernels


WAYS: dict[str, Callable[[nn.Module, Tensor], Kernels]] = {
    "rules": rules,
    "fallback": fallback,
    "vmap(jacrev)": jacrev,
    "nngeometry": nngeometry,
}


TRANSFORMERS = {
    "DeiT-Tiny": {"hidden_dim": 192, "mlp_dim": 768, "num_layers": 12},
    "small transformer": {"hidden_dim": 96, "mlp_dim": 192, "num_layers": 4},
}


def problem(name: str, examples: int, outputs: int) -> tuple[nn.Module, Tensor]:
    """Return a network in evaluation mode and its inputs."""
    torch.manual_seed(0)
    if name == "ResNet18":
        network = resnet18(num_classes=outputs)
    else:
        shape = {"image_size": 32, "patch_size": 4, "num_heads": 3, "num_classes": outputs}
        network = VisionTransformer(**shape, **TRANSFORMERS[name])
        nn.init.normal_(network.heads.head.weight, 0, 0.1)  # zero as it is built
    return network.eval(), torch.randn(examples, 3, 32, 32)


def measure(name: str, way: str, examples: int, outputs: int, repeats: int) -> tuple:
    """Return seconds, MiB, and what to compare of each kernel."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    network, inputs = problem(name, examples, outputs)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats + 1):
        started = time.process_time()
        kernels = WAYS[way](network, inputs)
        seconds.append(time.process_time() - started)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    norms = {layer: kernel.double().norm().item() for layer, kernel in kernels.items()}
    return min(seconds[1:]), added, norms


def main() -> None:
    """Print seconds, MiB and ratios to the rules."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=16)
    parser.add_argument("--outputs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    sizes = arguments.examples, arguments.outputs, arguments.repeats
    print(f"n = {sizes[0]}, C = {sizes[1]}, one thread; x: times as much as the rules")
    print(f"{'':31}{'layers':>7}{'seconds':>9}{'x':>7}{'MiB':>8}{'x':>7}")
    for name in ("ResNet18", *TRANSFORMERS):
        expected = None
        for way in WAYS if name == "ResNet18" else [way for way in WAYS if way != "nngeometry"]:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                seconds, added, norms = pool.submit(measure, name, way, *sizes).result()
            if expected is None:
                expected, first = norms, (seconds, added)
            for layer, norm in norms.items():
                if abs(norm - expected[layer]) > 1e-3 * expected[layer]:
                    raise ValueError(f"{name}, {layer}: {way} found another kernel")
            print(
                f"{name + ', ' + way:31}{len(norms):7}{seconds:9.2f}{seconds / first[0]:7.1f}"
                f"{added:8.0f}{added / first[1]:7.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
